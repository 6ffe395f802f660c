"""Handing over again what was handed over before, as far as it meets some conditions.

A redo goes through the keys in their order, and remembers no more than the key to which it has
come: what the checkpoint knows does not change on the way. So what is new waits until the redo has
come to the end of the listing, and is then found as it would have been before.

What counts as handed over is what the checkpoint can tell without the sketch, in which single
identities do not show. So an object that appears at or below the floor, with an old LastModified,
after the last scan and before the redo comes to its key is taken for an old one: it is handed over
by the redo, and once more when the sketch has revealed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from operator import attrgetter

import numpy as np

from dagster_s3inc.core.advance import choose_all, most_that_fit
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.look import PageSeen, gather
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import Page, Rest
from dagster_s3inc.core.redo import Redo
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.core.statistics import summarize

__all__ = ["all_that_match", "handed_over_before", "scan_again"]

_ANYTHING = Selection(takes_all=lambda _: True)


def scan_again(
    checkpoint: Checkpoint,
    redo: Redo,
    pages: Iterable[Page | Rest],
    *,
    selection: Selection,
    limits: ScanLimits,
    may_be_cut: Callable[[], bool],
) -> ScanResult:
    """Goes on with the redo of a checkpoint.

    Args:
        checkpoint: What has been handed over.
        redo: What of that is handed over again, and how far this has come.
        pages: The listing, whole or behind the key to which the redo has come; or the beginning
            of either, and a `Rest`.
        selection: What counts.
        limits: What may be handed over.
        may_be_cut: Tells whether the listing can go on behind the keys read so far.
    """
    enough = limits.max_batches * limits.policy.max_files
    meets = _meets(checkpoint, redo, selection)
    seen = gather(
        pages,
        lambda page: _look_at(page, redo, meets),
        may_stop=lambda found: found > enough and may_be_cut(),
    )
    found = sorted(seen.new, key=attrgetter("key"))
    count, batches = most_that_fit(
        len(found), lambda count: choose_all(found[:count], limits, selection)
    )
    batches = batches or ()
    following: Redo | None = None
    if count < len(found):
        following = replace(redo, after=found[count - 1].key if count else redo.after)
    elif seen.rest is not None:
        following = replace(redo, after=seen.rest.after)
    statistics = summarize(
        seen, batches=batches, late=(), waiting=sorted(found[count:]), lookback=limits.lookback
    )
    return ScanResult(
        batches=batches,
        checkpoint=replace(
            checkpoint, redo=following and replace(following, whole=not may_be_cut())
        ),
        statistics=replace(statistics, redo=redo),
    )


def handed_over_before(
    checkpoint: Checkpoint, redo: Redo, pages: Iterable[Page], *, selection: Selection
) -> Iterator[S3Object]:
    """Yields what a redo hands over, in the order of the listing."""
    meets = _meets(checkpoint, redo, selection)
    for page in pages:
        yield from _look_at(page, redo, meets).new


def all_that_match(pages: Iterable[Page], *, selection: Selection) -> Iterator[S3Object]:
    """Yields what a generation hands over that starts everything over, in the listing's order."""
    for page in pages:
        everything = page.seen_from(None, _ANYTHING, frozenset()).above
        yield from filter(selection.matches, everything)


def _meets(checkpoint: Checkpoint, redo: Redo, selection: Selection) -> Callable[[S3Object], bool]:
    matches = redo.conditions.matcher(selection.prefix)

    def meets(each: S3Object) -> bool:
        if each.key <= redo.after or not matches(each):
            return False
        return checkpoint.knows(each) and selection.matches(each)

    return meets


def _look_at(page: Page, redo: Redo, meets: Callable[[S3Object], bool]) -> PageSeen:
    # So a page makes objects only of what is young enough.
    view = page.seen_from(redo.conditions.oldest, _ANYTHING, frozenset())
    ends, nothing = page.ends, np.empty(0, np.uint64)
    return PageSeen(
        last_key=ends and ends[1],
        late=[],
        new=[each for each in view.above if meets(each)],
        done=[],
        left_out=0,
        matching=nothing,
        moved=nothing,
        listed=view.objects,
        listed_bytes=view.bytes,
        newest=view.newest,
    )
