"""The source asset under a real daemon iteration, with real runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pytest

from dagster_s3inc import find_runs
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.runs.run_requests import BATCH_ID_TAG
from tests.servers import S3Server
from tests.world import World, open_world, succeeded

FILES, ORDERS = dg.AssetKey("landing_files"), dg.AssetKey("orders")


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    return new_bucket(moto)


@pytest.fixture
def world(moto: S3Server, bucket: str, tmp_path: Path) -> Iterator[World]:
    uri = f"s3://{bucket}/in/"
    with open_world(moto, uri, tmp_path, location="source_location.py") as opened:
        yield opened


@pytest.fixture
def put(moto: S3Server, bucket: str) -> Callable[..., None]:
    client = moto.client()

    def put_each(*names: str) -> None:
        for name in names:
            client.put_object(Bucket=bucket, Key=f"in/{name}", Body=name.encode())

    return put_each


def reports(world: World) -> list[dict[str, Any]]:
    """The metadata of the source's materializations, newest first."""
    records = world.instance.fetch_materializations(FILES, limit=9).records
    events = [record.asset_materialization for record in records]
    return [
        {name: value.value for name, value in event.metadata.items()} for event in events if event
    ]


def test_report_runs_and_automation_agree(world: World, put: Any, bucket: str) -> None:
    """What a tick reports is what its runs process; automation does not run it once more."""
    definitions = importlib.import_module("tests.source_location").defs
    put("a", "b", "c")
    assert succeeded(world.tick())
    [report] = reports(world)
    assert (report["files requested"], report["bytes requested"]) == (3, 3)
    runs = world.instance.get_runs()
    links = report["runs of the batches"]
    assert all(run.tags[BATCH_ID_TAG] in links for run in runs)
    assert len(runs) == links.count("](../runs?") == 2
    records = world.instance.fetch_materializations(ORDERS, limit=9).records
    metadata = [record.asset_materialization.metadata for record in records]  # type: ignore[union-attr]
    assert sum(each["dagster_s3inc/files"].value for each in metadata) == 3
    assert {each["dagster_s3inc/generation"].value for each in metadata} == {1}
    check = dg.AssetCheckKey(FILES, "late_files_decided")
    record = world.instance.get_latest_asset_check_evaluation_record(check)
    assert record is not None
    assert record.status.value == "SUCCEEDED"

    before = dg.evaluate_automation_conditions(definitions, world.instance)
    put("b")
    world.tick()
    after = dg.evaluate_automation_conditions(definitions, world.instance, cursor=before.cursor)
    assert (before.total_requested, after.total_requested) == (0, 0)
    [newest, _] = find_runs(world.instance, f"s3://{bucket}/in/b").runs
    assert newest.run_id == world.instance.get_runs(limit=1)[0].run_id
    assert newest.batch_id in reports(world)[0]["runs of the batches"]


def test_report_of_a_tick_that_broke_off_comes_again(world: World, put: Any) -> None:
    """A daemon that dies between report and run requests reports again, with the same id."""
    put("a")
    requests = "dagster._daemon.sensor._handle_run_requests_and_automation_condition_evaluations"
    with mock.patch(requests, side_effect=RuntimeError("died here")):
        world.tick()
    assert world.batches() == []
    world.tick()
    first, again = reports(world)
    assert first["report id"] == again["report id"]
    assert world.batches() == [(1, ["in/a"])]


def test_failed_ticks_are_told_by_the_next_that_succeeds(
    world: World, put: Any, moto: S3Server, bucket: str
) -> None:
    """It says since when and how often ticks failed, and why; the one after it does not."""
    client = moto.client()
    client.delete_bucket(Bucket=bucket)
    failed = [world.tick() for _ in range(3)]
    assert {tick.status.value for tick in failed} == {"FAILURE"}
    assert world.instance.fetch_observations(FILES, limit=1).records == []
    client.create_bucket(Bucket=bucket)
    tick = world.tick()
    since = format_time(datetime.fromtimestamp(failed[0].timestamp, timezone.utc))
    assert f"3 ticks failed before this one, since {since}" in (tick.skip_reason or "")
    assert "BucketNotFoundError" in (tick.skip_reason or "")
    [record] = world.instance.fetch_observations(FILES, limit=9).records
    observation = record.event_log_entry.asset_observation
    assert observation is not None
    assert observation.metadata["ticks failed before"].value == 3
    assert observation.metadata["failing since"].value == failed[0].timestamp
    # The first report of all is due, too, so that the asset is known to be fresh.
    assert len(reports(world)) == 1
    assert "failed before" not in (world.tick().skip_reason or "")
    assert len(world.instance.fetch_observations(FILES, limit=9).records) == 1
