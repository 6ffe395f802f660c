"""A small summary of a large set, from two of which the difference of the sets can be read.

It is an invertible Bloom lookup table (Goodrich and Mitzenmacher, "Invertible Bloom Lookup
Tables", 2011), used to reconcile sets as in Eppstein, Goodrich, Uyeda and Varghese, "What's the
Difference? Efficient Set Reconciliation without Prior Context", 2011.

Each fingerprint goes to four cells, one in each quarter of the table. A cell keeps how many
fingerprints it holds, the xor of them, and the xor of their checks. Digests are added and
subtracted cell by cell, and what two sets share cancels. What remains is the difference alone:
its size decides what can be read, not the size of the sets.

**Reading** peels. A cell that holds one fingerprint (count 1 or -1) shows it. Once that is taken
out of its four cells, others may show. Below about 0.77 changes for each cell this nearly always
empties the table (the 2-core of a random 4-uniform hypergraph is empty below that load). 600 cells
read 400 changes, except that two changes which share all four cells block each other: once in 6,000
readings of 400 changes. What cannot be read whole is not read at all.

**Believing.** Several fingerprints in one cell pass for one only if the count is 1 or -1, their xor
fits 32 bits of check, and it belongs in that very cell: a chance of 2**-32 * 4/cells. Until that
happens, each peeling empties a cell for good and changes three others, so no more than 4 * cells
contents are ever looked at. A false fingerprint therefore appears in fewer than 16 * 2**-32, or
4 in 10**9, readings. Nor does it deceive by itself: it leaves its mark in three other cells, and
unless it is met there and taken back, the table does not come to zero. *An undetected wrong
answer is rarer than 4 in 10**9 readings*, and far rarer in fact, since it needs more accidents
that hide the first. All this is for fingerprints that nobody has chosen against these hash
functions, and for distinct ones: the digest cannot tell that a fingerprint was given twice.

**Counts** are kept modulo 2**16. So is their difference, which is right while a cell's own net
count is in -32768..32767; beyond, there are too many changes to be read anyway, and the check
guards against a count that only looks like 1. The size of the set is kept apart and whole, so
the net change is exact however much has changed.

**Estimating** is what remains where reading fails. A cell's net count strays from its mean as a
sum of random signs does, so the squares of the deviations tell how many signs there are, added
plus removed (Alon, Matias and Szegedy, "The Space Complexity of Approximating the Frequency
Moments", 1996). Added minus removed is exact.
"""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.validation import require_at_least
from dagster_s3inc.errors import ConfigurationError

__all__ = [
    "CELLS",
    "CELLS_LIMIT",
    "QUARTERS",
    "Difference",
    "Digest",
    "DigestBuilder",
    "Estimate",
    "FingerprintSet",
    "cells_for",
    "decode",
    "estimate",
    "mixed",
    "places_and_checks",
]

QUARTERS: Final = 4
"""A fingerprint has one cell in each quarter of a table, so that its four cells differ."""

# Finalizers of published hash functions, as (shift, factor, shift, factor, shift). Three, so that
# fingerprints which agree in two cells agree in the others and in the check only by chance.
_SPLITMIX64: Final = (30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31)
_MURMUR3: Final = (33, 0xFF51AFD7ED558CCD, 33, 0xC4CEB9FE1A85EC53, 33)
_MOREMUR: Final = (27, 0x3C79AC492BA7B653, 33, 0x1C69B3F74AC4AE35, 27)

# The finalizer of XXH64, for checksums of sets.
_XXH64: Final = (33, 0xC2B2AE3D27D4EB4F, 29, 0x165667B19E3779F9, 32)

# Added to every fingerprint first, because a finalizer leaves 0 as it is.
_OFFSET: Final = 0x9E3779B97F4A7C15

_HALF: Final = np.uint64(32)
_LOW_HALF: Final = np.uint64(2**32 - 1)


def places_and_checks(
    fingerprints: npt.NDArray[np.uint64], cells: int
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint32]]:
    """The four cells of each fingerprint, a row for each quarter, and the check of each.

    There are at most 2**16 cells.
    """
    width = cells // QUARTERS
    start = fingerprints + np.uint64(_OFFSET)
    places = np.empty((QUARTERS, len(fingerprints)), np.uint16)
    for pair, steps in zip((0, 2), (_SPLITMIX64, _MURMUR3), strict=True):
        mixed = _mix(start, steps)
        for quarter, half in ((pair, mixed >> _HALF), (pair + 1, mixed & _LOW_HALF)):
            # Each half is taken as a fraction of 2**32; a quarter's width is far below that.
            half *= np.uint64(width)
            half >>= _HALF
            places[quarter] = half
            places[quarter] += np.uint16(quarter * width)
    return places, _mix(start, _MOREMUR).astype(np.uint32)


def mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """A hash of each of these numbers, that differs from those by which they are placed."""
    return _mix(values + np.uint64(_OFFSET), _XXH64)


def _mix(values: npt.NDArray[np.uint64], steps: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    # All modulo 2**64, and all of one type: numpy 1 makes floats of uint64 and other integers.
    shift, factor, next_shift, next_factor, last_shift = map(np.uint64, steps)
    mixed: npt.NDArray[np.uint64] = values >> shift
    mixed ^= values
    mixed *= factor
    mixed ^= mixed >> next_shift
    mixed *= next_factor
    mixed ^= mixed >> last_shift
    return mixed


CELLS: Final = 600
"""Reads 400 changes in 8.4 KB, or 11.2 KB of base64 in a cursor of at most 32 KB."""

CELLS_LIMIT: Final = 2**16
"""900 KB. Bounds what a few hostile or damaged bytes can make `Digest.from_bytes` unpack."""

FingerprintSet: TypeAlias = "npt.NDArray[np.uint64] | Iterable[int]"
"""Distinct whole numbers in 0..2**64-1; fastest as an array of uint64."""

_CELL_BYTES: Final = 14
_SIZE: Final = struct.Struct("<q")

# So many fingerprints are hashed at once: few enough for their temporaries to stay in the
# processor's cache, and enough for the cost of a call of numpy not to count.
_BLOCK: Final = 2**13


class Difference(NamedTuple):
    """What one set has that another has not. Exact.

    Attributes:
        added: The fingerprints in the first set alone.
        removed: The fingerprints in the second set alone.
    """

    added: frozenset[int]
    removed: frozenset[int]


class Estimate(NamedTuple):
    """About how many fingerprints one set has that another has not.

    Attributes:
        added: How many are in the first set alone, about. `added - removed` is exact.
        removed: How many are in the second set alone, about.
        margin: In 95 of 100 cases neither of the two is off by more.
    """

    added: int
    removed: int
    margin: int


class _Columns(NamedTuple):
    """The cells of a table: in each the xor of fingerprints, the xor of checks, and the count."""

    fingerprints: npt.NDArray[np.uint64]
    checks: npt.NDArray[np.uint32]
    counts: npt.NDArray[np.int16]

    def packed(self) -> bytes:
        """The form that is stored: little-endian on every machine."""
        prints, checks, counts = self
        parts = (prints.astype("<u8"), checks.astype("<u4"), counts.astype("<i2"))
        return b"".join(part.tobytes() for part in parts)


@dataclass(frozen=True, slots=True)
class Digest:
    """The summary of a set of 64-bit fingerprints, or of the difference of two sets. A value.

    `a - b` is the digest of a difference, and `a + b` that of a union of sets that share nothing.
    Both need equally many cells, and raise `ConfigurationError` otherwise.

    Attributes:
        table: The cells, 14 bytes each, in the form that `to_bytes` compresses.
        size: How many fingerprints the set has, exactly; in a difference the net number, which may
            be negative.
    """

    table: bytes = field(repr=False)
    size: int

    def __post_init__(self) -> None:
        if len(self.table) % _CELL_BYTES:
            raise ConfigurationError(f"a table of {len(self.table)} bytes is not of whole cells")
        _require_cells(self.cells)

    @classmethod
    def empty(cls, cells: int = CELLS) -> Digest:
        """The digest of no fingerprints.

        Raises:
            ConfigurationError: `cells` is not a multiple of 4 in 8..`CELLS_LIMIT`.
        """
        return DigestBuilder(cells).finish()

    @classmethod
    def of(cls, fingerprints: FingerprintSet, cells: int = CELLS) -> Digest:
        """The digest of a set, given in any order.

        Raises:
            ConfigurationError: `cells` is not a multiple of 4 in 8..`CELLS_LIMIT`.
            OverflowError: One of the `int` is not in 0..2**64-1.
            TypeError: The array is not of unsigned integers.
        """
        builder = DigestBuilder(cells)
        builder.add(fingerprints)
        return builder.finish()

    @classmethod
    def from_bytes(cls, data: bytes) -> Digest:
        """Reads what `to_bytes` wrote.

        Raises:
            ValueError: It is something else, or damaged.
        """
        stream = zlib.decompressobj()
        try:
            # One byte more than the largest table has: if that is reached, the end was not.
            content = stream.decompress(data, _SIZE.size + CELLS_LIMIT * _CELL_BYTES + 1)
        except zlib.error as error:
            raise ValueError(f"the digest is damaged: {error}") from error
        if not stream.eof or stream.unused_data or len(content) < _SIZE.size:
            raise ValueError("the digest is cut short, too long, or followed by something else")
        try:
            return cls(content[_SIZE.size :], *_SIZE.unpack_from(content))
        except ConfigurationError as error:
            raise ValueError(f"the digest is damaged: {error}") from error

    def to_bytes(self) -> bytes:
        """Writes the digest: about 14 bytes for each cell in use, with a checksum.

        What does not shrink is stored as it is, at a cost of some 20 bytes. Equal digests give
        equal bytes as long as zlib is the same.
        """
        return zlib.compress(_SIZE.pack(self.size) + self.table, 9)

    @property
    def cells(self) -> int:
        """How many cells the table has."""
        return len(self.table) // _CELL_BYTES

    def plus(self, fingerprints: FingerprintSet) -> Digest:
        """The set with these fingerprints as well, none of which it has."""
        return self + Digest.of(fingerprints, self.cells)

    def minus(self, fingerprints: FingerprintSet) -> Digest:
        """The set without these fingerprints, all of which it has."""
        return self - Digest.of(fingerprints, self.cells)

    def __add__(self, other: Digest) -> Digest:
        return self._combined(other, 1)

    def __sub__(self, other: Digest) -> Digest:
        return self._combined(other, -1)

    def _combined(self, other: Digest, sign: int) -> Digest:
        if self.cells != other.cells:
            raise ConfigurationError(
                f"a digest of {self.cells} cells and one of {other.cells} have nothing to do with "
                f"each other; make both with the same number of cells"
            )
        mine, theirs = self._columns(), other._columns()
        columns = _Columns(
            mine.fingerprints ^ theirs.fingerprints,
            mine.checks ^ theirs.checks,
            mine.counts + theirs.counts * np.int16(sign),
        )
        return Digest(columns.packed(), self.size + sign * other.size)

    def _columns(self) -> _Columns:
        """Views of the table, which cannot be written to."""
        return _Columns(
            np.frombuffer(self.table, "<u8", self.cells),
            np.frombuffer(self.table, "<u4", self.cells, self.cells * 8),
            np.frombuffer(self.table, "<i2", self.cells, self.cells * 12),
        )


class DigestBuilder:
    """Makes the digest of a set that comes in parts. Keeps few of the fingerprints at a time.

    Raises:
        ConfigurationError: `cells` is not a multiple of 4 in 8..`CELLS_LIMIT`.
    """

    def __init__(self, cells: int = CELLS) -> None:
        _require_cells(cells)
        self._columns = _Columns(
            np.zeros(cells, np.uint64), np.zeros(cells, np.uint32), np.zeros(cells, np.int16)
        )
        self._size = 0
        self._waiting: list[npt.NDArray[np.uint64]] = []
        self._waiting_size = 0

    def add(self, fingerprints: FingerprintSet) -> None:
        """Takes a part of the set; each fingerprint once in all parts together.

        An array is not copied, and must stay as it is.

        Raises:
            OverflowError: One of the `int` is not in 0..2**64-1. Others may have been added.
            TypeError: The array is not of unsigned integers.
        """
        if not isinstance(fingerprints, np.ndarray):
            fingerprints = np.fromiter(fingerprints, np.uint64)
        # `safe` refuses signed numbers, which would change without a word.
        whole = fingerprints.astype(np.uint64, casting="safe", copy=False)
        for start in range(0, len(whole), _BLOCK):
            block = whole[start : start + _BLOCK]
            self._waiting.append(block)
            self._waiting_size += len(block)
            if self._waiting_size >= _BLOCK:
                self._take_in()

    def copy(self) -> DigestBuilder:
        """Another builder that has been given the same."""
        self._take_in()
        other = DigestBuilder(len(self._columns.counts))
        other._columns = _Columns(*(column.copy() for column in self._columns))
        other._size = self._size
        return other

    def finish(self) -> Digest:
        """The digest of all that was added so far. More may be added afterwards."""
        self._take_in()
        return Digest(self._columns.packed(), self._size)

    def _take_in(self) -> None:
        if not self._waiting_size:
            return
        fingerprints = np.concatenate(self._waiting)
        self._waiting, self._waiting_size = [], 0
        to_fingerprints, to_checks, to_counts = self._columns
        places, checks = places_and_checks(fingerprints, len(to_counts))
        for quarter in places:
            # numpy sorts such short numbers by their digits, in far less time than `xor.at` takes
            # to go to one cell after the other.
            order = np.argsort(quarter, kind="stable")
            counts = np.bincount(quarter, minlength=len(to_counts))
            cells = np.flatnonzero(counts)
            # Where the fingerprints of each of these cells begin, once they are in order.
            starts = np.cumsum(counts[cells]) - counts[cells]
            to_fingerprints[cells] ^= np.bitwise_xor.reduceat(fingerprints[order], starts)
            to_checks[cells] ^= np.bitwise_xor.reduceat(checks[order], starts)
            to_counts += counts.astype(np.int16)
        self._size += len(fingerprints)


def decode(difference: Digest) -> Difference | None:
    """Reads from `first - second` the fingerprints that one set has and the other has not.

    Returns:
        All of them, of both kinds; None where there are too many for the cells. The head of this
        module says how sure either answer is.
    """
    found: Counter[int] = Counter()
    remaining = difference
    # Each round empties a cell for good. The bound is for accidents, which may go in circles.
    for _ in range(difference.cells):
        positive, negative = _alone(remaining)
        if not len(positive) and not len(negative):
            break
        remaining = remaining.minus(positive).plus(negative)
        found.update(positive.tolist())
        found.subtract(negative.tolist())
    if remaining != Digest.empty(difference.cells) or any(abs(n) > 1 for n in found.values()):
        return None
    return Difference(
        frozenset(fingerprint for fingerprint, net in found.items() if net == 1),
        frozenset(fingerprint for fingerprint, net in found.items() if net == -1),
    )


def estimate(difference: Digest) -> Estimate:
    """Estimates from `first - second` how much two sets differ, however much that is.

    With 600 cells the sum of both numbers is right within 12% (in 95 of 100 cases). A few
    fingerprints added among very many removed are thus lost in the margin.
    """
    width = difference.cells // QUARTERS
    mean = difference.size / width
    centre = round(mean)
    # Counts are known modulo 2**16; the values nearest to the mean are meant.
    wrapped = (difference._columns().counts.astype(np.int64) - centre + 2**15) % 2**16 - 2**15
    squares = float(np.square(wrapped + (centre - mean)).sum()) / QUARTERS
    # In a quarter, the squares of n random signs in `width` cells add up to n * (1 - 1/width).
    both = max(squares / (1 - 1 / width), abs(difference.size))
    added = round((both + difference.size) / 2)
    # The standard deviation of `both` is both * sqrt(2 / cells); two of them, halved.
    return Estimate(added, added - difference.size, ceil(both * sqrt(2 / difference.cells)))


def _alone(digest: Digest) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """The fingerprints that are alone in some cell: those counted 1, and those counted -1."""
    columns = digest._columns()
    single = np.flatnonzero((columns.counts == 1) | (columns.counts == -1))
    fingerprints, counts = columns.fingerprints[single], columns.counts[single]
    places, checks = places_and_checks(fingerprints, digest.cells)
    pure = (checks == columns.checks[single]) & (places == single).any(axis=0)
    added, removed = pure & (counts == 1), pure & (counts == -1)
    return np.unique(fingerprints[added]), np.unique(fingerprints[removed])


def cells_for(capacity: int) -> int:
    """How many cells tell so many changes apart: half as many again, in whole quarters.

    Raises:
        ConfigurationError: There would be more than `CELLS_LIMIT`.
    """
    cells = max(2 * QUARTERS, QUARTERS * ceil(capacity * 3 / 2 / QUARTERS))
    if cells > CELLS_LIMIT:
        raise ConfigurationError(
            f"late_file_capacity is {capacity:,} files; at most {CELLS_LIMIT * 2 // 3:,} can be "
            f"told apart"
        )
    return cells


def _require_cells(cells: int) -> None:
    """Refuses what is not a multiple of 4 in 8..`CELLS_LIMIT`."""
    require_at_least("cells", cells, 2 * QUARTERS, unit="cells of the digest")
    if cells % QUARTERS or cells > CELLS_LIMIT:
        raise ConfigurationError(
            f"cells must be a multiple of {QUARTERS} and at most {CELLS_LIMIT}, not {cells}"
        )
