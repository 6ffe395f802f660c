"""What appeared, and what went, at or below the floor, where nothing is remembered one by one.

The checkpoint keeps a sketch of what was handed over at or below the floor and is still listed. A
scan makes the sketch of what is listed there now. The difference of the two tells, identity by
identity, what was never handed over (it appeared late, or its storage class had kept it out) and
what is gone, as long as there are not too many changes for the sketch's cells.

What is listed is of two kinds here: what matches the filter, and what would but for its storage
class. The second kind may have been handed over before a lifecycle rule moved it (there may be
very many of these, and they are no news), or never (also very many, where files are written
straight into an archive class). So the difference is read twice: first against both kinds, where
moves between classes cancel out; then, if too many were never handed over, against what matches
alone, where what has moved reads as gone. Only if neither can be read, too much has changed.

What is late stays out of the sketch until it is handed over, so every scan reads it again: there
can never be more of it than the sketch can tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dagster_s3inc.core.sketch import Estimate, Sketch, decode, estimate

__all__ = ["Listed", "Settled", "settle"]


class Listed(NamedTuple):
    """What is listed at or below the floor.

    Attributes:
        matching: What matches the filter.
        moved: What would match but for its storage class.
    """

    matching: Sketch
    moved: Sketch


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What is known of the objects at or below the floor, after a look at them.

    Attributes:
        sketch: What was handed over there and is still listed, as far as is known.
        late: Identities that are listed there and were not handed over.
        gone: How many had been handed over and are not listed there any more.
        overflow: What can be said where more has changed than the sketch can tell apart, else
            None. In it, `added` were never handed over, and are now taken as if they had been.
    """

    sketch: Sketch
    late: frozenset[int]
    gone: int = 0
    overflow: Estimate | None = None


def settle(before: Sketch | None, listed: Listed, known_late: frozenset[int]) -> Settled:
    """Compares what was handed over at or below the floor with what is listed there.

    Args:
        before: What was handed over. None where that is not known, or was kept for another filter
            or in another number of cells: what is listed now is then taken as handed over.
        listed: What is listed.
        known_late: Identities among what matches that are known not to have been handed over.
            Needed only where the sketch cannot tell.
    """
    both = listed.matching + listed.moved
    if before is None:
        return Settled(sketch=both.minus(known_late), late=known_late)
    of_both = decode(both - before)
    of_matching = decode(listed.matching - before)
    read = of_both or of_matching
    if read is None:
        return Settled(
            sketch=both.minus(known_late),
            late=known_late,
            overflow=estimate(listed.matching - before),
        )
    return Settled(
        sketch=before.minus(read.removed),
        # Where possible without what has another class now: that need not be remembered.
        late=(of_matching or read).added,
        gone=len(read.removed),
    )
