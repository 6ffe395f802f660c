"""Reading the ranges of a listing: one page after the other, or in lanes side by side.

Requests wait, and lanes wait side by side. What they cannot share is the interpreter, so lanes are
worth as many as one request takes longer than the work on a page, and none where the server is
near: there they only get into each other's way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Final

from dagster_s3inc.core.page import Page
from dagster_s3inc.s3.range import Range
from dagster_s3inc.s3.ranges import Ranges
from dagster_s3inc.s3.source import Answer, Source

__all__ = ["LANES", "Pace", "read_in_lanes", "read_in_turn"]

LANES: Final = 32
"""With 80 ms to the server, twice as many are hardly faster: the interpreter is then busy."""

# Twice as many as would do if each request took its time, since some take longer.
_LANES_FOR_RATIO = 2

# Below, the threads cost about as much as they save.
_WORTH_LANES = 3


class Pace:
    """How long requests take, compared with the work on their pages.

    To be made and read in the thread that reads the pages.
    """

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

    def lanes(self) -> int:
        """How many lanes are worth it."""
        if not self.pages:
            return 1
        work = (time.thread_time() - self._began + self._elsewhere) / self.pages
        ratio = self._seconds / max(work, 1e-6)
        return min(LANES, round(_LANES_FOR_RATIO * ratio)) if ratio >= _WORTH_LANES else 1


def read_in_turn(source: Source, ranges: Ranges, pace: Pace) -> Generator[Page, None, None]:
    """Reads on to the end, each page when it is wanted."""
    while True:
        while (page := ranges.pop()) is not None:
            yield page
        range_ = ranges.take()
        if range_ is None:
            return
        answer = _fetch(source, range_)
        pace.add(answer, elsewhere=False)
        ranges.put(range_, answer)


def read_in_lanes(
    source: Source,
    ranges: Ranges,
    pace: Pace,
    lanes: int,
    cut: Callable[[ThreadPoolExecutor], None],
) -> Generator[Page, None, None]:
    """Reads on to the end, in threads that fetch ahead.

    They end when the pages have been read, when a request fails, and when the iterator is closed,
    each with the request that it is sending.

    Args:
        source: Where to ask.
        ranges: What to ask for.
        pace: Is told what came.
        lanes: How many threads.
        cut: Cuts the ranges first, with the threads at hand.

    Raises:
        S3RequestError: A page could not be had, be it far ahead.
    """
    done: SimpleQueue[Future[tuple[Range, Answer]]] = SimpleQueue()
    under_way = 0
    threads = ThreadPoolExecutor(lanes, thread_name_prefix="s3inc-lane")

    def fetch(range_: Range) -> tuple[Range, Answer]:
        return range_, _fetch(source, range_)

    def take_in(future: Future[tuple[Range, Answer]]) -> None:
        nonlocal under_way
        under_way -= 1
        range_, answer = future.result()
        pace.add(answer, elsewhere=True)
        ranges.put(range_, answer)

    try:
        cut(threads)
        while True:
            while under_way < lanes and (range_ := ranges.take()) is not None:
                threads.submit(fetch, range_).add_done_callback(done.put)
                under_way += 1
            page = ranges.pop()
            if page is not None:
                yield page
            elif ranges.is_over:
                return
            else:
                take_in(done.get())
            while not done.empty():
                take_in(done.get())
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


def _fetch(source: Source, range_: Range) -> Answer:
    return source.ask(after=range_.start, token=range_.token)
