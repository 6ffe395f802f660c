from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from dagster_s3inc.core.batching import Batch, ScanLimits
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.runs.batch_states import StatesReader
from dagster_s3inc.runs.run_requests import (
    BATCH_ID_TAG,
    GENERATION_TAG,
    GROUP_TAG,
    REPEATS_TAG,
    RESET_TAG,
    SEQUENCE_TAG,
    SKIPPED_TAG,
    SOURCE_TAG,
    RunRequests,
    batch_config,
    requested_batch,
)
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.sensor.backpressure import Backpressure, Gate
from dagster_s3inc.sensor.retry_failed import Retries, Retry
from dagster_s3inc.source import Source

MOMENT = datetime(2026, 1, 1, tzinfo=timezone.utc)
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
    source = Source(location=S3Location("lake", "landing/"), objects=ObjectFilter())
    requests = RunRequests(
        source=source, job_names=job_names or (None,), batch_resource_key="batch", run_tags={}
    )
    return Retry(address=ADDRESS, requests=requests)


def retries(
    instance: dg.DagsterInstance, *job_names: str, limits: ScanLimits | None = None
) -> Retries:
    """What a tick requests again."""
    found = retry(*job_names)
    return found.retries(
        instance,
        found.failed(instance, 1),
        limits or ScanLimits(),
        generation=1,
        sequence=9,
        reset="t2",
    )


def make_batch(name: str, group: str | None = None) -> Batch:
    return Batch.of([S3Object(MOMENT, each, "e1", 1) for each in (name, f"{name}2")], group)


