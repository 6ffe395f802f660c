"""Reading a whole listing, page by page, and never taking a part for the whole.

Amazon's S3 lists in the order of the keys' bytes. Then a listing can be split into ranges of keys,
and stopped after any key and gone on with later. Some servers have another order. So the order is
not relied upon but watched: where a page, or the border of two pages, goes down, the listing raises
`KeyOrderError`, having noted it in the `ListingMemory`. Who opens the listing again with the same
memory gets all of it, read with one request after the other and sorted here, every key checked to
be listed once.

Where requests take long, several are sent at a time. What they cannot share is the interpreter,
which works for about a millisecond on each page; so where the server is near, threads only get into
each other's way. The listing is split at keys that the last one has left. Where there are none, a
few requests for the names of folders find some.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.page import ColumnsPage, Page
from dagster_s3inc.errors import EndpointError, KeyOrderError, ListingError, S3RequestError
from dagster_s3inc.s3.failures import server_fault, shown
from dagster_s3inc.s3.key_ranges import KeyRange, KeyRanges, discovered_split_points
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.page_requests import Answer, PageRequests, Workers

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = [
    "MAX_CONCURRENT_REQUESTS",
    "Listing",
    "ListingMemory",
    "OnPage",
    "open_listing",
]

OnPage = Callable[[int, int], None]

MAX_CONCURRENT_REQUESTS: Final = 32
"""With 80 ms to the server, twice as many are hardly faster: the interpreter is then busy."""

# Where requests take no longer, threads cost about as much as they save.
_NEAR_SECONDS: Final = 0.01

# Listings of fewer pages are not worth a thread, nor one request more than they have pages.
_FEW_PAGES: Final = 8
_FEW_POINTS: Final = 2

# So many pages are read before anything is asked only to know where to split.
_PAGES_BEFORE_DISCOVERY: Final = 10

_DIRECTORY_BUCKET: Final = "--x-s3"
_NOT_IN_KEY_ORDER: Final = ("SeaweedFS",)

# Objects in a page that is put together here.
_PAGE: Final = 4000


@dataclass(slots=True)
class Known:
    """What is known of a prefix.

    Attributes:
        in_key_order: Whether nothing spoke against the order of the keys' bytes.
        seconds: The shortest request of the last listing; 0 if it was too short to say.
    """

    in_key_order: bool = True
    seconds: float = 0.0
    _may_trust_again: bool = True

    def trust(self) -> None:
        """Forgets a disorder that a later listing did not show; once, and not again and again."""
        self.in_key_order = self.in_key_order or self._may_trust_again
        self._may_trust_again = False


class ListingMemory:
    """What the listings of one prefix learn for those that follow; in memory only, thread-safe.

    It saves time and changes nothing of what a listing shows. And it knows of requests that no
    answer has come to, so that they do not pile up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[S3Location, Known] = {}
        self._left: list[Workers] = []

    def of(self, location: S3Location) -> Known:
        """What is known of this prefix; what was known of another is forgotten."""
        with self._lock:
            if location not in self._known:
                self._known = {location: Known()}
            return self._known[location]

    def note_left(self, workers: Workers) -> None:
        """Keeps in mind requests of a listing that is over, as long as no answer comes."""
        with self._lock:
            self._left = [each for each in (*self._left, workers) if each.is_busy]

    def require_no_hanging(self, location: S3Location) -> None:
        """Refuses to send requests to a server that still owes answers from long ago.

        Raises:
            EndpointError: A request of an earlier listing was given up, and is still under way.
        """
        with self._lock:
            self._left = [each for each in self._left if each.is_busy]
            hanging = [each for each in self._left if each.is_hanging]
        if hanging:
            seconds = time.monotonic() - min(each.began for each in hanging)
            raise EndpointError(
                f"Could not list {location}: the server has not answered a request of the scan "
                f"that began {seconds:.0f} s ago, and no other is sent meanwhile. Check the server "
                f"and the network, and read_timeout and max_attempts of the S3 client, which say "
                f"when it gives up"
            )


