"""Reading a whole listing, page by page, and never taking a part for the whole."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

from dagster_s3inc.core.page import Page
from dagster_s3inc.errors import ListingError
from dagster_s3inc.s3.discovery import PAGES, discovered_cuts
from dagster_s3inc.s3.lanes import LANES, Pace, read_in_lanes, read_in_turn
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.memory import ListingMemory, Marks
from dagster_s3inc.s3.ranges import Ranges
from dagster_s3inc.s3.source import Answer, Source

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["LANES", "Listing", "ListingMemory", "open_listing"]

# Listings of fewer pages are not worth a thread, nor one request more than they have pages.
_FEW_PAGES: Final = 8

# So many pages are read before anything is asked only to know where to cut.
_PAGES_BEFORE_DISCOVERY: Final = 16

_DIRECTORY_BUCKET: Final = "--x-s3"
_NOT_IN_KEY_ORDER: Final = ("SeaweedFS",)


class Listing:
    """A listing whose first page has come.

    Attributes:
        server_time: When the server answered, by its own clock, in whole seconds.
        pages: All pages, the first included, in the order in which the server lists them; to be
            read once, by one thread, and closed if not read to the end: threads may be fetching
            ahead. Reading on may raise any `S3RequestError`; what came before is then no whole
            listing, but the first part of one.
    """

    def __init__(
        self,
        source: Source,
        first: Answer,
        *,
        after: str | None,
        lanes: int,
        memory: ListingMemory,
    ) -> None:
        self.server_time = _server_time(first, source.location)
        self._source, self._after, self._memory = source, after, memory
        self._known = memory.recall(source.location)
        self._may_be_sorted = self._known.in_key_order and _may_be_sorted(source, first)
        self._most_lanes = lanes if self._may_be_sorted else 1
        self._lanes = 1
        self._last: str | None = None
        self._ranges = Ranges(after, source.location.key)
        if (range_ := self._ranges.take()) is not None:
            self._ranges.put(range_, first)
        self._marks = Marks(len(first.page))
        self.pages: Generator[Page, None, None] = self._read()

    @property
    def requests(self) -> int:
        """How many requests have been sent so far, those for where to cut included."""
        return self._source.requests

    @property
    def lanes(self) -> int:
        """How many requests have been sent side by side, at most, so far."""
        return self._lanes

    @property
    def may_be_cut(self) -> bool:
        """Whether nothing speaks against going on with this listing behind a key, by `after`."""
        return self._may_be_sorted and self._ranges.in_key_order

    def _read(self) -> Generator[Page, None, None]:
        pace = Pace()
        try:
            with closing(self._pages(pace)) as pages:
                for page in pages:
                    self._marks.add(page)
                    yield page
        finally:
            self._remember(pace)

    def _pages(self, pace: Pace) -> Generator[Page, None, None]:
        read = 0
        for page in read_in_turn(self._source, self._ranges, pace):
            read += 1
            yield self._passed(page)
            self._lanes = self._worth(pace, read)
            if self._lanes > 1:
                break
        else:
            return

        def cut(threads: ThreadPoolExecutor) -> None:
            self._cut(threads, read)

        with closing(read_in_lanes(self._source, self._ranges, pace, self._lanes, cut)) as pages:
            yield from map(self._passed, pages)

    def _passed(self, page: Page) -> Page:
        if page.ends is not None:
            self._last = page.ends[1]
        return page

    def _worth(self, pace: Pace, read: int) -> int:
        """How many lanes are to read on."""
        if self._last is None or self._ranges.is_over or not self._ranges.in_key_order:
            return 1
        worth = 1
        if read == 1 and len(self._marks_ahead()) >= _FEW_PAGES:
            worth = self._known.lanes or 1
        elif read >= _PAGES_BEFORE_DISCOVERY:
            worth = pace.lanes()
        return min(worth, self._most_lanes)

    def _cut(self, threads: ThreadPoolExecutor, read: int) -> None:
        marks = self._marks_ahead()
        if len(marks) >= _FEW_PAGES:
            pages = max(1, min(PAGES, len(marks) // self._lanes))
            self._ranges.cut(marks[pages - 1 :: pages], pages=pages)
            return
        cuts = discovered_cuts(
            self._source.folders,
            self._source.location.key,
            self._last or "",
            pages=read,
            mapped=threads.map,
        )
        self._ranges.cut(cuts, pages=PAGES, guessed=True)

    def _marks_ahead(self) -> tuple[str, ...]:
        marks = self._known.marks
        return marks[bisect_right(marks, self._last or "") :]

    def _remember(self, pace: Pace) -> None:
        location, keys = self._source.location, self._marks.keys
        if not self.may_be_cut:
            self._memory.note_disorder(location)
            return
        if pace.pages >= _FEW_PAGES:
            self._memory.note_lanes(location, pace.lanes())
        if self._last is None:
            return
        is_whole = self._ranges.is_over
        if is_whole and keys and keys[-1] == self._last:
            # Nothing would lie behind it.
            keys = keys[:-1]
        to = None if is_whole else self._last
        self._memory.note_marks(location, keys, after=self._after, to=to)


def open_listing(
    client: S3Client,
    location: S3Location,
    *,
    after: str | None = None,
    lanes: int = LANES,
    memory: ListingMemory | None = None,
    page_size: int | None = None,
) -> Listing:
    """Begins to list everything whose key starts with the location's key.

    One request is sent; the others follow as the pages are read, one for each page of up to
    1,000 objects. Where requests take long, a listing of many pages is read in several lanes; it
    then takes a few requests more.

    Args:
        client: The boto3 client; it should keep as many connections as there are lanes.
        location: The prefix.
        after: Begin behind this key, which is a whole one.
        lanes: How many requests may be sent side by side; there are never more than the client
            keeps connections.
        memory: What the listings before have learned; this one adds to it.
        page_size: The most objects of a page; None leaves it to the server.

    Raises:
        S3RequestError: The listing could not be had; the kind and the message say why.
    """
    source = Source(client, location, page_size=page_size)
    config: Any = client.meta.config
    first = source.ask(after=after)
    if after is not None and first.page.ends is not None and first.page.ends[0] <= after:
        raise ListingError(
            f"Could not list {location} on from {after!r}: the server answered with what lies "
            f"before. It does not know StartAfter, or lists in another order than it did"
        )
    return Listing(
        source,
        first,
        after=after,
        lanes=min(lanes, config.max_pool_connections),
        memory=memory or ListingMemory(),
    )


def _may_be_sorted(source: Source, first: Answer) -> bool:
    """Whether the server is none of those that are known to list in another order."""
    if source.location.bucket.endswith(_DIRECTORY_BUCKET):
        return False
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
