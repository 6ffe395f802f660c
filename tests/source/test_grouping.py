from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_s3inc import S3Batch, build_s3_incremental_sensor
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.runs.run_requests import GROUP_TAG
from dagster_s3inc.source import Grouping
from tests.servers import S3Server
from tests.world import World, iterate, open_world

DAYS = dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-03-01")
REGIONS = dg.StaticPartitionsDefinition(["eu", "us"])
CUSTOMERS = dg.DynamicPartitionsDefinition(name="customers")


@dg.op
def nothing(batch: S3Batch) -> None:
    """Does nothing."""


@dg.job
def ingest() -> None:
    nothing()


def placed(grouping: Grouping, key: str) -> str | None:
    """The group of a key, if it has one."""
    return grouping.group_of(None)(key)


@pytest.mark.parametrize(
    ("partitions_def", "key", "partition"),
    [
        (DAYS, "in/of=2026-01-31/a", "2026-01-31"),
        (DAYS, "in/of=2026-02-30/a", None),
        (DAYS, "in/of=2025-12-31/a", None),
        (DAYS, "in/of=soon/a", None),
        (DAYS, "in/a", None),
        (REGIONS, "in/of=eu/a", "eu"),
        (REGIONS, "in/of=EU/a", None),
        (CUSTOMERS, "in/of=ü 1/a", "ü 1"),
        (CUSTOMERS, "in/of=a...b/a", None),
        (CUSTOMERS, "in/of=a\nb/a", None),
        (None, "in/of=any/a", "any"),
        (None, "in/of=a\0b/a", None),
        (None, "in/of=a\x7fb/a", None),
        (None, "in/of=a\x85b/a", None),
        (None, "in/of=a\ud800b/a", None),
        (CUSTOMERS, "in/of=a\0b/a", None),
        (DAYS, "in/of=\0/a", None),
        (None, f"in/of={'a' * 1000}/a", "a" * 1000),
        (None, f"in/of={'a' * 1001}/a", None),
        (CUSTOMERS, f"in/of={'ü' * 501}/a", None),
    ],
)
def test_partition_of_a_key(partitions_def: Any, key: str, partition: str | None) -> None:
    """A key is in the partition that its named group names, if it exists and can be stored."""
    assert placed(Grouping(r"of=(?P<of>[^/]+)/", partitions_def), key) == partition


def test_dimensions_of_a_key() -> None:
    """Several named groups, or a function that gives a dict, are a multi-partition's dimensions."""
    both = dg.MultiPartitionsDefinition({"region": REGIONS, "day": DAYS})
    by_pattern = Grouping(r"(?P<region>\w\w)/(?P<day>\d{4}-\d\d-\d\d)/", both)
    by_function = Grouping(
        lambda key: dict(zip(("region", "day"), key.split("/"), strict=False)), both
    )
    for grouping in (by_pattern, by_function):
        assert placed(grouping, "eu/2026-01-02/a") == "2026-01-02|eu"
        assert placed(grouping, "fr/2026-01-02/a") is None
        assert placed(grouping, "eu/2026-13-02/a") is None
        assert placed(grouping, "e|u/2026-01-02/a") is None


def test_function_gives_the_group() -> None:
    """A function of the key gives the group, or None."""
    grouping = Grouping(lambda key: key[0] if key[0].isalpha() else None, None)
    assert (placed(grouping, "abc"), placed(grouping, "1bc")) == ("a", None)
    with pytest.raises(ConfigurationError, match="must give a str"):
        placed(Grouping(lambda _: 7, None), "a")  # type: ignore[arg-type,return-value]


def test_each_group_is_looked_up_once() -> None:
    """Whether a group is a partition is asked once a tick, and anew in the next."""
    asked: list[str] = []

    class Counting(dg.StaticPartitionsDefinition):
        def has_partition_key(self, partition_key: str, *options: Any, **more: Any) -> bool:
            asked.append(partition_key)
            return super().has_partition_key(partition_key, *options, **more)

    grouping = Grouping(r"(?P<region>\w\w)/", Counting(["eu"]))
    for _ in range(2):
        group_of = grouping.group_of(None)
        assert [group_of(f"{region}/{n}") for region in ("eu", "fr") for n in range(9)] == [
            *["eu"] * 9,
            *[None] * 9,
        ]
    assert asked == ["eu", "fr", "eu", "fr"]


