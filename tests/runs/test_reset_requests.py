from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.runs.reset_requests import ResetRequest, reset_requests, write_reset_request

OURS, THEIRS = (SensorAddress("landing", scope) for scope in ("ours", "theirs"))
ANYWHERE = SensorAddress("landing", None)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as opened:
        yield opened


def reset(
    instance: dg.DagsterInstance,
    address: SensorAddress,
    what: str = "everything",
    generation: int = 2,
) -> ResetRequest:
    """Resets a sensor in a run of its own."""
    run = create_run_for_test(instance, job_name="reset_landing")
    return write_reset_request(instance, run.run_id, address, generation=generation, what=what)


def generations(instance: dg.DagsterInstance, address: SensorAddress) -> list[int]:
    return [each.generation for each in reset_requests(instance, address)]


def test_resets_of_others_hide_none(instance: dg.DagsterInstance) -> None:
    """However often a sensor of the same name elsewhere is reset, ours is remembered."""
    assert reset(instance, OURS).generation == 2
    for _ in range(60):
        reset(instance, THEIRS)
    assert generations(instance, OURS) == [2]
    assert reset(instance, OURS).generation == 3


def test_reset_outside_any_code_location_counts_for_all(instance: dg.DagsterInstance) -> None:
    """A reset that knew nothing but the name is one of every sensor of that name."""
    assert reset(instance, OURS).generation == 2
    assert reset(instance, ANYWHERE).generation == 3
    assert generations(instance, OURS) == [2, 3]
    assert generations(instance, THEIRS) == [3]


def test_generations_go_on_from_resets_that_wait(instance: dg.DagsterInstance) -> None:
    """Each reset of everything starts a later one; the others go on in the same."""
    assert reset(instance, OURS, "matching", generation=1).generation == 1
    assert reset(instance, OURS, "everything", generation=2).generation == 2
    assert reset(instance, OURS, "accept_listed", generation=1).generation == 2
    assert reset(instance, OURS, "everything", generation=2).generation == 3
    found = reset_requests(instance, OURS)
    assert [each.what for each in found] == [
        "matching",
        "everything",
        "accept_listed",
        "everything",
    ]
    assert len({each.at for each in found}) == 4
