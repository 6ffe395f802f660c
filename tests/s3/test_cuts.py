from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.s3.cuts import cut_beyond

KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8) | st.text(
    "/0ab", min_size=1, max_size=8
)


@given(
    st.tuples(KEYS, KEYS).map(sorted),
    st.none() | KEYS,
    st.integers(1, 5),
    st.none() | st.integers(1, 8),
    st.booleans(),
)
def test_a_cut_lies_between(
    ends: list[str], end: str | None, coarsest: int, tried: int | None, fine: bool
) -> None:
    """A cut is behind the last known key and before the end, and can be sent."""
    first, last = ends
    if end is not None and end <= last:
        return
    cut = cut_beyond(first, last, end, coarsest=coarsest, tried=tried, fine=fine)
    if cut is not None:
        assert last < cut.key
        assert end is None or cut.key < end
        assert cut.key.encode()
        assert cut.key[:-1] == last[: cut.depth - 1]


@pytest.mark.parametrize(
    ("first", "last", "end", "tried", "expected"),
    [
        ("in/2024/01/a", "in/2024/01/z", None, None, "in/2025"),
        ("in/2024/01/a", "in/2024/01/z", "in/2025", None, "in/2024/1"),
        ("in/2025/01/a", "in/2025/01/z", None, 7, "in/21"),
        ("in/a", "in/b", "in/c", None, None),
        ("in/a", "in/a", None, None, "in/b"),
    ],
)
def test_cuts_of_usual_keys(
    first: str, last: str, end: str | None, tried: int | None, expected: str | None
) -> None:
    """Between the prefix and what a page goes through, the middle group is cut off first."""
    cut = cut_beyond(first, last, end, coarsest=4, tried=tried)
    assert (cut and cut.key) == expected
