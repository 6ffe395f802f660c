from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from dagster_s3inc.instance import SensorAddress
from dagster_s3inc.markers import resets, write_marker

OURS, THEIRS = (SensorAddress("landing", scope) for scope in ("ours", "theirs"))
ANYWHERE = SensorAddress("landing", None)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as opened:
        yield opened


def reset(instance: dg.DagsterInstance, address: SensorAddress) -> int:
    """Resets a sensor in a run of its own; returns the generation that begins."""
    run = create_run_for_test(instance, job_name="reset_landing")
    marker = write_marker(instance, run.run_id, address, generation=2, what="everything")
    return marker.generation


def test_others_hide_no_reset(instance: dg.DagsterInstance) -> None:
    """However often a sensor of the same name elsewhere is reset, ours is remembered."""
    assert reset(instance, OURS) == 2
    for _ in range(60):
        reset(instance, THEIRS)
    assert [each.generation for each in resets(instance, OURS)] == [2]
    assert reset(instance, OURS) == 3


def test_reset_outside_any_code_location_counts_for_all(instance: dg.DagsterInstance) -> None:
    """A reset that knew nothing but the name is one of every sensor of that name."""
    assert reset(instance, OURS) == 2
    assert reset(instance, ANYWHERE) == 3
    assert [each.generation for each in resets(instance, OURS)] == [2, 3]
    assert [each.generation for each in resets(instance, THEIRS)] == [3]
