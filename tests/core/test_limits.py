from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.batching import ScanLimits
from dagster_s3inc.core.iblt import CELLS, Digest, decode
from dagster_s3inc.errors import ConfigurationError


@given(st.integers(1, 1500))
def test_capacity_is_what_a_digest_tells_apart(capacity: int) -> None:
    """A digest has cells for half as many again as the files that it is to tell apart."""
    cells = ScanLimits(late_file_capacity=capacity).cells
    assert cells % 4 == 0
    assert cells >= max(8, capacity * 1.5)
    assert cells < capacity * 1.5 + 8
    few = frozenset(range(1, 2 + min(capacity, 3) // 2))
    assert decode(Digest.of(few, cells)) == (few, frozenset())


def test_defaults_are_those_of_the_cursor() -> None:
    """By default a digest tells 400 files apart, in as many cells as digests have."""
    assert ScanLimits().cells == CELLS == 600
    assert (ScanLimits().recent_limit, ScanLimits().late_limit) == (512, 256)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batches": -1}, "max_batches must be at least 0 (batches), not -1"),
        ({"max_batches": 1.5}, "max_batches must be a whole number of batches, not 1.5"),
        ({"late_file_capacity": 0}, "late_file_capacity must be at least 1 (files), not 0"),
        ({"late_file_capacity": "9"}, "late_file_capacity must be a whole number of files"),
        ({"late_file_capacity": 10**6}, "late_file_capacity is 1,000,000 files; at most 43,690"),
        ({"recent_limit": 1}, "recent_limit must be at least 2 (fingerprints), not 1"),
        ({"lookback": timedelta(-1)}, "lookback must be a timedelta of zero or more"),
        ({"lookback": timedelta(40_000)}, "at most 36500 days"),
        ({"lookback": 3600}, "lookback must be a timedelta of zero or more"),
    ],
)
def test_wrong_limits_are_refused(options: dict[str, Any], message: str) -> None:
    """A limit that is wrong is refused, and the message names it."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        ScanLimits(**options)
