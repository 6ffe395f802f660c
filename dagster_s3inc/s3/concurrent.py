"""Sending several requests of a listing at a time, and where to split it for that.

Requests wait, and several wait side by side. What they cannot share is the interpreter, so as many
are worth it as one request takes longer than the work on a page; where the server is near, threads
only get into each other's way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Final

from dagster_s3inc.core.page import Page
from dagster_s3inc.s3.key_ranges import KeyRange, KeyRanges
from dagster_s3inc.s3.page_requests import Answer, PageRequests, Workers

__all__ = [
    "MAX_CONCURRENT_REQUESTS",
    "PAGES",
    "Pace",
    "discovered_split_points",
    "read_ranges",
]

MAX_CONCURRENT_REQUESTS: Final = 32
"""With 80 ms to the server, twice as many are hardly faster: the interpreter is then busy."""

PAGES: Final = 4
"""So many pages from one split point to the next: fewer cost more requests, more cost memory."""

# Twice as many as would do if each request took its time, since some take longer.
_REQUESTS_FOR_RATIO: Final = 2

# Below, the threads cost about as much as they save.
_WORTH_THREADS: Final = 3

_DISCOVERY_REQUESTS: Final = 24
_ENOUGH_SPLIT_POINTS: Final = 128

Folders = Callable[[bytes], list[bytes]]
Mapping = Callable[[Folders, Iterable[bytes]], Iterable[list[bytes]]]


class Pace:
    """How long requests take, compared with the work on their pages, in the thread of both."""

    def __init__(self) -> None:
        self.pages = 0
        self._seconds = float("inf")
        self._elsewhere = 0.0
        self._began = time.thread_time()

    def add(self, answer: Answer, *, elsewhere: bool) -> None:
        """Takes what one request took; `elsewhere` is another thread than the reading one."""
        self.pages += 1
        # The shortest, since others also waited for the interpreter, or for a connection.
        self._seconds = min(self._seconds, answer.seconds)
        if elsewhere:
            self._elsewhere += answer.cpu

    def worth(self) -> int:
        """How many requests at a time are worth it."""
        if not self.pages:
            return 1
        work = (time.thread_time() - self._began + self._elsewhere) / self.pages
        ratio = self._seconds / max(work, 1e-6)
        if ratio < _WORTH_THREADS:
            return 1
        return min(MAX_CONCURRENT_REQUESTS, round(_REQUESTS_FOR_RATIO * ratio))


def read_ranges(
    requests: PageRequests,
    ranges: KeyRanges,
    pace: Pace,
    workers: Workers | None,
    at_a_time: int,
) -> Generator[Page, None, None]:
    """Reads on to the end.

    Args:
        requests: Sends the requests.
        ranges: What to ask for.
        pace: Learns what came.
        workers: The threads that send requests; None means this one, one request at a time.
        at_a_time: How many requests may be under way.

    Raises:
        S3RequestError: A page could not be had, be it far ahead.
    """

    def fetch(range_: KeyRange) -> tuple[KeyRange, Answer]:
        return range_, requests.ask(after=range_.start, token=range_.token)

    def take_in(fetched: tuple[KeyRange, Answer]) -> None:
        range_, answer = fetched
        pace.add(answer, elsewhere=workers is not None)
        ranges.put(range_, answer)

    while True:
        page = ranges.pop()
        # One at a time, a request is sent when its page is wanted; several are sent ahead.
        if workers is not None and (page is None or at_a_time > 1):
            while workers.under_way < at_a_time and (range_ := ranges.take()) is not None:
                workers.submit(partial(fetch, range_))
        if page is not None:
            yield page
        elif ranges.is_over:
            return
        elif workers is not None:
            take_in(workers.result())
        elif (range_ := ranges.take()) is not None:
            take_in(fetch(range_))
        while workers is not None and workers.has_result:
            take_in(workers.result())


def discovered_split_points(
    folders: Folders, prefix: bytes, last: bytes, *, pages: int, mapped: Mapping = map
) -> list[bytes]:
    """Finds split points for a listing of which no earlier one has left any.

    Buckets are mostly laid out in folders, by date or by customer, and a request with a delimiter
    names a thousand of them. Where that names few, the folders within are asked for in turn.

    Args:
        folders: Names the folders in a folder; one request. It is called few times.
        prefix: Where to begin.
        last: The last key that has been read.
        pages: How many pages have been read. How many folders they had tells how many go between
            one split point and the next.
        mapped: Calls `folders` for each of some folders; the results may come in any order.

    Returns:
        Keys greater than `last`, in order.
    """
    points: set[bytes] = set()
    level, asked = [prefix], 0
    while level and asked < _DISCOVERY_REQUESTS and len(points) < _ENOUGH_SPLIT_POINTS:
        # Those that have been passed tell how large a folder is.
        level = level[: _DISCOVERY_REQUESTS - asked]
        asked += len(level)
        found = sorted({name for names in mapped(folders, level) for name in names})
        passed = sum(name <= last for name in found)
        ahead = found[passed:]
        step = max(1, round(PAGES * passed / pages))
        points.update(ahead[step - 1 :: step])
        # The folder that is being read is among those that seem to be passed.
        level = [name for name in found if name > last or last.startswith(name)]
    return sorted(points)
