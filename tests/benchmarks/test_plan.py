from __future__ import annotations

import pytest

from benchmarks.cases import Case
from benchmarks.plan import _on_share, turned
from tests.benchmarks.making import measurement


def test_each_round_begins_with_another() -> None:
    """Over as many rounds as there are cases, each stands in each place once."""
    cases = [Case(way=way, size=1) for way in "abc"]
    rounds = ["".join(case.way for case in turned(cases, number)) for number in range(4)]
    assert rounds == ["abc", "bca", "cab", "abc"]


@pytest.mark.parametrize(
    ("left", "full", "on_share"),
    [
        (300.0, False, {"s3fs_find", "get_objects"}),
        (299.0, False, {"s3fs_find", "get_objects", "paginator"}),
        (0.0, True, set()),
    ],
)
def test_slow_ways_make_do_with_a_share(left: float, full: bool, on_share: set[str]) -> None:
    """The reference is measured in full if there is time; with `--full`, everything."""
    # 2 s each; a hundred times as large, and half as much again for the others.
    measured = [measurement("paginator", wall=2.0)]
    assert set(_on_share(measured, 100.0, left, full=full)) == on_share
