"""The short form: ours against the boto3 paginator, for every run of the checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from benchmarks.cases import Case, Options
from benchmarks.children import BenchmarkError
from benchmarks.plan import turned
from benchmarks.stage import staged

__all__ = ["LEAST_RATIO", "compare"]

LEAST_RATIO: Final = 12.0
"""So many times the CPU of our steady state the paginator must take.

It is 20 to 25 here, where every segment holds something new and is read; of a large bucket, in
which most segments are as they were, it is above 60. What is left to us is mostly botocore's own
work on a request, which a busy machine slows down more than it does the paginator's parsing.
"""

_SIZE: Final = 20_000

# One in 200; of a million, as the long form has them, new ones are one in 1,000.
_NEW: Final = 100
_ROUNDS: Final = 3


def compare(say: Callable[[str], None]) -> float:
    """Measures both in turn; returns the ratio of their CPU.

    Both have done the same once before, as a sensor has that ticks: in so short a run, what a
    process does at its first request would count for a fifth.

    Of each the least of the rounds counts: whatever else the machine does only adds.

    Raises:
        BenchmarkError: They did not find the same objects, or not on the fast path.
    """
    names = ("steady", "first", "paginator")
    with staged(names, Options(sizes=(_SIZE,), new=_NEW, is_warm=True), say) as stage:
        for way in names:
            if not stage.has(way):
                raise BenchmarkError(f"{way} cannot be measured: {stage.results.missing[way]}")
        cases = [Case(way=way, size=_SIZE) for way in names]
        for number in range(_ROUNDS):
            for case in turned(cases, number):
                stage.measure(case)
    least = {case.way: min(each.cpu for each in stage.results.of[case]) for case in cases}
    return least["paginator"] / least["steady"]
