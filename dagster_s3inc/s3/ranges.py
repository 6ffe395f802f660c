"""A listing in ranges that are fetched side by side and read one after the other.

What is read is always what a listing page by page would have shown: one chain of pages, each of
which the server says goes on where the one before ended. A range fetched ahead is a guess at a
later piece of that chain, and is joined to it only on proof: the range before it ended exactly on
its last key, or its last page shows, behind the end of the range, the very key with which the next
range begins. Between the two pages there is then nothing, in whatever order the server lists. A
range that does not fit (somebody wrote or deleted there, or the server has another order) is
dropped, and the one before goes on in its place. So nothing that has been read is ever taken back.

The proof takes it that StartAfter begins behind its key in the server's own order. A server that
shows keys in another order than that of their bytes is therefore listed on in one range, from the
moment on which it shows, and not in ranges again.

A class of values and decisions: no threads, no requests, no clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import pairwise

from dagster_s3inc.core.page import Page
from dagster_s3inc.s3.cuts import cut_beyond
from dagster_s3inc.s3.range import Range
from dagster_s3inc.s3.source import Answer

__all__ = ["Ranges"]

# Pages that wait to be read, or are on the way, at most. Each takes about 0.4 MB. Ranges of
# unknown length need more: what lies far ahead waits for long.
_AHEAD = 160
_AHEAD_GUESSED = 256

# With less room left than this, only so many ranges are fetched.
_LITTLE_ROOM = 32
_NEAR = 8

# Each guessed cut costs about half a request more than one lane. So many may be made at once, and
# then one for so many pages.
_CUTS = 32
_PAGES_FOR_A_CUT = 6

# A range that did not fit has been fetched for nothing.
_MISFITS = 8


class Ranges:
    """All ranges from where the listing is being read to its end, in key order.

    Args:
        after: Where the listing begins; None means at the beginning.
        prefix: What all keys begin with.
    """

    def __init__(self, after: str | None, prefix: str) -> None:
        self._ranges = [Range(after, None)]
        self._coarsest = len(prefix) + 1
        self._window = _AHEAD
        self._ahead = 0
        self._fetched = 0
        self._guessed = 0
        self._misfits = 0
        self._may_guess = False
        self.in_key_order = True
        """Nothing that has come was in another order than that of the keys' bytes."""

    @property
    def is_over(self) -> bool:
        """All has been read."""
        return not self._ranges

    def cut(self, keys: Iterable[str], *, pages: int, guessed: bool = False) -> None:
        """Cuts at these keys, and from now on also where the ranges turn out to be long.

        To be called while there is only one range.

        Args:
            keys: In order; those that have been passed are not heeded.
            pages: How many pages are expected from one key to the next.
            guessed: Whether that is more of a hope.
        """
        if not self.in_key_order or not self._ranges:
            return
        self._may_guess = True
        self._window = _AHEAD_GUESSED if guessed else _AHEAD
        [whole] = self._ranges
        at = whole.ends[1] if whole.ends else whole.start
        cuts = [key for key in keys if at is None or key > at]
        if whole.over or not cuts:
            return
        whole.end = cuts[0]
        whole.patience = 2 * pages + 2
        bounds: list[str | None] = [*cuts, None]
        for start, end in pairwise(bounds):
            self._ranges.append(Range(start, end, patience=whole.patience))

    def take(self) -> Range | None:
        """The range whose next page is to be fetched now; None if there is none for the moment.

        The earliest come first, so that little has to wait for its turn.
        """
        # With little room left, only the earliest: what is far ahead waits longest to be read.
        room = self._window - self._ahead
        if self._has_little_room:
            room = min(room, _NEAR)
        for at, each in enumerate(self._ranges):
            if each.over:
                continue
            # The first two always, since reading may wait for both.
            if room <= 0 and at > 1:
                return None
            room -= 1
            chosen = each if not each.busy else self._guess(at, each)
            if chosen is not None:
                chosen.busy = True
                self._ahead += 1
                return chosen
        return None

    def put(self, range_: Range, answer: Answer) -> None:
        """Takes the page that was fetched for a range."""
        self._fetched += 1
        if range_.dropped:
            self._ahead -= 1
            return
        if not range_.add(answer):
            self.in_key_order = False
            self._go_on_alone()
        elif range_.ends is not None and range_.over and range_.more:
            self._coarsen(range_, range_.ends[1])

    def pop(self) -> Page | None:
        """The next page that can be read; None if it has not come."""
        while self._ranges:
            head = self._ranges[0]
            if not head.answers:
                # It may have ended on its last key. Then the next one must prove to begin behind.
                if not head.over or not self._ranges[1].has_come:
                    return None
                self._drop([head])
                continue
            page, token = head.answers[0][:2]
            ends = page.ends
            if ends is None or head.end is None or ends[1] <= head.end:
                self._shift(head)
                if token is None:
                    self._drop(self._ranges[:])
                return page
            following = self._ranges[1]
            if not following.has_come:
                return None
            if _first_beyond(page, head.end) != following.first:
                self._join(head, following)
                continue
            self._shift(head)
            self._drop([head])
            if ends[0] <= head.end:
                return page.up_to(head.end)
        return None

    @property
    def _has_little_room(self) -> bool:
        return self._window - self._ahead < _LITTLE_ROOM

    def _coarsen(self, range_: Range, last: str) -> None:
        """Joins ranges that have not begun, as many as this one's page reaches over.

        Ranges that small take a request each for what few would show.
        """
        following = self._ranges[self._ranges.index(range_) + 1 :]
        reached = sum(each.end is not None and each.end < last for each in following)
        # Ranges begin in order, so these lie side by side.
        fresh = [each for each in following if not each.has_begun][: reached + 1]
        if len(fresh) > 1:
            fresh[0].end = fresh[-1].end
            self._drop(fresh[1:])

    def _guess(self, at: int, range_: Range) -> Range | None:
        """A new range, of the later part of a long one."""
        allowed = min(self._fetched // 2, _CUTS + self._fetched // _PAGES_FOR_A_CUT)
        may = self._may_guess and self._guessed < allowed and range_.patience <= 0
        if not may or range_.ends is None:
            return None
        first, last = range_.ends
        cut = cut_beyond(
            first,
            last,
            range_.end,
            coarsest=self._coarsest,
            tried=range_.tried,
            fine=self._has_little_room,
        )
        # Once for each page.
        range_.patience = 1
        if cut is None:
            return None
        self._guessed += 1
        new = Range(cut.key, range_.end, tried=cut.depth)
        range_.end = cut.key
        self._ranges.insert(at + 1, new)
        return new

    def _join(self, range_: Range, following: Range) -> None:
        """Lets a range go on in place of the one that does not fit."""
        self._misfits += 1
        if self._misfits > _MISFITS:
            self._go_on_alone()
            return
        range_.end = following.end
        self._drop([following])

    def _go_on_alone(self) -> None:
        """Lets the range that is being read go on to the end of the listing."""
        self._may_guess = False
        if self._ranges:
            self._ranges[0].end = None
            self._drop(self._ranges[1:])

    def _drop(self, ranges: list[Range]) -> None:
        for each in ranges:
            each.dropped = True
            self._ahead -= len(each.answers)
            each.answers.clear()
            self._ranges.remove(each)

    def _shift(self, range_: Range) -> None:
        range_.answers.popleft()
        self._ahead -= 1


def _first_beyond(page: Page, end: str) -> str:
    return page.key_at(bisect_right(range(len(page)), end, key=page.key_at))