def test_unpartitioned_files_in_words() -> None:
    """The warning counts, names keys in readable form, and says what to do."""
    said = Grouping("(?P<d>.)", DAYS).describe_unpartitioned(2_000, ["a\nb", "c"])
    assert said.startswith("2,000 files match no partition, such as 'a\\nb', c. They hold nothing")
    assert "fix group_by or partitions_def, or exclude them" in said
    said = Grouping("(?P<d>.)", None).describe_unpartitioned(1, ["a"])
    assert said.startswith("1 file is in no group of group_by, such as a. They hold nothing back")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group_by": "dt=(.*)/"}, "group_by has no named group"),
        ({"group_by": "dt=("}, "group_by must be a regular expression"),
        ({"group_by": 7}, "group_by must be a regular expression"),
        ({"partitions_def": DAYS}, "partitions_def needs group_by"),
        (
            {
                "group_by": "(?P<date>x)(?P<where>y)",
                "partitions_def": dg.MultiPartitionsDefinition({"region": REGIONS, "day": DAYS}),
            },
            "the dimensions day, region. Name the groups like the dimensions",
        ),
    ],
)
def test_wrong_grouping_is_refused(options: Any, message: str) -> None:
    """What can tell no group is refused when the sensor is built."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        build_s3_incremental_sensor(name="landing", uri="s3://bucket/", job=ingest, **options)


def test_files_without_a_partition_hold_nothing_back(
    moto: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """A batch is of one partition; a file of none is reported, and comes once there is one."""
    bucket, client = new_bucket(moto), moto.client()
    for key in ("dt=eu/1", "dt=mars/1", "dt=us/1", "dt=eu/2", "none"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")

    def evaluate(regions: list[str], cursor: str | None) -> Any:
        sensor = build_s3_incremental_sensor(
            name="landing",
            uri=f"s3://{bucket}/",
            job_name="ingest",
            group_by=r"dt=(?P<region>\w+)/",
            partitions_def=dg.StaticPartitionsDefinition(regions),
        )
        context = dg.build_sensor_context(cursor=cursor, resources={"s3": moto.resource()})
        return sensor(context)

    first = evaluate(["eu", "us"], None)
    found = {
        request.partition_key: len(request.run_config["resources"]["batch"]["config"]["files"])
        for request in first.run_requests
    }
    assert found == {"eu": 2, "us": 1}
    assert {request.tags[GROUP_TAG] for request in first.run_requests} == {"eu", "us"}
    second = evaluate(["eu", "us"], first.cursor)
    assert "2 files match no partition, such as dt=mars/1, none" in second.skip_reason.skip_message
    [request] = evaluate(["eu", "us", "mars"], second.cursor).run_requests
    assert request.partition_key == "mars"


def test_file_of_no_group_is_told_without_partitions(
    moto: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """Without partitions, the tick speaks of groups, and does not blame the filter."""
    bucket = new_bucket(moto)
    moto.client().put_object(Bucket=bucket, Key="none", Body=b"x")
    sensor: Any = build_s3_incremental_sensor(
        name="landing", uri=f"s3://{bucket}/", job=ingest, group_by=r"dt=(?P<region>\w+)/"
    )
    said = sensor(dg.build_sensor_context(resources={"s3": moto.resource()})).skip_reason
    assert "1 file is in no group of group_by, such as none. They" in said.skip_message


@pytest.fixture
def world(moto: S3Server, new_bucket: Callable[[S3Server], str], tmp_path: Path) -> Any:
    bucket, client = new_bucket(moto), moto.client()
    for day in ("2026-01-02", "2026-01-03", "someday"):
        for customer in ("acme", "zeta"):
            client.put_object(Bucket=bucket, Key=f"dt={day}/customer={customer}/1", Body=b"x")
    with open_world(
        moto, f"s3://{bucket}/", tmp_path, location="partitioned_location.py"
    ) as opened:
        yield opened


def test_partitions_are_materialized(world: World) -> None:
    """Daily, dynamic and multi-partitions: each batch materializes its own, new keys are added."""
    iterate(world.workspace)
    materialized = {
        name: world.instance.get_materialized_partitions(dg.AssetKey(name))
        for name in ("by_day", "by_customer", "by_both")
    }
    assert materialized == {
        "by_day": {"2026-01-02", "2026-01-03"},
        "by_customer": {"acme", "zeta"},
        "by_both": {
            f"{customer}|{day}"
            for customer in ("acme", "zeta")
            for day in ("2026-01-02", "2026-01-03")
        },
    }
    assert set(world.instance.get_dynamic_partitions("customers")) == {"acme", "zeta"}
