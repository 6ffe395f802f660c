from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus as Status
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.test_utils import create_run_for_test

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.runs import batch_states
from dagster_s3inc.runs.batch_states import Amount, BatchStates, State, StatesReader
from dagster_s3inc.runs.run_requests import (
    BATCH_ID_TAG,
    BYTES_TAG,
    FILES_TAG,
    GENERATION_TAG,
    REPEATS_TAG,
    SEQUENCE_TAG,
    SKIPPED_TAG,
    SOURCE_TAG,
    batch_config,
)

SOURCE = "s3://lake/in/"
ADDRESS = SensorAddress("landing", None)
HOUR = datetime(2026, 1, 31, 9, tzinfo=timezone.utc)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def add(
    instance: dg.DagsterInstance,
    name: str,
    status: Status,
    *,
    files: int = 2,
    sequence: int = 0,
    generation: int = 1,
    job: str = "ingest",
    hour: datetime = HOUR,
    **tags: str,
) -> str:
    """A run of a batch of so many files of 3 bytes; returns its id."""
    objects = [S3Object(hour, f"{name}{number}", "e1", 3) for number in range(files)]
    batch = Batch.of(objects)
    all_tags = {
        SOURCE_TAG: SOURCE,
        "dagster/sensor_name": "landing",
        GENERATION_TAG: str(generation),
        SEQUENCE_TAG: str(sequence),
        BATCH_ID_TAG: batch.id,
        FILES_TAG: str(files),
        BYTES_TAG: str(batch.bytes),
        **tags,
    }
    config: Any = {"resources": {"batch": {"config": batch_config("lake", batch, generation)}}}
    place = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("tests"), "__repository__")
    run = create_run_for_test(
        instance,
        job_name=job,
        status=status,
        tags=all_tags,
        run_config=config,
        remote_job_origin=RemoteJobOrigin(place, job),
        job_code_origin=JobPythonOrigin(
            job, RepositoryPythonOrigin("python", ModuleCodePointer("tests", "defs"))
        ),
    )
    return run.run_id


def happened(instance: dg.DagsterInstance, run_id: str, kind: dg.DagsterEventType) -> None:
    event = dg.DagsterEvent(event_type_value=kind.value, job_name="ingest")
    instance.handle_new_event(
        dg.EventLogEntry(
            error_info=None,
            user_message="",
            level=20,
            run_id=run_id,
            timestamp=datetime.now(timezone.utc).timestamp(),
            dagster_event=event,
            job_name="ingest",
        )
    )


def read(
    instance: dg.DagsterInstance, reader: StatesReader | None = None, generation: int = 1
) -> BatchStates:
    return (reader or StatesReader()).read(instance, SOURCE, ADDRESS, generation)


def counted(states: BatchStates) -> dict[str, tuple[int, int]]:
    """Batches and files in each state."""
    amounts = {state.value: states.amount(state) for state in State}
    return {name: amount[:2] for name, amount in amounts.items() if amount.batches}


def test_each_batch_is_in_one_state(instance: dg.DagsterInstance) -> None:
    """Batches count by their runs; one that failed counts by what was tried since."""
    add(instance, "done", Status.SUCCESS, files=5)
    add(instance, "repaired", Status.FAILURE)
    add(instance, "repaired", Status.SUCCESS)
    add(instance, "retried", Status.CANCELED)
    add(instance, "retried", Status.STARTED, sequence=4, **{REPEATS_TAG: "retry"})
    add(instance, "broken", Status.FAILURE, files=3)
    add(instance, "broken", Status.FAILURE, files=3)
    add(instance, "given up", Status.FAILURE, **{SKIPPED_TAG: "yes"})
    add(instance, "waits", Status.QUEUED, hour=HOUR.replace(hour=7))
    add(instance, "starts", Status.STARTING)
    add(instance, "before", Status.FAILURE, generation=0)
    states = read(instance)
    assert counted(states) == {
        "failed": (1, 3),
        "running": (2, 4),
        "queued": (1, 2),
        "skipped": (1, 2),
        "done": (2, 7),
    }
    assert states.amount(State.DONE) == Amount(2, 7, 21)
    assert states.oldest_queued == HOUR.replace(hour=7)
    assert states.is_complete


def test_version_that_came_back_and_failed_has_failed(instance: dg.DagsterInstance) -> None:
    """The success of an earlier showing does not count for a later one."""
    add(instance, "a", Status.SUCCESS, sequence=1)
    add(instance, "a", Status.FAILURE, sequence=5)
    assert counted(read(instance)) == {"failed": (1, 2)}


def test_batch_of_several_jobs_counts_once(instance: dg.DagsterInstance) -> None:
    """A batch of several jobs is in the first state of its jobs: failed before done."""
    add(instance, "a", Status.SUCCESS, job="one")
    add(instance, "a", Status.FAILURE, job="two")
    add(instance, "b", Status.SUCCESS, job="one")
    add(instance, "b", Status.QUEUED, job="two")
    assert counted(read(instance)) == {"failed": (1, 2), "queued": (1, 2)}


def test_runs_that_end_between_readings_are_seen(instance: dg.DagsterInstance) -> None:
    """A reader that remembers runs finds the same as a new one, whatever ended or was deleted."""
    reader = StatesReader()
    runs = [add(instance, name, Status.QUEUED) for name in "abcd"]
    assert counted(read(instance, reader)) == {"queued": (4, 8)}
    instance.report_run_failed(instance.get_run_by_id(runs[0]))
    instance.delete_run(runs[1])
    happened(instance, runs[2], dg.DagsterEventType.RUN_SUCCESS)
    happened(instance, runs[3], dg.DagsterEventType.RUN_START)
    expected = {"failed": (1, 2), "running": (1, 2), "done": (1, 2)}
    assert counted(read(instance, reader)) == counted(read(instance)) == expected
    instance.add_run_tags(runs[0], {SKIPPED_TAG: "yes"})
    assert counted(read(instance, reader))["skipped"] == (1, 2)
    assert counted(read(instance, reader, generation=2)) == {}


def test_long_generation_is_counted_over_several_ticks(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where counting takes too long the next tick goes on, and what is done is said to be open."""
    monkeypatch.setattr(batch_states, "_RECORDS", 3)
    monkeypatch.setattr(batch_states, "_SECONDS", 0.0)
    for number in range(7):
        add(instance, f"x{number}-", Status.SUCCESS)
    reader = StatesReader()
    found = [read(instance, reader) for _ in range(4)]
    assert [each.is_complete for each in found] == [False, False, True, True]
    assert [each.amount(State.DONE).batches for each in found] == [3, 6, 7, 7]


def test_records_of_queued_runs_are_read_once(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long queue costs its ids in each tick, and its records once."""
    for number in range(5):
        add(instance, f"x{number}-", Status.QUEUED)
    reader = StatesReader()
    read(instance, reader)
    asked: list[Any] = []
    get = instance.get_run_records

    def counting(filters: Any = None, *args: Any, **options: Any) -> Any:
        asked.append(filters)
        return get(filters, *args, **options)

    monkeypatch.setattr(instance, "get_run_records", counting)
    assert counted(read(instance, reader)) == {"queued": (5, 10)}
    assert not [each for each in asked if each.run_ids]
