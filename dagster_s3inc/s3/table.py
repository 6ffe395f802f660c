"""The entries of a page as columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from dagster_s3inc.s3.cuts import common_length

__all__ = ["Numbers", "Places", "Span", "Table", "are_rising", "have", "texts_of", "windows"]

Places: TypeAlias = "npt.NDArray[np.intp]"
Numbers: TypeAlias = "npt.NDArray[np.int64]"

# Of more texts than one in so many, each is taken by itself.
_UNUSUAL: Final = 4

# So many bytes make a number; each mask leaves so many of the first as its index says.
_WORD: Final = 8
_FIRST_BYTES: Final = np.array([2**64 - 2 ** (64 - 8 * kept) for kept in range(9)], np.uint64)


class Span(NamedTuple):
    """Where the texts of one element begin and end, entry for entry."""

    starts: Places
    ends: Places

    def only(self, rows: Places) -> Span:
        """The same for these rows alone."""
        return Span(self.starts[rows], self.ends[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The entries of a page. Each column has a value for each of them, in the page's order.

    Attributes:
        entries: The bytes in which the spans lie.
        key: The keys, as they are listed.
        modified: The times, all of one length, in UTC with a `Z` at the end.
        etag: The ETags, without their quotes.
        storage_class: The storage classes, as texts; empty where there is none.
        storage_classes: Those that occur; more than these in a part of a page.
        seconds: The times without their fractions, as numbers in which one can read the digits:
            20261122120000.
        sizes: In bytes.
        is_amazon: Whether all from the key to the ETag is written to the letter as Amazon's S3
            writes it.
    """

    entries: bytes
    key: Span
    modified: Span
    etag: Span
    storage_class: Span
    storage_classes: frozenset[bytes]
    seconds: Numbers
    sizes: Numbers
    is_amazon: bool

    def only(self, rows: Places) -> Table:
        """The same table with these rows alone."""
        return replace(
            self,
            key=self.key.only(rows),
            modified=self.modified.only(rows),
            etag=self.etag.only(rows),
            storage_class=self.storage_class.only(rows),
            seconds=self.seconds[rows],
            sizes=self.sizes[rows],
        )

    def texts(self, span: Span) -> list[bytes]:
        """The texts themselves."""
        return texts_of(self.entries, span)


def texts_of(entries: bytes, span: Span) -> list[bytes]:
    """The texts of an element, entry for entry. There is no NUL in them."""
    lengths = span.ends - span.starts
    usual = int(np.bincount(np.maximum(lengths, 0)).argmax()) if len(lengths) else 0
    [unusual] = np.nonzero(lengths != usual)
    if (
        not usual
        or len(unusual) * _UNUSUAL > len(lengths)
        or _reach(span.starts, usual) > len(entries)
    ):
        return [entries[a:b] for a, b in zip(span.starts.tolist(), span.ends.tolist(), strict=True)]
    # Nearly all are equally long: in a third of the time.
    texts: list[bytes] = windows(entries, usual)[span.starts].view(f"S{usual}").tolist()
    for row in unusual.tolist():
        texts[row] = entries[span.starts[row] : span.ends[row]]
    return texts


def have(entries: bytes, text: bytes, places: Places) -> bool:
    """Whether this text is at all of these places, which are in order; there is at least one."""
    if not text:
        return True
    if _reach(places, len(text)) > len(entries):
        return False
    found: bytes = windows(entries, len(text))[places].tobytes()
    return found == text * len(places)


def are_rising(entries: bytes, span: Span) -> bool:
    """Whether each text is greater than the one before it, in the order of their bytes.

    There is no NUL in them, and enough behind the last of them.
    """
    if len(span.starts) == 0:
        return True
    first, last = (entries[span.starts[row] : span.ends[row]] for row in (0, -1))
    shared = first[: common_length(first, last)]
    # What lies between two texts begins with all that these have in common.
    starts = span.starts + len(shared)
    if (span.ends < starts).any() or not have(entries, shared, span.starts):
        return False
    rows = np.arange(len(starts) - 1)
    while len(rows):
        one, other = (_words(entries, starts[each], span.ends[each]) for each in (rows, rows + 1))
        if (one > other).any():
            return False
        rows = rows[one == other]
        starts += _WORD
        is_over = span.ends <= starts
        if is_over[rows + 1].any():
            return False
        # What is over and the same so far is less than what goes on.
        rows = rows[~is_over[rows]]
    return True


def _words(entries: bytes, starts: Places, ends: Places) -> npt.NDArray[np.uint64]:
    """The first bytes of texts as numbers that are in the same order."""
    words: npt.NDArray[np.uint64] = windows(entries, _WORD)[starts].view(">u8").astype(np.uint64)
    words &= _FIRST_BYTES[np.minimum(ends - starts, _WORD)]
    return words


def _reach(places: Places, width: int) -> int:
    return int(places[-1]) + width


def windows(entries: bytes, width: int) -> npt.NDArray[Any]:
    """All pieces of so many bytes, by their places. Makes no copy."""
    shape = (len(entries) - width + 1,)
    pieces: npt.NDArray[Any] = np.ndarray(shape, f"V{width}", entries, strides=(1,))
    return pieces
