"""The index: which of what is listed was emitted, object by object.

The checkpoint is small, and so it cannot name every object. While the process lives, the index
can: for each segment of the key order it holds the fingerprints that were emitted and are still
listed. New is what matches, is listed and is not in the index, however many files share a second,
come late, are deleted or come back. An index may be lost at any time: the next scan then builds it
anew from the checkpoint (see `late_files`).

A segment also remembers a hash of the bytes in which the server listed it. A segment that lies
wholly at or below the watermark, in which nothing waits, and whose bytes hash to the same as last
time, is neither parsed nor hashed entry by entry.

Example. Five files, segments of at most two pages of two files:

    scan 1  pages  a b | c d | e          segments  [a …)  hash 77a0…  fingerprints of a, b, c, d
                                                    [e …)  hash 03e1…  fingerprint of e
    bb is written
    scan 2  pages  a b | bb c | d e       [a …)  hash 5c19…  changed: parsed, bb is new
                                          [e …)  hash 03e1…  unchanged: skipped
    d is deleted
    scan 3  pages  a b | bb c | e         [a …)  changed: parsed, d is gone
                                          [e …)  unchanged: skipped

Segments are cut at remembered *keys*, not at page borders, so that one new file does not shift
all that follows.
"""

from __future__ import annotations

import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from xxhash import xxh3_128

from dagster_s3inc.core.columns import Columns, Fingerprints
from dagster_s3inc.core.filters import Mask
from dagster_s3inc.core.page import Page, Rest, are_in_key_order
from dagster_s3inc.errors import KeyOrderError

__all__ = [
    "END",
    "NO_FINGERPRINTS",
    "Index",
    "Place",
    "Segment",
    "Stretch",
    "members",
    "segment_after",
    "size_of",
    "stretches",
    "united",
    "without",
]

# A `Position` as columns hold it: microseconds since 1970, and the bytes of the key.
Place = tuple[int, bytes]

END: Final = b"\xff"
"""Greater than every key: no UTF-8 text begins with this byte."""

NO_FINGERPRINTS: Final[Fingerprints] = np.empty(0, np.uint64)

# A segment is cut behind so many objects where nothing is known of the keys, and behind twice as
# many where segments are known but no boundary comes.
_OBJECTS: Final = 4000

# What a segment takes beside its fingerprints, with its key.
_SEGMENT_BYTES: Final = 600

# Per process, so that nobody can prepare two contents with one hash.
_SEED: Final = secrets.randbits(64)


class Segment(NamedTuple):
    """A part of the key order, as the last scan saw it.

    Attributes:
        start: The first key that belongs to it; empty for the first segment.
        fingerprints: Of what was emitted and is still listed, sorted.
        content: The hash of the bytes of its entries; None if they are to be read in any case.
        newest: Its greatest place; None if it is empty.
        last_key: The last key that it lists; empty if it is empty.
        objects: How many objects it lists.
        bytes: The sum of their sizes.
        waiting: How many of them match and have not been emitted.
    """

    start: bytes
    fingerprints: Fingerprints
    content: bytes | None = None
    newest: Place | None = None
    last_key: bytes = b""
    objects: int = 0
    bytes: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Index:
    """Which of what is listed was emitted. Never changed: a scan makes the next one from it.

    Attributes:
        segments: In the order of their keys; the first begins with the empty key.
        selection: The hash of the selection that it belongs to.
        newest_emitted: No object that was emitted has a later LastModified, in microseconds.
    """

    segments: tuple[Segment, ...]
    selection: str
    newest_emitted: int

    @classmethod
    def empty(cls, selection: str) -> Index:
        """The index of a new beginning: nothing has been emitted."""
        return cls((Segment(b"", NO_FINGERPRINTS),), selection, -(2**62))

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return size_of(self.segments)

    def starts(self) -> list[bytes]:
        """The first key of each segment."""
        return [each.start for each in self.segments]

    def around(self, key: bytes) -> Fingerprints:
        """The fingerprints of the segment to which a key belongs."""
        return self.segments[bisect_right(self.starts(), key) - 1].fingerprints

    def all_fingerprints(self) -> Fingerprints:
        """Of everything emitted and listed, in no order."""
        return np.concatenate([each.fingerprints for each in self.segments])


