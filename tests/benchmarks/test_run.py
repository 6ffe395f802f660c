from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.children import BenchmarkError
from benchmarks.measuring import Found
from benchmarks.rows import PAGINATOR, ROWS, WIRE, Row
from benchmarks.run import check, in_turn
from tests.benchmarks.making import EXPECTED, FOUND, measurement

OURS = Row(title="ours")


@pytest.mark.parametrize(
    "found",
    [
        FOUND,
        replace(FOUND, new=None, new_digest=None),
        replace(FOUND, listed=None, digest=None),
    ],
)
def test_what_is_right_passes(found: Found) -> None:
    """Whoever finds what is there passes, whether he says all of it or what is new."""
    check(OURS, measurement(found=found), EXPECTED)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (replace(FOUND, listed=2499), "listed=2499 instead of 2500"),
        (replace(FOUND, digest="0"), "digest=0 instead of"),
        (replace(FOUND, new=41), "new=41 instead of 40"),
        (replace(FOUND, new_digest="0"), "new_digest=0 instead of"),
    ],
)
def test_what_is_wrong_is_an_error(found: Found, says: str) -> None:
    """Whoever finds other objects has no result."""
    with pytest.raises(BenchmarkError, match=says):
        check(OURS, measurement(found=found), EXPECTED)


def test_where_runs_are_in_flight_nothing_is_requested() -> None:
    """A tick that may request nothing must not."""
    held = replace(OURS, in_flight=10)
    nothing = replace(FOUND, new=0, new_digest=f"{0:016x}")
    check(held, measurement(found=nothing), EXPECTED)
    with pytest.raises(BenchmarkError, match="new=40 instead of 0"):
        check(held, measurement(), EXPECTED)


@pytest.mark.parametrize(
    ("row", "requests"), [(PAGINATOR, 4), (PAGINATOR, 2), (OURS, 2), (OURS, 5)]
)
def test_more_or_fewer_requests_are_an_error(row: Row, requests: int) -> None:
    """Each page is asked for once."""
    with pytest.raises(BenchmarkError, match=f"sent {requests} requests for 3 pages"):
        check(row, measurement(requests=requests), EXPECTED)


def test_rounds_begin_with_others_and_come_back_to_what_is_compared() -> None:
    """In each round each row has its turn, and the paginator and the wire several."""
    first, second = (in_turn(ROWS, number) for number in range(2))
    assert set(first) == set(ROWS)
    assert set(second) == {row for row in ROWS if not row.is_slow}
    for turns in (first, second):
        assert turns[:2] == [WIRE, PAGINATOR]
        assert turns.count(PAGINATOR) == turns.count(WIRE) > 3
    assert first[2] != second[2]


def test_titles_tell_rows_apart() -> None:
    """No two rows have one title."""
    assert len({row.title for row in ROWS}) == len(ROWS)
