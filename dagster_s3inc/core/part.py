"""A part of a pass: a scan whose listing outlives one tick, and goes on in the next.

A pass goes through the keys in their order. Each part hands over *all* that is new up to some key,
in position order, so nothing behind that key has to be remembered but for what a whole scan would
remember too. The floor stays where it is until the pass has come to the end of the listing.

What a pass hands over is of two kinds. What is older than the `horizon` (the beginning of the pass
less the lookback) will lie below the floor when the pass has ended: it goes into the sketch at
once. What is younger is remembered one by one, as far as there is room; beyond, it waits for the
next pass, which begins later and so has a later horizon. If there was little room at the beginning
already, the horizon is the beginning itself: the lookback is given up for one pass, in which the
sketch has to reveal all that is late.

At the end the floor rises to the horizon. All that was listed below it has been handed over in
this pass or before. What appeared behind the pass's back is younger than its beginning, and so
above the floor; or late, and then the sketch reveals it in the next.

For the sketch, one pass is one look: `listed` sums up what is listed at or below the floor from
part to part, and is compared with `settled` at the end. What was summed up on the way is in both.
There is room for one sketch of what is listed, so it holds what matches together with what would
but for its storage class; see `settled` for what a whole scan can do better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain

import numpy as np

from dagster_s3inc.core.advance import choose_all, left_of, most_that_fit
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.checkpoint import Checkpoint, Pass
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.look import Done, PageSeen, Seen, look_at
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import ObjectsPage
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.core.settled import Listed, Settled, settle
from dagster_s3inc.core.sketch import Sketch
from dagster_s3inc.core.statistics import summarize

__all__ = ["scan_part"]

# If so much of what can be remembered is in use when a pass begins, it gives up the lookback.
_CROWDED = 0.5


def scan_part(
    checkpoint: Checkpoint,
    seen: Seen,
    *,
    now: datetime,
    selection: Selection,
    limits: ScanLimits,
    adopt: bool = False,
) -> ScanResult:
    """Goes on with the unfinished pass, or begins one.

    Args:
        checkpoint: What has been handed over.
        seen: A part of the listing in the order of its keys, from where the pass stands.
        now: The server's time at the look.
        selection: What counts.
        limits: What may be handed over.
        adopt: Whether a pass that begins counts what it finds as handed over.
    """
    start, changed = _start(checkpoint, now, limits, selection, adopt)
    began = _pass(start)
    turn = _take(start, seen, limits, selection)
    following = _follow(start, turn)
    settled = None
    if turn.is_last:
        following, settled = _end(following)
    found = [] if began.adopts else sorted(chain(seen.late, seen.new))
    statistics = summarize(
        seen,
        batches=turn.batches,
        late=checkpoint.wanted,
        waiting=left_of(found, turn.batches),
        lookback=max(timedelta(0), min(limits.lookback, now - began.horizon)),
    )
    statistics = replace(statistics, selection_changed=changed, unfinished=following.unfinished)
    following = replace(following, selection=selection.digest)
    if settled is not None:
        statistics = replace(
            statistics,
            revealed=len(settled.late),
            gone=settled.gone,
            overflow=settled.overflow,
        )
        following = replace(
            following, overflows=following.overflows + (settled.overflow is not None)
        )
    return ScanResult(batches=turn.batches, checkpoint=following, statistics=statistics)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Turn:
    """What one part comes to.

    Attributes:
        batches: What is handed over: all that is new in `pages`, but for what there is no room.
        pages: What was looked at, up to the key to which the pass has come.
        is_last: Whether that is the end of the listing.
    """

    batches: tuple[Batch, ...]
    pages: list[PageSeen]
    is_last: bool


def _pass(checkpoint: Checkpoint) -> Pass:
    assert checkpoint.unfinished is not None  # noqa: S101 # it has been begun
    return checkpoint.unfinished


def _start(
    checkpoint: Checkpoint,
    now: datetime,
    limits: ScanLimits,
    selection: Selection,
    adopt: bool,
) -> tuple[Checkpoint, bool]:
    """The checkpoint with its pass begun, and whether the selection has changed."""
    changed = checkpoint.selection not in (None, selection.digest)
    settled, going_on = checkpoint.settled, checkpoint.unfinished
    if changed or (settled is not None and settled.cells != limits.sketch_cells):
        settled = None
        going_on = going_on and replace(going_on, listed=None)
    elif checkpoint.floor is None and going_on is None:
        settled = Sketch.empty(limits.sketch_cells)
    if going_on is None:
        in_use = len(checkpoint.recent) + len(checkpoint.wanted)
        # What appears late while the sketch is not known is not revealed; so less may be late.
        crowded = in_use > _CROWDED * limits.recent_limit and settled is not None
        at_once = adopt or crowded
        going_on = Pass(
            began=now,
            horizon=now if at_once else now - limits.lookback,
            after="",
            listed=Sketch.empty(limits.sketch_cells),
            adopts=adopt,
        )
    return replace(checkpoint, settled=settled, unfinished=going_on), changed


def _take(start: Checkpoint, seen: Seen, limits: ScanLimits, selection: Selection) -> _Turn:
    """As many whole pages as can be handed over; or else what can be of the first."""

    def turn(pages: list[PageSeen], *, is_last: bool = False) -> _Turn | None:
        batches = _hand_over(start, pages, limits, selection)
        return None if batches is None else _Turn(batches=batches, pages=pages, is_last=is_last)

    pages, nothing = seen.pages, _Turn(batches=(), pages=[], is_last=False)
    to_the_end = seen.rest is None
    count, whole = most_that_fit(
        len(pages), lambda count: turn(pages[:count], is_last=to_the_end and count == len(pages))
    )
    if count == len(pages) or _last_key(pages[:count]) is not None:
        return whole or nothing
    # Those that are taken are empty, so the next is the first that is not.
    first = seen.first or ObjectsPage(())
    keys = sorted(each.key for each in _candidates(start, pages[count]))

    def turn_up_to(number: int) -> _Turn | None:
        return turn([look_at(first.up_to(keys[number - 1]), start, selection)])

    _, some = most_that_fit(len(keys), turn_up_to)
    return some or nothing


def _hand_over(
    start: Checkpoint, pages: list[PageSeen], limits: ScanLimits, selection: Selection
) -> tuple[Batch, ...] | None:
    """Batches of all that is new in these pages, as far as there is room; None if too much is."""
    horizon = _pass(start).horizon
    younger = sum(each.last_modified >= horizon for page in pages for each in page.done)
    met = sum(len(page.done) for page in pages)
    remembered = len(start.recent) - met + younger + len(_pass(start).met) + len(start.wanted)
    room = max(0, limits.recent_limit - remembered)
    found = [each for page in pages for each in _candidates(start, page)]
    chosen = [each for each in found if each.last_modified < horizon]
    chosen += [each for each in found if each.last_modified >= horizon][:room]
    return choose_all(chosen, limits, selection)


def _candidates(start: Checkpoint, page: PageSeen) -> list[S3Object]:
    return [] if _pass(start).adopts else [*page.late, *page.new]


def _last_key(pages: list[PageSeen]) -> str | None:
    return next((page.last_key for page in reversed(pages) if page.last_key is not None), None)


def _follow(start: Checkpoint, turn: _Turn) -> Checkpoint:
    """The checkpoint with this part taken into its pass."""
    before = _pass(start)
    handed = [each for batch in turn.batches for each in batch.objects]
    late = {each.identity for each in handed} & start.wanted
    done = [Done(*each[:2], each.identity) for each in handed if each.identity not in late]
    met = [each for page in turn.pages for each in page.done]
    if before.adopts:
        adopted = (each for page in turn.pages for each in page.new)
        done += [
            Done(*each[:2], each.identity)
            for each in adopted
            if each.last_modified < before.horizon
        ]
    above = [*done, *met]
    passed = [e.identity for e in above if e.last_modified < before.horizon]
    younger = [e.identity for e in above if e.last_modified >= before.horizon]
    listed = before.listed
    if listed is not None:
        below = [array for page in turn.pages for array in (page.matching, page.moved)]
        listed = listed.plus(np.concatenate([np.empty(0, np.uint64), *below])).plus(passed)
    return replace(
        start,
        recent=start.recent.difference(each.identity for each in met),
        settled=start.settled and start.settled.plus([*passed, *late]),
        wanted=start.wanted - late,
        unfinished=replace(
            before,
            after=_last_key(turn.pages) or before.after,
            objects=before.objects + sum(page.listed for page in turn.pages),
            listed=listed,
            met=before.met.union(younger),
        ),
    )


def _end(checkpoint: Checkpoint) -> tuple[Checkpoint, Settled | None]:
    """The checkpoint after the pass has come to the end of the listing."""
    ended = _pass(checkpoint)
    rises = Position(ended.horizon, "")
    following = replace(
        checkpoint,
        floor=rises if checkpoint.floor is None else max(checkpoint.floor, rises),
        recent=ended.met,
        unfinished=None,
    )
    if ended.listed is None:
        # What is listed was selected by different rules; the next scan takes it as it finds it.
        return replace(following, settled=None), None
    nothing = Sketch.empty(ended.listed.cells)
    settled = settle(checkpoint.settled, Listed(ended.listed, nothing), frozenset())
    settled = replace(settled, gone=settled.gone + len(checkpoint.recent))
    return replace(following, settled=settled.sketch, wanted=settled.late), settled
