"""All that a scan needs to know about the past.

Two sentences define it:

    Every object at or below `floor` has been handed over, except those that `settled` shows to
    be missing from it.
    Above `floor`, exactly the objects in `recent` have been handed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dagster_s3inc.core.objects import Position
from dagster_s3inc.core.sketch import Sketch

__all__ = ["RECENT_LIMIT", "Checkpoint"]

RECENT_LIMIT: Final = 1200
"""The most identities kept above the floor: 12.8 KB of base64 in a cursor of at most 32 KB, the
rest of which is for the sketch, for what it revealed, and for the longest possible key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What has been handed over. A value: every change makes a new one.

    Attributes:
        generation: Counts the beginnings, from 1. A reset adds one.
        floor: Below it nothing is remembered one by one. None before the first object.
        recent: The identities of the objects above the floor that have been handed over.
        settled: Those at or below the floor that have been handed over and were still listed at
            the last scan. None where it is not known; the next scan then takes it from the
            listing.
        wanted: The identities at or below the floor that `settled` revealed as never handed over.
        selection: The digest of the selection by which it was made; None where it is not known.
        overflows: How often in this generation more changed below the floor than `settled` could
            tell apart.
        reset_seen: The moment (ISO 8601, UTC) of the newest reset that this checkpoint knows of.
    """

    generation: int = 1
    floor: Position | None = None
    recent: frozenset[int] = frozenset()
    settled: Sketch | None = None
    wanted: frozenset[int] = frozenset()
    selection: str | None = None
    overflows: int = 0
    reset_seen: str | None = None

    def restarted(
        self, *, generation: int | None = None, reset_seen: str | None = None
    ) -> Checkpoint:
        """The checkpoint that begins a later generation: nothing in it has been handed over.

        Args:
            generation: At least this one; by default the next.
            reset_seen: The moment of the reset that is honoured; by default as it was.
        """
        following = self.generation + 1
        return Checkpoint(
            generation=max(following, generation or following),
            reset_seen=reset_seen or self.reset_seen,
        )
