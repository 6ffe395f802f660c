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
from typing import Final

import numpy as np

from dagster_s3inc.core.batching import ScanLimits
from dagster_s3inc.core.candidates import (
    KEPT,
    Candidates,
    at_or_below,
    position_of,
    sorted_array,
)
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.classify import Classifier, Seen
from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.filters import Selection
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.index import (
    NO_FINGERPRINTS,
    Index,
    Segment,
    Stretch,
    members,
    stretches,
    without,
)
from dagster_s3inc.core.late_files import Decision, Given, LedgerReader, decide_by_listing
from dagster_s3inc.core.objects import Position
from dagster_s3inc.core.outcome import (
    Backlog,
    Building,
    ScanResult,
    ScanStatistics,
    concluded,
    finished,
    index_of,
)
from dagster_s3inc.core.page import Page, Rest
from dagster_s3inc.core.partial_scan import PartPlan, begun, finish_part
from dagster_s3inc.core.reprocessing import scan_again
from dagster_s3inc.core.watermark import Step, emit

__all__ = ["MAX_INDEX_BYTES", "ScanResult", "scan", "scan_backlog"]

MAX_INDEX_BYTES: Final = 256_000_000
"""An index takes 8 bytes an object: this is enough for 30 million."""


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
    given = Given(
        checkpoint, selection or Selection(), limits or ScanLimits(), now, ledger, max_index_bytes
    )
    limits, index = given.limits, _valid(index, given)
    if checkpoint.reprocesses_now is not None:
        return scan_again(given, pages, index)
    base, goes_on = checkpoint, checkpoint.partial_scan is not None
    adopts = checkpoint.accepts_now or (adopt and not goes_on)
    if adopts:
        base, index = _adopting(given), None
    elif base.emitted is None and base.watermark is not None:
        index = None
    starts_now = adopts and base.watermark is None
    if starts_now:
        # What is older than the lookback is at or below the watermark from the beginning.
        base = replace(base, watermark=Position(now - limits.lookback, ""))
    seen = _seen(given, base, index, adopts=starts_now)
    plan = None
    if goes_on or (may_be_cut and not adopts):
        plan = PartPlan(given, begun(given, base, adopts=adopts), seen.names)
    part, is_whole = _read(seen, pages, plan, part_only=goes_on)
    if plan is not None and (goes_on or not is_whole):
        is_last = is_whole and part is None
        return finish_part(given, plan, part or seen, building, is_last=is_last)
    if not is_whole:
        # What is adopted in parts is adopted by other rules, so it begins anew: nothing is
        # emitted, and the next tick begins a partial scan that adopts what is listed.
        cut = begun(given, replace(base, watermark=checkpoint.watermark), adopts=True)
        statistics = ScanStatistics.of(
            seen, lookback=limits.lookback, partial_scan=cut.partial_scan
        )
        return concluded(cut, replace(cut, selection=given.selection.hash), statistics)
    found = _found(given, base, seen)
    return scan_backlog(found, limits=limits, max_index_bytes=max_index_bytes)


def _valid(index: Index | None, given: Given) -> Index | None:
    """The index, if it belongs to the selection; an empty one for a new beginning."""
    selection = given.selection.hash
    if not given.checkpoint.has_begun:
        return Index.empty(selection)
    return None if index is None or index.selection != selection else index


def _adopting(given: Given) -> Checkpoint:
    """The checkpoint of which what is listed counts as emitted."""
    return replace(
        given.checkpoint,
        emitted=None,
        total=None,
        reprocess=None,
        undecided=0,
        late=frozenset(),
        selection=given.selection.hash,
    )


def _seen(given: Given, base: Checkpoint, index: Index | None, *, adopts: bool) -> Seen:
    limits, partial = given.limits, base.partial_scan
    cells: list[int] = []
    if index is None:
        mine = limits.cells if base.emitted is None else base.emitted.cells
        cells = [mine] if mine == limits.cells else [mine, limits.cells]
    return Seen(
        Classifier(base, index, given.selection, adopts=adopts),
        # So many that the next ticks need no listing.
        kept=max(KEPT, limits.max_batches * limits.policy.max_files) if partial is None else 0,
        cells=cells,
        start=b"" if partial is None else partial.after.encode("utf-8"),
        max_index_bytes=given.max_index_bytes,
    )


