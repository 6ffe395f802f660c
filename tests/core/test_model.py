"""The core against a model: a bucket that is a dict, and a set of what was handed over.

The machine writes, overwrites, deletes and moves objects, lets time pass, and scans with random
limits. Every scan starts from the checkpoint's serialized form, as after a restart; some are lost
(a crash before the commit); now and then everything starts over. The model knows before each scan,
to the object, what it has to find; what appears at or below the floor, it expects one scan later.

The methods under "The engine" are all that it knows of what it drives; other tests put the sensor
and the processor there.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dagster_s3inc.core.batching import Batch, BatchPolicy
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.scan import scan
from dagster_s3inc.core.statistics import ScanStatistics
from tests.core.making import HOUR, RANDOMS, START, in_pages

KEYS = [f"{name}.csv" for name in ("B", "a", "a/b", "c", "é/c", "😀")] + ["c.csv.tmp"]
SEVERAL = st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True)

# In seconds; the lookback is an hour.
AGES = st.sampled_from([0, 0, 1, 60, 1800, 3000, 7200, 9 * 86_400])
PAUSES = st.sampled_from([1, 60, 1800, 3599, 3600, 3601, 3 * 86_400])

FILTERS = [
    ObjectFilter(include="**/*.csv"),
    ObjectFilter(include="**/*.csv", storage_classes="STANDARD_IA"),
    ObjectFilter(exclude="a/**", max_size=7),
]

LIMITS = st.builds(
    ScanLimits,
    policy=st.builds(
        BatchPolicy,
        max_files=st.sampled_from([1, 1, 2, 3]),
        max_bytes=st.none() | st.integers(1, 12),
    ),
    max_batches=st.sampled_from([1, 1, 2, 3]),
    lookback=st.just(HOUR),
)

Version = tuple[str, datetime, str]


def version(entry: S3Object) -> Version:
    """What makes an object the same as another, in the model's own words."""
    return entry.key, entry.last_modified, entry.etag


ALL = ScanLimits(lookback=HOUR)
"""More than all keys."""


class Found(NamedTuple):
    """What a tick came to, not committed yet; an engine may not tell its statistics."""

    batches: tuple[Batch, ...]
    checkpoint: Checkpoint
    statistics: ScanStatistics | None = None

    @property
    def objects(self) -> list[S3Object]:
        """Everything in the batches, in order."""
        return [entry for batch in self.batches for entry in batch.objects]


