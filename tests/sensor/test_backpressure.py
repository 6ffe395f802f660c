from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_s3inc import BatchPolicy, S3Batch, build_s3_incremental_sensor
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.runs.run_requests import SKIPPED_TAG
from dagster_s3inc.sensor.backpressure import Backpressure, Gate
from tests.servers import S3Server
from tests.world import LAUNCH_RESETS_ALONE, World, open_world


@dg.op
def nothing(batch: S3Batch) -> None:
    """Does nothing."""


@dg.job
def ingest() -> None:
    nothing()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_in_flight": 0}, "max_in_flight must be at least 1 (batches), not 0"),
        ({"on_failure": "stop"}, "on_failure must be 'continue' or 'halt', not 'stop'"),
    ],
)
def test_wrong_options_are_refused(options: Any, message: str) -> None:
    """A bound that cannot be is refused when the sensor is built."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        build_s3_incremental_sensor(name="landing", uri="s3://bucket/", job=ingest, **options)


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    name, client = new_bucket(moto), moto.client()
    for number in range(6):
        client.put_object(Bucket=name, Key=f"in/{number}", Body=b"x")
    return name


@pytest.fixture
def world(moto: S3Server, bucket: str, tmp_path: Path) -> Iterator[World]:
    """A deployment in strict order, with two files in a batch."""
    with open_world(
        moto,
        f"s3://{bucket}/in/",
        tmp_path,
        max_files=2,
        environment={"TEST_MAX_IN_FLIGHT": "1", "TEST_ON_FAILURE": "halt"},
    ) as opened:
        yield opened


def processed(world: World) -> list[list[str]]:
    """The keys of each run, oldest first."""
    return [[key.removeprefix("in/") for key in keys] for _, keys in world.batches()]


def runs(world: World) -> list[dg.DagsterRun]:
    """The sensor's runs, oldest first."""
    return list(reversed(world.instance.get_runs(dg.RunsFilter(job_name="ingest"))))


def test_failed_batch_stops_the_line(world: World) -> None:
    """With "halt" nothing follows a failed batch until it succeeds, and the tick names its run."""
    world.tick()
    fail = world.hold.with_name("fail")
    fail.touch()
    world.tick()
    failed = runs(world)[-1]
    assert failed.status == dg.DagsterRunStatus.FAILURE
    message = world.tick().skip_reason or ""
    assert f"failed in run {failed.run_id} of job ingest" in message
    assert "2 files" in message
    world.reexecute(failed)
    assert failed.run_id not in (world.tick().skip_reason or "")
    again = runs(world)[-1]
    fail.unlink()
    world.reexecute(again)
    world.tick()
    world.tick()
    assert processed(world) == [["0", "1"], *[["2", "3"]] * 3, ["4", "5"]]
    assert "Nothing new" in (world.tick().skip_reason or "")


def test_failed_batch_can_be_skipped(world: World) -> None:
    """A failed batch that is skipped on purpose lets the others go on."""
    world.hold.with_name("fail").touch()
    world.tick()
    [failed] = runs(world)
    assert "Halted" in (world.tick().skip_reason or "")
    world.hold.with_name("fail").unlink()
    world.instance.add_run_tags(failed.run_id, {SKIPPED_TAG: "true"})
    world.tick()
    world.tick()
    assert processed(world) == [["0", "1"], ["2", "3"], ["4", "5"]]


def test_batch_that_failed_again_can_be_skipped(world: World) -> None:
    """So does one that fails again while a reset has failed batches requested again."""

    def reset(what: str) -> None:
        config = {"ops": {"reset_landing_checkpoint": {"config": {"what": what}}}}
        assert world.launch("reset_landing", config).status == dg.DagsterRunStatus.SUCCESS

    fail = world.hold.with_name("fail")
    fail.touch()
    world.tick()
    reset("failed")
    world.tick()
    assert processed(world) == [["0", "1"], ["0", "1"]]
    fail.unlink()
    reset("skip_failed")
    for _ in range(2):
        world.tick()
    assert processed(world)[2:] == [["2", "3"], ["4", "5"]]


def test_batches_in_flight_are_bounded(moto: S3Server, bucket: str, tmp_path: Path) -> None:
    """No more batches are on their way than max_in_flight; others follow as these end."""
    with open_world(
        moto,
        f"s3://{bucket}/in/",
        tmp_path,
        max_files=2,
        settings=LAUNCH_RESETS_ALONE,
        environment={"TEST_MAX_IN_FLIGHT": "2"},
    ) as world:
        world.tick()
        assert processed(world) == [["0", "1"], ["2", "3"]]
        message = world.tick().skip_reason or ""
        assert "2 batches are in flight" in message
        assert "2 files" in message
        assert f"runs {runs(world)[0].run_id}, {runs(world)[1].run_id}" in message
        world.instance.report_run_failed(runs(world)[0])
        world.tick()
        assert processed(world)[2:] == [["4", "5"]]


def test_backlog_is_kept_while_nothing_may_be_requested(
    moto: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With max_in_flight reached, what waits is neither forgotten nor listed again each tick."""
    # A backlog lasts as many times as long as its listing took, which is nothing here.
    monkeypatch.setattr("dagster_s3inc.s3.scanner._BACKLOG_LISTINGS", 10_000)
    sensor = build_s3_incremental_sensor(
        name="landing",
        uri=f"s3://{bucket}/in/",
        job=ingest,
        batch=BatchPolicy(max_files=2),
        max_batches_per_tick=1,
        max_in_flight=1,
    )
    gates = [Gate(), Gate(0, ("Wait",)), Gate(0, ("Wait",)), Gate(1)]
    monkeypatch.setattr(Backpressure, "gate", lambda *_, **__: gates.pop(0))
    client = moto.client()
    requests: list[str] = []
    client.meta.events.register("before-call.s3.ListObjectsV2", lambda **_: requests.append("list"))
    cursor, found = None, []
    while gates:
        context = dg.build_sensor_context(cursor=cursor, resources={"s3": client})
        result: Any = sensor(context)
        cursor = result.cursor
        found.append(len(result.run_requests or ()))
        if not found[-1]:
            assert "4 files" in result.skip_reason.skip_message
            assert "Wait." in result.skip_reason.skip_message
    assert found == [1, 0, 0, 1]
    assert len(requests) == 1
