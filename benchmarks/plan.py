"""In which order it is measured, so that it is fair and ends in time."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Final

from benchmarks.cases import Case, Options, Results
from benchmarks.measuring import Measurement
from benchmarks.stage import staged
from benchmarks.ways import LANES, LANES_FIRST, WAYS

__all__ = ["measure_all", "turned"]

# Up to this size a slow way takes part in each round; above it once.
_SLOW_EACH_ROUND: Final = 20_000

# Above this size, a slow way is measured on a share of the objects. Except, if there is time, one:
# the paginator is what the others are compared with.
_SLOW_IN_FULL: Final = 200_000
_REFERENCE: Final = "paginator"

# What is quick, and compared with much else, is measured more often in a round: on a machine that
# does other things as well, one measurement may be half as much again as the next.
_TIMES: Final = {"floor": 3, "steady": 3, "obstore_list": 2}


def measure_all(options: Options, say: Callable[[str], None]) -> Results:
    """Measures every way at every size; `say` is told of each measurement.

    Raises:
        BenchmarkError: A way did not find what is there.
    """
    began = time.monotonic()
    smallest, largest = options.sizes[0], options.sizes[-1]
    with staged([*WAYS, LANES.name, LANES_FIRST.name], options, say) as stage:
        results = stage.results
        lap = 0.0
        for number in range(options.rounds):
            start = time.monotonic()
            if start - began + lap > options.seconds:
                say(f"no time for more than {number} rounds")
                break
            for size in options.sizes:
                cases = [each for each in _cases(size) if not _is_once(each)]
                for turn in range(max(_TIMES.values())):
                    for case in turned(cases, number):
                        if turn < _TIMES.get(case.way, 1):
                            stage.measure(case)
            for way in (LANES, LANES_FIRST):
                stage.measure(Case(way=way.name, size=largest, is_far=True))
            results.rounds = number + 1
            lap = time.monotonic() - start
            # Between the first round and the others. A single lane takes as long, but only waits.
            if number == 0:
                left = options.seconds - (time.monotonic() - began)
                of_smallest = results.of.get(Case(way=_REFERENCE, size=smallest), [])
                on_share = _on_share(of_smallest, largest / smallest, left, full=options.full)
                with stage.meanwhile(Case(way="steady", size=largest, is_far=True)):
                    for case in (each for size in options.sizes for each in _cases(size, on_share)):
                        if _is_once(case):
                            stage.measure(case)
    results.seconds = time.monotonic() - began
    return results


def _cases(size: int, on_share: Collection[str] = ()) -> list[Case]:
    """All cases of a size, but for the far ones."""
    is_large = size > _SLOW_IN_FULL
    return [Case(way=way, size=size, is_share=is_large and way in on_share) for way in WAYS]


def _on_share(
    of_smallest: Sequence[Measurement], times: float, left: float, *, full: bool
) -> Collection[str]:
    """The ways of which only a share of a large bucket is measured.

    Args:
        of_smallest: What the way with which all are compared took in the smallest bucket.
        times: So much larger is the largest.
        left: The seconds that are left.
        full: Whether time does not matter.
    """
    if full:
        return ()
    slow = {way.name for way in WAYS.values() if way.is_slow}
    # The other slow ones, in the buckets and shares where they are measured once, take half as
    # much again.
    expected = sum(each.wall * times * 1.5 for each in of_smallest)
    return slow if expected > left else slow - {_REFERENCE}


def _is_once(case: Case) -> bool:
    return WAYS[case.way].is_slow and case.size > _SLOW_EACH_ROUND


def turned(cases: Sequence[Case], number: int) -> list[Case]:
    """The cases, beginning with another one in each round."""
    first = number % len(cases)
    return [*cases[first:], *cases[:first]]
