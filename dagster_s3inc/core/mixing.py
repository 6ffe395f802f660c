"""Where an identity goes in a sketch, and by which check it is known there."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["QUARTERS", "places_and_checks"]

QUARTERS: Final = 4
"""An identity has one cell in each quarter of a table, so that its four cells differ."""

# Finalizers of published hash functions, as (shift, factor, shift, factor, shift). Three, so that
# identities which agree in two cells agree in the others and in the check only by chance.
_SPLITMIX64: Final = (30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31)
_MURMUR3: Final = (33, 0xFF51AFD7ED558CCD, 33, 0xC4CEB9FE1A85EC53, 33)
_MOREMUR: Final = (27, 0x3C79AC492BA7B653, 33, 0x1C69B3F74AC4AE35, 27)

# Added to every identity first, because a finalizer leaves 0 as it is.
_OFFSET: Final = 0x9E3779B97F4A7C15

_HALF: Final = np.uint64(32)
_LOW_HALF: Final = np.uint64(2**32 - 1)


def places_and_checks(
    identities: npt.NDArray[np.uint64], cells: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint32]]:
    """The four cells of each identity, a row for each quarter, and the check of each."""
    width = cells // QUARTERS
    start = identities + np.uint64(_OFFSET)
    mixed = [_mix(start, steps) for steps in (_SPLITMIX64, _MURMUR3)]
    halves = np.stack([half for each in mixed for half in (each >> _HALF, each & _LOW_HALF)])
    # Each half is taken as a fraction of 2**32; a quarter's width is far below that.
    places = (halves * np.uint64(width) >> _HALF).astype(np.int64)
    places += width * np.arange(QUARTERS)[:, np.newaxis]
    return places, _mix(start, _MOREMUR).astype(np.uint32)


def _mix(values: npt.NDArray[np.uint64], steps: tuple[int, ...]) -> npt.NDArray[np.uint64]:
    # All modulo 2**64, and all of one type: numpy 1 makes floats of uint64 and other integers.
    shift, factor, next_shift, next_factor, last_shift = map(np.uint64, steps)
    values = (values ^ (values >> shift)) * factor
    values = (values ^ (values >> next_shift)) * next_factor
    values ^= values >> last_shift
    return values
