from __future__ import annotations

import warnings
from typing import Any

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from dagster_s3inc import BatchPolicy, S3Batch, build_s3_incremental_definitions
from dagster_s3inc.errors import ConfigurationError


@dg.asset
def orders(batch: S3Batch) -> None:
    """An asset that reads a batch."""


def build(name: str = "landing", **options: Any) -> dg.Definitions:
    options = {"target": orders, **options}
    return build_s3_incremental_definitions(name=name, uri=f"s3://bucket/{name}/", **options)


def test_one_call_gives_all_that_is_needed() -> None:
    """Sensor, reset job and both resources, loadable beside the user's assets."""
    definitions = dg.Definitions.merge(build(), dg.Definitions(assets=[orders]))
    dg.Definitions.validate_loadable(definitions)
    assert definitions.resolve_sensor_def("landing")
    assert definitions.resolve_job_def("reset_landing")
    assert set(definitions.resources or ()) == {"s3", "batch"}


def test_assets_may_come_along() -> None:
    """Assets that are given are in the definitions."""
    dg.Definitions.validate_loadable(build(assets=[orders]))


def test_dagster_warns_of_nothing() -> None:
    """What nobody asked for makes Dagster warn of nothing where definitions are loaded."""

    @dg.op
    def read(batch: S3Batch) -> None: ...

    @dg.job
    def ingest() -> None:
        read()

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        by_job = build("by_job", target=ingest)
        for each in (by_job, dg.Definitions.merge(build(assets=[orders]), by_job)):
            each.get_repository_def().load_all_definitions()
    assert [str(each.message) for each in said] == []


def test_several_prefixes_merge() -> None:
    """Two prefixes in one project share the resources and merge."""
    both = dg.Definitions.merge(build("one"), build("two", assets=[orders]))
    dg.Definitions.validate_loadable(both)
    assert {each.name for each in both.sensors or ()} == {"one", "two"}


def test_options_reach_their_places() -> None:
    """Resource keys, the reset job's name and the sensor's options are honoured."""

    @dg.asset
    def landed_orders(landed: S3Batch) -> None: ...

    mine = S3Resource(region_name="eu-west-1")
    definitions = build(
        target=landed_orders,
        s3=mine,
        s3_resource_key="lake",
        batch_resource_key="landed",
        reset_job_name="again",
        minimum_interval_seconds=7,
        batch=BatchPolicy(max_files=3),
    )
    assert (definitions.resources or {})["lake"] is mine
    assert set(definitions.resources or ()) == {"lake", "landed"}
    [job] = definitions.jobs or ()
    assert getattr(job, "name", None) == "again"
    [sensor] = definitions.sensors or ()
    assert getattr(sensor, "minimum_interval_seconds", None) == 7
    assert "s3" not in (build(s3=None).resources or {})


def test_wrong_options_are_refused() -> None:
    """What the sensor's factory refuses is refused here."""
    with pytest.raises(ConfigurationError, match="is not an S3 URI"):
        build_s3_incremental_definitions(name="x", uri="bucket", target=orders)
    with pytest.raises(TypeError, match="no_such_option"):
        build(no_such_option=1)
    with pytest.raises(ConfigurationError, match=r"name must be a name of letters.* not ''"):
        build("")


def test_wrong_endpoint_is_refused() -> None:
    """An S3Resource whose endpoint is no URL is refused; one from the environment is not read."""
    with pytest.raises(ConfigurationError, match=r"Write http://HOST:PORT.*127\.0\.0\.1:5917"):
        build(s3=S3Resource(endpoint_url="127.0.0.1:5917"))
    build(s3=S3Resource(endpoint_url=dg.EnvVar("NO_SUCH_VARIABLE")))
    build(s3=S3Resource(endpoint_url="http://[::1]:9000"))


@pytest.mark.parametrize("s3", [5, "s3", {"region": "x"}, S3Resource])
def test_wrong_resource_is_refused(s3: Any) -> None:
    """What can be no S3 resource is refused by name; a client is one."""
    with pytest.raises(ConfigurationError, match="s3 must be an S3Resource"):
        build(s3=s3)
    client = S3Resource(region_name="eu-west-1").get_client()
    assert (build(s3=client).resources or {})["s3"] is client


@pytest.mark.parametrize("options", ["tags", 5, {"naem": "x"}, {"name": "x"}, {"sensor": None}])
def test_wrong_options_of_the_reset_job_are_refused(options: Any) -> None:
    """What build_s3_reset_job does not take, or is told in another way, is refused by name."""
    with pytest.raises(ConfigurationError, match="any of description, tags, metadata, owners, not"):
        build(reset_job_options=options)
    [job] = build(reset_job_options={"description": "words"}).jobs or ()
    assert getattr(job, "description", None) == "words"
