from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg
import numpy as np
import pytest
from dagster import DagsterRunStatus
from dagster._core.test_utils import create_run_for_test

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.columns import EPOCH, microseconds
from dagster_s3inc.core.late_files import Ledger, LedgerEntry, LedgerProgress
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.runs import ledger as ledger_module
from dagster_s3inc.runs.ledger import InstanceLedger, LedgerCache
from dagster_s3inc.runs.run_requests import batch_config

ADDRESS = SensorAddress("landing", "scope", "repository@location")
START = datetime(2026, 1, 31, 23, 59, 59, tzinfo=timezone.utc)
KEYS = ["in/a", "in/b c+%", "in/ü😀\n", "in/d\0"]


@pytest.fixture(scope="module")
def instances() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as opened:
        yield opened


@pytest.fixture
def instance(instances: dg.DagsterInstance) -> dg.DagsterInstance:
    instances.wipe()
    return instances


def make_batch(name: str, group: str | None = None) -> Batch:
    objects = [
        S3Object(START + timedelta(milliseconds=250 * place), f"{key}{name}", f"etag-{name}", 3)
        for place, key in enumerate(KEYS)
    ]
    return Batch.of(objects, group)


def add(
    instance: dg.DagsterInstance,
    batch: Batch,
    sequence: int,
    *,
    generation: int = 1,
    sensor: str = "landing",
    job: str = "ingest",
    config: Any = None,
    status: DagsterRunStatus = DagsterRunStatus.SUCCESS,
    **tags: str,
) -> str:
    """A run as the sensor requests it; returns its id."""
    written = config or batch_config("lake", batch, generation)
    run = create_run_for_test(
        instance,
        job_name=job,
        status=status,
        run_config={"resources": {"landed": {"config": written}}},
        tags={
            "dagster/sensor_name": sensor,
            ".dagster/repository": "repository@location",
            "dagster/s3inc/generation": str(generation),
            "dagster/s3inc/sequence": str(sequence),
            "dagster/s3inc/batch_id": batch.id,
            **tags,
        },
    )
    return run.run_id


def entries(*batches: tuple[int, Batch]) -> Ledger:
    """The ledger that these are."""
    return Ledger.of(
        (
            LedgerEntry(sequence, batch.id, np.array(batch.fingerprints, np.uint64), 0)
            for sequence, batch in batches
        ),
        1,
    )


def read(
    instance: dg.DagsterInstance, sequence: int = 100, *, cache: LedgerCache | None = None
) -> Ledger:
    found = InstanceLedger(instance, ADDRESS, cache or LedgerCache())(1, sequence)
    assert isinstance(found, Ledger)
    return found


def holds(found: Ledger, expected: Ledger) -> bool:
    return found.total == expected.total and list(found.fingerprints) == list(expected.fingerprints)


A, B, C = (make_batch(name) for name in "abc")


def test_what_was_emitted_is_read_back(instance: dg.DagsterInstance) -> None:
    """All batches below a sequence, file by file, whatever the state of their runs."""
    add(instance, A, 0)
    add(instance, B, 1, status=DagsterRunStatus.FAILURE)
    add(instance, C, 2, status=DagsterRunStatus.STARTED)
    assert holds(read(instance), entries((0, A), (1, B), (2, C)))
    assert holds(read(instance, 2), entries((0, A), (1, B)))
    assert holds(read(instance, 0), entries())
    assert read(instance, 0).oldest_run is None


def test_each_batch_of_a_tick_counts_once(instance: dg.DagsterInstance) -> None:
    """On several jobs, re-executed, or both: one entry; again in another tick: another."""
    add(instance, A, 0, job="one")
    add(instance, A, 0, job="two")
    add(instance, A, 0, job="one", **{"dagster/parent_run_id": "x"})
    add(instance, A, 3)
    found = read(instance)
    assert holds(found, entries((0, A), (3, A)))
    assert found.total.files == 2 * len(A)


