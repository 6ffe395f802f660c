"""What is new and waits to be emitted: columns of the oldest, and numbers of the rest.

A first scan of a large bucket finds a million new objects and emits two thousand. It keeps the
oldest of them, so that the next ticks need not list again, and counts the others. So memory does
not grow with the bucket.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.columns import (
    Columns,
    Fingerprints,
    Numbers,
    Rows,
    Texts,
    in_position_order,
    microseconds,
    moment,
)
from dagster_s3inc.core.filters import Mask
from dagster_s3inc.core.index import NO_FINGERPRINTS, Place
from dagster_s3inc.core.objects import Position

__all__ = [
    "KEPT",
    "NO_GROUP",
    "Above",
    "Candidates",
    "Dropped",
    "OldestCandidates",
    "at_or_below",
    "place_of",
    "position_of",
    "sorted_array",
]

KEPT: Final = 50_000
"""At least so many objects are kept; with keys of 60 bytes they take about 8 MB."""

NO_GROUP: Final = -1

_Whole = npt.NDArray[np.int32]


def place_of(position: Position | None) -> Place | None:
    """A position as columns hold it."""
    if position is None:
        return None
    return microseconds(position.last_modified), position.key.encode("utf-8", "surrogatepass")


def position_of(place: Place | None) -> Position | None:
    """A place as a checkpoint holds it."""
    if place is None:
        return None
    return Position(moment(place[0]), place[1].decode("utf-8", "surrogatepass"))


def sorted_array(fingerprints: frozenset[int]) -> Fingerprints:
    """Fingerprints as `members` takes them."""
    return np.sort(np.fromiter(fingerprints, np.uint64, len(fingerprints)))


def at_or_below(columns: Columns, place: Place | None) -> Mask:
    """Which rows lie at or below a place."""
    if place is None:
        return np.zeros(len(columns), np.bool_)
    mask: Mask = columns.last_modified < place[0]
    ties = np.flatnonzero(columns.last_modified == place[0])
    if len(ties):
        mask[ties] = [key <= place[1] for key in columns.key_bytes(ties)]
    return mask


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Objects that are new and match, one row each.

    Attributes:
        columns: Their properties.
        fingerprints: Of each.
        segments: In which segment of the scan each was listed.
        groups: The number of the group of each; `NO_GROUP` where there are no groups.
    """

    columns: Columns
    fingerprints: Fingerprints
    segments: _Whole
    groups: _Whole

    @classmethod
    def joined(cls, parts: Sequence[Candidates]) -> Candidates:
        """The rows of all parts, one part after the other."""
        if len(parts) == 1:
            return parts[0]
        empty = np.empty(0, np.int32)
        return cls(
            Columns.concatenated([part.columns for part in parts]),
            np.concatenate([NO_FINGERPRINTS, *(part.fingerprints for part in parts)]),
            np.concatenate([empty, *(part.segments for part in parts)]),
            np.concatenate([empty, *(part.groups for part in parts)]),
        )

    def __len__(self) -> int:
        return len(self.fingerprints)

    def only(self, rows: Rows) -> Candidates:
        """These rows, in this order."""
        return Candidates(
            self.columns.only(rows),
            self.fingerprints[rows],
            self.segments[rows],
            self.groups[rows],
        )

    def without(self, rows: Rows) -> Candidates:
        """All rows but these, in their order."""
        if not len(rows):
            return self
        kept = np.ones(len(self), np.bool_)
        kept[rows] = False
        return self.only(np.flatnonzero(kept))

    def packed(self) -> Candidates:
        """The same rows in memory of their own, so that that of their page can be freed."""
        return Candidates(self.columns.packed(), self.fingerprints, self.segments, self.groups)

    def in_position_order(self) -> Candidates:
        """The same rows, ordered by (last_modified, key)."""
        return self.only(self.columns.in_position_order())

    def place(self, row: int) -> Place:
        """The place of one row in the order of processing."""
        return int(self.columns.last_modified[row]), self.columns.key(row)


