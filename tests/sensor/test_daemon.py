"""The sensor under a real daemon iteration: what is emitted, whatever happens to it."""

from __future__ import annotations

import multiprocessing
import signal
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import dagster._daemon.sensor
import pytest
from dagster import DagsterRunStatus
from dagster._core.definitions.instigation_logger import get_instigation_log_records
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._serdes import serialize_value

from dagster_s3inc.core.cursor_format import decode_checkpoint
from tests.servers import S3Server, backdate
from tests.world import LAUNCH_RESETS_ALONE, World, die_in_a_tick, open_world, packed_ref, succeeded


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    return new_bucket(moto)


@pytest.fixture
def world(moto: S3Server, bucket: str, tmp_path: Path) -> Iterator[World]:
    with open_world(moto, f"s3://{bucket}/in/", tmp_path) as opened:
        yield opened


@pytest.fixture
def put(moto: S3Server, bucket: str) -> Callable[..., None]:
    client = moto.client()

    def put_each(*names: str, body: str = "") -> None:
        for name in names:
            client.put_object(Bucket=bucket, Key=f"in/{name}", Body=(body or name).encode())

    return put_each


def keys(*names: str) -> list[str]:
    return [f"in/{name}" for name in names]


def test_new_overwritten_deleted(world: World, moto: S3Server, bucket: str, put: Any) -> None:
    """A new and an overwritten file are emitted, a deleted one is not missed."""
    put("a", "b", "c")
    world.tick()
    moto.client().delete_object(Bucket=bucket, Key="in/a")
    put("b", body="another")
    put("d")
    assert succeeded(world.tick())
    assert world.batches() == [(1, keys("a", "b", "c")), (1, keys("b", "d"))]
    assert world.tick().status == TickStatus.SKIPPED


def test_file_that_appears_late(world: World, bucket: str, put: Any) -> None:
    """A file whose LastModified lies 30 minutes in the past, behind newer ones, is not lost."""
    put("newer-1", "newer-2")
    world.tick()
    put("late")
    backdate(bucket, "in/late", datetime.now(timezone.utc) - timedelta(minutes=30))
    world.tick()
    assert world.batches()[1:] == [(1, keys("late"))]


def test_runs_read_their_files(world: World, put: Any) -> None:
    """The run that a tick requests reads the files of its batch, and carries its tags."""
    put("a", "b")
    world.tick()
    [run] = world.instance.get_runs()
    assert run.status == DagsterRunStatus.SUCCESS
    said = [record.user_message for record in world.instance.all_logs(run.run_id)]
    assert "read {'in/a': 1, 'in/b': 1}" in said
    names = ("generation", "sequence", "files", "bytes")
    tags = {name: run.tags[f"dagster/s3inc/{name}"] for name in names}
    assert tags == {"generation": "1", "sequence": "0", "files": "2", "bytes": "2"}
    assert run.tags["dagster_s3inc/files"] == "2 (2 bytes)"
    assert run.tags["dagster/s3inc/source"].startswith("s3://bucket-")
    assert run.tags["dagster/run_key"] == f"1:0:{run.tags['dagster/s3inc/batch_id']}"


def test_idle_tick_describes_what_it_saw(world: World, put: Any) -> None:
    """A tick with nothing new says so with numbers."""
    put("a", "b")
    world.tick()
    reason = world.tick().skip_reason
    assert "Nothing new in generation 1" in reason
    assert "2 objects (2 bytes)" in reason
    assert "in/b of 20" in reason


def test_tick_that_could_not_list_fails(
    world: World, moto: S3Server, bucket: str, put: Any
) -> None:
    """A tick that could not list fails with the reason, and the cursor stays."""
    put("a")
    world.tick()
    cursor = world.cursor
    client = moto.client()
    client.delete_object(Bucket=bucket, Key="in/a")
    client.delete_bucket(Bucket=bucket)
    tick = world.tick()
    assert tick.status == TickStatus.FAILURE
    assert "The bucket does not exist" in str(tick.error)
    assert world.cursor == cursor


