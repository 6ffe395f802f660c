"""Which rows of a page count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.columns import Columns

__all__ = ["Mask", "Rules", "Selection"]

Mask = npt.NDArray[np.bool_]


class Rules(Protocol):
    """Tells which entries of a listing count. `ObjectFilter` makes one for a prefix."""

    def may_count(self, columns: Columns) -> Mask:
        """Which rows count as far as everything but their storage class goes."""

    def class_counts(self, columns: Columns) -> Mask:
        """Which rows have a storage class that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects count; by default every one.

    The storage class is the only property by which a version may count at one time and not at
    another. So it is asked apart from the others.

    Attributes:
        rules: Tell which rows count; None means all.
        group_of: Tells in which group of batches a key belongs, None for a key that is in none;
            such objects are held back. None means that there are no groups.
        prefix: Below it the keys have names, which globs match.
        own_key: A key that never counts: that of the checkpoint, where it lies below the prefix.
        hash: Differs between selections that select differently.
    """

    rules: Rules | None = None
    group_of: Callable[[str], str | None] | None = None
    prefix: str = ""
    own_key: bytes | None = None
    hash: str = ""

    def may_match(self, columns: Columns) -> Mask:
        """Which rows match, whatever their storage class."""
        if self.rules is None:
            mask = np.ones(len(columns), np.bool_)
        else:
            mask = self.rules.may_count(columns)
        if self.own_key is not None and len(columns):
            for row in np.flatnonzero(mask & _long_as(columns, self.own_key)).tolist():
                mask[row] = columns.key(row) != self.own_key
        return mask

    def class_counts(self, columns: Columns) -> Mask:
        """Which rows have a storage class that counts."""
        if self.rules is None:
            return np.ones(len(columns), np.bool_)
        return self.rules.class_counts(columns)

    def matches(self, columns: Columns) -> Mask:
        """Which rows match now."""
        return self.may_match(columns) & self.class_counts(columns)


def _long_as(columns: Columns, key: bytes) -> Mask:
    lengths = columns.keys.ends - columns.keys.starts
    mask: Mask = lengths >= len(key) if columns.encoded else lengths == len(key)
    return mask
