"""What a cursor stands for, version by version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["NOTHING", "Decided", "Knowledge", "Reading"]


class Decided(NamedTuple):
    """A run as a tick decided on it: another tick may have given another one the same key."""

    key: str
    generation: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A scan that is spread over several ticks.

    Attributes:
        seen: What it has listed so far.
        life: The process that saw all of it; None if no process did.
    """

    seen: frozenset[int] = frozenset()
    life: object | None = None


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the world knows of a cursor that a scan sees only in part.

    A version that is gone is found gone by a complete scan. Until then, and where that scan could
    not tell, it may count as emitted when it comes back, or not: it is in `may` alone.

    Attributes:
        must: The fingerprints that count as emitted, and must not be emitted.
        may: Those that may count as emitted, and need not be emitted; more than `must`.
        runs: The runs by which each was emitted.
        reading: The scan that goes on; None if the last one completed.
        due: What is still to be reprocessed, as far as is certain; None if nothing is.
        repeated: What has been reprocessed, where something is.
        whole: Whether a ledger of all runs can be whole: the beginning was not adopted, and the
            cursor was not set back.
    """

    must: frozenset[int] = frozenset()
    may: frozenset[int] = frozenset()
    runs: Mapping[int, tuple[Decided, ...]] = field(default_factory=dict)
    reading: Reading | None = None
    due: frozenset[int] | None = None
    repeated: frozenset[int] = frozenset()
    whole: bool = True


NOTHING = Knowledge()