class CoreMachine(RuleBasedStateMachine):
    """Drives `scan` and checks every result against what the model expects."""

    @initialize(recent_limit=st.sampled_from([1, 3, 1200, 1200]))
    def begin(self, recent_limit: int) -> None:
        """An empty bucket and the first checkpoint."""
        self.recent_limit = recent_limit
        self.etags = count()
        self.clock = START
        self.bucket: dict[str, S3Object] = {}
        self.filter = FILTERS[0]
        self.start()
        self.forget()

    def forget(self) -> None:
        """Nothing has been handed over (yet, or in this generation)."""
        self.handed: set[Version] = set()
        self.places: set[Position] = set()
        # What the last scan found at or below the floor, for the next to hand over.
        self.late: set[Version] = set()
        # What was at or below the floor when the filter changed, and counts as handed over.
        self.passed: set[Version] = set()
        self.scanned_with: ObjectFilter | None = None

    # The engine: the real one under test, here `scan` itself.

    def start(self) -> None:
        """Nothing is stored yet."""
        self.stored = encode_checkpoint(Checkpoint())

    def put(self, entry: S3Object) -> None:
        """Makes an object visible."""
        self.bucket[entry.key] = entry

    def remove(self, entry: S3Object) -> None:
        """Makes an object go away."""
        del self.bucket[entry.key]

    @property
    def checkpoint(self) -> Checkpoint:
        """What the next tick starts from, always read from what is stored."""
        return decode_checkpoint(self.stored)

    def possible(self, limits: ScanLimits) -> ScanLimits:
        """The limits, as far as they can be set."""
        return replace(limits, recent_limit=self.recent_limit)

    def look(self, limits: ScanLimits, random: Random) -> Found:
        """A tick that stores nothing."""
        result = scan(
            self.checkpoint,
            in_pages(list(self.bucket.values()), random),
            now=self.clock,
            selection=self.filter.selection(""),
            limits=limits,
        )
        return Found(result.batches, result.checkpoint, result.statistics)

    def commit(self, found: Found) -> None:
        """Stores what the tick came to."""
        self.stored = encode_checkpoint(found.checkpoint)

    def restart(self) -> None:
        """Starts a later generation."""
        self.stored = encode_checkpoint(self.checkpoint.restarted())

    # What happens to the bucket.

    @rule(keys=SEVERAL, age=AGES, size=st.integers(0, 9))
    def write(self, keys: list[str], age: int, size: int) -> None:
        """Objects of one second become visible, new or overwritten, some of them late."""
        for key in keys:
            modified = self.clock - timedelta(seconds=age)
            self.put(S3Object(modified, key, f"e{next(self.etags)}", size))

    @rule(keys=SEVERAL, age=AGES)
    def write_during_an_outage(self, keys: list[str], age: int) -> None:
        """Objects come while the sensor stands still for hours."""
        self.write(keys, age, 1)
        self.wait(7200)

    @precondition(lambda self: self.bucket)
    @rule(index=st.integers(0, 99), same_bytes=st.booleans())
    def overwrite(self, index: int, same_bytes: bool) -> None:
        """An object is written again, maybe in the same second, maybe with the same bytes."""
        old = self.pick(index)
        etag = old.etag if same_bytes else f"e{next(self.etags)}"
        self.put(S3Object(self.clock, old.key, etag, old.size))

    @precondition(lambda self: self.bucket)
    @rule(index=st.integers(0, 99))
    def delete(self, index: int) -> None:
        """An object is deleted, whether it was handed over or not."""
        self.remove(self.pick(index))

    @precondition(lambda self: self.bucket)
    @rule(index=st.integers(0, 99), storage_class=st.sampled_from(["STANDARD_IA", "GLACIER"]))
    def move(self, index: int, storage_class: str) -> None:
        """A lifecycle rule moves an object to a colder class; nothing comes back by itself."""
        old = self.pick(index)
        if old.storage_class != "GLACIER":
            self.put(old._replace(storage_class=storage_class))

    @rule(chosen=st.sampled_from(FILTERS))
    def change_filter(self, chosen: ObjectFilter) -> None:
        """The sensor is deployed with another filter."""
        self.filter = chosen

    @rule(seconds=PAUSES)
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.clock += timedelta(seconds=seconds)

    def pick(self, index: int) -> S3Object:
        """One of the objects that are there."""
        return self.bucket[sorted(self.bucket)[index % len(self.bucket)]]

    # What happens to the sensor.

    @rule(limits=LIMITS, random=RANDOMS, committed=st.sampled_from([True, True, False]))
    def tick(self, limits: ScanLimits, random: Random, committed: bool) -> None:
        """A look; without the commit, its checkpoint is lost."""
        limits = self.possible(limits)
        floor, passed = self.checkpoint.floor, self.passed | self.passed_by_change()
        found = self.look(limits, random)
        self.check_objects(found, limits, passed)
        self.check_floor(found)
        if committed:
            self.commit(found)
            self.handed |= {version(entry) for entry in found.objects}
            self.places |= {entry.position for entry in found.objects}
            self.passed, self.scanned_with = passed, self.filter
            below = [entry for entry in self.below(floor) if self.counts(entry)]
            self.late = {version(entry) for entry in below} - self.handed - self.passed
            assert self.checkpoint == found.checkpoint
            size = len(encode_checkpoint(found.checkpoint))
            assert size < 1200 + 11 * self.recent_limit, "The cursor is bounded."
        self.gone = found.statistics.gone if found.statistics is not None else 0

    @rule(early=SEVERAL, late=SEVERAL, age=AGES, seconds=PAUSES, limits=LIMITS, random=RANDOMS)
    def fall_behind(
        self,
        early: list[str],
        late: list[str],
        age: int,
        seconds: int,
        limits: ScanLimits,
        random: Random,
    ) -> None:
        """Objects come late, behind what was handed over, and more than ticks can take."""
        self.write(early, 0, 1)
        self.tick(ALL, random, True)
        self.write(late, age, 1)
        self.wait(seconds)
        for _ in range(3):
            self.tick(limits, random, True)

    @precondition(lambda self: self.bucket)
    @rule(index=st.integers(0, 99), same_bytes=st.booleans(), seconds=st.sampled_from([0, 1, 60]))
    def write_over_what_was_done(self, index: int, same_bytes: bool, seconds: int) -> None:
        """An object is overwritten, twice, just after it was handed over."""
        for _ in range(2):
            self.tick(ALL, Random(0), True)  # noqa: S311
            self.overwrite(index, same_bytes)
            self.clock += timedelta(seconds=seconds)

    def counts(self, entry: S3Object, *, any_class: bool = False) -> bool:
        """Whether an object matches, or might with another storage class."""
        return self.filter.matcher("", any_class=any_class)(entry)

    def below(self, floor: Position | None) -> list[S3Object]:
        """What lies where nothing is remembered one by one."""
        return [e for e in self.bucket.values() if floor is not None and e.position <= floor]

    def passed_by_change(self) -> set[Version]:
        """What a scan with a changed filter takes as handed over."""
        if self.scanned_with in (None, self.filter):
            return set()
        below = [e for e in self.below(self.checkpoint.floor) if self.counts(e, any_class=True)]
        known = self.handed | {version(e) for e in below if self.counts(e)} & self.late
        return {version(entry) for entry in below} - known

    def check_objects(self, result: Found, limits: ScanLimits, passed: set[Version]) -> None:
        """What was found is exactly what the model expects, in order, within the limits."""
        floor, done = self.checkpoint.floor, self.handed | passed
        new = [e for e in self.bucket.values() if self.counts(e) and version(e) not in done]
        below = self.below(floor)
        expected = sorted(e for e in new if e not in below or version(e) in self.late)
        found = result.objects
        assert not self.handed & {version(entry) for entry in found}, "Nothing twice."
        if result.statistics is not None:
            waiting = result.statistics.files_waiting
            assert len(found) + waiting == len(expected), "Nothing lost."
            assert result.statistics.overflow is None, "A few changes can be told apart."
        assert found == expected[: len(found)], "The oldest first, in position order."
        assert len(result.batches) <= limits.max_batches
        full = len(result.batches) == limits.max_batches
        assert full or found == expected, (
            "Nothing lost: a scan hands over all that its limits allow."
        )
        for batch in result.batches:
            assert 1 <= len(batch) <= limits.policy.max_files
            heavy = limits.policy.max_bytes is not None and batch.bytes > limits.policy.max_bytes
            assert not heavy or len(batch) == 1
        above = [entry for entry in expected[len(found) :] if entry not in below]
        passed_now = self.below(result.checkpoint.floor)
        assert not any(entry in passed_now for entry in above), "The floor stays below what waits."

    def check_floor(self, result: Found) -> None:
        """The floor rises by its rules alone."""
        before, after = self.checkpoint.floor, result.checkpoint.floor
        assert result.checkpoint.generation == self.checkpoint.generation
        assert len(result.checkpoint.recent) <= self.recent_limit, "The cursor is bounded."
        if after == before:
            return
        assert after is not None, "The floor never sinks."
        assert before is None or after > before, "The floor never sinks."
        places = self.places | {entry.position for entry in result.objects}
        assert after in places, "The floor is the place of an object handed over."
        kept = len(result.checkpoint.recent), self.recent_limit - len(result.checkpoint.wanted)
        forced = kept[0] >= max(1, kept[1])
        assert forced or after.last_modified < self.clock - HOUR, "The lookback is kept."

    @rule()
    def reset(self) -> None:
        """A later generation begins, in which everything is new again."""
        following = self.checkpoint.generation + 1
        self.restart()
        fresh = Checkpoint(generation=following, reset_seen=self.checkpoint.reset_seen)
        assert self.checkpoint == fresh, "A reset leaves nothing but the generation."
        self.forget()

    def teardown(self) -> None:
        """Ticks without changes hand over everything; then nothing is new, however much later."""
        if not hasattr(self, "bucket"):
            return
        few = ScanLimits(policy=BatchPolicy(max_files=1), max_batches=2)
        for limits in [few] * len(KEYS) + [ALL] * 2:
            self.wait(3600)
            self.tick(limits, Random(0), True)  # noqa: S311
        assert not self.gone, "What is gone is counted once."
        wanted = {version(entry) for entry in self.bucket.values() if self.counts(entry)}
        assert wanted <= self.handed | self.passed, "Nothing lost."


TestCore = CoreMachine.TestCase
TestCore.settings = settings(deadline=None, max_examples=250, stateful_step_count=30)