def size_of(segments: Iterable[Segment]) -> int:
    """About how many bytes segments take."""
    return sum(each.fingerprints.nbytes + _SEGMENT_BYTES for each in segments)


def members(fingerprints: Fingerprints, of: Fingerprints) -> Mask:
    """Which of these fingerprints are in a sorted array."""
    if not len(of) or not len(fingerprints):
        return np.zeros(len(fingerprints), np.bool_)
    places = np.searchsorted(of, fingerprints)
    places[places == len(of)] = 0
    found: Mask = of[places] == fingerprints
    return found


def without(fingerprints: Fingerprints, others: Fingerprints) -> Fingerprints:
    """These fingerprints but for the others, in their order."""
    # In a tenth of the time of np.setdiff1d, which puts them into hash tables.
    if not len(fingerprints) or not len(others):
        return fingerprints
    return fingerprints[~members(fingerprints, np.sort(others))]


def united(one: Fingerprints, other: Fingerprints) -> Fingerprints:
    """The fingerprints of both, sorted, each once."""
    # Sorting them takes a twentieth of the time of np.union1d, which puts them into a hash table.
    both = np.sort(np.concatenate([one, other]))
    is_first = np.ones(len(both), np.bool_)
    is_first[1:] = both[1:] != both[:-1]
    return both[is_first]


def segment_after(key: bytes) -> bytes:
    """The start of the segment that begins behind a key: the least key that is greater."""
    return key + b"\0"


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """What a scan sees at once: a range of keys as it is listed now.

    Attributes:
        start: The first key that belongs to it.
        end: The first key behind it; `END` for the last stretch.
        known: The segments of the index that begin in it, in order.
        continues: Whether the last segment of the index that reaches into it goes on behind it.
        unchanged: The segment to which it is equal byte for byte, if it need not be read.
        parts: Its entries, if it had to be read.
        content: The hash of the bytes of its entries; None where only a real parser could read
            them.
        objects: How many objects it lists.
    """

    start: bytes
    end: bytes
    known: tuple[Segment, ...] = ()
    continues: bool = False
    unchanged: Segment | None = None
    parts: tuple[Columns, ...] = ()
    content: bytes | None = None

    @property
    def objects(self) -> int:
        """How many objects it lists."""
        if self.unchanged is not None:
            return self.unchanged.objects
        return sum(map(len, self.parts))


class _Piece(NamedTuple):
    """A part of a page: the entries between two places, whose keys lie between two keys."""

    page: Page
    start: int
    end: int | None
    from_key: bytes | None
    to_key: bytes | None

    def columns(self) -> tuple[Columns, bool]:
        """The entries, and whether their bytes could be read without a real parser."""
        if self.page.entries is not None:
            read = self.page.columns(self.start, self.end)
            if read is not None:
                return read, True
        whole = self.page.parsed()
        if self.from_key is None and self.to_key is None:
            return whole, False
        keys = whole.key_bytes()
        low = 0 if self.from_key is None else bisect_left(keys, self.from_key)
        high = len(keys) if self.to_key is None else bisect_left(keys, self.to_key)
        return whole.only(np.arange(low, high)), False


def stretches(
    pages: Iterable[Page | Rest],
    index: Index | None,
    *,
    after: bytes = b"",
    may_skip: Callable[[Segment], bool],
) -> Iterator[Stretch | Rest]:
    """Cuts a listing in key order into stretches, and skips segments that did not change.

    Args:
        pages: In the order of the keys.
        index: What the last scan saw; None if nothing is known.
        after: The listing begins behind this key.
        may_skip: Whether a segment need not be read if its bytes are the same as last time.

    Raises:
        KeyOrderError: The pages are not in the order of the keys.
    """
    cutter = _Cutter(index, after, may_skip)
    for page in pages:
        if isinstance(page, Rest):
            yield from cutter.close(segment_after(page.after))
            yield page
            return
        if page.first_key is not None:
            yield from cutter.add(page)
    yield from cutter.close(END)