def test_what_is_no_part_of_it(instance: dg.DagsterInstance) -> None:
    """Repeats, other generations, other sensors, and what was launched by hand."""
    add(instance, A, 0)
    add(instance, B, 1, **{"dagster/s3inc/repeats": "reprocess"})
    add(instance, B, 1, **{"dagster/s3inc/repeats": "retry"})
    add(instance, B, 0, generation=2)
    add(instance, B, 0, sensor="another")
    add(instance, B, 0, **{".dagster/repository": "repository@elsewhere"})
    edited = batch_config("lake", C, 1)
    edited["files"] = edited["files"][1:]
    add(instance, C, 1, config=edited)
    add(instance, C, 1, config={**edited, "files": [{"key": "by-hand"}]})
    add(instance, C, 1, config={"bucket": "lake", "batch_id": C.id, "files": None})
    assert holds(read(instance), entries((0, A)))


def test_edited_copy_hides_no_original(instance: dg.DagsterInstance) -> None:
    """A re-execution with some of the files stands beside the run that had them all."""
    edited = batch_config("lake", A, 1)
    edited["files"] = edited["files"][1:]
    add(instance, A, 0)
    add(instance, A, 0, config=edited)
    assert holds(read(instance), entries((0, A)))


def test_oldest_run_is_known(instance: dg.DagsterInstance) -> None:
    """The ledger knows when the oldest of its runs was created."""
    add(instance, A, 5)
    add(instance, B, 2)
    [oldest] = instance.get_run_records(limit=1, ascending=True)
    assert read(instance).oldest_run == microseconds(oldest.create_timestamp)
    assert oldest.create_timestamp > EPOCH


def test_reading_goes_on_where_the_time_was_over(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a living process a long ledger is read over several ticks, and none twice."""
    monkeypatch.setattr(ledger_module, "_RECORDS", 2)
    batches = [make_batch(str(number)) for number in range(7)]
    for sequence, batch in enumerate(batches):
        add(instance, batch, sequence)
    cache, answers, reads = LedgerCache(), [], []
    get_run_records = instance.get_run_records
    monkeypatch.setattr(
        instance,
        "get_run_records",
        lambda filters: reads.extend(filters.run_ids) or get_run_records(filters),
    )
    for _ in range(4):
        tick = InstanceLedger(instance, ADDRESS, cache, time_budget=timedelta(microseconds=1))
        answers.append(tick(1, 100))
        assert tick.was_read
    assert answers[:3] == [LedgerProgress(7, 2), LedgerProgress(7, 4), LedgerProgress(7, 6)]
    assert holds(answers[3], entries(*enumerate(batches)))
    assert len(reads) == len(set(reads)) == 7


def test_deleted_runs_are_forgotten(instance: dg.DagsterInstance) -> None:
    """What is kept in memory never outlives its run, nor its generation."""
    cache = LedgerCache()
    first = add(instance, A, 0)
    add(instance, B, 1)
    assert holds(read(instance, cache=cache), entries((0, A), (1, B)))
    instance.delete_run(first)
    add(instance, C, 2)
    assert holds(read(instance, cache=cache), entries((1, B), (2, C)))
    assert cache.files == 2 * len(B)
    InstanceLedger(instance, ADDRESS, cache)(2, 100)
    assert (cache.files, cache.entries) == (0, {})
    cache.clear()
    assert holds(read(instance, cache=cache), entries((1, B), (2, C)))


def test_memory_is_bounded(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many files only the newest are read; the ledger is then not whole, and says so."""
    monkeypatch.setattr(ledger_module, "_RECORDS", 1)
    monkeypatch.setattr(ledger_module, "_MOST_FILES", 2 * len(A))
    for sequence, batch in enumerate((A, B, C)):
        add(instance, batch, sequence)
    assert holds(read(instance), entries((1, B), (2, C)))


def test_another_evaluation_may_be_reading(instance: dg.DagsterInstance) -> None:
    """An evaluation that Dagster gave up does not make the next one wait for ever."""
    cache = LedgerCache()
    add(instance, A, 0)
    with cache.lock:
        tick = InstanceLedger(instance, ADDRESS, cache, time_budget=timedelta(seconds=0.1))
        assert tick(1, 100) == LedgerProgress(0, 0)
        cache.clear()
    assert holds(read(instance, cache=cache), entries((0, A)))
