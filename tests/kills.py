"""A storm: daemons and code servers are killed while files burst in, and resets fall between.

    python -m tests.kills --kills 200 --storage sqlite
    python -m tests.kills --kills 200 --storage postgres --seed 7

Each daemon has a code server of its own, so that after each kill the index in memory is lost, and
what was emitted is known from the cursor and from the runs. In the end the laws are checked:
nothing is lost, nothing comes twice, nothing is undecided, and the runs add up to the total in the
cursor.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus

from dagster_s3inc.core.cursor_format import decode_checkpoint
from dagster_s3inc.core.late_files import Ledger
from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.runs.ledger import InstanceLedger, LedgerCache
from dagster_s3inc.runs.run_requests import GENERATION_TAG, REPEATS_TAG
from tests.bursts.bucket import Bucket, Version
from tests.bursts.server import Server, running_server
from tests.postgres import postgres_server
from tests.servers import S3Server
from tests.world import LAUNCH_RESETS_ALONE, World, open_world, packed_ref, tick_for_ever

PATIENCE = 600
QUIET_TICKS = 3
MAX_FILES = 50
MAX_BATCHES = 24
PREFIX = "in/"

# A server that has imported Dagster makes daemons in no time, and so the storm denser. It ends
# with this process.
START = multiprocessing.get_context("forkserver")
START.set_forkserver_preload(["tests.world"])


def storm(folder: Path, *, kills: int, seed: int, storage: Mapping[str, Any]) -> str:
    """Lets a storm rage, checks the laws, and returns what happened.

    Args:
        folder: For the deployment.
        kills: How many there are at least; there is a reset for each five of them.
        seed: Of what is left to chance, but for the moments.
        storage: Where Dagster keeps its runs, events and ticks: a part of dagster.yaml.
    """
    settings = {**LAUNCH_RESETS_ALONE, **storage}
    with running_server() as server:
        drop = Drop(server, random.Random(f"{seed} drop"), most=60 * kills)  # noqa: S311
        uri = f"s3://{drop.bucket.name}/{PREFIX}"
        place = S3Server("bursts", server.endpoint_url)
        sizes = {"max_files": MAX_FILES, "max_batches": MAX_BATCHES}
        with open_world(place, uri, folder, settings=settings, **sizes) as world:
            raging = Storm(world, drop, folder, seed)
            raging.rage(kills=kills, resets=max(2, kills // 5))
            raging.settle()
            check_laws(raging)
            assert not server.refused, server.refused
            return raging.describe()


class SharedBucket(Bucket):
    """A bucket that is changed by one thread and listed by another."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.lock = threading.RLock()

    def page(self, prefix: str, after: str, most: int) -> tuple[list[bytes], str | None]:
        with self.lock:
            return super().page(prefix, after, most)

    def folders(
        self, prefix: str, after: str, delimiter: str, most: int
    ) -> tuple[list[bytes], list[str], str | None]:
        with self.lock:
            return super().folders(prefix, after, delimiter, most)


