"""Reading a whole listing, page by page, and never taking a part for the whole.

Amazon's S3 lists in the order of the keys' bytes. Then a listing can be split into ranges of keys,
and stopped after any key and gone on with later. Some servers have another order. So the order is
not relied upon but watched: where a page, or the border of two pages, goes down, the listing raises
`KeyOrderError`, having noted it in the `ListingMemory`. Who opens the listing again with the same
memory gets it in the server's own order: one request after the other, from the beginning to the
end, every key checked to be listed once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dagster_s3inc.core.columns import Fingerprints
from dagster_s3inc.core.objects import fingerprints_of
from dagster_s3inc.core.page import ColumnsPage, Page
from dagster_s3inc.errors import KeyOrderError, ListingError, S3RequestError
from dagster_s3inc.s3.concurrent import (
    MAX_CONCURRENT_REQUESTS,
    PAGES,
    Pace,
    discovered_split_points,
    read_ranges,
)
from dagster_s3inc.s3.entry_parser import shown
from dagster_s3inc.s3.failures import server_fault
from dagster_s3inc.s3.key_ranges import KeyRanges
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.memory import ListingMemory
from dagster_s3inc.s3.page_requests import Answer, PageRequests, Workers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = [
    "MAX_CONCURRENT_REQUESTS",
    "Listing",
    "ListingMemory",
    "open_listing",
]

# Listings of fewer pages are not worth a thread, nor one request more than they have pages.
_FEW_PAGES: Final = 8
_FEW_POINTS: Final = _FEW_PAGES // PAGES

# So many pages are read before anything is asked only to know where to split.
_PAGES_BEFORE_DISCOVERY: Final = 10

_DIRECTORY_BUCKET: Final = "--x-s3"
_NOT_IN_KEY_ORDER: Final = ("SeaweedFS",)


class Listing:
    """A listing whose first page has come. Made by `open_listing`.

    Attributes:
        server_time: When the server answered, by its own clock, in whole seconds.
        pages: All pages, the first included, in the order in which the server lists them; to be
            read once, by the thread that opened the listing, and closed if not read to the end,
            since requests may be under way. Reading on may raise any `S3RequestError`; what came
            before is then not a whole listing, but the first part of one.
        may_be_cut: Whether the listing can be stopped after a key, and gone on with `after` it.
        concurrent_requests: How many requests have been under way at a time, at most, so far.
    """

    def __init__(
        self,
        requests: PageRequests,
        first: Answer,
        *,
        after: bytes | None,
        max_concurrent_requests: int,
        memory: ListingMemory,
        workers: Workers | None,
        in_key_order: bool,
    ) -> None:
        self.server_time = _server_time(first, requests.location)
        self.may_be_cut = in_key_order
        self.concurrent_requests = 1
        self._requests, self._location = requests, requests.location
        self._after, self._most = after, max_concurrent_requests
        self._memory, self._workers = memory, workers
        self._known = memory.recall(self._location)
        self._last: bytes | None = None
        self._ranges = KeyRanges(self._location, after, in_key_order=in_key_order)
        if (range_ := self._ranges.take()) is not None:
            self._ranges.put(range_, first)
        self._pace = Pace()
        self._points: list[bytes] = []
        self._since_point = 0
        self.pages: Generator[Page, None, None] = self._read()

    @property
    def requests(self) -> int:
        """How many requests have been sent so far, those for where to split included."""
        return self._requests.sent

    def _read(self) -> Generator[Page, None, None]:
        try:
            with closing(self._in_order() if self.may_be_cut else self._as_listed()) as pages:
                yield from pages
        except KeyOrderError:
            self._memory.note_disorder(self._location)
            raise
        finally:
            if self._workers is not None:
                self._workers.close()
                self._memory.note_left(self._workers)

    def _in_order(self) -> Generator[Page, None, None]:
        try:
            read = 0
            at_a_time = 1
            with closing(self._pages(1)) as pages:
                for page in pages:
                    read += 1
                    yield self._passed(page)
                    at_a_time = self._worth(read)
                    if at_a_time > 1:
                        break
            if at_a_time > 1:
                self.concurrent_requests = at_a_time
                self._workers = self._workers or Workers(self._location, None)
                self._split(self._workers, read)
                with closing(self._pages(at_a_time)) as pages:
                    yield from map(self._passed, pages)
        finally:
            self._remember()

    def _as_listed(self) -> Generator[Page, None, None]:
        """The pages of a server that has its own order, each read at once."""
        listed = _ListedKeys()
        rises, before = True, b""
        for page in self._pages(1):
            columns = page.parsed()
            keys = columns.key_bytes()
            twice = listed.add(keys)
            if twice is not None:
                # What seemed to be another order may have been the same fault.
                self._memory.note_order(self._location)
                raise server_fault(self._location, f"the server listed a key twice, {shown(twice)}")
            rises = rises and all(one < other for one, other in pairwise((before, *keys)))
            before = keys[-1] if keys else before
            yield ColumnsPage(columns)
        if rises:
            self._memory.note_order(self._location)

    def _pages(self, at_a_time: int) -> Generator[Page, None, None]:
        return read_ranges(self._requests, self._ranges, self._pace, self._workers, at_a_time)

    def _passed(self, page: Page) -> Page:
        if page.last_key is not None:
            self._last = page.last_key
            self._since_point += 1
            if self._since_point == PAGES:
                self._points.append(page.last_key)
                self._since_point = 0
        return page

    def _worth(self, read: int) -> int:
        """How many requests at a time are to read on."""
        if self._last is None or self._ranges.is_over:
            return 1
        worth = 1
        if read == 1 and len(self._points_ahead()) >= _FEW_POINTS:
            worth = self._known.concurrent_requests or 1
        elif read >= _PAGES_BEFORE_DISCOVERY:
            worth = self._pace.worth()
        return min(worth, self._most)

    def _split(self, workers: Workers, read: int) -> None:
        points = self._points_ahead()
        if len(points) < _FEW_POINTS:
            points = discovered_split_points(
                self._requests.folders,
                self._location.key.encode(),
                self._last or b"",
                pages=read,
                mapped=workers.map,
            )
        self._ranges.split(points)

    def _points_ahead(self) -> Sequence[bytes]:
        points = self._known.split_points
        return points[bisect_right(points, self._last or b"") :]

    def _remember(self) -> None:
        if self._pace.pages >= _FEW_PAGES:
            self._memory.note_concurrent_requests(self._location, self._pace.worth())
        if self._last is None:
            return
        is_whole = self._ranges.is_over
        if is_whole and self._last in self._points[-1:]:
            # Nothing would lie after it.
            self._points.pop()
        to = None if is_whole else self._last
        self._memory.note_split_points(self._location, self._points, after=self._after, to=to)


class _ListedKeys:
    """All keys of a listing, 8 bytes for each.

    The hashes are kept in sorted arrays, each at least twice as long as the next, so that a key is
    sought in few of them.
    """

    def __init__(self) -> None:
        self._hashes: list[Fingerprints] = []

    def add(self, keys: Sequence[bytes]) -> bytes | None:
        """Adds the keys of a page, and names one that was there already."""
        if not keys:
            return None
        hashes = fingerprints_of(keys)
        new, first = np.unique(hashes, return_index=True)
        if len(new) < len(keys):
            return keys[int(np.setdiff1d(np.arange(len(keys)), first)[0])]
        for known in self._hashes:
            at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
            [twice] = np.nonzero(known[at] == hashes)
            if len(twice):
                return keys[int(twice[0])]
        self._hashes.append(new)
        while len(self._hashes) > 1 and len(self._hashes[-2]) < 2 * len(self._hashes[-1]):
            merged = np.concatenate([self._hashes.pop(), self._hashes.pop()])
            merged.sort()
            self._hashes.append(merged)
        return None


def open_listing(
    client: S3Client,
    location: S3Location,
    *,
    after: bytes | None = None,
    max_concurrent_requests: int = MAX_CONCURRENT_REQUESTS,
    memory: ListingMemory | None = None,
    page_size: int | None = None,
    deadline: float | None = None,
) -> Listing:
    """Begins to list everything whose key starts with the location's key.

    One request is sent; the others follow as the pages are read, one for each page of up to
    1,000 objects. Where requests take long, a listing of many pages is read with several requests
    at a time; it then takes a few requests more.

    Args:
        client: The boto3 client; it should keep as many connections as there are concurrent
            requests (see `client.pool_warning`).
        location: The prefix.
        after: Begin after this key, which is a whole one, in UTF-8.
        max_concurrent_requests: The most requests that are under way at a time; there are never
            more than the client keeps connections.
        memory: What the listings before have learned; this one adds to it.
        page_size: The most objects of a page; None leaves it to the server.
        deadline: When the scan is to end, by `time.monotonic`; None means never. Requests are not
            waited for much longer than that.

    Raises:
        KeyOrderError: The listing cannot begin after a key: the server has another order. The
            memory knows that now. Open it again without `after`.
        S3RequestError: The listing could not be had; the kind and the message say why.
    """
    memory = memory or ListingMemory()
    memory.require_no_hanging(location)
    in_key_order = memory.recall(location).in_key_order
    in_key_order = in_key_order and not location.bucket.endswith(_DIRECTORY_BUCKET)
    if after is not None and not in_key_order:
        raise KeyOrderError(f"{location} is not listed in the order of the keys")
    workers = None if deadline is None else Workers(location, deadline)
    requests = PageRequests(client, location, page_size=page_size)
    try:
        first = _first(requests, after, workers)
        in_key_order = in_key_order and _may_be_in_key_order(first)
        if workers is not None and not in_key_order:
            workers.allow_a_whole_listing()
        if after is not None and not (in_key_order and _is_behind(first, after)):
            memory.note_disorder(location)
            raise KeyOrderError(
                f"{location} is not listed in the order of the keys, or the server does not know "
                f"StartAfter"
            )
        config: Any = client.meta.config
        return Listing(
            requests,
            first,
            after=after,
            max_concurrent_requests=min(max_concurrent_requests, config.max_pool_connections),
            memory=memory,
            workers=workers,
            in_key_order=in_key_order,
        )
    except S3RequestError as error:
        if isinstance(error, KeyOrderError):
            memory.note_disorder(location)
        if workers is not None:
            workers.close()
            memory.note_left(workers)
        raise


def _first(requests: PageRequests, after: bytes | None, workers: Workers | None) -> Answer:
    if workers is None:
        return requests.ask(after=after)
    workers.submit(lambda: requests.ask(after=after))
    answer: Answer = workers.result()
    return answer


def _is_behind(first: Answer, after: bytes) -> bool:
    return first.page.first_key is None or first.page.first_key > after


def _may_be_in_key_order(first: Answer) -> bool:
    """Whether the server is none of those that are known to list in another order."""
    return not first.headers.get("server", "").startswith(_NOT_IN_KEY_ORDER)


def _server_time(first: Answer, location: S3Location) -> datetime:
    text = first.headers.get("date")
    try:
        moment = parsedate_to_datetime(text)  # type: ignore[arg-type] # None is refused as well
    except (TypeError, ValueError):
        raise ListingError(
            f"Could not list {location}: the answer has no valid Date header ({text!r}), so the "
            f"server's time is not known. Check what lies between this machine and the server"
        ) from None
    # "-0000" is UTC in RFC 5322, but comes without a time zone.
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(
        timezone.utc
    )
