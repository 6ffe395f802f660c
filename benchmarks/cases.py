"""What is measured, and what came of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Final

from benchmarks.measuring import Measurement

__all__ = ["NEW", "Case", "Options", "Results"]

NEW: Final = 1000
"""How many objects appear between two scans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says.

    Attributes:
        sizes: How many old objects there are, ascending.
        new: How many objects appear between two scans.
        rounds: How often each way is measured; slow ones of large buckets once.
        lanes: How many are many.
        latency: Seconds that a far server takes.
        full: Whether slow ways, too, list the whole of the largest bucket.
        is_warm: Everything is done once before it is measured, in the same process.
        seconds: No round begins that would end later, and the slowest ways make do with a share
            if they would.
    """

    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    new: int = NEW
    rounds: int = 3
    lanes: int = 32
    latency: float = 0.08
    full: bool = False
    is_warm: bool = False
    seconds: float = 174.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that is measured, perhaps several times.

    Attributes:
        way: The name of the way.
        size: How many old objects there are.
        is_share: Only a share of them is listed.
        is_far: The server has the latency.
    """

    way: str
    size: int
    is_share: bool = False
    is_far: bool = False


@dataclass(slots=True, kw_only=True)
class Results:
    """All that was measured.

    Attributes:
        of: The measurements of each case.
        missing: The ways that were not measured, and why.
        rounds: How many there were.
        seconds: How long all of it took.
    """

    of: dict[Case, list[Measurement]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[str, str] = field(default_factory=dict)
    rounds: int = 0
    seconds: float = 0.0
