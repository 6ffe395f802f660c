"""One look at a listing: what is new in it, in order, and the checkpoint that follows.

Why there is a floor *and* a set. S3 promises that a listing shows every object, but not that
objects become visible in the order of their LastModified: a multipart upload carries the time at
which it began, a replica the time of its source, and many objects share one second. A watermark
alone therefore loses files. So what was handed over lately is remembered one by one (`recent`),
and what is older than `lookback` is summed up: a position (`floor`), and a sketch of what was
handed over at or below it (`settled`), in which one file that is missing shows.

How the floor may rise:

1. never past an object that is new and was not handed over in this scan, and never to its place;
2. only to the position of an object that was handed over: the claim "all at or below it is done"
   needs no other evidence;
3. by itself only to positions older than `now - lookback`, where `now` is the server's clock;
4. further only if more than `recent_limit` identities would have to be remembered.

Rule 4 always suffices: what is handed over in a scan is the oldest of what is new, so the floor
may rise past all of it, and what then remains above the floor was in the set before.

An object that appears at or below the floor is revealed by the sketch in one scan, and handed
over by the next that meets it, ahead of what lies above the floor.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.outcome import ScanResult, ScanStatistics
from dagster_s3inc.core.page import Page
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.core.settled import Listed, ListedBelow, settle

__all__ = ["scan"]


def scan(
    checkpoint: Checkpoint,
    pages: Iterable[Page],
    *,
    now: datetime,
    selection: Selection | None = None,
    limits: ScanLimits | None = None,
    adopt: bool = False,
) -> ScanResult:
    """Finds what a whole listing holds that the checkpoint does not know. A pure function.

    Args:
        checkpoint: What has been handed over so far.
        pages: The whole listing, in any chunks and any order, each object once.
        now: The server's time when it began to answer, aware.
        selection: What counts; by default every object.
        limits: What may be handed over; by default `ScanLimits()`.
        adopt: Hand nothing over, and count everything that may match as handed over: how the
            first scan begins for someone who wants only files from now on. Objects that appear
            later are new, whatever their LastModified.

    Raises:
        Exception: Whatever `pages` raises. There is then no result, so nothing has changed.
    """
    selection, limits = selection or Selection(), limits or ScanLimits()
    if adopt:
        selection = replace(selection, matches=selection.may_match)
    changed = checkpoint.selection not in (None, selection.digest)
    cells = limits.sketch_cells
    seen = _look(checkpoint, pages, selection, ListedBelow(cells))
    before = checkpoint.settled
    if changed or (before is not None and before.cells != cells):
        before = None
    settled = settle(before, seen.below, frozenset(each.identity for each in seen.late))

    # All that is late lies below all that is not, so this is position order.
    new = seen.late + seen.new
    batches = () if adopt else tuple(islice(limits.policy.split(new), limits.max_batches))
    count = len(new) if adopt else sum(len(batch) for batch in batches)
    late, above = seen.late[:count], seen.new[: max(0, count - len(seen.late))]
    waiting, waiting_above = new[count:], seen.new[len(above) :]

    done = sorted(seen.done + [_Done(each.position, each.identity) for each in above])
    floor = _raise_floor(
        Position(now - limits.lookback, "") if adopt else checkpoint.floor,
        done,
        bound=waiting_above[0].position if waiting_above else None,
        horizon=now - limits.lookback,
        recent_limit=limits.recent_limit,
    )
    passed = [each.identity for each in done if floor is not None and each.position <= floor]
    handed_late = frozenset(each.identity for each in late)
    following = replace(
        checkpoint,
        floor=floor,
        # In position order, so that what the floor has passed comes first.
        recent=frozenset(each.identity for each in done[len(passed) :]),
        settled=None if floor is None else settled.sketch.plus([*handed_late, *passed]),
        wanted=settled.late - handed_late,
        selection=selection.digest,
        overflows=checkpoint.overflows + (settled.overflow is not None),
    )
    statistics = ScanStatistics(
        objects_listed=seen.listed,
        bytes_listed=seen.listed_bytes,
        newest=seen.newest,
        left_out=seen.left_out,
        files=sum(len(batch) for batch in batches),
        bytes=sum(batch.bytes for batch in batches),
        files_late=len(late),
        files_waiting=len(waiting),
        bytes_waiting=sum(each.size for each in waiting),
        oldest_waiting=waiting[0].last_modified if waiting else None,
        revealed=len(settled.late - checkpoint.wanted),
        gone=settled.gone + len(checkpoint.recent) - len(seen.done),
        overflow=settled.overflow,
        selection_changed=changed,
        lookback=_kept_lookback(floor, now, limits.lookback),
    )
    return ScanResult(batches=batches, checkpoint=following, statistics=statistics)


class _Done(NamedTuple):
    """An object above the floor that has been handed over and is still listed."""

    position: Position
    identity: int


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What a listing shows to someone who knows a checkpoint."""

    late: list[S3Object] = field(default_factory=list)
    new: list[S3Object] = field(default_factory=list)
    done: list[_Done] = field(default_factory=list)
    below: Listed
    listed: int = 0
    listed_bytes: int = 0
    left_out: int = 0
    newest: Position | None = None


def _look(
    checkpoint: Checkpoint,
    pages: Iterable[Page],
    selection: Selection,
    below: ListedBelow,
) -> _Seen:
    """Sorts the listing into what is new and what is done, above and below the floor."""
    seen = _Seen(below=below.finish())
    for page in pages:
        view = page.seen_from(checkpoint.floor, selection, checkpoint.wanted)
        seen.listed += view.objects
        seen.listed_bytes += view.bytes
        if view.newest is not None:
            seen.newest = max(seen.newest or view.newest, view.newest)
        below.add(matching=view.below.matching, moved=view.below.moved)
        seen.late.extend(view.wanted)
        for entry in view.above:
            identity = entry.identity
            if identity in checkpoint.recent:
                seen.done.append(_Done(entry.position, identity))
            elif selection.matches(entry):
                seen.new.append(entry)
            else:
                seen.left_out += 1
    seen.late.sort()
    seen.new.sort()
    seen.below = below.finish()
    return seen


def _raise_floor(
    floor: Position | None,
    done: Sequence[_Done],
    *,
    bound: Position | None,
    horizon: datetime,
    recent_limit: int,
) -> Position | None:
    """The new floor, by the four rules at the head of this module; `done` in position order."""
    surplus = len(done) - recent_limit
    for index, (position, _) in enumerate(done):
        if bound is not None and position >= bound:
            break
        if position.last_modified >= horizon and index >= surplus:
            break
        if floor is None or position > floor:
            floor = position
    return floor


def _kept_lookback(floor: Position | None, now: datetime, asked: timedelta) -> timedelta:
    if floor is None:
        return asked
    return max(timedelta(0), min(asked, now - floor.last_modified))
