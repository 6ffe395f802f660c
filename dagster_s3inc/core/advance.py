"""Handing over the oldest of what is new, and raising the floor behind it.

How the floor may rise:

1. never past an object that is new and was not handed over in this scan, and never to its place;
2. only to the position of an object that was handed over: the claim "all at or below it is done"
   needs no other evidence;
3. by itself only to positions older than `now - lookback`, where `now` is the server's clock;
4. further only if more than `recent_limit` identities would have to be remembered, those that
   are wanted below it included.

Where batches hold the oldest of what is new, rule 4 always suffices: the floor may rise past all
of it, and what then remains above the floor was remembered before. Grouped batches, and objects
that linger, leave older objects behind. Then fewer are handed over, so that all can be remembered;
the oldest object can always be.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import NamedTuple, TypeVar

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.look import Done
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.selection import Selection

__all__ = ["Step", "advance", "choose", "choose_all", "left_of", "most_that_fit"]

_Made = TypeVar("_Made")

_modified, _position = attrgetter("last_modified"), attrgetter("position")


class Step(NamedTuple):
    """What is handed over, and what follows.

    Attributes:
        batches: In the order of their oldest objects.
        checkpoint: What is to be kept once they have been.
        done: What is remembered above its floor, in position order.
        waiting: What is new and not handed over, in position order.
        fits: Whether no more has to be remembered than may be.
    """

    batches: tuple[Batch, ...]
    checkpoint: Checkpoint
    done: tuple[Done, ...]
    waiting: tuple[S3Object, ...]
    fits: bool


def advance(
    base: Checkpoint,
    new: Sequence[S3Object],
    done: Sequence[Done],
    *,
    now: datetime,
    limits: ScanLimits,
    selection: Selection,
) -> Step:
    """Hands over the oldest objects that the limits allow.

    Args:
        base: What is known after the look; its `recent` counts for nothing, `done` does.
        new: All that is new and, below the floor, late; in position order.
        done: What has been handed over above the floor and is still listed.
        now: The server's time at the look.
        limits: What may be handed over.
        selection: Tells the groups.
    """

    def follow(batches: tuple[Batch, ...]) -> Step:
        return _follow(base, batches, new, done, now, limits)

    step = follow(choose(new, limits, selection, now=now))
    if not step.fits:
        for batches in _fewer(choose(new, limits, selection), follow(()), limits):
            step = follow(batches)
            if step.fits:
                break
    return step


def choose(
    new: Sequence[S3Object],
    limits: ScanLimits,
    selection: Selection,
    *,
    now: datetime | None = None,
) -> tuple[Batch, ...]:
    """The first batches of these objects that the limits allow.

    Args:
        new: In position order.
        limits: How many, and how long their run requests may be.
        selection: Tells the groups.
        now: Objects linger at this time; by default none does.
    """
    longest, written = limits.max_request_bytes, 0
    chosen: list[Batch] = []
    for batch in limits.policy.split(
        new, group_of=selection.group_of, now=now, max_request_bytes=longest
    ):
        if len(chosen) == limits.max_batches:
            break
        if longest is not None:
            written += batch.request_bytes
            if chosen and written > longest:
                break
        chosen.append(batch)
    return tuple(chosen)


def choose_all(
    new: Iterable[S3Object], limits: ScanLimits, selection: Selection
) -> tuple[Batch, ...] | None:
    """Batches of all these objects; None if the limits do not allow all of them.

    Args:
        new: In any order.
        limits: How many, and how long their run requests may be.
        selection: Tells the groups.
    """
    ordered = sorted(new)
    batches = choose(ordered, limits, selection)
    return batches if sum(map(len, batches)) == len(ordered) else None


def most_that_fit(count: int, attempt: Callable[[int], _Made | None]) -> tuple[int, _Made | None]:
    """The greatest number up to `count` that fits, and what the attempt made of it.

    Args:
        count: At least 0.
        attempt: Makes something of a number, or None if it is too much. What is less than a
            number that fits does fit.

    Returns:
        0 and None if nothing fits that was tried.
    """
    made = attempt(count)
    if made is not None:
        return count, made
    most, too_much = 0, count
    while too_much - most > 1:
        number = (most + too_much) // 2
        tried = attempt(number)
        if tried is None:
            too_much = number
        else:
            most, made = number, tried
    return most, made


def _fewer(
    batches: tuple[Batch, ...], without: Step, limits: ScanLimits
) -> Iterator[tuple[Batch, ...]]:
    """Less and less of these batches; the last is the oldest object alone."""
    for count in range(len(batches), 0, -1):
        yield batches[:count]
    if batches:
        oldest = batches[0]
        fitting = oldest.objects[: max(1, limits.recent_limit - len(without.done))]
        yield (replace(oldest, objects=fitting),)
        yield (replace(oldest, objects=oldest.objects[:1]),)


def _follow(
    base: Checkpoint,
    batches: tuple[Batch, ...],
    new: Sequence[S3Object],
    done: Sequence[Done],
    now: datetime,
    limits: ScanLimits,
) -> Step:
    """The step in which these batches, some of what is new, are handed over."""
    waiting = left_of(new, batches)
    late: list[int] = []
    above = list(done)
    for batch in batches:
        for each, identity in zip(batch.objects, batch.identities, strict=True):
            if base.floor is not None and each.position <= base.floor:
                late.append(identity)
            else:
                above.append(Done(*each[:2], identity))
    above.sort()
    wanted = base.wanted.difference(late)
    room = max(1, limits.recent_limit - len(wanted))
    bound = next(
        (e.position for e in waiting if base.floor is None or e.position > base.floor), None
    )
    floor = _raise_floor(
        base.floor,
        above,
        bound=bound,
        horizon=now - limits.lookback,
        room=room,
    )
    below = 0 if floor is None else bisect_right(above, floor, key=_position)
    passed, kept = above[:below], tuple(above[below:])
    settled = base.settled
    if settled is not None:
        settled = settled.plus([*late, *(each.identity for each in passed)])
    following = replace(
        base,
        floor=floor,
        recent=frozenset(each.identity for each in kept),
        settled=None if floor is None else settled,
        wanted=wanted,
    )
    return Step(batches, following, kept, waiting, len(kept) <= room)


def left_of(new: Sequence[S3Object], batches: Sequence[Batch]) -> tuple[S3Object, ...]:
    """What of these objects is in none of these batches, which are made of them."""
    if sum(map(len, batches)) == len(new):
        return ()
    handed = {each.key for batch in batches for each in batch.objects}
    return tuple(each for each in new if each.key not in handed)


def _raise_floor(
    floor: Position | None,
    done: Sequence[Done],
    *,
    bound: Position | None,
    horizon: datetime,
    room: int,
) -> Position | None:
    """The new floor, by the rules at the head of this module; `done` in position order."""
    stop = max(len(done) - room, bisect_left(done, horizon, key=_modified))
    if bound is not None:
        stop = min(stop, bisect_left(done, bound, key=_position))
    if stop <= 0:
        return floor
    reached = done[stop - 1].position
    return reached if floor is None else max(floor, reached)
