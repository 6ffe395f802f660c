"""What was found and waits, to be handed over without another look at the listing.

A tick may hand over only so much. What a look found beyond that can be kept in memory, and the
next tick can go on with it, as long as the checkpoint is still the one that it follows. That is an
optimisation alone: with the memory gone, the next look finds the same objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dagster_s3inc.core.advance import Step
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.look import Done
from dagster_s3inc.core.objects import S3Object

__all__ = ["KEPT", "Backlog"]

KEPT: Final = 100_000
"""So many objects are kept at most; they take about 60 MB."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a look at a whole listing found beyond what was handed over.

    Attributes:
        follows: The checkpoint to which it belongs.
        done: What is remembered above its floor.
        waiting: What is new, in position order; the oldest where there is more than is kept.
        now: The server's time at the look.
    """

    follows: Checkpoint
    done: tuple[Done, ...]
    waiting: tuple[S3Object, ...]
    now: datetime

    @classmethod
    def of(cls, step: Step, now: datetime) -> Backlog | None:
        """The backlog that a step leaves; None if nothing waits, or if nothing was handed over."""
        if not step.waiting or not step.batches:
            return None
        cut_off = step.waiting[KEPT : KEPT + 1]
        if cut_off and step.done and step.done[-1].position > cut_off[0].position:
            # Once all that was kept is handed over, the floor could rise past what was not.
            return None
        return cls(step.checkpoint, step.done, step.waiting[:KEPT], now)