def add(
    instance: dg.DagsterInstance,
    name: str,
    status: DagsterRunStatus = FAILURE,
    *,
    generation: int = 1,
    sequence: int = 0,
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
        SEQUENCE_TAG: str(sequence),
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
    found = retry(*job_names).failed(instance, 1, **options)
    return [names[each.batch.batch_id] for each in found]


def test_all_runs_of_a_batch_have_failed(instance: dg.DagsterInstance) -> None:
    """A batch failed if each of its runs failed or was cancelled."""
    add(instance, "a", SUCCESS)
    add(instance, "b")
    add(instance, "c")
    add(instance, "c", SUCCESS)
    add(instance, "d", DagsterRunStatus.CANCELED)
    add(instance, "e")
    add(instance, "e", DagsterRunStatus.STARTED)
    add(instance, "f")
    add(instance, "f", DagsterRunStatus.STARTING)
    add(instance, "b")
    add(instance, "g", generation=4)
    assert failed(instance) == ["b", "d"]


def test_each_showing_of_the_files_counts(instance: dg.DagsterInstance) -> None:
    """A batch whose files came back has failed though an earlier tick's run was good."""
    add(instance, "a", SUCCESS, sequence=3)
    add(instance, "a", sequence=8)
    assert failed(instance) == ["a"]
    # What is requested again, or executed again, repairs it, and failing again changes nothing.
    add(instance, "a", sequence=9, **{REPEATS_TAG: "retry"})
    assert failed(instance) == ["a"]
    add(instance, "a", SUCCESS, sequence=8)
    assert failed(instance) == []
    add(instance, "b", sequence=3)
    add(instance, "b", SUCCESS, sequence=8)
    assert failed(instance) == []
    add(instance, "c", SUCCESS, sequence=3)
    add(instance, "c", sequence=9, **{REPEATS_TAG: "reprocess"})
    assert failed(instance) == ["c"]


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
    """A batch with a run that this reset asked for has been requested, however that run ended."""
    for name in "abc":
        add(instance, name)
    add(instance, "b", sequence=5, **{REPEATS_TAG: "retry", RESET_TAG: "t2"})
    assert failed(instance, reset="t2") == ["a", "c"]
    assert failed(instance, reset="t3") == ["a", "b", "c"]


def test_each_job_counts_for_itself(instance: dg.DagsterInstance) -> None:
    """Of several jobs, only those that failed on a batch get it again."""
    add(instance, "a", job="one")
    add(instance, "a", SUCCESS, job="two")
    add(instance, "b", job="one")
    add(instance, "b", job="two")
    add(instance, "c", job="removed")
    found = retries(instance, "one", "two")
    assert found.batches == (make_batch("a"), make_batch("b"))
    assert [(requested_batch(each, "batch"), each.job_name) for each in found.requests] == [
        (make_batch("a"), "one"),
        (make_batch("b"), "one"),
        (make_batch("b"), "two"),
    ]


def test_requests_say_that_they_repeat(instance: dg.DagsterInstance) -> None:
    """They have keys of their own, are no part of the ledger, and name the reset."""
    add(instance, "a")
    [request] = retries(instance).requests
    assert request.run_key == f"1:9:{make_batch('a').id}"
    assert (request.tags[REPEATS_TAG], request.tags[RESET_TAG]) == ("retry", "t2")


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
    some = retries(instance, limits=ScanLimits(max_batches=3))
    assert some.batches == tuple(make_batch(name, "x") for name in "abc")
    assert some.left == 1
    assert some.describe() == (
        "Requested again: 3 failed batches; 1 more to come. New files wait until then."
    )
    everything = retries(instance)
    assert everything.describe() == (
        "Requested again: 4 failed batches; that was all; the next tick looks for new files."
    )
    assert retries(instance, limits=ScanLimits(max_batches=0)).left == 4
    for most, batches in ((1, 1), (5_000, 1), (6_500, 2)):
        size = retry().requests.size(ScanLimits(), most)._replace(tick=3_000)
        found = retries(instance, limits=ScanLimits(request_size=size))
        assert len(found.batches) == batches


def test_changed_config_is_left_to_a_person(instance: dg.DagsterInstance) -> None:
    """A run that was not launched with the sensor's config is named, and requested by nobody."""
    changed = batch_config("lake", make_batch("a"), 1)
    changed["files"] = changed["files"][:1]
    runs = [add(instance, "a", config=changed), add(instance, "b", config={}), add(instance, "c")]
    found = retries(instance)
    assert found.batches == (make_batch("c"),)
    assert found.unreadable == tuple(runs[:2])
    assert all(run in found.warning for run in runs[:2])
    assert found.left == 0


def test_many_failures(instance: dg.DagsterInstance) -> None:
    """More failures than are read at a time are all found, in their order."""
    for number in range(230):
        add(instance, str(number))
    for number in range(0, 230, 2):
        add(instance, str(number), SUCCESS)
    found = retry().failed(instance, 1)
    assert [each.batch.batch_id for each in found] == [
        make_batch(str(number)).id for number in range(1, 230, 2)
    ]


def gate(
    backpressure: Backpressure,
    instance: dg.DagsterInstance,
    generation: int,
    reset: str | None = None,
) -> Gate:
    """What a tick may request."""
    reader = StatesReader()
    return backpressure.gate(reader.read(instance, SOURCE, ADDRESS, generation, reset=reset))


def test_failure_halts_until_it_is_repaired(instance: dg.DagsterInstance) -> None:
    """With "halt", failures of the generation count; while a reset repairs them, what fails again.

    A run that is executed again, or that the reset asked for, repairs them.
    """
    halting = Backpressure(on_failure="halt")
    run = add(instance, "a", sequence=4)
    [message] = gate(halting, instance, 1).messages
    assert f"in run {run}" in message
    assert gate(halting, instance, 2).messages == ()
    assert gate(halting, instance, 1, reset="t2").messages == ()
    again = add(instance, "a", sequence=9, **{REPEATS_TAG: "retry", RESET_TAG: "t2"})
    [message] = gate(halting, instance, 1, reset="t2").messages
    assert f"in run {again}" in message
    add(instance, "a", SUCCESS, sequence=9, **{REPEATS_TAG: "retry", RESET_TAG: "t2"})
    assert gate(halting, instance, 1, reset="t2").messages == ()
    assert gate(halting, instance, 1).messages == ()


def test_runs_that_were_never_launched_are_not_in_flight(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold no place for ever, and the tick names them; those of now may yet be launched."""
    bounded = Backpressure(max_in_flight=2)
    running = add(instance, "a", DagsterRunStatus.STARTED)
    stranded = add(instance, "b", DagsterRunStatus.NOT_STARTED)
    found = gate(bounded, instance, 1)
    assert found.max_batches == 0
    assert f"2 batches are in flight (runs {running}, {stranded})" in found.messages[0]
    monkeypatch.setattr("dagster_s3inc.sensor.backpressure._LAUNCHED_WITHIN", timedelta(0))
    found = gate(bounded, instance, 1)
    assert found.max_batches == 1
    assert f"never launched: run {stranded}." in found.messages[0]


def test_each_batch_in_flight_counts_once(instance: dg.DagsterInstance) -> None:
    """On however many jobs; in another tick the same files are another batch."""
    for job in ("one", "two"):
        add(instance, "a", DagsterRunStatus.STARTED, job=job, sequence=3)
    assert gate(Backpressure(max_in_flight=3), instance, 1).max_batches == 2
    add(instance, "a", DagsterRunStatus.STARTED, job="one", sequence=4)
    found = gate(Backpressure(max_in_flight=3), instance, 1)
    assert (found.max_batches, found.messages) == (1, ())
