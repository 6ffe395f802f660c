from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.checks import check
from benchmarks.children import BenchmarkError
from benchmarks.measuring import Found
from tests.benchmarks.making import DIGEST, EXPECTED, NEW_DIGEST, measurement

RIGHT = Found(listed=2500, digest=DIGEST, new=40, new_digest=NEW_DIGEST, fast_pages=3)


@pytest.mark.parametrize(
    "found",
    [
        RIGHT,
        replace(RIGHT, new=None, new_digest=None),
        replace(RIGHT, listed=None, digest=None),
    ],
)
def test_what_is_right_passes(found: Found) -> None:
    """Who finds what is there passes, whether he tells all of it or what is new."""
    check(measurement("steady", found=found), EXPECTED)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (replace(RIGHT, listed=2499), "listed=2499 instead of 2500"),
        (replace(RIGHT, digest="0"), "digest=0 instead of"),
        (replace(RIGHT, new=41), "new=41 instead of 40"),
        (replace(RIGHT, new_digest="0"), "new_digest=0 instead of"),
        (replace(RIGHT, digest=None, new_digest=None), "does not say what it found"),
        (replace(RIGHT, fast_pages=2), "only 2 of 3 pages"),
        (replace(RIGHT, fast_pages=None), "only None of 3 pages"),
    ],
)
def test_what_is_wrong_is_an_error(found: Found, says: str) -> None:
    """Other objects, or pages that went through the parser, are no result."""
    with pytest.raises(BenchmarkError, match=says):
        check(measurement("steady", found=found), EXPECTED)


def test_others_need_no_fast_path() -> None:
    """Only our ways are asked how they read their pages."""
    check(measurement("paginator", found=replace(RIGHT, fast_pages=None)), EXPECTED)


@pytest.mark.parametrize(("way", "requests"), [("paginator", 4), ("steady", 2), ("lanes", 2)])
def test_more_or_fewer_requests_are_an_error(way: str, requests: int) -> None:
    """Each page is asked for once."""
    with pytest.raises(BenchmarkError, match=f"sent {requests} requests for 3 pages"):
        check(measurement(way, requests=requests), EXPECTED)


def test_lanes_may_ask_more_often() -> None:
    """Only where ranges are listed side by side, a page may be cut in two."""
    check(measurement("lanes", requests=5), EXPECTED)