@dataclass(frozen=True, slots=True, eq=False)
class Above:
    """Objects above the watermark that have been emitted and are listed, one row each.

    Attributes:
        times: Their LastModified, in microseconds.
        keys: Their keys.
        fingerprints: Of each.
        matching: Whether each matches, whatever its storage class.
    """

    times: Numbers
    keys: Texts
    fingerprints: Fingerprints
    matching: Mask

    @classmethod
    def joined(cls, parts: Sequence[Above]) -> Above:
        """The rows of all parts, in position order."""
        whole = (
            parts[0]
            if len(parts) == 1
            else cls(
                np.concatenate([np.empty(0, np.int64), *(each.times for each in parts)]),
                Texts.joined([each.keys for each in parts]),
                np.concatenate([NO_FINGERPRINTS, *(each.fingerprints for each in parts)]),
                np.concatenate([np.empty(0, np.bool_), *(each.matching for each in parts)]),
            )
        )
        return whole.only(
            in_position_order(whole.times, lambda rows: whole.keys.only(rows).to_list())
        )

    @classmethod
    def of(cls, candidates: Candidates) -> Above:
        """Candidates that are emitted now."""
        columns, matching = candidates.columns, np.ones(len(candidates), np.bool_)
        return cls(columns.last_modified, columns.plain_keys(), candidates.fingerprints, matching)

    def plus(self, emitted: Candidates) -> Above:
        """With candidates that are emitted now."""
        return Above.joined([self, Above.of(emitted)]) if len(emitted) else self

    def split(self, count: int) -> tuple[Above, Above]:
        """The first rows, and the others."""
        return self.only(np.arange(count)), self.only(np.arange(count, len(self)))

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, row: int) -> Place:
        """The place of one row in the order of processing."""
        return int(self.times[row]), self.keys[row]

    def only(self, rows: Rows) -> Above:
        """These rows, in this order."""
        return Above(
            self.times[rows], self.keys.only(rows), self.fingerprints[rows], self.matching[rows]
        )


@dataclass(slots=True)
class Dropped:
    """Candidates that were counted and not kept.

    Attributes:
        files: How many.
        bytes: The sum of their sizes.
        oldest: The least place among them; None if there are none.
    """

    files: int = 0
    bytes: int = 0
    oldest: Place | None = None

    def add(self, columns: Columns) -> None:
        """Counts these rows too."""
        if not len(columns):
            return
        self.files += len(columns)
        self.bytes += int(columns.sizes.sum())
        time = int(columns.last_modified.min())
        if self.oldest is None or time <= self.oldest[0]:
            first = np.flatnonzero(columns.last_modified == time)
            least = time, min(columns.key_bytes(first))
            self.oldest = least if self.oldest is None else min(self.oldest, least)


class OldestCandidates:
    """Keeps the oldest of the candidates of a scan.

    Args:
        limit: At least so many are kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[Candidates] = []
        self._count = 0
        self.dropped = Dropped()
        self.latest: int | None = None
        """What was modified later than this, in microseconds, is counted and not kept."""

    def add(self, candidates: Candidates) -> None:
        """Takes the candidates of one stretch."""
        self._parts.append(candidates.packed())
        self._count += len(candidates)
        if self._count > 2 * self._limit:
            self._compact()

    def finish(self) -> Candidates:
        """Gives away the oldest, in position order."""
        if self._count > self._limit:
            self._compact()
        # The parts go before anything is made of the whole, which is as large.
        joined, self._parts, self._count = Candidates.joined(self._parts), [], 0
        return joined.in_position_order()

    def _compact(self) -> None:
        joined = Candidates.joined(self._parts)
        ordered = joined.columns.in_position_order()
        kept, rest = ordered[: self._limit], ordered[self._limit :]
        self.dropped.add(joined.columns.only(rest))
        # In the order in which they came, which is that of the keys.
        oldest = joined.only(np.sort(kept)).packed()
        self._parts, self._count = [oldest], len(oldest)
        self.latest = int(joined.columns.last_modified[kept[-1]])
