"""Scans of a prefix, one after the other, and what is kept in memory between them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from dagster_s3inc.core.batching import ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.cursor_format import encode_checkpoint
from dagster_s3inc.core.filters import Selection, narrower
from dagster_s3inc.core.index import Index
from dagster_s3inc.core.late_files import LedgerReader
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.outcome import Backlog, Building, ScanResult
from dagster_s3inc.core.page import Page, Rest
from dagster_s3inc.core.reprocessing import emitted_before
from dagster_s3inc.core.scan import MAX_INDEX_BYTES, scan, scan_backlog
from dagster_s3inc.core.validation import require_at_least, require_positive
from dagster_s3inc.errors import KeyOrderError
from dagster_s3inc.s3.listing import (
    MAX_CONCURRENT_REQUESTS,
    Listing,
    ListingMemory,
    OnPage,
    open_listing,
)
from dagster_s3inc.s3.location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["MAX_INDEX_BYTES", "TIME_BUDGET", "Scan", "Scanner"]

TIME_BUDGET: Final = timedelta(seconds=15)
"""Dagster gives a sensor 60 s, and by default all sensors share one thread."""

# A backlog is emitted without another listing for at most so many times as long as the listing
# took: listing again then costs a twentieth of the time, and no backlog is much older than it
# must be.
_BACKLOG_LISTINGS: Final = 20

# While nothing may be emitted, it does not matter how old the numbers of a backlog are.
_BACKLOG_HELD: Final = timedelta(minutes=15)

# The cursor that is given and the one that is returned, of two evaluations at a time.
_REMEMBERED: Final = 4


class Scan(NamedTuple):
    """A scan, and what it cost.

    Attributes:
        result: What the scan gives.
        requests: The LIST requests that were sent; 0 if a backlog made them needless.
        server_time: The server's time at the listing; earlier than now for a backlog.
    """

    result: ScanResult
    requests: int
    server_time: datetime


@dataclass(frozen=True, slots=True, eq=False)
class _Memory:
    """What belongs to the text of one checkpoint."""

    selection: str
    index: Index | None = None
    building: Building | None = None
    backlog: Backlog | None = None
    listed_at: float = 0.0
    backlog_until: float = 0.0

    def usable_backlog(self, checkpoint: Checkpoint, limits: ScanLimits) -> Backlog | None:
        """What waits behind this checkpoint, unless it was listed too long ago."""
        until = self.backlog_until
        if limits.max_batches == 0:
            until = max(until, self.listed_at + _BACKLOG_HELD.total_seconds())
        if self.backlog is None or time.monotonic() > until:
            return None
        return self.backlog if self.backlog.follows == checkpoint else None


class Scanner:
    """Scans a prefix. Safe to be used by several threads.

    It keeps the index of the checkpoint that it was given and of the one that it returned, each
    under the text of that checkpoint: whoever comes with another text gets neither. All that it
    keeps can be lost at any time; the next scan builds it anew.

    Args:
        time_budget: A listing that takes longer is scanned in parts; None means never.
        max_concurrent_requests: The most LIST requests that are under way at a time.
        max_index_bytes: A larger index is not kept: what was emitted is then told by the
            checkpoint and the ledger in each scan anew.

    Raises:
        ConfigurationError: One of these is not possible.
    """

    def __init__(
        self,
        *,
        time_budget: timedelta | None = TIME_BUDGET,
        max_concurrent_requests: int = MAX_CONCURRENT_REQUESTS,
        max_index_bytes: int = MAX_INDEX_BYTES,
    ) -> None:
        if time_budget is not None:
            require_positive("time_budget", time_budget)
        require_at_least(
            "max_concurrent_requests", max_concurrent_requests, 1, unit="requests at a time"
        )
        require_at_least("max_index_bytes", max_index_bytes, 0, unit="bytes")
        self._budget, self._most_requests = time_budget, max_concurrent_requests
        self._max_index_bytes = max_index_bytes
        self._listings = ListingMemory()
        self._lock = threading.Lock()
        self._remembered: dict[str | None, _Memory] = {}

    def scan(
        self,
        client: S3Client,
        location: S3Location,
        checkpoint: Checkpoint,
        *,
        given: str | None,
        selection: Selection,
        limits: ScanLimits,
        adopt: bool = False,
        ledger: LedgerReader | None = None,
        on_page: OnPage | None = None,
    ) -> Scan:
        """Finds what is new in a place.

        Args:
            client: The boto3 client.
            location: What is listed: everything whose key starts with its key.
            checkpoint: What has been emitted so far.
            given: The text of the stored cursor of which the checkpoint was made; None if there
                is none. What is stored next has to be the text of the result's checkpoint.
            selection: What counts of the listing.
            limits: What may be emitted.
            adopt: See `core.scan.scan`.
            ledger: Reads what the sensor's runs tell; None if there are none.
            on_page: Is called for each page with the number of its objects and that of the
                requests that have been sent so far.

        Raises:
            S3RequestError: The listing could not be had.
        """
        memory = self._recall(given, selection)
        backlog = memory.usable_backlog(checkpoint, limits)
        if backlog is not None:
            result = scan_backlog(backlog, limits=limits)
            if result.batches or limits.max_batches == 0:
                self._remember(given, result, memory)
                return Scan(result, 0, backlog.now)
        began = time.monotonic()
        deadline = None if self._budget is None else began + self._budget.total_seconds()

        def listed_and_scanned(checkpoint: Checkpoint) -> Scan:
            has_index = memory.index is not None
            place, after = _listed(location, checkpoint, selection, has_index=has_index)
            with self._listed(
                client, place, memory.index, after=after, deadline=deadline, on_page=on_page
            ) as listing:
                result = scan(
                    checkpoint,
                    _within(listing, deadline),
                    now=listing.server_time,
                    selection=selection,
                    limits=limits,
                    index=memory.index,
                    ledger=ledger,
                    adopt=adopt,
                    building=memory.building,
                    may_be_cut=deadline is not None and listing.may_be_cut,
                    max_index_bytes=self._max_index_bytes,
                )
            return Scan(result, listing.requests, listing.server_time)

        try:
            done = listed_and_scanned(checkpoint)
        except KeyOrderError:
            done = listed_and_scanned(_begun_anew(checkpoint))
        now = time.monotonic()
        until = now + _BACKLOG_LISTINGS * (now - began)
        self._remember(
            given, done.result, _Memory(selection.hash, listed_at=now, backlog_until=until)
        )
        return done

    def carry(self, given: str | None, following: str) -> None:
        """Keeps what belongs to one text for another that says the same of what was emitted.

        Args:
            given: The text of the cursor that a tick was given.
            following: The text that it returns.
        """
        with self._lock:
            memory = self._remembered.get(given)
            if memory is not None:
                self._remembered[following] = replace(memory, backlog=None)

    def preview(
        self,
        client: S3Client,
        location: S3Location,
        checkpoint: Checkpoint,
        *,
        selection: Selection,
        given: str | None = None,
    ) -> Iterator[S3Object]:
        """Lists what a reset would emit again of what is there; takes its time.

        Args:
            client: The boto3 client.
            location: What is listed.
            checkpoint: What it would begin with: one with a `reprocess`, or an empty one.
            selection: What counts.
            given: The text of the stored cursor, by which an index is found.

        Raises:
            S3RequestError: The listing could not be had.
        """
        index = self._recall(given, selection).index
        place, _ = _listed(location, checkpoint, selection, has_index=True)

        def found() -> list[Columns]:
            with self._listed(client, place, index) as listing:
                again = emitted_before(checkpoint, listing.pages, selection=selection, index=index)
                return [each.packed() for each in again]

        try:
            columns = found()
        except KeyOrderError:
            columns = found()
        for each in columns:
            yield from each.objects()

    @contextmanager
    def _listed(
        self,
        client: S3Client,
        place: S3Location,
        index: Index | None,
        *,
        after: bytes = b"",
        deadline: float | None = None,
        on_page: OnPage | None = None,
    ) -> Iterator[Listing]:
        """A listing while the block runs. After a `KeyOrderError`, the next one is sorted here."""
        # There are a few pages in each segment, and nothing is listed behind the last one.
        points = () if index is None else [each.last_key for each in index.segments[:-1]]
        try:
            listing = open_listing(
                client,
                place,
                after=after or None,
                split_points=[key for key in points if key],
                max_concurrent_requests=self._most_requests,
                memory=self._listings,
                deadline=deadline,
                on_page=on_page,
            )
            with closing(listing.pages):
                yield listing
        except KeyOrderError:
            self._listings.of(place).in_key_order = False
            raise

    def _recall(self, given: str | None, selection: Selection) -> _Memory:
        with self._lock:
            memory = self._remembered.get(given)
        if memory is None or memory.selection != selection.hash or given is None:
            return _Memory(selection.hash)
        return memory

    def _remember(self, given: str | None, result: ScanResult, memory: _Memory) -> None:
        following = encode_checkpoint(result.checkpoint)
        memory = replace(
            memory, index=result.index, building=result.building, backlog=result.backlog
        )
        with self._lock:
            kept = dict(self._remembered)
            for text in (None, following):
                kept.pop(text, None)
            # The newest last.
            if given in kept:
                kept[given] = kept.pop(given)
            while len(kept) >= _REMEMBERED:
                kept.pop(next(iter(kept)))
            self._remembered = {**kept, following: memory}


def _listed(
    location: S3Location, checkpoint: Checkpoint, selection: Selection, *, has_index: bool
) -> tuple[S3Location, bytes]:
    """What is listed, and the key behind which the listing begins."""
    reprocess, partial = checkpoint.reprocesses_now, checkpoint.partial_scan
    if partial is not None:
        return location, partial.after.encode("utf-8")
    if reprocess is None or not (has_index or reprocess.in_parts):
        return location, b""
    prefix = reprocess.conditions.list_prefix(selection.prefix)
    narrowed = replace(location, key=narrower(location.key, prefix))
    return narrowed, reprocess.after.encode("utf-8")


def _begun_anew(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint from which a server is scanned that turned out to have another order.

    What was skipped because of the wrong order comes again where files are reprocessed.
    """
    reprocess = checkpoint.reprocess
    if reprocess is None or not reprocess.after:
        return checkpoint
    return replace(checkpoint, reprocess=replace(reprocess, after=""))


def _within(listing: Listing, deadline: float | None) -> Iterator[Page | Rest]:
    """The pages that come in time, at least one; and a `Rest` if there are more."""
    last: bytes | None = None
    for page in listing.pages:
        is_late = deadline is not None and time.monotonic() > deadline
        if last is not None and is_late and listing.may_be_cut:
            yield Rest(last)
            return
        yield page
        last = page.last_key or last
