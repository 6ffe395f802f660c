"""SIGKILL for the daemon, the code server and the run worker: nothing lost, nothing twice."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import random
import re
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from moto.s3.models import s3_backends

from dagster_s3inc.batch import GENERATION_TAG
from dagster_s3inc.core.codec import decode_checkpoint
from tests.postgres import PostgresServer, postgres_server
from tests.servers import S3Server
from tests.world import (
    LAUNCH_PROCESSES,
    LAUNCH_RESETS_ALONE,
    World,
    code_server_pid,
    open_world,
    packed_ref,
    tick_for_ever,
)

# How long a storm goes on: at least so many ticks and kills, so many resets; and how many files
# there may be, each of which takes its share of a run in each generation.
SHORT = (8, 3, 2, 40)
LONG = (24, 12, 6, 100)

PATIENCE = 120
QUIET_TICKS = 3

slow = pytest.mark.slow

Version = tuple[str, str]


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
@pytest.mark.parametrize("extent", [SHORT, LONG], ids=["short", "long"])
def test_killed_at_random_moments(
    moto: S3Server, bucket: str, storage: Mapping[str, Any], tmp_path: Path, extent: Any
) -> None:
    """Daemons and code servers die at random, resets fall between: each file once a generation."""
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(10**6))
    uri = f"s3://{bucket}/in/"
    settings = {**LAUNCH_RESETS_ALONE, **storage}
    with open_world(moto, uri, tmp_path, max_files=4, max_batches=8, settings=settings) as world:
        storm = Storm(world, Drop(moto, bucket, dice_for(seed, "drop")), tmp_path, seed)
        storm.rage(*extent)
        storm.settle()
        told = storm.told()
        print(told)  # noqa: T201 # what happened is different each time; `pytest -rP` shows it
        check_laws(world, storm, told)


def test_two_resets_in_one_tick(moto: S3Server, bucket: str, tmp_path: Path) -> None:
    """Two resets while one tick runs start two generations, and the next tick is in the later."""
    put(moto, bucket, "a", "b")
    uri = f"s3://{bucket}/in/"
    with open_world(moto, uri, tmp_path, settings=LAUNCH_RESETS_ALONE) as world:
        world.tick()
        with ticking_held(world):
            world.launch("reset_landing")
            world.launch("reset_landing")
        assert [generation for _, generation in reset_markers(world)] == [2, 3]
        world.tick()
        world.tick()
        assert world.batches() == [(1, ["in/a", "in/b"]), (3, ["in/a", "in/b"])]


def test_code_server_killed_in_a_tick(
    moto: S3Server, bucket: str, storage: Mapping[str, Any], tmp_path: Path
) -> None:
    """A code server killed while it lists fails the tick; the next one hands over everything."""
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
        assert world.handed_over() == {"in/a": 1, "in/b": 1, "in/c": 1}


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


def check_laws(world: World, storm: Storm, told: str) -> None:
    requested: dict[int, Counter[Version]] = defaultdict(Counter)
    for run in sensor_runs(world):
        for file in run.run_config["resources"]["batch"]["config"]["files"]:
            requested[int(run.tags[GENERATION_TAG])][file["key"], file["etag"]] += 1

    for generation, versions in sorted(requested.items()):
        twice = {version: times for version, times in versions.items() if times > 1}
        assert not twice, f"twice in generation {generation}: {twice}; {told}"

    last = max(requested)
    existing = storm.drop.versions()
    lost = sorted(existing - requested[last].keys())
    assert not lost, f"never in generation {last}: {lost}; {told}"
    unheard = {version for versions in requested.values() for version in versions}
    assert unheard <= storm.drop.ever, f"handed over but never put: {told}"

    markers = reset_markers(world)
    numbers = [generation for _, generation in markers]
    assert len(numbers) == len(storm.resets), f"{numbers}: {told}"
    rising = [1, *numbers]
    assert all(a < b for a, b in itertools.pairwise(rising)), f"{numbers}: {told}"
    assert requested.keys() <= set(rising), f"nobody asked for {sorted(requested)}: {told}"

    checkpoint = decode_checkpoint(world.cursor or "")
    assert (checkpoint.reset_seen, checkpoint.generation) == markers[-1], told
    # A tick that began after a reset had ended is in that reset's generation, or in a later one.
    began = first_reserved(storm.ticks())
    for run in sensor_runs(world):
        generation = int(run.tags[GENERATION_TAG])
        before = [n for ended, n in storm.resets if ended < began[run.run_id]]
        assert generation >= max(before, default=1), f"{run.run_id} honours no reset: {told}"


class Drop:
    """What a team does to its bucket: new, overwritten, late and deleted files."""

    def __init__(self, server: S3Server, bucket: str, dice: random.Random) -> None:
        self.client = server.client()
        self.bucket = bucket
        self.dice = dice
        self.names: list[str] = []
        self.ever: set[Version] = set()
        self.done: Counter[str] = Counter()

    def act(self, most: int) -> None:
        """One change; there are never more than so many files."""
        weights = {self.new: 12, self.late: 4, self.overwrite: 3, self.delete: 1}
        [act] = self.dice.choices(list(weights), weights=list(weights.values()))
        adds = act in (self.new, self.late)
        if (adds and len(self.names) < most) or (not adds and len(self.names) > most / 4):
            act()
            self.done[act.__name__] += 1

    def new(self) -> None:
        name = self._new_name()
        self._put(f"in/{name}")
        self.names.append(name)

    def late(self) -> None:
        """A multipart upload that ends now: it carries the time at which it began."""
        name = self._new_name()
        self._put(f"in/{name}", age=self.dice.choice([timedelta(minutes=30), timedelta(days=3)]))
        self.names.append(name)

    def overwrite(self) -> None:
        self._put(f"in/{self.dice.choice(self.names)}")

    def delete(self) -> None:
        name = self.names.pop(self.dice.randrange(len(self.names)))
        self.client.delete_object(Bucket=self.bucket, Key=f"in/{name}")

    def versions(self) -> set[Version]:
        """Key and ETag of every object that exists."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix="in/"
        )
        return {
            (entry["Key"], entry["ETag"].strip('"'))
            for page in pages
            for entry in page.get("Contents", [])
        }

    def _new_name(self) -> str:
        return f"{self.dice.randrange(16**6):06x}-{len(self.ever):04}"

    def _put(self, key: str, age: timedelta | None = None) -> None:
        body = f"{key} {len(self.ever)}".encode()
        place = key if age is None else f"uploading/{key}"
        answer = self.client.put_object(Bucket=self.bucket, Key=place, Body=body)
        self.ever.add((key, answer["ETag"].strip('"')))
        if age is not None:
            self._appear(place, key, datetime.now(timezone.utc) - age)

    def _appear(self, place: str, key: str, moment: datetime) -> None:
        # In one step, as a multipart upload appears; moto itself cannot give it an earlier time.
        [account] = [each for each in s3_backends.values() if self.bucket in each["aws"].buckets]
        keys = account["aws"].buckets[self.bucket].keys
        upload = keys[place]
        del keys[place]
        upload.name = key
        upload.last_modified = moment.replace(tzinfo=None)
        keys[key] = upload


