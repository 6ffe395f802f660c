"""The entries of a page as columns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Numbers", "Places", "Span", "Table", "texts_of"]

Places: TypeAlias = "npt.NDArray[np.intp]"
Numbers: TypeAlias = "npt.NDArray[np.int64]"


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
    """The texts of an element, entry for entry."""
    return [entries[a:b] for a, b in zip(span.starts.tolist(), span.ends.tolist(), strict=True)]
