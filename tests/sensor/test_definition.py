from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from dagster_s3inc import S3Batch, build_s3_incremental_sensor, s3_batch
from dagster_s3inc.errors import ConfigurationError

RESOURCES = {"s3": dg.ResourceDefinition.mock_resource(), "batch": s3_batch}


@dg.op
def nothing(batch: S3Batch) -> None:
    """Does nothing."""


@dg.job
def ingest() -> None:
    nothing()


@dg.job
def archive() -> None:
    nothing()


@dg.asset
def orders(batch: S3Batch) -> None:
    """An asset."""


def test_what_sensor_definition_takes() -> None:
    """The options of dagster.SensorDefinition reach it."""
    sensor = build_s3_incremental_sensor(
        name="landing",
        uri="s3://bucket/in/",
        job=ingest,
        minimum_interval_seconds=17,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="words",
        tags={"team": "a"},
        metadata={"runbook": "b"},
        required_resource_keys={"more"},
        owners=["team:data"],
    )
    assert sensor.minimum_interval_seconds == 17
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.description == "words"
    assert sensor.tags["team"] == "a"
    assert sensor.metadata["runbook"].value == "b"
    assert sensor.metadata["dagster_s3inc/source"].value == "s3://bucket/in/"
    assert sensor.required_resource_keys == {"s3", "more"}
    assert sensor.owners == ["team:data"]
    default = build_s3_incremental_sensor(name="x", uri="s3://bucket/in/", job=ingest)
    assert "s3://bucket/in/" in (default.description or "")


@pytest.mark.parametrize(
    "target",
    [
        {"job": ingest},
        {"job_name": "ingest"},
        {"jobs": [ingest, archive]},
        {"target": orders},
        {"target": "orders"},
        {"asset_selection": "orders"},
        {"asset_selection": dg.AssetSelection.assets("orders")},
    ],
)
def test_every_way_to_name_a_target(target: dict[str, Any]) -> None:
    """Each target that dagster.SensorDefinition takes loads in Definitions."""
    sensor = build_s3_incremental_sensor(name="landing", uri="s3://bucket/in/", **target)
    definitions = dg.Definitions(
        assets=[orders],
        jobs=[ingest, archive],
        sensors=[sensor],
        resources=RESOURCES,
    )
    dg.Definitions.validate_loadable(definitions)


def test_unknown_target_is_refused() -> None:
    """A job name that no job has is refused when the definitions are loaded, by name."""
    sensor = build_s3_incremental_sensor(name="landing", uri="s3://bucket/in/", job_name="ingst")
    definitions = dg.Definitions(jobs=[ingest], sensors=[sensor], resources=RESOURCES)
    with pytest.raises(Exception, match="ingst"):
        dg.Definitions.validate_loadable(definitions)


@pytest.mark.parametrize("jobs", [[ingest], [ingest, archive]])
def test_mysql_has_room(jobs: Any) -> None:
    """With the bound for MySQL, the longest cursor leaves room for a batch, and for two jobs."""
    options: dict[str, Any] = {"max_request_bytes": 60_000, "late_file_capacity": 400}
    build_s3_incremental_sensor(name="landing", uri="s3://bucket/in/", jobs=jobs, **options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"job": None}, "needs exactly one of target, job, jobs.* but has none"),
        ({"job_name": "x"}, "but has job and job_name"),
        ({"job": None, "jobs": []}, "has an empty jobs"),
        ({"uri": "bucket/in"}, "is not an S3 URI"),
        ({"max_batches_per_tick": 0}, r"max_batches_per_tick must be at least 1"),
        ({"max_concurrent_requests": 0}, "max_concurrent_requests must be at least 1"),
        ({"max_index_bytes": -1}, "max_index_bytes must be at least 0"),
        ({"max_index_bytes": 1.5}, "max_index_bytes must be a whole number of bytes"),
        ({"late_file_capacity": 0}, "late_file_capacity must be at least 1"),
        ({"late_file_capacity": 10**9}, "late_file_capacity"),
        ({"max_request_bytes": 20_000}, "max_request_bytes must be at least .* late_file_capacity"),
        ({"lookback": timedelta(seconds=-1)}, "lookback must be a timedelta of zero or more"),
        ({"lookback": 3600}, "lookback must be a timedelta"),
        ({"name": ""}, "name must be a name of letters.* not ''"),
        ({"name": "my-files"}, "name must be a name of letters.* not 'my-files'"),
        ({"name": 5}, "name must be a name of letters.* not 5"),
        ({"batch": 0}, "batch must be a BatchPolicy, not 0"),
        ({"objects": "*.csv"}, r"objects must be an ObjectFilter, not '\*\.csv'"),
        ({"time_budget": 20}, "time_budget must be a timedelta of more than zero, not 20"),
        ({"time_budget": timedelta(0)}, "time_budget must be a timedelta of more than zero"),
        (
            {"partitions_def": "daily", "group_by": "(?P<day>.*)"},
            "partitions_def must be a PartitionsDefinition, not 'daily'",
        ),
        ({"source_asset": 5}, "source_asset must be what build_s3_source_asset makes.* not 5"),
        ({"source_asset": []}, "source_asset must be what build_s3_source_asset makes"),
        ({"run_tags": "team"}, "run_tags must be a mapping of str to str, not 'team'"),
        ({"run_tags": {"retries": 3}}, "run_tags must be .* but has 'retries': 3"),
        ({"run_tags": {"dagster_s3inc/files": "1"}}, "run_tags has dagster_s3inc/files, which"),
        ({"run_tags": {"dagster/s3inc/group": "1"}}, "run_tags has dagster/s3inc/group, which"),
        ({"run_tags": {"dagster/run_key": "1"}}, "run_tags has dagster/run_key, which"),
        ({"run_tags": {"dagster/sensor_name": "1"}}, "run_tags has dagster/sensor_name, which"),
        ({"start_from": "yesterday"}, "start_from must be 'beginning', 'now' or a datetime"),
        ({"start_from": datetime(2026, 1, 1)}, "start_from has no time zone"),  # noqa: DTZ001
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str) -> None:
    """A wrong, missing or contradictory option is refused at construction, by name."""
    given: dict[str, Any] = {"name": "landing", "uri": "s3://bucket/in/", "job": ingest, **options}
    with pytest.raises(ConfigurationError, match=says):
        build_s3_incremental_sensor(**given)
