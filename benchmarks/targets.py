"""What this package is to reach, as ratios within one run, and what it has reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from benchmarks.cases import Case, Results
from benchmarks.content import SHARE
from benchmarks.ways import LANES

__all__ = ["Figure", "Target", "best_figure", "figure_of", "targets"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A case, summed up.

    Attributes:
        cpu: The median of the rounds, in seconds; for a share, reckoned up to the whole.
        least: The least of the rounds.
        most: The greatest.
        wall: The median, in seconds.
        peak: The greatest, in MB.
        base: Of it, what was there before the work.
        requests: LIST requests of one round.
        server_cpu: The median, in seconds.
        rounds: How many there were.
        is_reckoned: Only a share was measured.
    """

    cpu: float
    least: float
    most: float
    wall: float
    peak: float
    base: float
    requests: float
    server_cpu: float
    rounds: int
    is_reckoned: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One thing to reach.

    Attributes:
        what: In words.
        wanted: The bound, as text.
        reached: The figure, as text.
        is_met: None where it was not measured.
    """

    what: str
    wanted: str
    reached: str
    is_met: bool | None


def figure_of(results: Results, case: Case) -> Figure | None:
    """Sums a case up; None if it was not measured."""
    measured = results.of.get(case)
    if not measured:
        return None
    times = 1 / SHARE if case.is_share else 1.0
    cpu = [each.cpu * times for each in measured]
    base = median(each.base for each in measured)
    return Figure(
        cpu=median(cpu),
        least=min(cpu),
        most=max(cpu),
        wall=median(each.wall for each in measured) * times,
        peak=base + (max(each.peak for each in measured) - base) * times,
        base=base,
        requests=measured[-1].requests * times,
        server_cpu=median(each.server_cpu for each in measured) * times,
        rounds=len(measured),
        is_reckoned=case.is_share,
    )


def best_figure(results: Results, way: str, size: int) -> Figure | None:
    """The figure of the whole bucket; else that of a share; else None."""
    whole = figure_of(results, Case(way=way, size=size))
    return whole or figure_of(results, Case(way=way, size=size, is_share=True))


def targets(results: Results, size: int) -> Iterator[Target]:
    """The targets, with what was reached at this size."""

    def figure(way: str) -> Figure | None:
        return best_figure(results, way, size)

    steady, first = figure("steady"), figure("first")
    paginator, floor, obstore = figure("paginator"), figure("floor"), figure("obstore_list")
    one_lane = figure_of(results, Case(way="steady", size=size, is_far=True))
    lanes = figure_of(results, Case(way=LANES.name, size=size, is_far=True))
    yield _at_least(
        "Steady state: CPU of the boto3 paginator, over ours", 40, _cpu(paginator), _cpu(steady)
    )
    yield _at_most("Steady state: our CPU, over the floor's", 4, _cpu(steady), _cpu(floor))
    yield _at_most("Steady state: our CPU, over obstore's", 1, _cpu(steady), _cpu(obstore))
    yield _at_least(
        "First scan, all objects in batches: CPU of the boto3 paginator, over ours",
        15,
        _cpu(paginator),
        _cpu(first),
    )
    yield Target(
        what="Steady state: peak memory of the process",
        wanted="< 120 MB",
        reached="-"
        if steady is None
        else f"{steady.peak:.0f} MB, of which {steady.base:.0f} MB were there before",
        is_met=None if steady is None else steady.peak < 120,
    )
    yield _at_least(
        "With latency: wall time of one lane, over many",
        20,
        _wall(one_lane),
        _wall(lanes),
    )


def _cpu(figure: Figure | None) -> float | None:
    return None if figure is None else figure.cpu


def _wall(figure: Figure | None) -> float | None:
    return None if figure is None else figure.wall


def _at_least(what: str, bound: float, upper: float | None, lower: float | None) -> Target:
    ratio = upper / lower if upper and lower else None
    return _ratio(what, f"≥ {bound}", ratio, ratio is not None and ratio >= bound)


def _at_most(what: str, bound: float, upper: float | None, lower: float | None) -> Target:
    ratio = upper / lower if upper and lower else None
    return _ratio(what, f"≤ {bound}", ratio, ratio is not None and ratio <= bound)


def _ratio(what: str, wanted: str, ratio: float | None, is_met: bool) -> Target:
    return Target(
        what=what,
        wanted=wanted,
        reached="-" if ratio is None else f"{ratio:.1f}",
        is_met=None if ratio is None else is_met,
    )