def _read(
    seen: Seen, pages: Iterable[Page | Rest], plan: PartPlan | None, *, part_only: bool
) -> tuple[Seen | None, bool]:
    """Reads a listing to its end, or as far as a part can take it.

    Returns:
        What a part takes of it, if it cannot take all that was read; and whether it was read to
        its end.
    """
    part: Seen | None = None
    classifier = seen.classifier
    for stretch in stretches(
        pages, classifier.index, after=seen.last_key, may_skip=classifier.may_skip
    ):
        if isinstance(stretch, Rest):
            if part is None:
                seen.last_key = stretch.after
            return part, False
        classified = seen.classify(stretch)
        if plan is not None and part is None and classified.candidates is not None:
            key = plan.first_that_does_not_fit(classified.candidates)
            if key is not None:
                part = seen.copy()
                _take_up_to(part, stretch, key)
                if part_only:
                    return part, False
        seen.add(classified)
    return part, True


def _take_up_to(part: Seen, stretch: Stretch, key: bytes) -> None:
    """Takes the entries of a stretch whose keys are less than this one."""
    parts: list[Columns] = []
    for columns in stretch.parts:
        keys = columns.key_bytes()
        count = sum(each < key for each in keys)
        if count:
            parts.append(columns.only(np.arange(count)))
    known = tuple(each for each in stretch.known if each.start < key)
    if parts or known or len(part.carried):
        shorter = Stretch(stretch.start, key, known, True, parts=tuple(parts))
        part.add(part.classify(shorter))


def _found(given: Given, base: Checkpoint, seen: Seen) -> Backlog:
    """What a scan found that has seen the whole listing, before anything is emitted."""
    selection, index = given.selection.hash, seen.classifier.index
    changed, above = given.changed(base), seen.above()
    decision = _decision(given, base, seen)
    is_undecided = decision.undecided is not None
    lost = 0
    if index is None and not changed:
        lost = len(base.recent) - int(members(above.fingerprints, sorted_array(base.recent)).sum())
    candidates = seen.oldest.finish()
    if index is None and not is_undecided:
        # Those at or below the watermark that were emitted after all are no candidates.
        below = np.flatnonzero(at_or_below(candidates.columns, seen.classifier.watermark))
        is_late = members(candidates.fingerprints[below], decision.late)
        candidates = candidates.without(below[~is_late])
    # A narrower selection may not have listed them, so that `recent` lost them.
    rows = np.flatnonzero(members(candidates.fingerprints, decision.recorded))
    recorded, candidates = candidates.only(rows), candidates.without(rows)
    found_late = without(decision.late_matching, candidates.fingerprints)
    statistics = ScanStatistics.of(
        seen, lookback=given.limits.lookback, selection_changed=changed
    ).with_decision(
        decision, found_late=len(without(found_late, sorted_array(base.late))), gone=lost
    )
    undecided = 0
    if decision.undecided is not None:
        about = decision.undecided.appeared + decision.undecided.margin
        undecided = max(1, min(decision.undecided.listed, about))
    segments = None
    if not is_undecided and not seen.is_too_large:
        segments = finished(seen.segments(), late=decision.late, emitted=recorded)
    return Backlog(
        replace(
            base,
            selection=base.selection if is_undecided and changed else selection,
            undecided=undecided,
            emitted=decision.emitted,
        ),
        segments,
        selection,
        candidates,
        seen.oldest.dropped,
        found_late,
        above.plus(recorded),
        seen.names,
        given.now,
        statistics,
    )


def _decision(given: Given, base: Checkpoint, seen: Seen) -> Decision:
    """What was emitted at or below the watermark and is listed."""
    if seen.classifier.index is None:
        return decide_by_listing(given, base, seen)
    gone = seen.gone()
    below = gone[~members(gone, sorted_array(base.recent))]
    emitted = base.emitted or Digest.empty(given.limits.cells)
    return Decision(emitted.minus(below), gone=len(gone), by="index")