class Drop:
    """What a team does to its bucket: bursts, late files, deletions, versions that come back.

    Attributes:
        showings: How often each version began to be listed.
        done: How often each thing was done.
    """

    def __init__(self, server: Server, dice: random.Random, *, most: int) -> None:
        self.bucket = SharedBucket("storm")
        server.buckets[self.bucket.name] = self.bucket
        self._server, self._dice, self._most = server, dice, most
        self._names: list[str] = []
        self._overwritten: set[str] = set()
        self.showings: Counter[Version] = Counter()
        self.done: Counter[str] = Counter()
        self._weights: dict[Callable[[], Iterable[float]], int] = {
            self.new: 24,
            self.overwrite: 8,
            self.roll_back: 6,
            self.late: 6,
            self.multipart: 3,
            self.one_second: 3,
            self.delete: 6,
            self.expire: 1,
        }

    def act(self) -> None:
        """Does one thing, which may take a while."""
        [act] = self._dice.choices(list(self._weights), weights=list(self._weights.values()))
        adds = act in (self.new, self.late, self.multipart, self.one_second)
        if len(self._names) > self._most if adds else len(self._names) < 20:
            return
        for pause in act():
            time.sleep(pause)
        self.done[act.__name__] += 1

    def tell_the_time(self) -> None:
        self._server.now = datetime.now(timezone.utc)

    def new(self) -> Iterator[float]:
        """A few files of now."""
        yield self._put(self._new_names(self._dice.randint(1, 10)))

    def one_second(self) -> Iterator[float]:
        """Very many files of the same second; ticks fall in the middle of it."""
        second = datetime.now(timezone.utc)
        for _ in range(4):
            yield self._put(self._new_names(self._dice.randint(100, 400)), lambda: second)

    def multipart(self) -> Iterator[float]:
        """Uploads that began in the last ten minutes are completed in waves."""
        began = datetime.now(timezone.utc)
        for _ in range(3):
            names = self._new_names(self._dice.randint(50, 200))
            yield self._put(names, lambda: began - timedelta(seconds=self._dice.uniform(0, 600)))

    def late(self) -> Iterator[float]:
        """Files with times hours to weeks ago, sometimes more than the digest tells apart."""
        names = self._new_names(self._dice.choice([1, 5, 50, 500]))
        now = datetime.now(timezone.utc)
        yield self._put(names, lambda: now - timedelta(hours=self._dice.uniform(2, 500)))

    def overwrite(self) -> Iterator[float]:
        names = self._some(self._dice.randint(1, 30))
        self._overwritten.update(names)
        yield self._put(names)

    def roll_back(self) -> Iterator[float]:
        """The newest versions are deleted, so that those before them show again."""
        names = sorted(self._overwritten)[: self._dice.randint(1, 50)]
        with self.bucket.lock:
            self.bucket.roll_back(PREFIX + name for name in names)
            for name in names:
                self._shown(PREFIX + name)
        self._overwritten.difference_update(names)
        yield self._dice.uniform(0, 0.5)

    def delete(self) -> Iterator[float]:
        yield self._remove(self._some(self._dice.randint(1, 20)))

    def expire(self) -> Iterator[float]:
        """A lifecycle rule deletes the oldest third."""
        with self.bucket.lock:
            oldest = self.bucket.oldest(len(self._names) // 3)
        yield self._remove([key.removeprefix(PREFIX) for key in oldest])

    def listed(self) -> set[Version]:
        """Every version that is listed now."""
        found = (self.bucket.current(PREFIX + name) for name in self._names)
        return {version for version in found if version is not None}

    def _some(self, count: int) -> list[str]:
        return self._dice.sample(self._names, min(count, len(self._names)))

    def _new_names(self, count: int) -> list[str]:
        names = [f"{self._dice.randrange(16**8):08x}" for _ in range(count)]
        names = list(dict.fromkeys(name for name in names if name not in self._names))
        self._names += names
        return names

    def _put(self, names: list[str], moment: Callable[[], datetime] | None = None) -> float:
        with self.bucket.lock:
            self.tell_the_time()
            for name in names:
                modified = self._server.now if moment is None else moment()
                text = modified.replace(tzinfo=None, microsecond=0).isoformat()
                self.bucket.put(PREFIX + name, text)
                self._shown(PREFIX + name)
        return self._dice.uniform(0, 0.5)

    def _remove(self, names: list[str]) -> float:
        gone = set(names)
        with self.bucket.lock:
            self.bucket.remove(PREFIX + name for name in names)
        self._names = [name for name in self._names if name not in gone]
        self._overwritten -= gone
        return self._dice.uniform(0, 0.5)

    def _shown(self, key: str) -> None:
        version = self.bucket.current(key)
        assert version is not None
        self.showings[version] += 1


@dataclass
class Storm:
    """Daemons that are started and killed while files are dropped and resets are launched."""

    world: World
    drop: Drop
    folder: Path
    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    resets: list[tuple[float, str, int]] = field(default_factory=list)
    problems: list[BaseException] = field(default_factory=list)

    def rage(self, *, kills: int, resets: int) -> None:
        """Goes on until there were so many of each."""

        def reset() -> None:
            if len(self.resets) * kills <= self.kills.total() * resets:
                self.reset("matching" if len(self.resets) % 3 == 1 else "everything")

        dice = random.Random(f"{self.seed} kill")  # noqa: S311
        over = threading.Event()
        with (
            repeating(over, self.problems, self.drop.tell_the_time, lambda: 0.1),
            repeating(over, self.problems, self.drop.act, partial(dice.uniform, 0, 0.4)),
            repeating(over, self.problems, reset, lambda: 1),
        ):
            try:
                while self.kills.total() < kills or len(self.resets) < resets:
                    assert not self.problems, f"{self.problems}: {self.describe()}"
                    self.live_and_die(dice)
            finally:
                over.set()
        assert not self.problems, f"{self.problems}: {self.describe()}"

    def live_and_die(self, dice: random.Random) -> None:
        """One daemon, from its start to its end."""
        with self.daemon() as (process, ready):
            wait_for(lambda: ready.exists() and ready.read_text() != "")
            # So many more ticks come to an end, however slow the machine; then a random moment.
            enough = self.ended() + dice.choice([0, 0, 1, 2, 4])
            wait_for(lambda: self.ended() >= enough)
            time.sleep(dice.uniform(0, 1))
            if dice.random() < 0.3:
                os.kill(int(ready.read_text()), signal.SIGKILL)
                self.kills["code server"] += 1
                time.sleep(dice.uniform(0, 0.7))
            assert process.exitcode is None, f"the daemon gave up by itself: {self.describe()}"
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
        return "requesting runs" if reserved else "scanning"

    def reset(self, what: str) -> None:
        fields = {"what": what, **({"include": ["[0-3]*"]} if what == "matching" else {})}
        config = {"ops": {"reset_landing_checkpoint": {"config": fields}}}
        run = self.world.launch("reset_landing", config)
        assert isinstance(run, dg.DagsterRun), run
        errors = self.world.errors_of(run)
        if what == "matching" and "is not known" in errors:
            # The sensor has no cursor yet.
            return
        assert run.status == DagsterRunStatus.SUCCESS, errors
        generation = int(run.tags["dagster/s3inc/reset_generation"])
        self.resets.append((time.time(), what, generation))

    def settle(self) -> None:
        """Lets a last daemon live until it has nothing to do any more."""
        over = threading.Event()
        with (
            repeating(over, self.problems, self.drop.tell_the_time, lambda: 0.1),
            self.daemon(),
        ):
            wait_for(self.is_quiet, patience=10 * PATIENCE)
            over.set()

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
        """The sensor's ticks, newest first; none before the first daemon evaluated it."""
        return self.world.ticks() if self.world.states() else []

    def describe(self) -> str:
        """What happened, also for the message of a law that was broken."""
        ticks = Counter(tick.status.value for tick in self.ticks())
        return (
            f"seed {self.seed}: ticks {dict(ticks)}, {self.kills.total()} kills "
            f"{dict(self.kills)}, resets {[(what, number) for _, what, number in self.resets]}, "
            f"{len(self.drop.listed()):,} files of {len(self.drop.showings):,} versions after "
            f"{dict(self.drop.done)}, {len(sensor_runs(self.world)):,} runs"
        )


def check_laws(storm: Storm) -> None:
    """Nothing lost, nothing twice, nothing undecided; each reset is honoured once."""
    world, text = storm.world, storm.describe()
    runs = sensor_runs(world)
    emitted: dict[int, Counter[Version]] = defaultdict(Counter)
    repeated: set[Version] = set()
    for run in runs:
        generation = int(run.tags[GENERATION_TAG])
        for file in run.run_config["resources"]["batch"]["config"]["files"]:
            version = Version(file["key"], file["last_modified"].rstrip("Z"), file["etag"])
            if REPEATS_TAG in run.tags:
                repeated.add(version)
            else:
                emitted[generation][version] += 1

    for generation, versions in sorted(emitted.items()):
        twice = [each for each, times in versions.items() if times > storm.drop.showings[each]]
        assert not twice, f"twice in generation {generation}: {twice[:9]}; {text}"
    last = max(emitted)
    lost = sorted(storm.drop.listed() - emitted[last].keys())
    assert not lost, f"{len(lost)} never in generation {last}: {lost[:9]}; {text}"
    every = set(itertools.chain.from_iterable(emitted.values()))
    assert every <= storm.drop.showings.keys(), f"emitted, but never put: {text}"
    assert repeated <= every, f"emitted again, but never emitted: {text}"

    checkpoint = decode_checkpoint(world.cursor or "")
    assert checkpoint.undecided == 0, text
    assert len(world.cursor or "") <= 32 * 1024, text
    [state] = world.states()
    address = SensorAddress("landing", state.selector_id, "__repository__@tests")
    ledger = InstanceLedger(world.instance, address, LedgerCache(), time_budget=timedelta(hours=1))
    found = ledger(checkpoint.generation, checkpoint.sequence)
    assert isinstance(found, Ledger)
    assert found.total == checkpoint.total, f"{found.total} is not {checkpoint.total}: {text}"

    begun = [number for _, what, number in storm.resets if what == "everything"]
    rising = [1, *begun]
    assert all(a < b for a, b in itertools.pairwise(rising)), f"{rising}: {text}"
    assert emitted.keys() <= set(rising), f"nobody asked for {sorted(emitted)}: {text}"
    assert checkpoint.generation == rising[-1], text
    # A tick that began after a reset had ended is in that reset's generation, or in a later one.
    began = first_reserved(storm.ticks())
    for run in runs:
        before = [number for ended, _, number in storm.resets if ended < began[run.run_id]]
        generation = int(run.tags[GENERATION_TAG])
        assert generation >= max(before, default=1), f"{run.run_id} honours no reset: {text}"


def sensor_runs(world: World) -> list[dg.DagsterRun]:
    """The runs that the sensor requested, launched or not; no re-executions."""
    runs = world.instance.get_runs(dg.RunsFilter(job_name="ingest"))
    return [run for run in runs if run.parent_run_id is None]


def first_reserved(ticks: list[InstigatorTick]) -> dict[str, float]:
    """When the tick began that decided on each run; a failed tick's are taken over by the next."""
    began: dict[str, float] = {}
    for tick in reversed(ticks):
        for run_id in tick.tick_data.reserved_run_ids or ():
            began.setdefault(run_id, tick.timestamp)
    return began


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


def wait_for(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--storage", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        storage: Mapping[str, Any] = {}
        if options.storage == "postgres":
            (folder / "postgres").mkdir()
            storage = stack.enter_context(postgres_server(folder / "postgres")).new_storage()
        (folder / "home").mkdir()
        text = storm(folder / "home", kills=options.kills, seed=options.seed, storage=storage)
        print(f"Nothing lost, nothing twice. {text}")  # noqa: T201 # a program for the terminal


if __name__ == "__main__":
    main()
