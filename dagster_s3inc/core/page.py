"""A page of a listing, as a scan takes it from whoever lists."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from operator import lt
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.columns import Columns, Rows

__all__ = ["ColumnsPage", "Page", "Rest", "are_in_key_order", "have", "windows"]


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
    entries: None = field(default=None, init=False)
    url_encoded: bool = field(default=False, init=False)

    @property
    def first_key(self) -> bytes | None:
        """The first key; None if the page is empty."""
        return self.content.key(0) if len(self.content) else None

    @property
    def last_key(self) -> bytes | None:
        """The last key; None if the page is empty."""
        return self.content.key(-1) if len(self.content) else None

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


def are_in_key_order(columns: Columns) -> bool:
    """Whether each key is greater than the one before it, in the order of UTF-8 bytes."""
    keys = columns.key_bytes()
    return all(map(lt, keys, islice(keys, 1, None)))


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
