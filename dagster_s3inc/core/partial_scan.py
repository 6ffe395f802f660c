"""A scan whose listing takes longer than one tick, and goes on in the next.

A partial scan goes through the keys in their order. Each part emits *all* that is new up to some
key, in position order, so nothing behind that key has to be remembered but for what a complete
scan would remember too. The watermark stays where it is until the end of the listing.

What a part emits is of two kinds. What is older than the `horizon` (the beginning of the scan less
the lookback) will lie below the watermark at the end: it enters the digests at once. What is
younger is remembered one by one, as far as there is room; beyond, it waits for the next scan,
which begins later and so has a later horizon. If there was little room at the beginning already,
the horizon is the beginning itself: the lookback is given up for one scan, in which the digests
have to show all that is late.

At the end the watermark rises to the horizon. All that was listed below it has been emitted in
this scan or before. For the digests, the whole of it is one scan: `listed` sums up what is listed
from part to part, and is compared with `emitted` at the end.

Example. Keys a to e, a page of two keys a tick, everything older than the lookback; c was emitted
by an earlier scan, and the watermark is at c:

    part 1  pages a b   a and b are new: emitted           after b, emitted: c a b, listed: a b
    part 2  pages c d   c is below the watermark; d new    after d, emitted: c a b d,
                                                           listed: a b c d
    part 3  page  e     e is new                           end: emitted = listed = a b c d e,
                                                           watermark: the horizon
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np

from dagster_s3inc.core.batching import Choice, choose, most_that_fit, request_bytes
from dagster_s3inc.core.candidates import (
    NO_GROUP,
    Candidates,
    at_or_below,
    place_of,
    sorted_array,
)
from dagster_s3inc.core.checkpoint import Checkpoint, PartialScan
from dagster_s3inc.core.classify import Listed, Seen
from dagster_s3inc.core.columns import Fingerprints, microseconds
from dagster_s3inc.core.filters import Mask
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.index import (
    END,
    NO_FINGERPRINTS,
    Index,
    Segment,
    members,
    segment_after,
    size_of,
    without,
)
from dagster_s3inc.core.late_files import Decision, Given, Why, decide
from dagster_s3inc.core.objects import Position
from dagster_s3inc.core.outcome import (
    Building,
    ScanResult,
    ScanStatistics,
    concluded,
    finished,
    index_of,
)

__all__ = ["PartPlan", "begun", "finish_part"]

# If so much of what can be remembered is in use at the beginning, the lookback is given up.
_CROWDED: Final = 0.5

# No selection has this hash: what was selected otherwise is settled by the next scan.
_UNSETTLED: Final = "?"


def begun(given: Given, base: Checkpoint, *, adopts: bool) -> Checkpoint:
    """The checkpoint with its partial scan begun, or going on.

    Args:
        given: What the scan was given.
        base: The checkpoint that it starts from.
        adopts: Whether what is listed at or below the watermark counts as emitted; where there is
            no watermark, what is older than `now`.
    """
    now, limits, changed = given.now, given.limits, given.changed(base)
    going_on = base.partial_scan
    if going_on is not None:
        if changed and not going_on.changed:
            going_on = replace(going_on, changed=True, listed=None)
        return replace(base, partial_scan=going_on)
    emitted, watermark = base.emitted, base.watermark
    adopts = adopts or (emitted is None and watermark is not None)
    if emitted is None:
        emitted = Digest.empty(limits.cells)
    if adopts and watermark is None:
        watermark = Position(now, "")
    in_use = len(base.recent) + len(base.late)
    at_once = watermark is not None and watermark.last_modified >= now
    at_once = at_once or in_use > _CROWDED * limits.recent_limit
    return replace(
        base,
        emitted=emitted,
        watermark=watermark,
        partial_scan=PartialScan(
            began=now,
            horizon=now if at_once else now - limits.lookback,
            after="",
            listed=None if changed else Digest.empty(emitted.cells),
            adopts=adopts,
            changed=changed,
        ),
    )


def _partial(checkpoint: Checkpoint) -> PartialScan:
    assert checkpoint.partial_scan is not None  # noqa: S101 # it has been begun
    return checkpoint.partial_scan


def _digest(start: Checkpoint) -> Digest:
    # `begun` gives one; a cursor that somebody wrote may have none.
    return Digest.empty() if start.emitted is None else start.emitted


class _Emission(NamedTuple):
    """What a part emits.

    Attributes:
        candidates: In position order, without those that wait for the next scan.
        choice: Rows of these.
    """

    candidates: Candidates
    choice: Choice


class PartPlan:
    """Tells how far a part may go, as its candidates come in the order of their keys.

    Args:
        given: What the scan was given.
        start: The checkpoint with its partial scan begun.
        names: The names of the groups, by number.
    """

    def __init__(self, given: Given, start: Checkpoint, names: Sequence[str]) -> None:
        self.start, self._names = start, names
        self._limits, self._now = given.limits, microseconds(given.now)
        self._watermark = place_of(start.watermark)
        self.horizon = microseconds(_partial(start).horizon)
        # `met` is a part of `recent`.
        used = len(start.recent) + len(start.late)
        self._room = max(0, given.limits.recent_limit - used)
        self._taken: list[Candidates] = []
        self._count, self._bytes = 0, 0
        self._emission: _Emission | None = None

    def first_that_does_not_fit(self, candidates: Candidates) -> bytes | None:
        """Takes the candidates of the next stretch, of which there are some.

        Returns:
            The key of the first one at which the part has to end; None if all of them fit.
        """
        packed = candidates.packed()
        if self._fits_surely(packed):
            self._taken.append(packed)
            self._emission = None
            return None

        def attempt(number: int) -> _Emission | None:
            return self._emitted([*self._taken, packed.only(np.arange(number))])

        count, emission = most_that_fit(len(packed), attempt)
        if emission is not None:
            taken = packed.only(np.arange(count))
            self._emission = emission
            self._count += count
            self._bytes += request_bytes(taken, self._limits.request_size)
            self._taken.append(taken)
        return None if count == len(packed) else packed.columns.key(count)

    def emission(self) -> _Emission:
        """What the part emits."""
        emission = self._emission or self._emitted(self._taken)
        assert emission is not None  # noqa: S101 # what was taken fits
        return emission

    def _fits_surely(self, candidates: Candidates) -> bool:
        """Whether these fit beside those before, found without cutting batches."""
        limits = self._limits
        if limits.policy.max_bytes is not None or candidates.groups[0] != NO_GROUP:
            return False
        count = self._count + len(candidates)
        if count > limits.max_batches * limits.policy.max_files:
            return False
        size = self._bytes + request_bytes(candidates, limits.request_size)
        if limits.request_size is not None:
            request = limits.request_size
            batches = -(-count // limits.policy.max_files)
            reserved = request.tick + request.partial_scan + batches * request.batch
            if reserved + size > request.most:
                return False
        self._count, self._bytes = count, size
        return True

    def is_old(self, candidates: Candidates) -> Mask:
        """Which of them enter the digests when they are emitted."""
        old = at_or_below(candidates.columns, self._watermark)
        return old | (candidates.columns.last_modified < self.horizon)

    def _emitted(self, parts: Sequence[Candidates]) -> _Emission | None:
        """What is emitted of these, in key order; None if it is too much."""
        everything = Candidates.joined(list(parts))
        old = self.is_old(everything)
        young = np.flatnonzero(~old)[: self._room]
        tries = [np.sort(np.concatenate([np.flatnonzero(old), young]))]
        if len(young):
            tries.append(np.flatnonzero(old))
        for rows in tries:
            some = everything.only(rows).in_position_order()
            choice = choose(some, self._limits, self._names, is_partial=True, now=self._now)
            if choice.is_all:
                return _Emission(some, choice)
        return None


def finish_part(
    given: Given, plan: PartPlan, seen: Seen, building: Building | None, *, is_last: bool
) -> ScanResult:
    """Ends a part.

    Args:
        given: What the scan was given.
        plan: What the part emits.
        seen: What it takes of the listing.
        building: What the earlier parts listed, if this process saw them.
        is_last: Whether it reaches the end of the listing.
    """
    start, index, watermark = plan.start, seen.classifier.index, seen.classifier.watermark
    partial, (candidates, choice) = _partial(start), plan.emission()
    taken, held = candidates.only(np.sort(choice.chosen)), candidates.only(choice.held)
    following, segments, beside = _advanced(given, plan, seen, taken, held)
    gone = len(seen.gone())
    if index is not None:
        newest = int(taken.columns.last_modified.max(initial=index.newest_emitted))
        whole = _replaced(index, partial.after, seen, segments, is_last=is_last)
        next_index = index_of(whole, given.selection.hash, newest, given.max_index_bytes)
        if is_last:
            following = replace(_risen(following), late=frozenset(), undecided=0)
        ended = _Ended(following, next_index)
    else:
        building = _built(given, building, partial, seen, segments, beside)
        ended = _Ended(following, building=building)
        if is_last:
            gone += max(0, len(start.recent) - len(following.recent))
            ended = _ended(given, following, building, taken.fingerprints)
    statistics = ScanStatistics.of(
        seen,
        files_late=int(at_or_below(taken.columns, watermark).sum()),
        lookback=max(timedelta(0), min(given.limits.lookback, given.now - partial.horizon)),
        gone=gone,
        selection_changed=partial.changed,
        decided_by=None if index is None else "index",
        partial_scan=ended.checkpoint.partial_scan,
    )
    if ended.decision is not None:
        late = len(ended.decision.late_matching)
        statistics = statistics.with_decision(ended.decision, found_late=late, gone=gone)
    return concluded(
        start,
        ended.checkpoint,
        statistics,
        batches=[candidates.only(rows) for rows in choice.batches],
        names=seen.names,
        waiting=held,
        index=ended.index,
        building=ended.building,
    )


@dataclass(frozen=True, slots=True)
class _Ended:
    """What follows a part; `decision` is made at the end of a partial scan without an index."""

    checkpoint: Checkpoint
    index: Index | None = None
    building: Building | None = None
    decision: Decision | None = None


def _advanced(
    given: Given, plan: PartPlan, seen: Seen, taken: Candidates, held: Candidates
) -> tuple[Checkpoint, list[Segment], Fingerprints]:
    """The checkpoint after a part that is not the last, and its segments.

    Returns:
        Also what enters `listed` beside what is at or below the watermark: all that is listed
        above it, older than the horizon, and emitted or held back.
    """
    start, partial, watermark = plan.start, _partial(plan.start), seen.classifier.watermark
    is_below = at_or_below(taken.columns, watermark)
    above = seen.above().plus(taken.only(np.flatnonzero(~is_below)))
    passed, young = above.split(int(np.searchsorted(above.times, plan.horizon)))
    passing = passed.fingerprints[passed.matching]
    dropped = np.sort(passed.fingerprints[~passed.matching])
    segments = finished(seen.segments(), dropped=dropped, emitted=taken)
    recent, gone = sorted_array(start.recent), seen.gone()
    kept = without(recent, np.concatenate([gone, passed.fingerprints]))
    kept = np.union1d(kept, young.fingerprints)
    met = np.union1d(sorted_array(partial.met), young.fingerprints)
    # What is held back must not count as emitted at the end.
    held_old = plan.is_old(held) & ~at_or_below(held.columns, watermark)
    beside = np.concatenate([passing, held.fingerprints[held_old & (not partial.adopts)]])
    listed = partial.listed
    if listed is not None:
        listed = listed.plus(beside) + _below(seen, Candidates.joined([taken, held]), listed.cells)
    # As far as there is room; the digests show the rest again.
    room = max(0, given.limits.recent_limit - len(kept))
    late = sorted(start.late.difference(taken.fingerprints.tolist()))[:room]
    emitted = _digest(start).minus(gone[~members(gone, recent)]).plus(passing)
    following = replace(
        start,
        late=frozenset(late),
        recent=frozenset(kept.tolist()),
        emitted=emitted.plus(taken.fingerprints[is_below]),
        selection=start.selection if partial.changed else given.selection.hash,
        partial_scan=replace(
            partial,
            after=seen.last_key.decode("utf-8", "surrogatepass"),
            objects=partial.objects + sum(each.objects for each in segments),
            listed=listed,
            met=frozenset(met[members(met, kept)].tolist()),
        ),
    )
    return following, segments, beside


def _below(seen: Seen, candidates: Candidates, cells: int) -> Digest:
    """The digest of what a part listed at or below the watermark."""
    if seen.classifier.index is None:
        return seen.digests()[0]
    known = np.concatenate([NO_FINGERPRINTS, *(each.fingerprints for each in seen.segments())])
    known = known[~members(known, np.sort(seen.above().fingerprints))]
    new = candidates.fingerprints[at_or_below(candidates.columns, seen.classifier.watermark)]
    return Digest.of(np.concatenate([known, new]), cells)


def _replaced(
    index: Index, after: str, seen: Seen, segments: Sequence[Segment], *, is_last: bool
) -> list[Segment]:
    """The segments of an index, with a range of keys replaced by what a part saw there."""
    starts = index.starts()
    begin = segment_after(after.encode("utf-8")) if after else b""
    end = begin
    if is_last:
        end = END
    elif seen.classified:
        end = segment_after(seen.last_key)
    before = index.segments[: bisect_left(starts, begin)]
    behind = list(index.segments[bisect_left(starts, end) :])
    if len(seen.carried) and not (behind and behind[0].start == end):
        behind.insert(0, Segment(end, seen.carried))
    return [*before, *segments, *behind] or [Segment(b"", NO_FINGERPRINTS)]


def _built(
    given: Given,
    building: Building | None,
    partial: PartialScan,
    seen: Seen,
    segments: Sequence[Segment],
    beside: Fingerprints,
) -> Building | None:
    """What has been listed so far, of which the index is made at the end; None if not known."""
    if building is None and partial.after == "":
        building = Building(given.selection.hash, (), ())
    if building is None or building.selection != given.selection.hash or seen.is_too_large:
        return None
    # Times of these matter only for objects that were modified before the ledger's first run.
    young = Listed(beside, np.full(len(beside), 2**32 - 1, np.uint32))
    rows = (*building.rows, *(each.listed for each in seen.classified), young)
    built = Building(building.selection, (*building.segments, *segments), rows)
    return built if size_of(built.segments) <= given.max_index_bytes else None


def _risen(following: Checkpoint) -> Checkpoint:
    """The checkpoint at the end of its partial scan: the watermark rises to the horizon."""
    risen = Position(_partial(following).horizon, "")
    watermark = risen if following.watermark is None else max(following.watermark, risen)
    return replace(following, watermark=watermark, partial_scan=None)


def _ended(
    given: Given, following: Checkpoint, building: Building | None, own: Fingerprints
) -> _Ended:
    """The end of a partial scan without an index."""
    partial, limits, selection = _partial(following), given.limits, given.selection.hash
    ended = replace(_risen(following), recent=partial.met)
    rows: Listed | Why = "part of a listing"
    if building is not None:
        rows = Listed.joined(building.rows)
    listed = partial.listed
    if listed is None:
        if not isinstance(rows, Listed):
            return _Ended(replace(ended, selection=_UNSETTLED))
        cells = limits.cells if following.emitted is None else following.emitted.cells
        listed = Digest.of(rows.fingerprints, cells)
    decision = decide(
        following,
        emitted=None if partial.adopts else following.emitted,
        listed=[listed],
        matching=None,
        rows=rows,
        changed=partial.changed,
        ledger=given.ledger,
        own=own,
    )
    if decision.undecided is not None:
        count = max(1, min(decision.undecided.listed, decision.undecided.appeared))
        unsettled = _UNSETTLED if partial.changed else selection
        ended = replace(ended, selection=unsettled, undecided=count)
        return _Ended(ended, decision=decision)
    room = max(0, min(limits.recent_limit - len(ended.recent), limits.late_limit))
    ended = replace(
        ended,
        emitted=decision.emitted,
        late=frozenset(decision.late_matching[:room].tolist()),
        selection=selection,
        undecided=0,
    )
    index: Index | None = None
    if building is not None:
        segments = finished(building.segments, late=decision.late, emitted=Candidates.joined([]))
        index = index_of(segments, selection, 2**62, given.max_index_bytes)
    return _Ended(ended, index, decision=decision)
