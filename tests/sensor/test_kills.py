"""SIGKILL for the daemon, the code server and the run worker: nothing lost, nothing twice."""

from __future__ import annotations

import os
import random
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.scheduler.instigation import TickStatus

from dagster_s3inc.runs.run_requests import GENERATION_TAG
from tests.kills import sensor_runs, storm, wait_for
from tests.postgres import PostgresServer, postgres_server
from tests.servers import S3Server
from tests.world import (
    LAUNCH_PROCESSES,
    LAUNCH_RESETS_ALONE,
    World,
    code_server_pid,
    open_world,
)

KILLS = 20

slow = pytest.mark.slow


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=slow)])
def storage(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    """Where Dagster keeps its runs, events and ticks: the part of dagster.yaml that says so."""
    if request.param == "sqlite":
        return {}
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.new_storage()


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    return new_bucket(moto)


@slow
def test_killed_at_random_moments(storage: Mapping[str, Any], tmp_path: Path) -> None:
    """Daemons and code servers die while files burst in and resets fall between."""
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(10**6))
    # What happened is different each time; `pytest -rP` shows it.
    print(storm(tmp_path, kills=KILLS, seed=seed, storage=storage))  # noqa: T201


def test_two_resets_in_one_tick(moto: S3Server, bucket: str, tmp_path: Path) -> None:
    """Two resets while one tick runs start two generations, and the next tick is in the later."""
    put(moto, bucket, "a", "b")
    uri = f"s3://{bucket}/in/"
    with open_world(moto, uri, tmp_path, settings=LAUNCH_RESETS_ALONE) as world:
        world.tick()
        with ticking_held(world):
            for _ in range(2):
                run = world.launch("reset_landing")
                assert run.status == DagsterRunStatus.SUCCESS, world.errors_of(run)
        tags = {"dagster/s3inc/reset_sensor": "landing"}
        resets = world.instance.get_runs(dg.RunsFilter(tags=tags))
        assert [run.tags["dagster/s3inc/reset_generation"] for run in resets] == ["3", "2"]
        world.tick()
        world.tick()
        assert world.batches() == [(1, ["in/a", "in/b"]), (3, ["in/a", "in/b"])]


def test_code_server_killed_in_a_tick(
    moto: S3Server, bucket: str, storage: Mapping[str, Any], tmp_path: Path
) -> None:
    """A code server killed while it lists fails the tick; the next one emits everything."""
    put(moto, bucket, "a", "b")
    settings = {**LAUNCH_RESETS_ALONE, **storage}
    with open_world(moto, f"s3://{bucket}/in/", tmp_path, settings=settings) as world:
        world.tick()
        put(moto, bucket, "c")
        before = world.cursor
        with ticking_held(world):
            os.kill(code_server_pid(world.workspace), signal.SIGKILL)
        [tick, *_] = world.ticks()
        assert tick.status == TickStatus.FAILURE
        assert "Unable to reach the user code server" in str(tick.error)
        assert world.cursor == before
        assert world.tick().status == TickStatus.FAILURE
        # The daemon does so by itself once a minute.
        world.workspace.reload_code_location("tests")
        assert world.tick().status == TickStatus.SUCCESS
        assert world.tick().status == TickStatus.SKIPPED
        assert world.emitted() == {"in/a": 1, "in/b": 1, "in/c": 1}


@slow
def test_run_worker_killed_while_it_reads(
    moto: S3Server, bucket: str, storage: Mapping[str, Any], tmp_path: Path
) -> None:
    """A run killed while it reads is not requested again; re-executed, it reads its batch."""
    put(moto, bucket, "a", "b")
    settings = {**LAUNCH_PROCESSES, **storage}
    with open_world(moto, f"s3://{bucket}/in/", tmp_path, settings=settings) as world:
        hold = world.hold.with_name("hold_reading")
        hold.touch()
        try:
            world.tick()
            wait_for(hold.with_suffix(".held").exists)
            [run] = world.instance.get_runs()
            os.kill(worker_pid(world, run), signal.SIGKILL)
            put(moto, bucket, "c")
            killed = finished(world, run.run_id)
        finally:
            hold.unlink()
        assert killed.status == DagsterRunStatus.FAILURE
        world.tick()
        assert world.tick().status == TickStatus.SKIPPED
        assert world.batches() == [(1, ["in/a", "in/b"]), (1, ["in/c"])]

        again = finished(world, world.reexecute(run))
        assert again.status == DagsterRunStatus.SUCCESS
        assert again.run_config == run.run_config
        assert again.tags[GENERATION_TAG] == "1"
        said = [record.user_message for record in world.instance.all_logs(again.run_id)]
        assert "read {'in/a': 1, 'in/b': 1}" in said
        assert world.tick().status == TickStatus.SKIPPED
        assert len(sensor_runs(world)) == 2
        for each in sensor_runs(world):
            finished(world, each.run_id)


@contextmanager
def ticking_held(world: World) -> Iterator[None]:
    """A tick is in the middle of its listing; it has ended afterwards."""
    world.hold.touch()
    ticking = threading.Thread(target=world.tick)
    ticking.start()
    try:
        wait_for(world.hold.with_suffix(".held").exists)
        yield
    finally:
        world.hold.unlink()
        ticking.join(60)


def put(server: S3Server, bucket: str, *names: str) -> None:
    for name in names:
        server.client().put_object(Bucket=bucket, Key=f"in/{name}", Body=name.encode())


def worker_pid(world: World, run: dg.DagsterRun) -> int:
    """The process that executes a run."""
    said = "\n".join(record.message for record in world.instance.all_logs(run.run_id))
    found = re.search(r"Started process for run \(pid: (\d+)\)", said)
    assert found, said
    return int(found.group(1))


def finished(world: World, run_id: str) -> dg.DagsterRun:
    """A run, when it has ended."""

    def current() -> dg.DagsterRun:
        run = world.instance.get_run_by_id(run_id)
        assert run is not None
        return run

    wait_for(lambda: current().is_finished)
    return current()
