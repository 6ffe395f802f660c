"""Choosing what is emitted, and raising the watermark behind it.

How the watermark may rise:

1. never past an object that is new and that the scan had no room for, and never to its place;
2. only to the position of an object that was emitted: the claim "all at or below it has been
   emitted" needs no other evidence;
3. by itself only to positions older than `now - lookback`, where `now` is the server's clock;
4. further only if `recent` would outgrow its bound.

An object that is held back (it lingers, say) does not hold the watermark down. Below it, it is a
late file that waits.

Where batches hold the oldest of what is new, rule 4 always suffices: the watermark may rise past
all of it, and what then remains above was remembered before. Grouped batches leave older objects
behind. Then less is emitted, the oldest first, so that all can be remembered; the oldest object
can always be.

Example: `recent` may hold two, the lookback is an hour, the server's clock says 10:00, and one
tick emits batches of one file, at most three:

    a 08:10   b 08:20   c 09:40   d 09:50   e 09:55

    a, b, c are emitted. The watermark rises to b (rule 3); `recent` holds c. d waits.
    next tick: d and e are emitted. c, d, e are one too many for `recent`: the watermark rises
    to c (rule 4).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np

from dagster_s3inc.core.batching import Choice, ScanLimits, choose, most_that_fit
from dagster_s3inc.core.candidates import Above, Candidates, place_of
from dagster_s3inc.core.columns import Rows, microseconds
from dagster_s3inc.core.index import Place
from dagster_s3inc.core.outcome import Backlog

__all__ = ["Step", "emit", "rise"]

_MICROSECOND: Final = timedelta(microseconds=1)


def rise(above: Above, *, bound: Place | None, horizon: int, room: int) -> int:
    """How many objects the watermark passes by the rules at the head of this module.

    Args:
        above: What has been emitted above it and is listed, in position order.
        bound: The oldest object that waits above it and is not held back.
        horizon: `now - lookback`, in microseconds.
        room: The most that `recent` may hold.
    """
    stop = max(len(above) - room, int(np.searchsorted(above.times, horizon)))
    if bound is not None:
        stop = min(stop, bisect_left(range(len(above)), bound, key=above.place))
    return max(0, stop)


class Step(NamedTuple):
    """What is emitted, and where the watermark then is.

    Attributes:
        choice: Rows of the candidates.
        emitted_late: Those of the chosen rows that lie at or below the old watermark.
        passed: What has been emitted above the old watermark and not above the new one.
        above: What has been emitted above the new one, in position order.
        watermark: The new one.
        fits: Whether `recent` holds no more than it may.
    """

    choice: Choice
    emitted_late: Rows
    passed: Above
    above: Above
    watermark: Place | None
    fits: bool


def emit(found: Backlog, limits: ScanLimits) -> Step:
    """Emits the oldest candidates that the limits allow."""
    candidates, names = found.candidates, found.names
    watermark, now = place_of(found.follows.watermark), microseconds(found.now)
    late_count = 0
    if watermark is not None:
        late_count = bisect_right(range(len(candidates)), watermark, key=candidates.place)

    def step(choice: Choice) -> Step:
        chosen = choice.chosen
        late = np.sort(chosen[chosen < late_count])
        above = found.above.plus(candidates.only(np.sort(chosen[chosen >= late_count])))
        waits = len(found.found_late) + late_count - len(late)
        room = limits.recent_limit - min(waits, limits.late_limit)
        # While files are undecided, what is held back holds the watermark down too.
        held = choice.held[:0] if found.follows.undecided else choice.held
        bound = _first_waiting(candidates, np.concatenate([chosen, held]), late_count)
        # Where it lies below the watermark, so do all candidates, and the watermark stays.
        oldest = found.dropped.oldest
        if oldest is not None:
            bound = oldest if bound is None else min(bound, oldest)
        count = rise(above, bound=bound, horizon=now - limits.lookback // _MICROSECOND, room=room)
        risen = watermark
        if count:
            risen = above.place(count - 1)
            risen = risen if watermark is None else max(watermark, risen)
        passed, kept = above.split(count)
        # Some room is kept for late files, but for want of it nothing must stand still.
        most = max(len(found.above), limits.recent_limit - bool(waits))
        return Step(choice, late, passed, kept, risen, len(kept) <= most)

    def attempt(number: int) -> Step | None:
        some = choose(candidates.only(np.arange(number)), limits, names)
        if not some.is_all:
            return None
        tried = step(some)
        return tried if tried.fits else None

    usual = step(choose(candidates, limits, names, now=now))
    if usual.fits or not len(usual.choice.chosen):
        return usual
    _, fewer = most_that_fit(len(usual.choice.chosen), attempt)
    return fewer or step(usual.choice._replace(batches=(), is_all=False))


def _first_waiting(candidates: Candidates, others: Rows, late_count: int) -> Place | None:
    """The oldest candidate above the watermark that waits and is not one of the others."""
    waits = np.ones(len(candidates), np.bool_)
    waits[others] = False
    waits[:late_count] = False
    return candidates.place(int(waits.argmax())) if waits.any() else None
