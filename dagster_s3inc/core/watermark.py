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

from bisect import bisect_left
from datetime import timedelta
from typing import Final, NamedTuple

import numpy as np

from dagster_s3inc.core.batching import Choice, ScanLimits, choose, most_that_fit
from dagster_s3inc.core.candidates import Candidates, Dropped
from dagster_s3inc.core.classify import Above
from dagster_s3inc.core.columns import Rows
from dagster_s3inc.core.index import Place

__all__ = ["Risen", "Step", "emit", "rise"]

_MICROSECOND: Final = timedelta(microseconds=1)


class Risen(NamedTuple):
    """How far the watermark rises.

    Attributes:
        watermark: The new one.
        passed: How many of the emitted objects above the old one it passes, the oldest first.
    """

    watermark: Place | None
    passed: int


def rise(
    watermark: Place | None, above: Above, *, bound: Place | None, horizon: int, room: int
) -> Risen:
    """Raises the watermark by the rules at the head of this module.

    Args:
        watermark: The old one.
        above: What has been emitted above it and is listed, in position order.
        bound: The oldest object that waits above it and is not held back.
        horizon: `now - lookback`, in microseconds.
        room: The most that `recent` may hold.
    """
    stop = max(len(above) - room, int(np.searchsorted(above.times, horizon)))
    if bound is not None:
        stop = min(stop, bisect_left(range(len(above)), bound, key=above.place))
    if stop <= 0:
        return Risen(watermark, 0)
    reached = above.place(stop - 1)
    return Risen(reached if watermark is None else max(watermark, reached), stop)


class Step(NamedTuple):
    """What is emitted, and where the watermark then is.

    Attributes:
        choice: Rows of the candidates.
        emitted_late: Those of the chosen rows that lie at or below the old watermark.
        above: What has been emitted above the old watermark, in position order.
        risen: How far the watermark rises.
        fits: Whether `recent` holds no more than it may.
    """

    choice: Choice
    emitted_late: Rows
    above: Above
    risen: Risen
    fits: bool


def emit(
    candidates: Candidates,
    above: Above,
    *,
    watermark: Place | None,
    dropped: Dropped,
    names: list[str],
    limits: ScanLimits,
    now: int,
    late_waiting: int,
    holds_down: bool,
) -> Step:
    """Emits the oldest candidates that the limits allow.

    Args:
        candidates: What is new, in position order.
        above: What has been emitted above the watermark and is listed, in position order.
        watermark: The old one.
        dropped: What is new beyond the candidates.
        names: The names of the groups, by number.
        limits: What may be emitted.
        now: The server's time, in microseconds.
        late_waiting: How many late files are known that are not candidates.
        holds_down: Whether objects that are held back hold the watermark down.
    """
    count = len(candidates)
    late_count = _late_count(candidates, watermark)

    def step(choice: Choice) -> Step:
        chosen = choice.chosen
        late = np.sort(chosen[chosen < late_count])
        taken = np.sort(chosen[chosen >= late_count])
        raised = Above.joined([above, Above.of(candidates.only(taken))]) if len(taken) else above
        waits = late_waiting + late_count - len(late)
        room = limits.recent_limit - min(waits, limits.late_limit)
        bound = _first_waiting(candidates, choice, late_count, holds_down=holds_down)
        # Where it lies below the watermark, so do all candidates, and the watermark stays.
        if dropped.oldest is not None:
            bound = dropped.oldest if bound is None else min(bound, dropped.oldest)
        horizon = now - limits.lookback // _MICROSECOND
        risen = rise(watermark, raised, bound=bound, horizon=horizon, room=room)
        # Some room is kept for late files, but for want of it nothing must stand still.
        most = max(len(above), limits.recent_limit - bool(waits))
        return Step(choice, late, raised, risen, len(raised) - risen.passed <= most)

    def attempt(number: int) -> Step | None:
        some = choose(
            candidates.only(np.arange(number)),
            limits.policy,
            max_batches=limits.max_batches,
            names=names,
            request_size=limits.request_size,
        )
        if not some.is_all:
            return None
        tried = step(some)
        return tried if tried.fits else None

    usual = step(
        choose(
            candidates,
            limits.policy,
            max_batches=limits.max_batches,
            names=names,
            request_size=limits.request_size,
            now=now,
        )
    )
    if usual.fits or not len(usual.choice.chosen):
        return usual
    _, fewer = most_that_fit(min(count, len(usual.choice.chosen)), attempt)
    return fewer or step(usual.choice._replace(batches=(), is_all=False))


def _late_count(candidates: Candidates, watermark: Place | None) -> int:
    """How many candidates, which are in position order, lie at or below the watermark."""
    if watermark is None:
        return 0
    low, high = 0, len(candidates)
    while low < high:
        middle = (low + high) // 2
        if candidates.place(middle) <= watermark:
            low = middle + 1
        else:
            high = middle
    return low


def _first_waiting(
    candidates: Candidates, choice: Choice, late_count: int, *, holds_down: bool
) -> Place | None:
    """The oldest candidate above the watermark that waits and is not held back."""
    waits = np.ones(len(candidates), np.bool_)
    waits[choice.chosen] = False
    if not holds_down:
        waits[choice.held] = False
    waits[:late_count] = False
    rows = np.flatnonzero(waits)
    return candidates.place(int(rows[0])) if len(rows) else None
