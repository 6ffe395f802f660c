"""What happens in a bucket, tick by tick: the bursts that a sensor has to get over.

A scenario is a generator. It changes its stage's bucket and moves its clock; at each `yield`
something ticks: once for `TICK`, or until nothing more is requested for `DRAIN`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum, auto

from tests.bursts.bucket import Bucket
from tests.bursts.server import Server

START = datetime(2026, 11, 22, 9, tzinfo=timezone.utc)
INTERVAL = timedelta(seconds=30)
PREFIX = "landing/"

# Parts of keys that a listing does not write as they are.
_ODD = ("", "", "", "", "dt=2026-11-22 ", "ü+&amp;", "a%2Fb~")


class Wait(Enum):
    """What happens at a `yield`."""

    TICK = auto()
    DRAIN = auto()


TICK, DRAIN = Wait.TICK, Wait.DRAIN


class Stage:
    """A bucket, the server's clock, and the files that are put there."""

    def __init__(self, server: Server, bucket: Bucket, seed: str) -> None:
        self._server = server
        server.now = START
        self.bucket = bucket
        self.random = random.Random(seed)  # noqa: S311 # the same each time

    @property
    def now(self) -> datetime:
        return self._server.now

    def pass_time(self, time: timedelta = INTERVAL) -> None:
        self._server.now += time

    def new_keys(self, count: int) -> list[str]:
        """Keys that lie anywhere in the listing, each in one of sixteen folders."""
        numbers = self.random
        return [
            f"{PREFIX}{numbers.randrange(16):x}/{numbers.choice(_ODD)}{numbers.getrandbits(64):016x}"
            for _ in range(count)
        ]

    def put(self, count: int, *, since: timedelta, until: timedelta = timedelta(0)) -> list[str]:
        """Puts new files with times from `since` to `until` before now."""
        keys = self.new_keys(count)
        most, least = int(since.total_seconds()), int(until.total_seconds())
        for key in keys:
            self.overwrite(key, timedelta(seconds=self.random.randint(least, most)))
        return keys

    def overwrite(self, key: str, ago: timedelta = timedelta(0)) -> None:
        """Puts a version whose time is so long before now."""
        modified = (self.now - ago).replace(tzinfo=None, microsecond=0)
        self.bucket.put(key, modified.isoformat())


Script = Callable[[Stage, int], Iterator[Wait]]


@dataclass(frozen=True)
class Scenario:
    """One row of the table.

    Attributes:
        name: As it is asked for.
        title: What happens.
        files: How many files come, at full scale.
        script: Makes it happen, with so many files.
        overflows: Whether more changes below the watermark from one scan to the next than the
            processor's digest tells apart.
    """

    name: str
    title: str
    files: int
    script: Script
    overflows: bool = False


def _history(stage: Stage, files: int = 200) -> Iterator[Wait]:
    """Files of the last two days, which are done when the burst comes."""
    stage.put(files, since=timedelta(days=2), until=timedelta(minutes=61))
    for _ in range(2):
        yield TICK
        stage.pass_time()


def one_second(stage: Stage, files: int) -> Iterator[Wait]:
    """All files have the same second; six ticks fall in the middle of it."""
    yield from _history(stage)
    for wave in range(6):
        stage.put(files // 6 + (wave < files % 6), since=timedelta(0))
        yield TICK


def multipart(stage: Stage, files: int) -> Iterator[Wait]:
    """Uploads that began in the last ten minutes are completed in four waves."""
    yield from _history(stage)
    began = stage.now
    for wave in range(4):
        ago = stage.now - began
        stage.put((files + wave) // 4, since=ago + timedelta(minutes=10), until=ago)
        yield TICK
        stage.pass_time()


def steady(stage: Stage, files: int) -> Iterator[Wait]:
    """Files come all the time for ten minutes; each tick falls in the middle of a second."""
    ticks = timedelta(minutes=10) // INTERVAL
    each = files // ticks
    last = timedelta(0)
    for _ in range(ticks):
        stage.pass_time()
        in_second = each // 60
        stage.put(each - in_second, since=INTERVAL - timedelta(seconds=1), until=last)
        yield TICK
        # The rest of the second that the tick has fallen into.
        stage.put(in_second, since=last)


def late(stage: Stage, files: int) -> Iterator[Wait]:
    """Files appear hours to weeks after their times: a few a tick, then very many."""
    yield from _history(stage)
    few = files * 300 // 53_000
    for count in [few] * 10 + [(files - 10 * few) // 10] * 10:
        stage.put(count, since=timedelta(days=30), until=timedelta(hours=2))
        yield TICK
        stage.pass_time()


def replicas(stage: Stage, files: int) -> Iterator[Wait]:
    """A replication rule copies what is a year old, all at once."""
    yield from _history(stage)
    stage.put(files, since=timedelta(days=380), until=timedelta(days=350))
    yield TICK


def half_deleted(stage: Stage, files: int) -> Iterator[Wait]:
    """A lifecycle rule deletes the older half, in five steps, while new files come."""
    new = files // 100
    stage.put(files - 5 * new, since=timedelta(days=60), until=timedelta(hours=2))
    yield DRAIN
    for _ in range(5):
        stage.bucket.remove(stage.bucket.oldest(files // 10))
        stage.put(new, since=INTERVAL)
        yield TICK
        stage.pass_time()


def future(stage: Stage, files: int) -> Iterator[Wait]:
    """Clocks are wrong: a third of the files is dated up to 20 years ahead, then present ones."""
    yield from _history(stage)
    for _ in range(3):
        stage.put(files // 9, since=timedelta(0), until=-timedelta(days=7300))
        yield TICK
        stage.pass_time()
    for _ in range(3):
        stage.put(files * 2 // 9, since=INTERVAL)
        yield TICK
        stage.pass_time()


def rolled_back(stage: Stage, files: int) -> Iterator[Wait]:
    """Bad versions are deleted, so that those before them show again, twice.

    First each new version is followed by a return to the first one, while all of them are younger
    than the lookback. Then two new versions come and two returns, when the first is older.
    """
    keys = stage.put(files, since=timedelta(minutes=10))
    yield TICK
    for steps in ("+-+-", "++--"):
        for step in steps:
            if step == "-":
                stage.bucket.roll_back(keys)
            else:
                for key in keys:
                    stage.overwrite(key)
            # What is found below the watermark by one tick is emitted by the next.
            for _ in range(2):
                yield TICK
                stage.pass_time()
        stage.pass_time(timedelta(hours=2))
        yield DRAIN


SCENARIOS = {
    each.name: each
    for each in (
        Scenario("second-3000", "PUTs of one second, ticks in between", 3_000, one_second),
        Scenario("second-10000", "PUTs of one second, ticks in between", 10_000, one_second),
        Scenario("second-100000", "PUTs of one second, ticks in between", 100_000, one_second),
        Scenario("multipart-5000", "multipart commits in four waves", 5_000, multipart),
        Scenario("multipart-20000", "multipart commits in four waves", 20_000, multipart),
        Scenario("steady-300000", "500 files a second for ten minutes", 300_000, steady),
        Scenario("late-53000", "300, then 5,000 late files a tick", 53_000, late, overflows=True),
        Scenario("replicas-100000", "replicas a year old at once", 100_000, replicas, True),
        Scenario("deleted-100000", "half deleted while new come", 100_000, half_deleted, True),
        Scenario("future-4500", "dated up to 20 years ahead", 4_500, future),
        Scenario("rolled-back-100", "rolled back, twice", 100, rolled_back),
    )
}
