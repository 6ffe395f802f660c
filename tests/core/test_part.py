"""Passes against a model: listings that outlive a tick, cut anywhere, while the bucket changes."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from dagster_s3inc.core.codec import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import ObjectsPage, Page, Rest
from dagster_s3inc.core.scan import scan
from tests.core.making import HOUR, RANDOMS
from tests.core.test_model import ALL, FILTERS, LIMITS, CoreMachine, Found, Version, version


def in_key_order(objects: list[S3Object], random: Random) -> list[Page | Rest]:
    """The objects by their keys, in pages; maybe only some of these, and then a `Rest`."""
    left, pages = sorted(objects, key=lambda each: each.key), []
    while left:
        count = random.randint(0, 3)
        pages.append(ObjectsPage(left[:count]))
        if left[:count] and random.random() < 0.3:
            return [*pages, Rest(left[:count][-1].key)]
        left = left[count:]
    return pages


class PassMachine(CoreMachine):
    """The same bucket; but every scan may be cut off, and goes on where the last one stood."""

    def forget(self) -> None:
        """Nothing has been handed over, and nothing may be missed."""
        super().forget()
        self.excused: set[Version] = set()
        # After a change of filter, until a scan has taken what is below the floor as it found it.
        self.is_sketch_known = True

    def put(self, entry: S3Object) -> None:
        """What appears late while there is no sketch cannot be revealed by it."""
        super().put(entry)
        if not self.is_sketch_known and entry.last_modified < self.clock:
            self.excused.add(version(entry))

    def look(self, limits: ScanLimits, random: Random) -> Found:
        """A tick that stores nothing, and that sees the listing from where the pass stands."""
        checkpoint = self.checkpoint
        after = checkpoint.unfinished.after if checkpoint.unfinished else ""
        result = scan(
            checkpoint,
            in_key_order([each for each in self.bucket.values() if each.key > after], random),
            now=self.clock,
            selection=self.filter.selection(""),
            limits=limits,
        )
        return Found(result.batches, result.checkpoint, result.statistics)

    @rule(chosen=st.sampled_from(FILTERS))
    def change_filter(self, chosen: ObjectFilter) -> None:
        """Another filter; what it alone matches may count as handed over."""
        if chosen != self.filter:
            self.excused |= {version(each) for each in self.bucket.values()} - self.handed
            self.is_sketch_known = False
        self.filter = chosen

    @rule(limits=LIMITS, random=RANDOMS, committed=st.sampled_from([True, True, False]))
    def tick(self, limits: ScanLimits, random: Random, committed: bool) -> None:
        """A look at a part; without the commit, its checkpoint is lost."""
        before, found = self.checkpoint, self.look(self.possible(limits), random)
        versions = {version(each) for each in found.objects}
        assert len(versions) == len(found.objects), "Nothing twice."
        assert not self.handed & versions, "Nothing twice."
        assert all(self.counts(each) for each in found.objects), "Only what matches."
        assert found.objects == sorted(found.objects), "In position order within a part."
        assert len(found.batches) <= limits.max_batches
        after, unfinished = found.checkpoint, found.checkpoint.unfinished
        if before.floor is not None:
            assert after.floor is not None, "The floor never sinks."
            assert after.floor >= before.floor, "The floor never sinks."
        if unfinished is not None:
            assert after.floor == before.floor, "The floor rises when the pass has ended."
            begun = before.unfinished or unfinished
            assert unfinished.began == begun.began
            assert unfinished.after >= begun.after or before.unfinished is None
            self.check_part(before.unfinished.after if before.unfinished else "", found)
        if committed:
            self.commit(found)
            self.handed |= versions
            assert self.checkpoint == found.checkpoint
            if unfinished is None and (after.settled is not None or after.floor is None):
                self.is_sketch_known = True

    def check_part(self, start: str, found: Found) -> None:
        """All that is older than the horizon, up to the key that was reached, is handed over."""
        unfinished, floor = found.checkpoint.unfinished, self.checkpoint.floor
        assert unfinished is not None
        done = self.handed | self.excused | {version(each) for each in found.objects}
        for each in self.bucket.values():
            if not (start < each.key <= unfinished.after and self.counts(each)):
                continue
            above = floor is None or each.position > floor
            if above and each.last_modified < unfinished.horizon:
                assert version(each) in done, "Nothing lost."

    @invariant()
    def is_bounded(self) -> None:
        """However long a pass takes, no more is remembered one by one than the limit."""
        if not hasattr(self, "bucket"):
            return
        checkpoint = decode_checkpoint(self.stored)
        met = checkpoint.unfinished.met if checkpoint.unfinished else frozenset()
        kept = len(checkpoint.recent) + len(met)
        assert kept <= max(self.recent_limit, 1), "The cursor is bounded."
        assert encode_checkpoint(checkpoint) == self.stored

    def teardown(self) -> None:
        """Passes over a bucket that stays hand over everything; then nothing is new."""
        if not hasattr(self, "bucket"):
            return
        random = Random(0)  # noqa: S311 # no secret
        for _ in range(3):
            self.wait(7200)
            for _ in range(3 * len(self.bucket) + 3):
                self.tick(ALL, random, True)
        wanted = {version(each) for each in self.bucket.values() if self.counts(each)}
        assert wanted <= self.handed | self.excused, "Nothing lost."
        assert self.look(ScanLimits(lookback=HOUR), random).objects == [], "Then nothing is new."


TestPasses = PassMachine.TestCase
TestPasses.settings = settings(max_examples=200, stateful_step_count=30)