class Listing:
    """A listing whose first page has come. Made by `open_listing`.

    Attributes:
        server_time: When the server answered, by its own clock, in whole seconds.
        may_be_cut: Whether the listing can be stopped after a key, and gone on with `after` it.
        concurrent_requests: How many requests may be under way at a time by now.
        pages: All pages, the first included, in the order of the keys; to be read once, by the
            thread that opened the listing, and closed if not read to the end, since requests may
            be under way. Reading on may raise any `S3RequestError`; what came before is then not
            a whole listing, but the first part of one.
    """

    def __init__(
        self,
        requests: PageRequests,
        workers: Workers,
        first: Answer,
        *,
        in_key_order: bool,
        after: bytes | None,
        split_points: Sequence[bytes],
        most: int,
        memory: ListingMemory,
        on_page: OnPage | None,
    ) -> None:
        self._location = requests.location
        self.server_time = _server_time(first, self._location)
        self.may_be_cut = in_key_order
        self.concurrent_requests = 1
        self._requests, self._workers, self._memory = requests, workers, memory
        self._known = memory.of(self._location)
        self._after, self._points, self._most = after, split_points, most
        self._on_page, self._seconds = on_page, first.seconds
        self._ranges = KeyRanges(
            self._location, after if in_key_order else None, in_key_order=in_key_order
        )
        if (range_ := self._ranges.take()) is not None:
            self._ranges.put(range_, first)
        self.pages: Generator[Page, None, None] = self._read()

    @property
    def requests(self) -> int:
        """How many requests have been sent so far, those for where to split included."""
        return self._workers.given

    def _read(self) -> Generator[Page, None, None]:
        try:
            with closing(self._coming()) as pages:
                yield from pages if self.may_be_cut else self._sorted(pages)
        except KeyOrderError:
            self._known.in_key_order = False
            raise
        finally:
            self._workers.close()
            self._memory.note_left(self._workers)

    def _coming(self) -> Generator[Page, None, None]:
        """The pages as the server lists them."""
        read, last = 0, b""
        while not self._ranges.is_over:
            page = self._ranges.pop()
            # One at a time, a request is sent when its page is wanted; several are sent ahead.
            if page is None or self.concurrent_requests > 1:
                self._send()
            if page is not None:
                if self._on_page is not None:
                    self._on_page(len(page), self.requests)
                yield page
                read, last = read + 1, page.last_key or last
                if self.may_be_cut and self.concurrent_requests == 1 and last:
                    self._split(read, last)
            elif self._workers.under_way:
                self._take_in()
            while self._workers.has_result:
                self._take_in()
        if read >= _FEW_PAGES:
            self._known.seconds = self._seconds

    def _send(self) -> None:
        def fetch(range_: KeyRange) -> tuple[KeyRange, Answer]:
            return range_, self._requests.ask(range_.start, range_.token)

        while self._workers.under_way < self.concurrent_requests:
            range_ = self._ranges.take()
            if range_ is None:
                return
            self._workers.submit(partial(fetch, range_), ahead=self.concurrent_requests > 1)

    def _take_in(self) -> None:
        range_, answer = self._workers.result()
        # The shortest, since others also waited for the interpreter, or for a connection.
        self._seconds = min(self._seconds, answer.seconds)
        self._ranges.put(range_, answer)

    def _split(self, read: int, last: bytes) -> None:
        """Goes on with several requests at a time, if that is worth it."""
        points = self._points[bisect_right(self._points, last) :]
        is_known = len(points) >= _FEW_POINTS
        if read == _PAGES_BEFORE_DISCOVERY:
            seconds = self._seconds
        elif read == 1 and is_known:
            seconds = self._known.seconds
        else:
            return
        if seconds < _NEAR_SECONDS or self._most == 1 or self._ranges.is_over:
            return
        if not is_known:
            points = discovered_split_points(
                self._requests.folders,
                self._location.key.encode(),
                last,
                pages=read,
                mapped=self._workers.map,
            )
        self.concurrent_requests = self._most
        self._ranges.split(points)

    def _sorted(self, pages: Iterable[Page]) -> Generator[Page, None, None]:
        """All pages of a server that has its own order, in the order of the keys."""
        parts: list[Columns] = []
        firsts: set[bytes | None] = set()
        for page in pages:
            if len(page):
                # A server that goes round in circles comes back to the beginning of some page.
                if page.first_key in firsts:
                    raise self._listed_twice(page.first_key)
                firsts.add(page.first_key)
                parts.append(page.parsed().packed())
        if not parts:
            return
        whole = Columns.concatenated(parts)
        keys = whole.key_bytes()
        order = sorted(range(len(keys)), key=keys.__getitem__)
        for row, following in pairwise(order):
            if keys[row] == keys[following]:
                raise self._listed_twice(keys[row])
        if all(row < following for row, following in pairwise(order)):
            self._known.trust()
        rows = np.array([row for row in order if keys[row] > (self._after or b"")], np.intp)
        for start in range(0, len(rows), _PAGE):
            yield ColumnsPage(whole.only(rows[start : start + _PAGE]))

    def _listed_twice(self, key: bytes | None) -> ListingError:
        # What seemed to be another order may have been the same fault.
        self._known.trust()
        return server_fault(self._location, f"the server listed a key twice, {shown(key)}")


def open_listing(
    client: S3Client,
    location: S3Location,
    *,
    after: bytes | None = None,
    split_points: Sequence[bytes] = (),
    max_concurrent_requests: int = MAX_CONCURRENT_REQUESTS,
    memory: ListingMemory | None = None,
    deadline: float | None = None,
    on_page: OnPage | None = None,
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
        split_points: Keys with a few pages between them, in order, by which to split the listing.
        max_concurrent_requests: The most requests that are under way at a time; there are never
            more than the client keeps connections.
        memory: What the listings before have learned; this one adds to it.
        deadline: When the scan is to end, by `time.monotonic`; None means never. Requests are not
            waited for much longer than that.
        on_page: Is called for each page with the number of its objects and that of the requests
            that have been sent so far.

    Raises:
        KeyOrderError: The server has another order, and `after` was sent. The memory knows that
            now: open it again.
        S3RequestError: The listing could not be had; the kind and the message say why.
    """
    memory = memory or ListingMemory()
    memory.require_no_hanging(location)
    known = memory.of(location)
    in_key_order = known.in_key_order and not location.bucket.endswith(_DIRECTORY_BUCKET)
    begin = after if in_key_order else None
    workers, requests = Workers(location, deadline), PageRequests(client, location)
    try:
        workers.submit(lambda: requests.ask(begin))
        first: Answer = workers.result()
        if first.headers.get("server", "").startswith(_NOT_IN_KEY_ORDER):
            in_key_order = False
        first_key = first.page.first_key
        is_behind = begin is None or first_key is None or first_key > begin
        if begin is not None and not (in_key_order and is_behind):
            raise KeyOrderError(
                f"{location} is not listed in the order of the keys, or the server does not know "
                f"StartAfter"
            )
        if not in_key_order:
            workers.allow_a_whole_listing()
        config: Any = client.meta.config
        return Listing(
            requests,
            workers,
            first,
            in_key_order=in_key_order,
            after=after,
            split_points=split_points,
            most=min(max_concurrent_requests, config.max_pool_connections),
            memory=memory,
            on_page=on_page,
        )
    except S3RequestError as error:
        known.in_key_order = known.in_key_order and not isinstance(error, KeyOrderError)
        workers.close()
        memory.note_left(workers)
        raise


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
