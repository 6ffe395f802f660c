"""The cells of a digest to which a fingerprint goes, and the check that proves it there."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["QUARTERS", "mixed", "places_and_checks"]

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