class _Cutter:
    def __init__(
        self, index: Index | None, after: bytes, may_skip: Callable[[Segment], bool]
    ) -> None:
        self._segments: Sequence[Segment] = () if index is None else index.segments
        self._starts = [each.start for each in self._segments]
        self._may_skip = may_skip
        self._start = segment_after(after) if after else b""
        self._last = after
        self._next = bisect_right(self._starts, self._start)
        self._pieces: list[_Piece] = []
        self._objects = 0

    def add(self, page: Page) -> Iterator[Stretch]:
        """Goes on with a page that is not empty."""
        first, last = page.first_key, page.last_key
        if first is None or last is None or first > last or first <= self._last:
            raise KeyOrderError("The pages of the listing are not in the order of the keys")
        self._last = last
        is_here = self._next < len(self._starts) and self._starts[self._next] <= first
        if not is_here and self._objects >= (2 * _OBJECTS if len(self._starts) > 1 else _OBJECTS):
            # A segment begins with a key that is listed, so that it is found again in any page.
            yield from self.close(first)
        at, from_key = 0, None
        while self._next < len(self._starts) and self._starts[self._next] <= last:
            boundary = self._starts[self._next]
            if boundary > first:
                place = page.find(boundary) if page.entries is not None else None
                if place is None:
                    # The key is gone, or the page has no bytes: the segments become one.
                    self._next += 1
                    continue
                if place > at:
                    self._pieces.append(_Piece(page, at, place, from_key, boundary))
                at, from_key = place, boundary
            if self._pieces:
                yield from self.close(boundary)
            else:
                # Nothing is listed there any more: the segments become one.
                self._next += 1
        self._pieces.append(_Piece(page, at, None, from_key, None))
        # Of a page that was cut, about as much as is left of its bytes.
        size = len(page.entries) if page.entries else 1
        self._objects += len(page) * (size - at) // size

    def close(self, end: bytes) -> Iterator[Stretch]:
        """Ends the stretch before this key."""
        pieces, start = self._pieces, self._start
        low, high = bisect_left(self._starts, start), bisect_left(self._starts, end)
        known = tuple(self._segments[low:high])
        self._pieces, self._start, self._objects = [], end, 0
        self._next = bisect_right(self._starts, end)
        continues = end != END and end not in self._starts[high : high + 1] and high > 0
        if not pieces and not known and (start == end or end != END):
            return
        content = _content(pieces)
        if content is not None and len(known) == 1 and not continues:
            [before] = known
            if (before.start, before.content) == (start, content) and self._may_skip(before):
                yield Stretch(start, end, known, unchanged=before)
                return
        read = [piece.columns() for piece in pieces]
        if not all(are_in_key_order(columns) for columns, _ in read):
            raise KeyOrderError("The listing is not in the order of the keys")
        yield Stretch(
            start,
            end,
            known,
            continues,
            parts=tuple(columns for columns, _ in read),
            content=content if all(is_plain for _, is_plain in read) else None,
        )


def _content(pieces: Sequence[_Piece]) -> bytes | None:
    """The hash of the bytes of these pieces; None if one has none."""
    hashed = xxh3_128(seed=_SEED)
    # One listing has one encoding. Page borders must not show in the hash.
    hashed.update(b"%" if pieces and pieces[0].page.url_encoded else b"-")
    for piece in pieces:
        entries = piece.page.entries
        if entries is None:
            return None
        hashed.update(memoryview(entries)[piece.start : piece.end])
    return hashed.digest()