@dataclass
class Storm:
    """Daemons that are started and killed while files are dropped and resets are launched."""

    world: World
    drop: Drop
    folder: Path
    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    resets: list[tuple[float, int]] = field(default_factory=list)
    problems: list[BaseException] = field(default_factory=list)

    def rage(self, ticks: int, kills: int, resets: int, files: int) -> None:
        """Goes on until there were so many of each."""

        def drop() -> None:
            self.drop.act(files)

        def reset() -> None:
            if len(self.resets) < resets:
                self.reset()

        dice = dice_for(self.seed, "kill")
        over = threading.Event()
        reset_dice = dice_for(self.seed, "reset")
        with (
            repeating(over, self.problems, drop, partial(self.drop.dice.uniform, 0, 0.3)),
            repeating(over, self.problems, reset, partial(reset_dice.uniform, 1, 5)),
        ):
            try:
                deadline = time.monotonic() + PATIENCE * 3
                while (
                    self.ended() < ticks or self.kills.total() < kills or len(self.resets) < resets
                ):
                    assert time.monotonic() < deadline, self.told()
                    self.live_and_die(dice)
            finally:
                over.set()
        assert not self.problems, f"{self.problems}: {self.told()}"

    def live_and_die(self, dice: random.Random) -> None:
        """One daemon, from its start to its end."""
        with self.daemon() as (process, ready):
            wait_for(lambda: ready.exists() and ready.read_text() != "")
            # So many more ticks come to an end, however slow the machine; then a random moment.
            enough = self.ended() + dice.randrange(5)
            wait_for(lambda: self.ended() >= enough)
            time.sleep(dice.uniform(0, 1))
            if dice.random() < 0.3:
                os.kill(int(ready.read_text()), signal.SIGKILL)
                self.kills["code server"] += 1
                time.sleep(dice.uniform(0, 0.7))
            assert process.exitcode is None, f"the daemon gave up by itself: {self.told()}"
            process.kill()
            process.join()
            self.kills[f"daemon, {self.interrupted()}"] += 1

    def ended(self) -> int:
        """How many ticks have come to an end."""
        return sum(tick.status != TickStatus.STARTED for tick in self.ticks())

    def interrupted(self) -> str:
        """What the newest tick was about when its daemon was killed."""
        newest = next(iter(self.ticks()), None)
        if newest is None or newest.status != TickStatus.STARTED:
            return "between ticks"
        reserved = newest.unsubmitted_run_ids_with_requests
        return "requesting runs" if reserved else "looking"

    def reset(self) -> None:
        run = self.world.launch("reset_landing")
        assert run.status == DagsterRunStatus.SUCCESS, self.world.errors_of(run)
        self.resets.append((time.time(), int(run.tags["dagster_s3inc/reset_generation"])))

    def settle(self) -> None:
        """Lets a last daemon live until it has nothing to do any more."""
        with self.daemon():
            wait_for(self.is_quiet)

    def is_quiet(self) -> bool:
        newest = self.ticks()[:QUIET_TICKS]
        return len(newest) == QUIET_TICKS and all(
            tick.status == TickStatus.SKIPPED and "Nothing new" in (tick.skip_reason or "")
            for tick in newest
        )

    @contextmanager
    def daemon(self) -> Iterator[tuple[Any, Path]]:
        """A daemon with a code server of its own; nothing of it is left in the end."""
        ready = self.folder / f"ready-{self.kills.total()}-{time.monotonic_ns()}"
        arguments = (packed_ref(self.world.instance), dict(os.environ), ready)
        process = START.Process(target=tick_for_ever, args=arguments)
        process.start()
        try:
            yield process, ready
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.join()

    def ticks(self) -> list[InstigatorTick]:
        """The sensor's ticks, newest first; none before the first daemon looked."""
        states = self.world.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        if "landing" not in {state.instigator_name for state in states}:
            return []
        return self.world.ticks()

    def told(self) -> str:
        """What happened, for the message of a law that was broken."""
        ticks = Counter(tick.status.value for tick in self.ticks())
        return (
            f"TEST_SEED={self.seed}: ticks {dict(ticks)}, kills {dict(self.kills)}, "
            f"{len(self.resets)} resets to {[generation for _, generation in self.resets]}, "
            f"{len(self.drop.names)} files after {dict(self.drop.done)}, "
            f"{len(sensor_runs(self.world))} runs"
        )


