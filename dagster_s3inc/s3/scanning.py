"""Scans of a place in S3, one after the other, and what is kept in memory between them."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from dagster_s3inc.core.again import all_that_match, handed_over_before
from dagster_s3inc.core.backlog import Backlog
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import Page, Rest
from dagster_s3inc.core.redo import narrower
from dagster_s3inc.core.scan import scan, scan_backlog
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.s3.listing import LANES, Listing, ListingMemory, open_listing
from dagster_s3inc.s3.location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["TIME_BUDGET", "Look", "OnPage", "Scanner", "without"]

OnPage = Callable[[int, int], None]

TIME_BUDGET: Final = timedelta(seconds=15)
"""Dagster gives a sensor 60 s, and by default all sensors share one thread."""

# A backlog is handed over without another look for at most so many times as long as the look took:
# looking again then costs a twentieth of the time, and no backlog is much older than it must be.
_BACKLOG_LOOKS: Final = 20


class Look(NamedTuple):
    """A scan, and what it cost.

    Attributes:
        result: What the scan gives.
        requests: The LIST requests that were sent; 0 if a backlog made them needless.
        server_time: The server's time when it was looked; earlier than now for a backlog.
    """

    result: ScanResult
    requests: int
    server_time: datetime


class _Kept(NamedTuple):
    backlog: Backlog
    digest: str
    until: float


class Scanner:
    """Scans a prefix. Safe to be used by several threads.

    What it keeps is an optimisation alone: where the last listing's pages were, so that the next
    can be read in lanes, and what waits, so that it need not be listed again.

    Args:
        time_budget: A listing that takes longer is looked at in parts; None means never.
        lanes: The most requests that are under way at a time.
    """

    def __init__(self, *, time_budget: timedelta | None = TIME_BUDGET, lanes: int = LANES) -> None:
        self._budget, self._lanes = time_budget, lanes
        self._memory = ListingMemory()
        self._lock = threading.Lock()
        self._kept: _Kept | None = None

    def scan(
        self,
        client: S3Client,
        place: S3Location,
        checkpoint: Checkpoint,
        *,
        selection: Selection,
        limits: ScanLimits,
        adopt: bool = False,
        on_page: OnPage | None = None,
    ) -> Look:
        """Finds what is new in a place.

        Args:
            client: The boto3 client.
            place: What is listed: everything whose key starts with its key.
            checkpoint: What has been handed over so far.
            selection: What counts of it.
            limits: What may be handed over.
            adopt: See `core.scan.scan`.
            on_page: Is told of each page how many objects it lists, and how many requests have
                been sent so far.

        Raises:
            S3RequestError: The listing could not be had.
        """
        kept = self._take_backlog(checkpoint, selection)
        if kept is not None:
            result = scan_backlog(kept.backlog, selection=selection, limits=limits)
            if result.batches:
                self._keep(result, selection, kept.until)
                return Look(result, 0, kept.backlog.now)
        began = time.monotonic()
        listing = open_listing(
            client,
            _narrowed(place, checkpoint, selection),
            after=_begin_after(checkpoint),
            lanes=self._lanes,
            memory=self._memory,
        )
        until = None if self._budget is None else began + self._budget.total_seconds()
        with closing(_within(listing, until, on_page)) as pages, _without_collector():
            result = scan(
                checkpoint,
                pages,
                now=listing.server_time,
                selection=selection,
                limits=limits,
                adopt=adopt,
                may_be_cut=lambda: listing.may_be_cut,
            )
        now = time.monotonic()
        self._keep(result, selection, now + _BACKLOG_LOOKS * (now - began))
        return Look(result, listing.requests, listing.server_time)

    def foresee(
        self,
        client: S3Client,
        place: S3Location,
        checkpoint: Checkpoint,
        *,
        selection: Selection,
    ) -> Iterator[S3Object]:
        """Lists what a new generation would hand over of what is there; takes its time.

        Args:
            client: The boto3 client.
            place: What is listed.
            checkpoint: What it would begin with: one with a redo, or an empty one.
            selection: What counts.

        Raises:
            S3RequestError: The listing could not be had.
        """
        narrowed = _narrowed(place, checkpoint, selection)
        listing = open_listing(client, narrowed, lanes=self._lanes, memory=self._memory)
        with closing(listing.pages) as pages:
            if checkpoint.redo is None:
                yield from all_that_match(pages, selection=selection)
            else:
                yield from handed_over_before(
                    checkpoint, checkpoint.redo, pages, selection=selection
                )

    def _take_backlog(self, checkpoint: Checkpoint, selection: Selection) -> _Kept | None:
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is None or time.monotonic() > kept.until or kept.digest != selection.digest:
            return None
        return kept if kept.backlog.follows == checkpoint else None

    def _keep(self, result: ScanResult, selection: Selection, until: float) -> None:
        if result.backlog is not None:
            with self._lock:
                self._kept = _Kept(result.backlog, selection.digest, until)


def _narrowed(place: S3Location, checkpoint: Checkpoint, selection: Selection) -> S3Location:
    if checkpoint.redo is None:
        return place
    prefix = checkpoint.redo.conditions.list_prefix(selection.prefix)
    return replace(place, key=narrower(place.key, prefix))


def _begin_after(checkpoint: Checkpoint) -> str | None:
    redo, unfinished = checkpoint.redo, checkpoint.unfinished
    if redo is not None:
        return None if redo.whole else redo.after or None
    return None if unfinished is None else unfinished.after


@contextmanager
def _without_collector() -> Iterator[None]:
    """Keeps Python's collector of cycles from running, in all threads.

    A first scan makes a great many objects that stay, and no cycles. The collector would go
    through all of them again and again: that took 40% of the scan's CPU.
    """
    if not gc.isenabled():
        # By the user, or by a scan in another thread; it is for them to turn it on.
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _within(
    listing: Listing, until: float | None, on_page: OnPage | None
) -> Generator[Page | Rest, None, None]:
    """The pages that come in time, at least one; and a `Rest` if there are more."""
    with closing(listing.pages) as pages:
        last: str | None = None
        for page in pages:
            late = until is not None and time.monotonic() > until
            if last is not None and late and listing.may_be_cut:
                yield Rest(last)
                return
            if on_page is not None:
                on_page(len(page), listing.requests)
            yield page
            last = page.ends[1] if page.ends else last


def without(key: str, selection: Selection) -> Selection:
    """The same selection, in which one key never counts."""

    def other(matches: Callable[[S3Object], bool]) -> Callable[[S3Object], bool]:
        return lambda each: each.key != key and matches(each)

    return replace(
        selection,
        matches=other(selection.matches),
        may_match=other(selection.may_match),
        takes_all=lambda _: False,
    )
