"""All that a scan needs to know about the past.

Two sentences define it:

    Every object at or below `floor` has been handed over, except those that `settled` shows to
    be missing from it.
    Above `floor`, exactly the objects in `recent` have been handed over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.redo import Redo
from dagster_s3inc.core.sketch import Sketch

__all__ = ["RECENT_LIMIT", "Checkpoint", "Pass"]

RECENT_LIMIT: Final = 512
"""The most identities kept one by one: 5.5 KB of base64 in a cursor of at most 32 KB, the rest of
which is for two sketches (there are two during a pass), for the longest possible keys, and for the
conditions of a redo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A scan that is spread over several ticks, because its listing outlives one. A value.

    Attributes:
        began: The server's time at its first look.
        horizon: What is older is summed up as it is handed over, and the floor rises to this
            time when the pass has come to the end. Never later than `began`.
        after: The key up to which the listing has been looked at; it goes on after it.
        objects: How many entries of the listing it has looked at.
        listed: The identities listed so far at or below the floor, and of those above it that
            have been handed over and are older than the horizon. None where it is not known
            what they were selected by, since the selection changed on the way.
        met: Of those that have been handed over and are younger than the horizon, the identities
            that this pass has met so far.
        adopts: Whether what is older than the pass counts as handed over.
    """

    began: datetime
    horizon: datetime
    after: str
    objects: int = 0
    listed: Sketch | None
    met: frozenset[int] = frozenset()
    adopts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What has been handed over. A value: every change makes a new one.

    Attributes:
        generation: Counts the beginnings, from 1. A reset adds one.
        floor: Below it nothing is remembered one by one. None before the first object.
        recent: The identities of the objects above the floor that have been handed over. During
            a pass, those that it has not met yet.
        settled: Those at or below the floor that have been handed over and were still listed at
            the last scan. None where it is not known; the next scan then takes it from the
            listing. During a pass also those that it has summed up.
        wanted: The identities at or below the floor that `settled` revealed as never handed over.
        unfinished: The scan that goes on in the next tick; None if the last one looked at
            everything.
        redo: What is handed over again before anything new is; None if there is no such thing.
            As long as it lasts, nothing else changes.
        selection: The digest of the selection by which it was made; None where it is not known.
        overflows: How often in this generation more changed below the floor than `settled` could
            tell apart.
        origin: The generation that began with nothing handed over, if this one goes on from it
            through resets that did not start everything over; else None.
        reset_seen: The moment (ISO 8601, UTC) of the newest reset that this checkpoint knows of.
    """

    generation: int = 1
    floor: Position | None = None
    recent: frozenset[int] = frozenset()
    settled: Sketch | None = None
    wanted: frozenset[int] = frozenset()
    unfinished: Pass | None = None
    redo: Redo | None = None
    selection: str | None = None
    overflows: int = 0
    origin: int | None = None
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

    def continued(
        self, *, generation: int, reset_seen: str | None, redo: Redo | None = None
    ) -> Checkpoint:
        """The checkpoint that begins a later generation, in which only some is handed over again.

        Args:
            generation: At least this one.
            reset_seen: The moment of the reset that is honoured.
            redo: What the tick is to hand over again.
        """
        return replace(
            self,
            generation=max(self.generation + 1, generation),
            origin=self.generations[0],
            reset_seen=reset_seen,
            redo=redo if self.has_begun else None,
        )

    @property
    def generations(self) -> range:
        """This generation, and those that it goes on from."""
        return range(min(self.origin or self.generation, self.generation), self.generation + 1)

    @property
    def has_begun(self) -> bool:
        """Whether anything counts as handed over."""
        return bool(self.floor or self.recent or self.unfinished)

    def knows(self, each: S3Object) -> bool:
        """Whether an object counts as handed over, as far as can be told without the sketch.

        One that has appeared at or below the floor unseen counts too, until it is `wanted`.
        """
        identity = each.identity
        if self.floor is not None and each.position <= self.floor:
            return identity not in self.wanted
        if identity in self.recent:
            return True
        begun = self.unfinished
        if begun is None:
            return False
        if each.last_modified >= begun.horizon:
            return identity in begun.met
        return begun.adopts or each.key <= begun.after or identity in begun.met