# A server that has imported Dagster makes daemons in no time, and so the storm denser. It ends
# with this process.
START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["tests.world"])


def dice_for(seed: int, purpose: str) -> random.Random:
    return random.Random(f"{seed} {purpose}")  # noqa: S311 # nothing secret about it


@contextmanager
def repeating(
    over: threading.Event,
    problems: list[BaseException],
    action: Callable[[], None],
    pause: Callable[[], float],
) -> Iterator[None]:
    """Repeats something in a thread, with pauses, until it is over."""

    def repeat() -> None:
        try:
            while not over.wait(pause()):
                action()
        except BaseException as problem:  # noqa: BLE001 # the test's thread raises it
            problems.append(problem)

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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


def sensor_runs(world: World) -> list[dg.DagsterRun]:
    """The runs that the sensor requested, launched or not; no re-executions."""
    runs = world.instance.get_runs(dg.RunsFilter(job_name="ingest"))
    return [run for run in runs if run.parent_run_id is None]


def reset_markers(world: World) -> list[tuple[str, int]]:
    """When each reset was asked for, and its generation, oldest first."""
    runs = world.instance.get_runs(dg.RunsFilter(tags={"dagster_s3inc/reset_sensor": "landing"}))
    return sorted(
        (run.tags["dagster_s3inc/reset_at"], int(run.tags["dagster_s3inc/reset_generation"]))
        for run in runs
    )


def first_reserved(ticks: list[InstigatorTick]) -> dict[str, float]:
    """When the tick began that decided on each run; a failed tick's are taken over by the next."""
    began: dict[str, float] = {}
    for tick in reversed(ticks):
        for run_id in tick.tick_data.reserved_run_ids or ():
            began.setdefault(run_id, tick.timestamp)
    return began


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


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
