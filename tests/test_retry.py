from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from dagster_s3inc.batch import (
    BATCH_ID_TAG,
    GENERATION_TAG,
    GROUP_TAG,
    SKIPPED_TAG,
    SOURCE_TAG,
    batch_config,
)
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.flow import Flow
from dagster_s3inc.instance import SensorAddress
from dagster_s3inc.retry import Again, Retry
from tests.core.making import make_object

FAILURE, SUCCESS = DagsterRunStatus.FAILURE, DagsterRunStatus.SUCCESS
SOURCE = "s3://lake/landing/"
ADDRESS = SensorAddress("landing", None)


@pytest.fixture(scope="module")
def instances() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as opened:
        yield opened


@pytest.fixture
def instance(instances: dg.DagsterInstance) -> dg.DagsterInstance:
    instances.wipe()
    return instances


def retry(*job_names: str) -> Retry:
    return Retry(
        source=SOURCE, address=ADDRESS, job_names=job_names or (None,), batch_resource_key="batch"
    )


def make_batch(name: str, group: str | None = None) -> Batch:
    return Batch((make_object(name), make_object(f"{name}2", 1.5)), group)


def add(
    instance: dg.DagsterInstance,
    name: str,
    status: DagsterRunStatus = FAILURE,
    *,
    generation: int = 1,
    job: str = "ingest",
    sensor: str = "landing",
    config: Any = ...,
    **tags: str,
) -> str:
    """A run of the batch of that name; returns its id."""
    batch = make_batch(name)
    if config is ...:
        config = batch_config("lake", batch, generation)
    all_tags = {
        SOURCE_TAG: SOURCE,
        "dagster/sensor_name": sensor,
        GENERATION_TAG: str(generation),
        BATCH_ID_TAG: batch.id,
        **tags,
    }
    run = create_run_for_test(
        instance,
        job_name=job,
        status=status,
        tags=all_tags,
        run_config={"resources": {"batch": {"config": config}}},
    )
    return run.run_id


def failed(instance: dg.DagsterInstance, *job_names: str, **options: Any) -> list[str]:
    """The names of the failed batches."""
    names = {make_batch(name).id: name for name in "abcdefg"}
    found = retry(*job_names).failed(instance, range(1, 4), **options)
    return [names[each.batch.batch_id] for each in found]


def test_all_runs_of_a_batch_have_failed(instance: dg.DagsterInstance) -> None:
    """A batch failed if each of its runs failed or was cancelled, in whatever generation."""
    add(instance, "a", SUCCESS)
    add(instance, "b")
    add(instance, "c")
    add(instance, "c", SUCCESS, generation=2)
    add(instance, "d", DagsterRunStatus.CANCELED, generation=2)
    add(instance, "e")
    add(instance, "e", DagsterRunStatus.STARTED)
    add(instance, "f")
    add(instance, "f", DagsterRunStatus.STARTING, generation=3)
    add(instance, "b", generation=3)
    add(instance, "g", generation=4)
    assert failed(instance) == ["b", "d"]


def test_others_do_not_count(instance: dg.DagsterInstance) -> None:
    """Neither the runs of another sensor count, nor batches that someone takes care of."""
    add(instance, "a", sensor="another")
    add(instance, "b")
    add(instance, "b", SUCCESS, sensor="another")
    add(instance, "c", **{SKIPPED_TAG: "true"})
    add(instance, "d", **{"dagster/will_retry": "true"})
    add(instance, "e", **{"dagster/will_retry": "true", "dagster/auto_retry_run_id": "gone"})
    assert failed(instance) == ["b", "e"]


def test_what_was_requested_again_is_left_out(instance: dg.DagsterInstance) -> None:
    """A batch with a run in the new generation has been requested, however that run ended."""
    for name in "abc":
        add(instance, name)
    add(instance, "b", generation=5)
    assert failed(instance, into=5) == ["a", "c"]


def test_each_job_counts_for_itself(instance: dg.DagsterInstance) -> None:
    """Of several jobs, only those that failed on a batch get it again."""
    add(instance, "a", job="one")
    add(instance, "a", SUCCESS, job="two")
    add(instance, "b", job="one")
    add(instance, "b", job="two")
    add(instance, "c", job="removed")
    found = retry("one", "two").failed(instance, [1])
    turn = retry("one", "two").turn(instance, found, ScanLimits())
    assert turn.chosen == (
        Again(make_batch("a"), ("one",)),
        Again(make_batch("b"), ("one", "two")),
    )


def test_only_job_may_have_another_name_now(instance: dg.DagsterInstance) -> None:
    """Where a batch goes to one job, it is the same batch under the job's old name."""
    add(instance, "a", job="old")
    add(instance, "b", job="old")
    add(instance, "b", SUCCESS, job="new")
    assert failed(instance) == ["a"]


def test_limits_of_a_tick(instance: dg.DagsterInstance) -> None:
    """No more batches are requested than a tick may, the first first; the others wait."""
    for name in "abcd":
        add(instance, name, **{GROUP_TAG: "x"})
    found = retry().failed(instance, [1])
    turn = retry().turn(instance, found, ScanLimits(max_batches=3))
    assert turn.chosen == tuple(Again(make_batch(name, "x"), (None,)) for name in "abc")
    assert turn.left == 1
    assert turn.describe(7) == (
        "Requested again in generation 7: 3 failed batches; 1 more to come. New files wait until "
        "then."
    )
    assert retry().turn(instance, found, ScanLimits()).describe(7) == (
        "Requested again in generation 7: 4 failed batches; that was all; the next tick looks for "
        "new files."
    )
    short = ScanLimits(max_request_bytes=make_batch("a").request_bytes)
    assert len(retry().turn(instance, found, short).chosen) == 1
    assert retry().turn(instance, found, ScanLimits(max_batches=0)).left == 4


def test_changed_config_is_left_to_a_person(instance: dg.DagsterInstance) -> None:
    """A run that was not launched with the sensor's config is named, and requested by nobody."""
    changed = batch_config("lake", make_batch("a"), 1)
    changed["files"] = changed["files"][:1]
    runs = [add(instance, "a", config=changed), add(instance, "b", config={}), add(instance, "c")]
    turn = retry().turn(instance, retry().failed(instance, [1]), ScanLimits())
    assert [each.batch for each in turn.chosen] == [make_batch("c")]
    assert turn.unreadable == tuple(runs[:2])
    assert all(run in turn.warning for run in runs[:2])
    assert turn.left == 0


def test_many_failures(instance: dg.DagsterInstance) -> None:
    """More failures than are read at a time are all found, in their order."""
    for number in range(230):
        add(instance, str(number))
    for number in range(0, 230, 2):
        add(instance, str(number), SUCCESS)
    found = retry().failed(instance, [1])
    assert [each.batch.batch_id for each in found] == [
        make_batch(str(number)).id for number in range(1, 230, 2)
    ]


def test_failure_stops_the_line_beyond_a_reset_of_some(instance: dg.DagsterInstance) -> None:
    """With "halt", a failure counts in all generations that go on from one another."""
    flow = Flow(source=SOURCE, on_failure="halt")
    run = add(instance, "a")
    assert f"in run {run}" in (flow.gate(instance, ADDRESS, range(1, 3)).reason or "")
    assert flow.gate(instance, ADDRESS, [2]).reason is None
    add(instance, "a", SUCCESS, generation=2)
    assert flow.gate(instance, ADDRESS, range(1, 3)).reason is None
