"""One look at a listing: what is new in it, in order, and the checkpoint that follows.

Why there is a floor *and* a set. S3 promises that a listing shows every object, but not that
objects become visible in the order of their LastModified: a multipart upload carries the time at
which it began, a replica the time of its source, and many objects share one second. A watermark
alone therefore loses files. So what was handed over lately is remembered one by one (`recent`),
and what is older than `lookback` is summed up: a position (`floor`), and a sketch of what was
handed over at or below it (`settled`), in which one file that is missing shows.

`advance` tells how the floor rises. An object that appears at or below it is revealed by the
sketch in one scan, and handed over by the next that meets it, ahead of what lies above the floor.

A listing that outlives its tick is looked at in parts (`part`). What has been handed over can be
handed over again (`again`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from dagster_s3inc.core.advance import Step, advance
from dagster_s3inc.core.again import scan_again
from dagster_s3inc.core.backlog import Backlog
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.look import Done, Seen, look
from dagster_s3inc.core.objects import Position
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import Page, Rest
from dagster_s3inc.core.part import scan_part
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.core.settled import Listed, settle
from dagster_s3inc.core.sketch import Sketch
from dagster_s3inc.core.statistics import summarize

__all__ = ["scan", "scan_backlog"]


def scan(
    checkpoint: Checkpoint,
    pages: Iterable[Page | Rest],
    *,
    now: datetime,
    selection: Selection | None = None,
    limits: ScanLimits | None = None,
    adopt: bool = False,
    may_be_cut: Callable[[], bool] = lambda: False,
) -> ScanResult:
    """Finds what a listing holds that the checkpoint does not know. A pure function.

    Where the checkpoint has a redo, finds what is to be handed over again, and nothing else.

    Args:
        checkpoint: What has been handed over so far.
        pages: The whole listing, in any chunks and any order, each object once. Or only its
            beginning, in the order of the keys, and a `Rest`: the checkpoint that follows then
            has a pass `unfinished`. Where the checkpoint given has one, the listing after its
            key, in the order of the keys. Where it has a redo, the same, or the whole listing.
        now: The server's time when it began to answer, aware.
        selection: What counts; by default every object.
        limits: What may be handed over; by default `ScanLimits()`.
        adopt: Hand nothing over, and count everything that may match as handed over: how the
            first scan begins for someone who wants only files from now on. Objects that appear
            later are new, whatever their LastModified.
        may_be_cut: Tells whether the pages read so far are in the order of the keys, so that a
            redo may stop there and go on behind the last key. It then reads no more of them than
            it must.

    Raises:
        Exception: Whatever `pages` raises. There is then no result, so nothing has changed.
    """
    selection, limits = selection or Selection(), limits or ScanLimits()
    if checkpoint.redo is not None:
        return scan_again(
            checkpoint,
            checkpoint.redo,
            pages,
            selection=selection,
            limits=limits,
            may_be_cut=may_be_cut,
        )
    if adopt or (checkpoint.unfinished is not None and checkpoint.unfinished.adopts):
        selection = replace(selection, matches=selection.may_match)
    if checkpoint.unfinished is not None:
        enough = limits.max_batches * limits.policy.max_files
        seen = look(checkpoint, pages, selection, enough=enough)
        return scan_part(checkpoint, seen, now=now, selection=selection, limits=limits)
    seen = look(checkpoint, pages, selection)
    if seen.rest is not None:
        return scan_part(checkpoint, seen, now=now, selection=selection, limits=limits, adopt=adopt)
    return _scan_whole(checkpoint, seen, now, selection, limits, adopt)


def _scan_whole(
    checkpoint: Checkpoint,
    seen: Seen,
    now: datetime,
    selection: Selection,
    limits: ScanLimits,
    adopt: bool,
) -> ScanResult:
    changed = checkpoint.selection not in (None, selection.digest)
    before = checkpoint.settled
    if changed or (before is not None and before.cells != limits.sketch_cells):
        before = None
    late, new, done = seen.late, seen.new, seen.done
    known_late = frozenset(each.identity for each in late)
    settled = settle(before, _listed(seen, limits.sketch_cells), known_late)
    base = replace(
        checkpoint,
        settled=settled.sketch,
        wanted=settled.late,
        selection=selection.digest,
        overflows=checkpoint.overflows + (settled.overflow is not None),
    )
    if adopt:
        base = replace(base, floor=Position(now - limits.lookback, ""))
        done, late, new = [*done, *(Done(*each[:2], each.identity) for each in new)], [], []
    # All that is late lies below all that is not, so this is position order.
    candidates = late + new
    step = advance(base, candidates, done, now=now, limits=limits, selection=selection)
    counted = _result(seen, step, now, limits, known_late)
    learned = replace(
        counted.statistics,
        revealed=len(settled.late - checkpoint.wanted),
        # With another prefix, what is not listed may be there all the same.
        gone=settled.gone + (0 if changed else len(checkpoint.recent) - len(seen.done)),
        overflow=settled.overflow,
        selection_changed=changed,
    )
    return replace(counted, statistics=learned)


def scan_backlog(
    backlog: Backlog, *, selection: Selection | None = None, limits: ScanLimits | None = None
) -> ScanResult:
    """Goes on with what an earlier scan found, without a look at the listing. A pure function.

    Args:
        backlog: What waits; the checkpoint that it follows is still the one that counts.
        selection: The same as at the look.
        limits: What may be handed over.
    """
    selection, limits = selection or Selection(), limits or ScanLimits()
    base, now = backlog.follows, backlog.now
    step = advance(base, backlog.waiting, backlog.done, now=now, limits=limits, selection=selection)
    return _result(Seen(), step, now, limits, base.wanted)


def _result(
    seen: Seen, step: Step, now: datetime, limits: ScanLimits, late: frozenset[int]
) -> ScanResult:
    return ScanResult(
        batches=step.batches,
        checkpoint=step.checkpoint,
        backlog=Backlog.of(step, now),
        statistics=summarize(
            seen,
            batches=step.batches,
            late=late,
            waiting=step.waiting,
            lookback=_kept_lookback(step.checkpoint.floor, now, limits),
        ),
    )


def _listed(seen: Seen, cells: int) -> Listed:
    nothing = np.empty(0, np.uint64)
    matching = np.concatenate([nothing, *(page.matching for page in seen.pages)])
    moved = np.concatenate([nothing, *(page.moved for page in seen.pages)])
    return Listed(Sketch.of(matching, cells), Sketch.of(moved, cells))


def _kept_lookback(floor: Position | None, now: datetime, limits: ScanLimits) -> timedelta:
    if floor is None:
        return limits.lookback
    return max(timedelta(0), min(limits.lookback, now - floor.last_modified))