def scan_backlog(
    backlog: Backlog, *, limits: ScanLimits, max_index_bytes: int = MAX_INDEX_BYTES
) -> ScanResult:
    """Emits what the limits allow of what was found, by this scan or by an earlier one.

    Without a listing; a pure function.

    Args:
        backlog: What waits; the checkpoint that it follows is still the one that counts.
        limits: What may be emitted.
        max_index_bytes: A larger index is not kept.
    """
    base, candidates = backlog.follows, backlog.candidates
    step = emit(backlog, limits)
    waiting = candidates.without(step.choice.chosen)
    following = _following(backlog, step, waiting, limits)
    segments, index = backlog.segments, None
    if segments is not None:
        passed = step.passed
        segments = finished(
            segments,
            dropped=np.sort(passed.fingerprints[~passed.matching]),
            emitted=candidates.only(np.sort(step.choice.chosen)),
        )
        index = index_of(segments, backlog.selection, _newest_emitted(step), max_index_bytes)
        if following.emitted is not None and following.emitted.cells != limits.cells:
            following = replace(following, emitted=_resized(segments, following, limits.cells))
    statistics = replace(
        backlog.statistics,
        files_late=len(step.emitted_late),
        lookback=_kept_lookback(following, backlog.now, limits),
    )
    result = concluded(
        base,
        following,
        statistics,
        batches=[candidates.only(rows) for rows in step.choice.batches],
        names=backlog.names,
        waiting=waiting,
        dropped=backlog.dropped,
        index=index,
    )
    if len(waiting) <= len(step.choice.held):
        return result
    left = replace(
        backlog,
        follows=result.checkpoint,
        segments=None if index is None else segments,
        candidates=waiting,
        found_late=without(sorted_array(following.late), waiting.fingerprints),
        above=step.above,
        # The numbers of the listing are said once.
        statistics=replace(
            result.statistics,
            objects_listed=0,
            bytes_listed=0,
            newest=None,
            left_out=0,
            found_late=0,
            gone=0,
            selection_changed=False,
            returned=0,
        ),
    )
    return replace(result, backlog=left)


def _following(found: Backlog, step: Step, waiting: Candidates, limits: ScanLimits) -> Checkpoint:
    """The checkpoint after a step, but for its sequence and its total."""
    base, passed, watermark = found.follows, step.passed, step.watermark
    if watermark is None:
        emitted = None
    else:
        # While files are undecided, it is open what matches.
        enters = passed.matching | (base.undecided > 0)
        before = base.emitted or Digest.empty(limits.cells)
        late = found.candidates.fingerprints[step.emitted_late]
        emitted = before.plus(late).plus(passed.fingerprints[enters])
    oldest = waiting.only(np.arange(min(len(waiting), limits.recent_limit)))
    below = oldest.fingerprints[at_or_below(oldest.columns, watermark)]
    room = max(0, limits.recent_limit - len(step.above))
    return replace(
        base,
        watermark=position_of(watermark),
        late=frozenset([*below.tolist(), *found.found_late.tolist()][:room]),
        recent=frozenset(step.above.fingerprints.tolist()),
        emitted=emitted,
    )


def _newest_emitted(step: Step) -> int:
    """The greatest LastModified of what has been emitted, in microseconds."""
    newest = -(2**62) if step.watermark is None else step.watermark[0]
    return max(newest, int(step.above.times[-1])) if len(step.above) else newest


def _resized(segments: Sequence[Segment], following: Checkpoint, cells: int) -> Digest:
    """The digest of what was emitted at or below the watermark, in another number of cells."""
    everything = np.concatenate([NO_FINGERPRINTS, *(each.fingerprints for each in segments)])
    above = members(everything, sorted_array(following.recent))
    return Digest.of(everything[~above], cells)


def _kept_lookback(following: Checkpoint, now: datetime, limits: ScanLimits) -> timedelta:
    if following.watermark is None:
        return limits.lookback
    behind = now - following.watermark.last_modified
    return max(timedelta(0), min(limits.lookback, behind))
