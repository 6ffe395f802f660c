"""One scan: what is new in a listing, in order, and the checkpoint that follows. A pure function.

S3 promises that a listing shows every object, but not that objects become visible in the order of
their LastModified: a multipart upload carries the time at which it began, a replica that of its
source, and thousands of objects share one second. So a position alone loses files. What was
emitted is known object by object, in the index; the checkpoint is a summary from which the index
can be built anew (`late_files`), and the sensor's runs are the ledger where that is not enough.

The way of a listing through a scan:

    pages -> stretches (index)              segments that did not change are skipped
          -> known and new (classify)       columns and masks
          -> late files (late_files)        only where there is no index
          -> batches, watermark (watermark, batching)
          -> the next checkpoint and the next index

A listing that takes longer than a tick goes on in the next (`partial_scan`). What was emitted can
be emitted again (`reprocessing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import numpy as np

from dagster_s3inc.core.batching import ScanLimits
from dagster_s3inc.core.candidates import KEPT, Candidates, Dropped
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.classify import Above, Classifier, Groups, Seen, place_of, sorted_array
from dagster_s3inc.core.columns import Columns, Fingerprints, microseconds, moment
from dagster_s3inc.core.filters import Selection
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.index import (
    NO_FINGERPRINTS,
    Index,
    Segment,
    Stretch,
    members,
    stretches,
)
from dagster_s3inc.core.late_files import Decision, decide
from dagster_s3inc.core.ledger import LedgerReader
from dagster_s3inc.core.objects import Position
from dagster_s3inc.core.outcome import (
    Backlog,
    Building,
    ScanResult,
    ScanStatistics,
    batches_of,
    finished,
    index_of,
    newest_of,
    position_of,
    rows_of,
    total_of,
)
from dagster_s3inc.core.page import Page, Rest
from dagster_s3inc.core.partial_scan import PartPlan, begun, finish_part
from dagster_s3inc.core.reprocessing import scan_again
from dagster_s3inc.core.watermark import Step, emit

__all__ = ["MAX_INDEX_BYTES", "ScanResult", "scan", "scan_backlog"]

MAX_INDEX_BYTES: Final = 256_000_000
"""An index takes 8 bytes an object: this is enough for 30 million."""

_MICROSECOND: Final = timedelta(microseconds=1)


def scan(
    checkpoint: Checkpoint,
    pages: Iterable[Page | Rest],
    *,
    now: datetime,
    selection: Selection | None = None,
    limits: ScanLimits | None = None,
    index: Index | None = None,
    ledger: LedgerReader | None = None,
    adopt: bool = False,
    building: Building | None = None,
    may_be_cut: bool = True,
    max_index_bytes: int = MAX_INDEX_BYTES,
) -> ScanResult:
    """Finds what a listing holds that has not been emitted.

    Where the checkpoint has a `reprocess`, finds what is to be emitted again, and nothing else.

    Args:
        checkpoint: What has been emitted so far.
        pages: The whole listing, in the order of its keys. Or only its beginning, and a `Rest`:
            the checkpoint that follows then has a `partial_scan`. Where the checkpoint given has
            one, the listing after its key. Where it has a `reprocess`, see `reprocessing`.
        now: The server's time when it began to answer, aware.
        selection: What counts; by default every object.
        limits: What may be emitted; by default `ScanLimits()`.
        index: The index that belongs to the checkpoint; None if it is not at hand.
        ledger: Reads the sensor's runs, if that is needed.
        adopt: Emit nothing, and count everything that may match as emitted: how the first scan
            begins for someone who wants only files from now on.
        building: What the earlier parts of a partial scan listed, if this process saw them.
        may_be_cut: Whether a `Rest` may come.
        max_index_bytes: A larger index is not kept.

    Raises:
        KeyOrderError: The listing is not in the order of its keys.
        Exception: Whatever `pages` raises. There is then no result, so nothing has changed.
    """
    selection, limits = selection or Selection(), limits or ScanLimits()
    given = _Given(checkpoint, selection, limits, now, ledger, max_index_bytes)
    if checkpoint.reprocesses_now is not None:
        return scan_again(
            checkpoint,
            pages,
            now=now,
            selection=selection,
            limits=limits,
            index=_valid(index, checkpoint, selection),
            ledger=ledger,
            max_index_bytes=max_index_bytes,
        )
    adopts = checkpoint.accepts_now or (adopt and checkpoint.partial_scan is None)
    base, index = _base(checkpoint, selection, _valid(index, checkpoint, selection), adopts=adopts)
    partial, plan = base.partial_scan, None
    starts_now = adopts and base.watermark is None
    if partial is None and starts_now:
        # What is older than the lookback is at or below the watermark from the beginning.
        base = replace(base, watermark=Position(now - limits.lookback, ""))
        seen = _seen(given, base, None, adopts=True)
    else:
        if partial is not None or (may_be_cut and not adopts):
            cut = begun(base, now=now, limits=limits, selection=selection, adopts=adopts)
            plan = PartPlan(cut, limits, now)
        seen = _seen(given, base, index)
    if plan is not None:
        plan.names = seen.groups.names
    read = _read(seen, pages, plan, part_only=partial is not None)
    if plan is not None and (partial is not None or not read.is_whole):
        return finish_part(
            plan.checkpoint,
            seen if read.part is None else read.part,
            now=now,
            selection=selection,
            limits=limits,
            plan=plan,
            is_last=read.is_whole and read.part is None,
            ledger=ledger,
            building=building,
            max_index_bytes=max_index_bytes,
        )
    if not read.is_whole:
        # What is adopted in parts is adopted by other rules, so it begins anew.
        return _begins_in_parts(given, replace(base, watermark=checkpoint.watermark), seen)
    return _finish(given, base, seen)


def _begins_in_parts(given: _Given, base: Checkpoint, seen: Seen) -> ScanResult:
    """Nothing is emitted; the next tick begins a partial scan that adopts what is listed."""
    limits, now = given.limits, given.now
    following = begun(base, now=now, limits=limits, selection=given.selection, adopts=True)
    following = replace(following, selection=given.selection.hash)
    statistics = ScanStatistics(
        objects_listed=sum(each.objects for each in seen.segments()),
        bytes_listed=sum(each.bytes for each in seen.segments()),
        newest=newest_of(seen.segments()),
        lookback=limits.lookback,
        partial_scan=following.partial_scan,
    )
    return ScanResult(
        batches=(), sequence=base.sequence, checkpoint=following, statistics=statistics
    )


class _Given(NamedTuple):
    """What a scan was given."""

    checkpoint: Checkpoint
    selection: Selection
    limits: ScanLimits
    now: datetime
    ledger: LedgerReader | None
    max_index_bytes: int


class _Read(NamedTuple):
    """How far a listing was read.

    Attributes:
        part: What a part takes of it, if it cannot take all that was read; else None.
        is_whole: Whether it was read to its end.
    """

    part: Seen | None
    is_whole: bool


def _valid(index: Index | None, checkpoint: Checkpoint, selection: Selection) -> Index | None:
    """The index, if it belongs to the selection; an empty one for a new beginning."""
    if not checkpoint.has_begun:
        return Index.empty(selection.hash)
    if index is None or index.selection != selection.hash:
        return None
    return index


def _base(
    checkpoint: Checkpoint, selection: Selection, index: Index | None, *, adopts: bool
) -> tuple[Checkpoint, Index | None]:
    """The checkpoint that a scan starts from, and its index."""
    if adopts:
        adopted = replace(
            checkpoint,
            emitted=None,
            total=None,
            reprocess=None,
            undecided=0,
            late=frozenset(),
            selection=selection.hash,
        )
        return adopted, None
    if checkpoint.emitted is None and checkpoint.watermark is not None:
        return checkpoint, None
    return checkpoint, index


def _seen(given: _Given, base: Checkpoint, index: Index | None, *, adopts: bool = False) -> Seen:
    limits = given.limits
    cells: list[int] = []
    if index is None:
        mine = limits.cells if base.emitted is None else base.emitted.cells
        cells = [mine] if mine == limits.cells else [mine, limits.cells]
    partial = base.partial_scan
    return Seen(
        Classifier(base, index, given.selection, adopts=adopts),
        Groups(given.selection.group_of),
        kept=0 if partial is not None else _kept(limits),
        cells=cells,
        start=b"" if partial is None else partial.after.encode("utf-8"),
        max_index_bytes=given.max_index_bytes,
    )


def _kept(limits: ScanLimits) -> int:
    """How many candidates are kept, so that the next ticks need no listing."""
    return max(KEPT, limits.max_batches * limits.policy.max_files)


def _read(
    seen: Seen,
    pages: Iterable[Page | Rest],
    plan: PartPlan | None,
    *,
    part_only: bool,
) -> _Read:
    """Reads a listing to its end, or as far as a part can take it."""
    part: Seen | None = None
    classifier = seen.classifier
    for stretch in stretches(
        pages, classifier.index, after=seen.last_key, may_skip=classifier.may_skip
    ):
        if isinstance(stretch, Rest):
            if part is None:
                seen.last_key = stretch.after
            return _Read(part, False)
        unpartitioned = seen.groups.unpartitioned
        classified = seen.classify(stretch)
        if plan is not None and part is None and classified.candidates is not None:
            key = plan.first_that_does_not_fit(classified.candidates)
            if key is not None:
                part = seen.copy(unpartitioned=unpartitioned)
                _take_up_to(part, stretch, key)
                if part_only:
                    return _Read(part, False)
        seen.add(classified)
    return _Read(part, True)


def _take_up_to(part: Seen, stretch: Stretch, key: bytes) -> None:
    """Takes the entries of a stretch whose keys are less than this one."""
    parts: list[Columns] = []
    for columns in stretch.parts:
        keys = columns.key_bytes()
        count = sum(each < key for each in keys)
        if count:
            parts.append(columns.only(np.arange(count)))
    known = tuple(each for each in stretch.known if each.start < key)
    if not parts and not known and not len(part.carried):
        return
    shorter = Stretch(stretch.start, key, known, True, parts=tuple(parts))
    part.add(part.classify(shorter))


class _Found(NamedTuple):
    """What a scan found, before anything is emitted.

    Attributes:
        base: The checkpoint, but for what follows from what is emitted.
        emitted: The digest of what was emitted at or below the watermark.
        candidates: What is new, in position order.
        dropped: What is new beyond these.
        above: What was emitted above the watermark and is listed.
        names: The names of the groups, by number.
        found_late: Late files that are not candidates yet.
        segments: What was listed; None if no index is to be made of it.
        recorded: What seems new, but was emitted as the ledger shows.
        selection: The hash of the selection.
        now: The server's time at the listing.
        statistics: But for what is emitted and what waits.
    """

    base: Checkpoint
    emitted: Digest
    candidates: Candidates
    dropped: Dropped
    above: Above
    names: list[str]
    found_late: Fingerprints
    segments: Sequence[Segment] | None
    recorded: Candidates
    selection: str
    now: datetime
    statistics: ScanStatistics


def _finish(given: _Given, base: Checkpoint, seen: Seen) -> ScanResult:
    """Ends a scan that has seen the whole listing."""
    selection, watermark = given.selection, seen.classifier.watermark
    changed = base.selection not in (None, selection.hash)
    above = seen.above()
    decision = _decision(given, base, seen, changed=changed)
    is_undecided = decision.undecided is not None
    gone = decision.gone
    if seen.classifier.index is None and not changed:
        gone += len(base.recent) - int(members(above.fingerprints, sorted_array(base.recent)).sum())
    candidates = seen.oldest.finish() or _no_candidates()
    if seen.classifier.index is None and not is_undecided:
        candidates = _still_late(candidates, watermark, decision)
    # A narrower selection may not have listed them, so that `recent` lost them.
    rows = np.flatnonzero(members(candidates.fingerprints, decision.recorded))
    recorded = candidates.only(rows)
    if len(recorded):
        candidates = candidates.without(rows)
        above = Above.joined([above, Above.of(recorded)])
    found_late = np.setdiff1d(decision.late_matching, candidates.fingerprints)
    segments = seen.segments()
    statistics = ScanStatistics(
        objects_listed=sum(each.objects for each in segments),
        bytes_listed=sum(each.bytes for each in segments),
        newest=newest_of(segments),
        left_out=sum(each.left_out for each in seen.classified),
        lookback=given.limits.lookback,
        found_late=len(np.setdiff1d(found_late, sorted_array(base.late))),
        gone=gone,
        unpartitioned=seen.groups.unpartitioned,
        unpartitioned_keys=tuple(seen.groups.examples),
        selection_changed=changed,
        decided_by=decision.by,
        returned=decision.returned,
        undecided=decision.undecided,
    )
    base = replace(
        base,
        selection=base.selection if is_undecided and changed else selection.hash,
        undecided=_undecided_count(decision),
    )
    known = None if is_undecided or seen.is_too_large else finished(segments, late=decision.late)
    found = _Found(
        base,
        decision.emitted,
        candidates,
        seen.oldest.dropped,
        above,
        seen.groups.names,
        found_late,
        known,
        recorded,
        selection.hash,
        given.now,
        statistics,
    )
    return _emitted(found, given.limits, given.max_index_bytes)


def scan_backlog(
    backlog: Backlog, *, limits: ScanLimits, max_index_bytes: int = MAX_INDEX_BYTES
) -> ScanResult:
    """Goes on with what an earlier scan found, without a listing. A pure function.

    Args:
        backlog: What waits; the checkpoint that it follows is still the one that counts.
        limits: What may be emitted.
        max_index_bytes: A larger index is not kept.
    """
    base, candidates, index = backlog.follows, backlog.candidates, backlog.index
    statistics = replace(
        backlog.statistics,
        objects_listed=0,
        bytes_listed=0,
        newest=None,
        left_out=0,
        found_late=0,
        gone=0,
        selection_changed=False,
        returned=0,
    )
    found = _Found(
        base,
        base.emitted or Digest.empty(limits.cells),
        candidates,
        backlog.dropped,
        backlog.above,
        backlog.names,
        np.setdiff1d(sorted_array(base.late), candidates.fingerprints),
        None if index is None else index.segments,
        _no_candidates(),
        "" if index is None else index.selection,
        backlog.now,
        statistics,
    )
    return _emitted(found, limits, max_index_bytes)


def _emitted(found: _Found, limits: ScanLimits, max_index_bytes: int) -> ScanResult:
    """Emits what the limits allow of what was found."""
    base, candidates, dropped = found.base, found.candidates, found.dropped
    step = emit(
        candidates,
        found.above,
        watermark=place_of(base.watermark),
        dropped=dropped,
        names=found.names,
        limits=limits,
        now=microseconds(found.now),
        late_waiting=len(found.found_late),
        holds_down=base.undecided > 0,
    )
    waiting = candidates.without(step.choice.chosen)
    following = _following(found, step, waiting, limits)
    batches = batches_of(candidates, step.choice.batches, found.names)
    total = base.total
    if total is not None:
        total = total.plus(*total_of(batches, base.generation, base.sequence))
    following = replace(following, sequence=base.sequence + bool(batches), total=total)
    index: Index | None = None
    if found.segments is not None:
        passed = step.above.only(np.arange(step.risen.passed))
        rows = candidates.only(np.sort(step.choice.chosen))
        segments = finished(
            found.segments,
            dropped=np.sort(passed.fingerprints[~passed.matching]),
            emitted=Candidates.joined([rows, found.recorded]) if len(found.recorded) else rows,
        )
        newest = _newest_emitted(following, step)
        index = index_of(segments, found.selection, newest, max_index_bytes)
        if following.emitted is not None and following.emitted.cells != limits.cells:
            following = replace(following, emitted=_resized(segments, following, limits.cells))
    statistics = replace(
        found.statistics,
        files=sum(map(len, batches)),
        bytes=sum(batch.bytes for batch in batches),
        files_late=len(step.emitted_late),
        files_waiting=len(waiting) + dropped.files,
        bytes_waiting=int(waiting.columns.sizes.sum()) + dropped.bytes,
        oldest_waiting=moment(waiting.columns.last_modified[0]) if len(waiting) else None,
        lookback=_kept_lookback(following, found.now, limits),
    )
    backlog: Backlog | None = None
    if len(waiting) > len(step.choice.held):
        rest = step.above.only(np.arange(step.risen.passed, len(step.above)))
        backlog = Backlog(
            following, index, waiting, dropped, rest, found.names, found.now, statistics
        )
    return ScanResult(
        batches=batches,
        sequence=base.sequence,
        checkpoint=following,
        index=index,
        statistics=statistics,
        backlog=backlog,
    )


def _decision(given: _Given, base: Checkpoint, seen: Seen, *, changed: bool) -> Decision:
    """What was emitted at or below the watermark and is listed."""
    cells = given.limits.cells
    if seen.classifier.index is not None:
        gone = seen.gone()
        below = gone[~members(gone, sorted_array(base.recent))]
        emitted = (base.emitted or Digest.empty(cells)).minus(below)
        return Decision(emitted, gone=len(gone), by="index")
    emitted_before = base.emitted
    if emitted_before is None and base.watermark is None and not seen.classifier.adopts:
        emitted_before = Digest.empty(cells)
    return decide(
        base,
        emitted=emitted_before,
        listed=seen.digests(),
        matching=None if seen.matching is None else seen.matching.finish(),
        rows="too large" if seen.is_too_large else rows_of(seen),
        changed=changed,
        ledger=given.ledger,
    )


def _still_late(
    candidates: Candidates, watermark: tuple[int, bytes] | None, decision: Decision
) -> Candidates:
    """The candidates without those at or below the watermark that were emitted after all."""
    if watermark is None:
        return candidates
    rows = np.arange(len(candidates))
    near = rows[candidates.columns.last_modified <= watermark[0]]
    below = np.array([row for row in near.tolist() if candidates.place(row) <= watermark], np.intp)
    return candidates.without(below[~members(candidates.fingerprints[below], decision.late)])


def _following(found: _Found, step: Step, waiting: Candidates, limits: ScanLimits) -> Checkpoint:
    """The checkpoint after a step."""
    watermark, passed = step.risen.watermark, step.risen.passed
    kept = step.above.fingerprints[passed:]
    enters = step.above.fingerprints[:passed]
    if not found.base.undecided:
        enters = enters[step.above.matching[:passed]]
    below: list[int] = []
    if watermark is not None:
        for row in range(min(len(waiting), limits.recent_limit)):
            if waiting.place(row) > watermark:
                break
            below.append(int(waiting.fingerprints[row]))
    late = [*below, *found.found_late.tolist()][: max(0, limits.recent_limit - len(kept))]
    emitted = found.emitted.plus(found.candidates.fingerprints[step.emitted_late]).plus(enters)
    return replace(
        found.base,
        watermark=position_of(watermark),
        late=frozenset(late),
        recent=frozenset(kept.tolist()),
        emitted=None if watermark is None else emitted,
    )


def _undecided_count(decision: Decision) -> int:
    if decision.undecided is None:
        return 0
    about = decision.undecided.appeared + decision.undecided.margin
    return max(1, min(decision.undecided.listed, about))


def _newest_emitted(following: Checkpoint, step: Step) -> int:
    """The greatest LastModified of what has been emitted, in microseconds."""
    watermark = following.watermark
    newest = -(2**62) if watermark is None else microseconds(watermark.last_modified)
    return max(newest, int(step.above.times[-1])) if len(step.above) else newest


def _resized(segments: Sequence[Segment], following: Checkpoint, cells: int) -> Digest:
    """The digest of what was emitted at or below the watermark, in another number of cells."""
    everything = np.concatenate([NO_FINGERPRINTS, *(each.fingerprints for each in segments)])
    above = members(everything, sorted_array(following.recent))
    return Digest.of(everything[~above], cells)


def _no_candidates() -> Candidates:
    empty = np.empty(0, np.int32)
    return Candidates(Columns.of(()), NO_FINGERPRINTS, empty, empty)


def _kept_lookback(following: Checkpoint, now: datetime, limits: ScanLimits) -> timedelta:
    if following.watermark is None:
        return limits.lookback
    behind = now - following.watermark.last_modified
    return max(timedelta(0), min(limits.lookback, behind))
