from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg
import pytest

from dagster_s3inc import (
    S3Batch,
    build_s3_incremental_definitions,
    build_s3_incremental_sensor,
    build_s3_source_asset,
)
from dagster_s3inc.errors import ConfigurationError

FILES = dg.AssetKey("landing_files")


@dg.asset(deps=[FILES])
def orders(batch: S3Batch) -> None:
    """An asset that reads a batch."""


def graph(**options: Any) -> Any:
    definitions = build_s3_incremental_definitions(
        name="landing", uri="s3://bucket/in/", target=orders, assets=[orders], **options
    )
    dg.Definitions.validate_loadable(definitions)
    return definitions.resolve_asset_graph()


def test_what_asset_spec_takes() -> None:
    """The options reach the spec; the URI, the kind and a description are there by themselves."""
    policy = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=1))
    spec = build_s3_source_asset(
        key=["lake", "landing"],
        uri="s3://bucket/in/",
        group_name="lake",
        owners=["team:data"],
        tags={"domain": "shop"},
        metadata={"runbook": "words"},
        freshness_policy=policy,
    )
    assert spec.key == dg.AssetKey(["lake", "landing"])
    assert (spec.group_name, spec.owners, spec.kinds) == ("lake", ["team:data"], {"s3"})
    assert (spec.tags["domain"], spec.metadata["runbook"]) == ("shop", "words")
    assert spec.metadata["dagster/uri"] == "s3://bucket/in/"
    assert spec.freshness_policy == policy
    assert "s3://bucket/in/" in (spec.description or "")
    plain = build_s3_source_asset(key="x", uri="s3://b-1/", description="words", kinds={"minio"})
    assert (plain.description, plain.kinds) == ("words", {"minio"})


def test_source_stands_upstream() -> None:
    """By default the source is in the asset graph, external, upstream of what names it."""
    found = graph()
    assert found.get(FILES).is_external
    assert found.get(FILES).child_keys == {orders.key}


def test_no_run_executes_the_source_or_its_checks() -> None:
    """A selection of all assets holds neither the source nor its checks."""
    found = graph(max_backlog_age=timedelta(hours=1))
    everything = dg.AssetSelection.all()
    assert everything.resolve(found) == {orders.key}
    assert everything.resolve_checks(found) == set()
    assert {key.name for key in found.asset_check_keys} == {
        "batches_failed",
        "late_files_decided",
        "backlog_age",
    }


@pytest.mark.parametrize("key", ["{name}-drop", ["shop", "landing"], dg.AssetKey("landing")])
def test_source_may_be_named(key: Any) -> None:
    """The source's key may be given, with the sensor's name in it or not."""
    expected = dg.AssetKey.from_coercible("landing-drop" if key == "{name}-drop" else key)
    assert graph(source_asset=key).get(expected).is_external


def test_source_may_be_given_or_left_out() -> None:
    """A spec stands as it is given; with None there is no source and no check."""
    spec = build_s3_source_asset(key=FILES, uri="s3://bucket/in/", group_name="lake")
    assert graph(source_asset=spec).get(FILES).group_name == "lake"
    without = graph(source_asset=None)
    assert without.asset_check_keys == set()
    assert "dagster/uri" not in without.get(FILES).metadata


def test_source_of_another_prefix_is_refused() -> None:
    """An asset that stands for another prefix is refused, with both; how it is written is one."""
    with pytest.raises(ConfigurationError, match="landing_files stands for s3://other/x, but the"):
        graph(source_asset=build_s3_source_asset(key=FILES, uri="s3://other/x"))
    options: Any = {"name": "landing", "uri": "s3://bucket/", "target": orders}
    build_s3_incremental_sensor(
        source_asset=build_s3_source_asset(key=FILES, uri="s3://bucket"), **options
    )
    build_s3_incremental_sensor(source_asset=dg.AssetSpec(FILES), **options)


def test_wrong_options_are_refused() -> None:
    """A wrong URI, and a bound for a check of no asset, are refused by name."""
    with pytest.raises(ConfigurationError, match="is not an S3 URI"):
        build_s3_source_asset(key="x", uri="bucket/in")
    with pytest.raises(ConfigurationError, match="there is no source_asset"):
        graph(source_asset=None, max_backlog_age=timedelta(hours=1))
    with pytest.raises(ConfigurationError, match="max_backlog_age must be a timedelta"):
        graph(max_backlog_age=timedelta(0))
