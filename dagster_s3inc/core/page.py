"""A page of a listing, as a scan takes it from whoever lists."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.columns import Columns, Rows, Texts

__all__ = ["ColumnsPage", "Page", "Rest", "are_in_key_order", "are_rising", "have", "windows"]


class Rest(NamedTuple):
    """Stands after pages that are only the beginning of a listing in the order of its keys.

    Attributes:
        after: The last key of these pages; the listing goes on after it.
    """

    after: bytes


class Page(Protocol):
    """Some entries of a listing, in the order in which the server lists them.

    A page may hold the bytes in which it came. Then pieces of it can be compared with what came
    last time, and only pieces that changed are read.
    """

    @property
    def first_key(self) -> bytes | None:
        """The first key, not encoded; None if the page is empty."""

    @property
    def last_key(self) -> bytes | None:
        """The last key, not encoded; None if the page is empty."""

    @property
    def entries(self) -> bytes | None:
        """The bytes of all entries, one after the other; None if the page has only columns."""

    @property
    def url_encoded(self) -> bool:
        """Whether the keys in `entries` are percent-encoded."""

    def __len__(self) -> int:
        """How many objects the page lists."""

    def find(self, key: bytes) -> int | None:
        """Where in `entries` the entry of this key (not encoded) begins; None if it has none."""

    def columns(self, start: int = 0, end: int | None = None) -> Columns | None:
        """The entries between two places in `entries` as columns.

        Args:
            start: Where an entry begins.
            end: Where an entry ends; None means the end of the page.

        Returns:
            None if the bytes are not certain to be read as a parser would read them. Then
            `parsed` must read the whole page.
        """

    def parsed(self) -> Columns:
        """The whole page as columns, read by a real parser if need be."""


@dataclass(frozen=True, slots=True, eq=False)
class ColumnsPage:
    """A page that has only columns: a real parser read it, or a test made it."""

    content: Columns

    @property
    def first_key(self) -> bytes | None:
        """The first key; None if the page is empty."""
        return self.content.key(0) if len(self.content) else None

    @property
    def last_key(self) -> bytes | None:
        """The last key; None if the page is empty."""
        return self.content.key(-1) if len(self.content) else None

    @property
    def entries(self) -> None:
        """None: the bytes are not known."""
        return

    @property
    def url_encoded(self) -> bool:
        """Never: there are no bytes."""
        return False

    def __len__(self) -> int:
        return len(self.content)

    def find(self, key: bytes) -> int | None:
        """None: there are no bytes to find it in."""
        return None

    def columns(self, start: int = 0, end: int | None = None) -> Columns | None:
        """The whole page."""
        return self.content

    def parsed(self) -> Columns:
        """The whole page."""
        return self.content


# Eight bytes are compared at a time, as one number. A mask keeps as many of the first of them as
# its index says.
_WORD: Final = 8
_FIRST_BYTES: Final = np.array([2**64 - 2 ** (64 - 8 * kept) for kept in range(9)], np.uint64)


def are_in_key_order(columns: Columns) -> bool:
    """Whether each key is greater than the one before it, in the order of UTF-8 bytes."""
    if columns.encoded:
        return all(one < other for one, other in pairwise(columns.key_bytes()))
    return are_rising(columns.keys)


def are_rising(texts: Texts) -> bool:
    """Whether each text is greater than the one before it, in the order of their bytes."""
    if len(texts) < 2:
        return True
    block, starts, ends = texts.block, texts.starts, texts.ends
    if b"\0" in block:
        # Below, a NUL would be taken for the end of a text.
        return all(one < other for one, other in pairwise(texts.to_list()))
    if int(ends.max()) + _WORD > len(block):
        block += b"\0" * _WORD
    # Texts that lie between two others in order begin with all that these two have in common.
    shared = _common_start(texts[0], texts[-1])
    starts = starts + len(shared)
    if (ends < starts).any() or not have(block, shared, texts.starts):
        return False
    rows = np.arange(len(starts) - 1)
    while len(rows):
        one, other = (_words(block, starts[each], ends[each]) for each in (rows, rows + 1))
        if (one > other).any():
            return False
        rows = rows[one == other]
        starts += _WORD
        is_over = ends <= starts
        if is_over[rows + 1].any():
            return False
        # A text that ends here, and is equal so far, is less than the one that goes on.
        rows = rows[~is_over[rows]]
    return True


def have(block: bytes, text: bytes, places: Rows) -> bool:
    """Whether the block has this text at all of these places; there is at least one."""
    if not text:
        return True
    if int(places.max()) + len(text) > len(block):
        return False
    found: bytes = windows(block, len(text))[places].tobytes()
    return found == text * len(places)


def windows(block: bytes, width: int) -> npt.NDArray[Any]:
    """All pieces of so many bytes, by the places where they begin. Copies nothing."""
    shape = (len(block) - width + 1,)
    pieces: npt.NDArray[Any] = np.ndarray(shape, f"V{width}", block, strides=(1,))
    return pieces


def _common_start(one: bytes, other: bytes) -> bytes:
    pairs = zip(one, other, strict=False)
    return one[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))]


def _words(block: bytes, starts: Rows, ends: Rows) -> npt.NDArray[np.uint64]:
    """The first eight bytes of each text as a number; these are in the order of the texts."""
    words: npt.NDArray[np.uint64] = windows(block, _WORD)[starts].view(">u8").astype(np.uint64)
    words &= _FIRST_BYTES[np.minimum(ends - starts, _WORD)]
    return words