def test_unreadable_cursor_is_left_until_a_reset(world: World, put: Any) -> None:
    """A cursor that cannot be read fails the tick, which names the reset job; that repairs it."""
    put("a")
    world.tick()
    stored = world.cursor or ""
    for cursor, says in (
        ("landing/2026/x.csv", "JSON"),
        ('{"version":9}', "is of version 9"),
        ('{"version":1,"generation":1}', "is of version 1"),
        (stored.replace('"generation":1', '"generation":0'), "its generation is 0"),
    ):
        world.set_cursor(cursor)
        tick = world.tick()
        assert tick.status == TickStatus.FAILURE
        assert says in str(tick.error)
        assert "launch the sensor's reset job" in str(tick.error)
        assert world.cursor == cursor
    assert world.launch("reset_landing").status == DagsterRunStatus.SUCCESS
    world.tick()
    assert world.emitted(generation=2) == {"in/a": 1}


@pytest.mark.parametrize("point", ["RUN_IDS_RESERVED", "RUN_CREATED", "RUN_LAUNCHED"])
def test_killed_daemon_loses_and_repeats_nothing(world: World, put: Any, point: str) -> None:
    """A daemon killed while it submits runs: the next one completes the tick, each file once."""
    put(*"abcdefghijkl")
    spawn = multiprocessing.get_context("spawn")
    arguments = (packed_ref(world.instance), point, signal.SIGKILL)
    process = spawn.Process(target=die_in_a_tick, args=arguments)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert not world.cursor
    put("m")
    for _ in range(3):
        world.tick()
    assert world.emitted() == dict.fromkeys(keys(*"abcdefghijklm"), 1)
    assert [len(batch) for _, batch in world.batches()] == [5, 5, 2, 1]


def test_killed_before_the_cursor_was_stored(world: World, put: Any) -> None:
    """A daemon killed after a tick's end, and before its cursor was stored: each file once.

    The next tick requests the last run again, so that Dagster stores its key; then all goes on.
    """
    put(*"abcdef")
    assert succeeded(world.tick_unstored())
    assert not world.cursor
    put("c", body="another")
    again = world.tick()
    assert (again.status, again.run_keys) == (TickStatus.SKIPPED, [world.last_run_key])
    assert decode_checkpoint(world.cursor or "").sequence == 1
    assert succeeded(world.tick())
    assert world.batches() == [(1, keys(*"abcde")), (1, keys("f")), (1, keys("c"))]
    assert world.tick().status == TickStatus.SKIPPED


def test_cursor_cleared_twice_around_a_lost_tick(world: World, put: Any) -> None:
    """Each clearing starts a generation of its own, though a tick in between was lost."""
    put("a")
    world.tick()
    world.set_cursor("")
    assert succeeded(world.tick_unstored())
    world.tick()
    world.set_cursor("")
    world.tick()
    assert [generation for generation, _ in world.batches()] == [1, 2, 3]


def test_ticks_go_on_after_a_cursor_that_was_not_stored(
    world: World, bucket: str, put: Any
) -> None:
    """What one tick finds and the next one emits is not forgotten between them."""
    now = datetime.now(timezone.utc)
    put("a")
    backdate(bucket, "in/a", now - timedelta(days=1))
    world.tick_unstored()
    for _ in range(2):
        assert world.tick().status == TickStatus.SKIPPED
    put("late")
    backdate(bucket, "in/late", now - timedelta(days=2))
    for _ in range(2):
        world.tick()
    assert world.batches() == [(1, keys("a")), (1, keys("late"))]


