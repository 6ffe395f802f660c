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
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import numpy as np

from dagster_s3inc.core.batching import (
    Batch,
    Choice,
    ScanLimits,
    choose,
    most_that_fit,
    request_bytes,
)
from dagster_s3inc.core.candidates import NO_GROUP, Candidates
from dagster_s3inc.core.checkpoint import Checkpoint, PartialScan
from dagster_s3inc.core.classify import Seen, at_or_below, place_of, sorted_array
from dagster_s3inc.core.columns import Fingerprints, microseconds, moment
from dagster_s3inc.core.filters import Mask, Selection
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.index import (
    END,
    NO_FINGERPRINTS,
    Index,
    Segment,
    members,
    segment_after,
    size_of,
)
from dagster_s3inc.core.late_files import Decision, ListedRows, OwnBatches, Why, decide
from dagster_s3inc.core.ledger import LedgerReader
from dagster_s3inc.core.objects import Position
from dagster_s3inc.core.outcome import (
    Building,
    ScanResult,
    ScanStatistics,
    batches_of,
    finished,
    index_of,
    newest_of,
    total_of,
)

__all__ = ["PartPlan", "begun", "finish_part"]

# If so much of what can be remembered is in use at the beginning, the lookback is given up.
_CROWDED: Final = 0.5

# No selection has this hash: what was selected otherwise is settled by the next scan.
_UNSETTLED: Final = "?"


