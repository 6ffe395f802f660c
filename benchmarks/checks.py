"""What must be true of every measurement: a way that finds something else proves nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from benchmarks.children import BenchmarkError
from benchmarks.measuring import Measurement
from benchmarks.ways import LANES, LANES_FIRST, WAYS, WAYS_ASIDE

__all__ = ["check"]

_PAGE: Final = 1000

# The ways that choose for themselves how many requests are sent side by side.
_FREE_LANES: Final = {LANES.name, LANES_FIRST.name, "tick"}


def check(measured: Measurement, expected: Mapping[str, int | str]) -> None:
    """Compares what was found with what is there, and with the way it was to be found.

    Args:
        measured: What was measured.
        expected: The fields of `Found` that the server tells.

    Raises:
        BenchmarkError: Other objects were found, or more requests sent than there are pages, or
            pages went through the parser that must not.
    """
    found, way = measured.found, measured.task.way
    for what, value in expected.items():
        told = getattr(found, what)
        # Not everyone tells everything, but everyone tells something.
        if told not in (None, value):
            raise BenchmarkError(f"{way} found {what}={told} instead of {value}: {measured.task}")
    if found.digest is None and found.new_digest is None:
        raise BenchmarkError(f"{way} does not say what it found")
    pages = math.ceil(int(expected["listed"]) / _PAGE)
    # Lanes meet within pages, and may look for where to begin.
    may_be_more = way in _FREE_LANES and measured.requests > pages
    if measured.requests != pages and not may_be_more:
        raise BenchmarkError(f"{way} sent {measured.requests} requests for {pages} pages")
    is_ours = {**WAYS, **WAYS_ASIDE}[way].is_ours
    if is_ours and (found.fast_pages or 0) < pages:
        raise BenchmarkError(
            f"{way} read only {found.fast_pages} of {pages} pages without botocore's parser: the "
            f"fast path of dagster_s3inc.s3.entries did not engage"
        )