def test_runs_that_could_not_be_submitted(
    world: World, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Dagster gives up submitting, what was decided is done later: each file once."""
    put(*"abcdefghijkl")
    submit = dagster._daemon.sensor._submit_run_request

    def submit_only_the_first(run_id: str, request: Any, *args: Any) -> Any:
        if "in/f" in str(request.run_config):
            raise OSError("no room for another run")
        return submit(run_id, request, *args)

    with monkeypatch.context() as patch:
        patch.setattr("dagster._daemon.sensor._submit_run_request", submit_only_the_first)
        # Dagster tries once more by itself; the third tick evaluates the sensor again.
        for _ in range(3):
            assert world.tick().status == TickStatus.FAILURE
    assert world.batches() == [(1, keys(*"abcde"))]
    put("b", body="another")
    for _ in range(2):
        assert succeeded(world.tick())
    first, *others = [batch for _, batch in world.batches()]
    assert first == keys(*"abcde")
    assert others == [keys(*"fghij"), keys("k", "l"), keys("b")]
    assert world.tick().status == TickStatus.SKIPPED


def test_requests_that_are_too_large_are_not_forgotten(
    world: World, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster drops them, and writes down a cursor that has them; they come when they fit."""
    put(*"abcde")
    long_names = [number * 900 for number in "fg"]
    put(*long_names)
    with monkeypatch.context() as patch:
        limit = "get_run_size_limit_bytes"
        patch.setattr(dg.DagsterInstance, limit, lambda _: 2_500)
        tick = world.tick()
        assert tick.status == TickStatus.FAILURE
        assert "exceed the maximum run size" in str(tick.error)
        assert world.batches() == [(1, keys(*"abcde"))]
    for _ in range(2):
        world.tick()
    assert world.batches() == [(1, keys(*"abcde")), (1, keys(*long_names))]


@pytest.mark.slow
def test_thousand_objects_in_ten_runs(moto: S3Server, bucket: str, tmp_path: Path) -> None:
    """1,000 objects in batches of 100: ten runs, each file in exactly one."""
    client = moto.client()
    names = [f"in/{number:04}" for number in range(1000)]
    for name in names:
        client.put_object(Bucket=bucket, Key=name, Body=b"x")
    uri = f"s3://{bucket}/in/"
    with open_world(moto, uri, tmp_path, max_files=100, settings=LAUNCH_RESETS_ALONE) as world:
        assert succeeded(world.tick())
        assert [len(batch) for _, batch in world.batches()] == [100] * 10
        assert [key for _, batch in world.batches() for key in batch] == names
        assert world.tick().status == TickStatus.SKIPPED


def test_backlog_goes_out_tick_by_tick(
    moto: S3Server, bucket: str, put: Any, tmp_path: Path
) -> None:
    """What a tick may not emit waits for the next, in order, and the tick says how much."""
    put(*"abcdefg")
    uri = f"s3://{bucket}/in/"
    with open_world(moto, uri, tmp_path, max_files=2, max_batches=2) as world:
        world.tick()
        assert world.batches() == [(1, keys("a", "b")), (1, keys("c", "d"))]
        world.tick()
        assert world.batches()[2:] == [(1, keys("e", "f")), (1, keys("g"))]


def test_tick_fits_its_row(moto: S3Server, bucket: str, put: Any, tmp_path: Path) -> None:
    """With the bound for MySQL, no tick takes more of the database, and all files come."""
    names = [f"dt=2026-01-31/{number:04}-{'x' * 60}.parquet" for number in range(240)]
    put(*names, body="x")
    uri, environment = f"s3://{bucket}/in/", {"TEST_MAX_REQUEST_BYTES": "60000"}
    with open_world(
        moto,
        uri,
        tmp_path,
        max_files=100,
        settings=LAUNCH_RESETS_ALONE,
        environment=environment,
    ) as world:
        rows = []
        while succeeded(tick := world.tick()):
            rows.append(len(serialize_value(tick.tick_data)))
        assert len(rows) > 1
        assert 20_000 < max(rows) <= 60_000
        assert world.emitted() == dict.fromkeys(keys(*names), 1)


def test_reset_during_a_slow_tick(moto: S3Server, bucket: str, put: Any, tmp_path: Path) -> None:
    """A reset while a tick runs is not overwritten by it: the next tick reprocesses all."""
    # Runs are requested and not executed: Dagster captures what they write, which may take it a
    # minute outside the main thread.
    uri = f"s3://{bucket}/in/"
    with open_world(moto, uri, tmp_path, settings=LAUNCH_RESETS_ALONE) as world:
        put("a", "b")
        world.tick()
        put("c")
        world.hold.touch()
        ticking = threading.Thread(target=world.tick)
        ticking.start()
        try:
            _wait_for(world.hold.with_suffix(".held").exists)
            run = world.launch("reset_landing")
            assert run.status == DagsterRunStatus.SUCCESS
        finally:
            world.hold.unlink()
            ticking.join(60)
        assert decode_checkpoint(world.cursor or "").generation == 1
        assert world.emitted() == dict.fromkeys(keys("a", "b", "c"), 1)
        world.tick()
        assert world.emitted(generation=2) == dict.fromkeys(keys("a", "b", "c"), 1)
        assert world.tick().status == TickStatus.SKIPPED


@pytest.mark.parametrize("cleared", ["", None])
def test_cursor_cleared_by_hand(world: World, put: Any, cleared: str | None) -> None:
    """Clearing the cursor on the sensor's page reprocesses everything, in a new generation."""
    put("a", "b")
    world.tick()
    world.set_cursor(cleared)
    world.tick()
    assert world.batches() == [(1, keys("a", "b")), (2, keys("a", "b"))]
    assert world.tick().status == TickStatus.SKIPPED


def test_version_that_comes_back_is_processed_again(
    world: World, moto: S3Server, bucket: str, put: Any
) -> None:
    """Deleting the newest version of an object shows the one before it: its run starts, twice."""
    client = moto.client()
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    put("a", body="good")
    world.tick()
    etags = []
    for _ in range(2):
        bad = client.put_object(Bucket=bucket, Key="in/a", Body=b"bad")["VersionId"]
        assert succeeded(world.tick())
        client.delete_object(Bucket=bucket, Key="in/a", VersionId=bad)
        assert succeeded(world.tick())
    runs = reversed(world.instance.get_runs())
    etags = [run.run_config["resources"]["batch"]["config"]["files"][0]["etag"] for run in runs]
    good, bad = etags[:2]
    assert etags == [good, bad, good, bad, good]
    assert "Nothing new" in (world.tick().skip_reason or "")


def test_cursor_set_back_by_hand(world: World, put: Any) -> None:
    """What came after an older cursor is requested again, and the tick says so."""
    put("a")
    world.tick()
    older = world.cursor
    put("b")
    world.tick()
    put("c")
    world.tick()
    world.set_cursor(older)
    tick = world.tick()
    assert succeeded(tick)
    assert "The cursor was set back by hand" in logs_of(world, tick)
    assert world.batches()[3:] == [(1, keys("b", "c"))]
    checkpoint = decode_checkpoint(world.cursor or "")
    assert (checkpoint.generation, checkpoint.sequence, checkpoint.total) == (1, 4, None)
    idle = world.tick()
    assert "Nothing new" in (idle.skip_reason or "")
    assert "set back" not in (idle.skip_reason or "")


def test_cursor_set_back_with_nothing_to_request(
    world: World, moto: S3Server, bucket: str, put: Any
) -> None:
    """The tick says so too where everything that came after the older cursor is gone."""
    put("a")
    world.tick()
    older = world.cursor
    put("b")
    world.tick()
    moto.client().delete_object(Bucket=bucket, Key="in/b")
    world.set_cursor(older)
    assert "The cursor was set back by hand" in (world.tick().skip_reason or "")
    assert "set back" not in (world.tick().skip_reason or "")


def logs_of(world: World, tick: InstigatorTick) -> str:
    """What the tick's evaluation logged."""
    assert tick.log_key
    return "\n".join(
        record["msg"] for record in get_instigation_log_records(world.instance, tick.log_key)
    )


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