def begun(
    checkpoint: Checkpoint,
    *,
    now: datetime,
    limits: ScanLimits,
    selection: Selection,
    adopts: bool,
) -> Checkpoint:
    """The checkpoint with its partial scan begun, or going on.

    Args:
        checkpoint: What has been emitted.
        now: The server's time.
        limits: What may be emitted.
        selection: What counts.
        adopts: Whether what is listed at or below the watermark counts as emitted; where there is
            no watermark, what is older than `now`.
    """
    changed = checkpoint.selection not in (None, selection.hash)
    going_on = checkpoint.partial_scan
    if going_on is not None:
        if changed and not going_on.changed:
            going_on = replace(going_on, changed=True, listed=None)
        return replace(checkpoint, partial_scan=going_on)
    emitted, watermark = checkpoint.emitted, checkpoint.watermark
    adopts = adopts or (emitted is None and watermark is not None)
    if emitted is None:
        emitted = Digest.empty(limits.cells)
    if adopts and watermark is None:
        watermark = Position(now, "")
    in_use = len(checkpoint.recent) + len(checkpoint.late)
    at_once = watermark is not None and watermark.last_modified >= now
    at_once = at_once or in_use > _CROWDED * limits.recent_limit
    return replace(
        checkpoint,
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
        checkpoint: With its partial scan begun.
        limits: What may be emitted.
        now: The server's time.
    """

    def __init__(self, checkpoint: Checkpoint, limits: ScanLimits, now: datetime) -> None:
        self.checkpoint = checkpoint
        self._limits, self._now = limits, microseconds(now)
        self._watermark = place_of(checkpoint.watermark)
        self.horizon = microseconds(_partial(checkpoint).horizon)
        # `met` is a part of `recent`.
        used = len(checkpoint.recent) + len(checkpoint.late)
        self._room = max(0, limits.recent_limit - used)
        self._taken: list[Candidates] = []
        self._count, self._bytes = 0, 0
        self._emission: _Emission | None = None
        self.names: list[str] = []

    def first_that_does_not_fit(self, candidates: Candidates) -> bytes | None:
        """Takes the candidates of the next stretch.

        Returns:
            The key of the first one at which the part has to end; None if all of them fit.
        """
        packed = candidates.packed()
        if self._fits_surely(packed):
            self._taken.append(packed)
            self._emission = None
            return None

        def attempt(number: int) -> _Emission | None:
            some = packed.only(np.arange(number))
            return self._emitted([*self._taken, some])

        count, emission = most_that_fit(len(packed), attempt)
        if emission is not None:
            taken = packed.only(np.arange(count))
            self._emission = emission
            self._count += count
            self._bytes += request_bytes(taken, self._limits.request_size)
            self._taken.append(taken)
        return None if count == len(packed) else packed.columns.key(count)

    def emission(self) -> _Emission | None:
        """What the part emits; None if there is no candidate."""
        if self._emission is None and self._taken:
            self._emission = self._emitted(self._taken)
        return self._emission

    def _fits_surely(self, candidates: Candidates) -> bool:
        """Whether these fit beside those before, found without cutting batches."""
        limits = self._limits
        if limits.policy.max_bytes is not None or self._groups_matter(candidates):
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

    def _groups_matter(self, candidates: Candidates) -> bool:
        return bool(len(candidates)) and candidates.groups[0] != NO_GROUP

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
            choice = choose(
                some,
                self._limits.policy,
                max_batches=self._limits.max_batches,
                names=self.names,
                request_size=self._limits.request_size,
                is_partial=True,
                now=self._now,
            )
            if choice.is_all:
                return _Emission(some, choice)
        return None


def finish_part(
    start: Checkpoint,
    seen: Seen,
    *,
    now: datetime,
    selection: Selection,
    limits: ScanLimits,
    plan: PartPlan,
    is_last: bool,
    ledger: LedgerReader | None,
    building: Building | None,
    max_index_bytes: int,
) -> ScanResult:
    """Ends a part.

    Args:
        start: The checkpoint with its partial scan begun.
        seen: What the part takes of the listing.
        now: The server's time.
        selection: What counts.
        limits: What may be emitted.
        plan: What it emits.
        is_last: Whether the part reaches the end of the listing.
        ledger: Reads the sensor's runs.
        building: What the earlier parts listed, if this process saw them.
        max_index_bytes: A larger index is not kept.
    """
    partial, watermark = _partial(start), place_of(start.watermark)
    index, emission = seen.classifier.index, plan.emission()
    batches: tuple[Batch, ...] = ()
    emitted_rows: Candidates | None = None
    held: Candidates | None = None
    if emission is not None:
        batches = batches_of(emission.candidates, emission.choice.batches, seen.groups.names)
        emitted_rows = emission.candidates.only(np.sort(emission.choice.chosen))
        held = emission.candidates.only(emission.choice.held)
    total = start.total
    own = total_of(batches, start.generation, start.sequence)
    if total is not None:
        total = total.plus(*own)
    emitted_prints = NO_FINGERPRINTS if emitted_rows is None else emitted_rows.fingerprints
    is_old = np.empty(0, np.bool_) if emitted_rows is None else plan.is_old(emitted_rows)
    old, young = emitted_prints[is_old], emitted_prints[~is_old]

    recent = sorted_array(start.recent)
    above = seen.above()
    gone = seen.gone()
    passed = above.times < plan.horizon
    passing = above.fingerprints[passed & above.matching]
    emitted = start.emitted or Digest.empty(limits.cells)
    emitted = emitted.minus(gone[~members(gone, recent)]).plus(passing).plus(old)
    left = np.union1d(gone, above.fingerprints[passed])
    kept_recent = np.union1d(np.setdiff1d(recent, left), young)
    met = np.union1d(sorted_array(partial.met), np.union1d(above.fingerprints[~passed], young))
    met = met[members(met, kept_recent)]

    # What enters `listed` beside what is at or below the watermark: all that is listed above it,
    # older than the horizon, and emitted or held back.
    beside = [passing]
    # What is held back must not count as emitted at the end.
    for rows in (emitted_rows, None if partial.adopts else held):
        if rows is not None:
            olds = plan.is_old(rows) & ~at_or_below(rows.columns, watermark)
            beside.append(rows.fingerprints[olds])
    over = np.concatenate(beside)
    listed = partial.listed
    if listed is not None:
        listed = listed.plus(over)
        if index is None:
            listed = listed + _sized(seen, listed.cells)
        else:
            below = _below(seen, above.fingerprints)
            listed = listed.plus(below)
            for rows in (emitted_rows, held):
                if rows is not None:
                    inside = at_or_below(rows.columns, watermark)
                    listed = listed.plus(rows.fingerprints[inside])
    segments = finished(seen.segments(), emitted=emitted_rows)
    following = replace(
        start,
        sequence=start.sequence + bool(batches),
        total=total,
        late=_bounded(start.late, emitted_prints, limits.recent_limit - len(kept_recent)),
        recent=frozenset(kept_recent.tolist()),
        emitted=emitted,
        selection=start.selection if partial.changed else selection.hash,
        partial_scan=replace(
            partial,
            after=seen.last_key.decode("utf-8", "surrogatepass"),
            objects=partial.objects + sum(each.objects for each in segments),
            listed=listed,
            met=frozenset(met.tolist()),
        ),
    )
    next_index, following_building = None, None
    decision: Decision | None = None
    if index is not None:
        next_index = _replaced(
            index,
            partial.after,
            seen,
            segments,
            selection.hash,
            plan,
            max_index_bytes,
            is_last=is_last,
        )
        if is_last:
            following = _ended_with_index(following)
    else:
        following_building = _built(
            building, selection.hash, partial, seen, segments, over, max_index_bytes
        )
        if is_last:
            following, decision, next_index = _ended(
                following,
                selection=selection,
                limits=limits,
                building=following_building,
                ledger=ledger,
                own=OwnBatches(emitted_prints, own),
                max_index_bytes=max_index_bytes,
            )
            following_building = None
    lost = len(start.recent) - len(kept_recent) if is_last and index is None else 0
    waiting = 0 if held is None else len(held)
    statistics = ScanStatistics(
        objects_listed=sum(each.objects for each in segments),
        bytes_listed=sum(each.bytes for each in segments),
        newest=newest_of(segments),
        left_out=sum(each.left_out for each in seen.classified),
        files=len(emitted_prints),
        bytes=sum(batch.bytes for batch in batches),
        files_late=0
        if emitted_rows is None
        else int(at_or_below(emitted_rows.columns, watermark).sum()),
        files_waiting=waiting,
        bytes_waiting=0 if held is None else int(held.columns.sizes.sum()),
        oldest_waiting=moment(held.columns.last_modified.min()) if held and len(held) else None,
        lookback=max(timedelta(0), min(limits.lookback, now - partial.horizon)),
        found_late=0 if decision is None else len(decision.late_matching),
        gone=len(gone) + (0 if decision is None else decision.gone) + max(0, lost),
        unpartitioned=seen.groups.unpartitioned,
        unpartitioned_keys=tuple(seen.groups.examples),
        selection_changed=partial.changed,
        decided_by="index" if index is not None else None if decision is None else decision.by,
        returned=0 if decision is None else decision.returned,
        undecided=None if decision is None else decision.undecided,
        partial_scan=following.partial_scan,
    )
    return ScanResult(
        batches=batches,
        sequence=start.sequence,
        checkpoint=following,
        index=next_index,
        statistics=statistics,
        building=following_building,
    )


def _bounded(late: frozenset[int], emitted: Fingerprints, room: int) -> frozenset[int]:
    """What is left of `late`, as far as there is room; the digests show the rest again."""
    left = sorted(late.difference(emitted.tolist()))
    return frozenset(left[: max(0, room)])


def _sized(seen: Seen, cells: int) -> Digest:
    return next(each for each in seen.digests() if each.cells == cells)


def _below(seen: Seen, above: Fingerprints) -> Fingerprints:
    """What is known at or below the watermark, with an index."""
    known = np.concatenate([NO_FINGERPRINTS, *(e.fingerprints for e in seen.segments())])
    return known[~members(known, np.sort(above))]


def _replaced(
    index: Index,
    after: str,
    seen: Seen,
    segments: Sequence[Segment],
    selection: str,
    plan: PartPlan,
    most: int,
    *,
    is_last: bool,
) -> Index | None:
    """The index with a range of keys replaced by what a part saw there."""
    starts = index.starts()
    begin = segment_after(after.encode("utf-8")) if after else b""
    end = begin
    if is_last:
        end = END
    elif seen.classified:
        end = segment_after(seen.last_key)
    before = list(index.segments[: bisect_left(starts, begin)])
    behind = list(index.segments[bisect_left(starts, end) :])
    if len(seen.carried) and not (behind and behind[0].start == end):
        behind.insert(0, Segment(end, seen.carried))
    emission = plan.emission()
    newest = index.newest_emitted
    if emission is not None and len(emission.choice.chosen):
        times = emission.candidates.columns.last_modified[emission.choice.chosen]
        newest = max(newest, int(times.max()))
    whole = [*before, *segments, *behind]
    return index_of(whole or [Segment(b"", NO_FINGERPRINTS)], selection, newest, most)


def _built(
    building: Building | None,
    selection: str,
    partial: PartialScan,
    seen: Seen,
    segments: Sequence[Segment],
    over: Fingerprints,
    most: int,
) -> Building | None:
    """What has been listed so far, of which the index is made at the end; None if not known."""
    if building is None and partial.after == "":
        building = Building(selection, (), ())
    if building is None or building.selection != selection or seen.is_too_large:
        return None
    rows = [ListedRows(each.listed, each.matching, each.seconds) for each in seen.classified]
    # Times of these matter only for objects that were modified before the ledger's first run.
    young = np.full(len(over), 2**32 - 1, np.uint32)
    rows.append(ListedRows(over, over, young))
    built = Building(selection, (*building.segments, *segments), (*building.rows, *rows))
    return built if size_of(built.segments) <= most else None


def _ended_with_index(following: Checkpoint) -> Checkpoint:
    """The checkpoint after a partial scan whose last part had the index."""
    partial = _partial(following)
    risen = Position(partial.horizon, "")
    watermark = risen if following.watermark is None else max(following.watermark, risen)
    return replace(following, watermark=watermark, late=frozenset(), partial_scan=None, undecided=0)


def _ended(
    following: Checkpoint,
    *,
    selection: Selection,
    limits: ScanLimits,
    building: Building | None,
    ledger: LedgerReader | None,
    own: OwnBatches,
    max_index_bytes: int,
) -> tuple[Checkpoint, Decision | None, Index | None]:
    """The checkpoint after a partial scan without an index, and the index if it can be made."""
    partial = _partial(following)
    risen = Position(partial.horizon, "")
    watermark = risen if following.watermark is None else max(following.watermark, risen)
    ended = replace(following, watermark=watermark, recent=partial.met, partial_scan=None)
    rows: ListedRows | Why = "part of a listing"
    if building is not None:
        rows = ListedRows.joined(building.rows)
    listed = partial.listed
    if listed is None:
        if not isinstance(rows, ListedRows):
            return replace(ended, selection=_UNSETTLED), None, None
        cells = limits.cells if following.emitted is None else following.emitted.cells
        listed = Digest.of(rows.fingerprints, cells)
    decision = decide(
        following,
        emitted=None if partial.adopts else following.emitted,
        listed=[listed],
        matching=None,
        rows=rows,
        changed=partial.changed,
        ledger=ledger,
        own=own,
    )
    if decision.undecided is not None:
        count = max(1, min(decision.undecided.listed, decision.undecided.appeared))
        changed = _UNSETTLED if partial.changed else selection.hash
        return replace(ended, selection=changed, undecided=count), decision, None
    room = max(0, limits.recent_limit - len(ended.recent))
    late = frozenset(decision.late_matching[: min(room, limits.late_limit)].tolist())
    ended = replace(
        ended, emitted=decision.emitted, late=late, selection=selection.hash, undecided=0
    )
    index: Index | None = None
    if building is not None:
        segments = finished(building.segments, late=decision.late)
        index = index_of(segments, selection.hash, 2**62, max_index_bytes)
    return ended, decision, index
