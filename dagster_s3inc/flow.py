"""How many batches may go out, given those that are on their way and those that failed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import dagster as dg
from dagster import DagsterRunStatus

from dagster_s3inc.batch import BATCH_ID_TAG, GENERATION_TAG, SKIPPED_TAG, SOURCE_TAG
from dagster_s3inc.instance import SensorAddress

__all__ = ["Flow", "Gate", "OnFailure"]

OnFailure = Literal["continue", "halt"]

_UNFINISHED: Final = [
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.MANAGED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]
_FAILED: Final = [DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED]

# Of failed runs, so many are read at a time; reads of run records take about 5 ms.
_PAGE: Final = 100


class Gate(NamedTuple):
    """What a tick may request.

    Attributes:
        max_batches: The most batches; None means as many as ever.
        reason: Why nothing may go out, and what to do about it; None if something may.
    """

    max_batches: int | None = None
    reason: str | None = None


class _Batch(NamedTuple):
    """A batch on one of the jobs on which it was launched."""

    generation: str
    batch_id: str
    job_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Backpressure and strict order, both read from the runs in the instance.

    Attributes:
        source: The URI that is scanned.
        max_in_flight: The most batches requested and not finished; None means no bound.
        on_failure: Whether a batch that failed stops those that would follow.
    """

    source: str
    max_in_flight: int | None = None
    on_failure: OnFailure = "continue"

    def gate(
        self, instance: dg.DagsterInstance | None, address: SensorAddress, generation: int
    ) -> Gate:
        """How many batches may go out now.

        Args:
            instance: Knows the runs; None in a unit test, in which everything may go out.
            address: The sensor whose runs count.
            generation: Failures in earlier ones no longer matter.
        """
        if instance is None:
            return Gate()
        tags = {SOURCE_TAG: self.source, **address.run_tags}
        if self.on_failure == "halt":
            failed = _first_failed(instance, {**tags, GENERATION_TAG: str(generation)})
            if failed is not None:
                return Gate(0, _halted(failed))
        if self.max_in_flight is None:
            return Gate()
        unfinished = {_batch_of(run)[:2] for run in _runs(instance, tags, _UNFINISHED)}
        free = self.max_in_flight - len(unfinished)
        if free > 0:
            return Gate(free)
        return Gate(0, f"Nothing is requested now: {_in_flight(len(unfinished))} in flight")


def _runs(
    instance: dg.DagsterInstance, tags: dict[str, str], statuses: list[DagsterRunStatus]
) -> Iterator[dg.DagsterRun]:
    """The runs with these tags in one of these statuses, newest first."""
    filters, cursor = dg.RunsFilter(tags=tags, statuses=statuses), None
    while True:
        records = instance.get_run_records(filters, limit=_PAGE, cursor=cursor)
        for record in records:
            yield record.dagster_run
        if len(records) < _PAGE:
            return
        cursor = records[-1].dagster_run.run_id


def _first_failed(instance: dg.DagsterInstance, tags: dict[str, str]) -> dg.DagsterRun | None:
    """The oldest failure that no later run of its batch has made good, and nobody has skipped."""
    found: dict[_Batch, dg.DagsterRun] = {}
    for run in _runs(instance, tags, _FAILED):
        # Newest first, so that of several failures of a batch the newest is kept.
        found.setdefault(_batch_of(run), run)
    for batch, run in reversed(found.items()):
        if SKIPPED_TAG not in run.tags and not _is_made_good(instance, tags, batch):
            return run
    return None


def _is_made_good(instance: dg.DagsterInstance, tags: dict[str, str], batch: _Batch) -> bool:
    filters = dg.RunsFilter(
        job_name=batch.job_name,
        tags={**tags, BATCH_ID_TAG: batch.batch_id},
        statuses=[DagsterRunStatus.SUCCESS],
    )
    return bool(instance.get_run_records(filters, limit=1))


def _batch_of(run: dg.DagsterRun) -> _Batch:
    return _Batch(
        run.tags.get(GENERATION_TAG, ""), run.tags.get(BATCH_ID_TAG, run.run_id), run.job_name
    )


def _in_flight(count: int) -> str:
    return "1 batch is" if count == 1 else f"{count} batches are"


def _halted(run: dg.DagsterRun) -> str:
    what = "was cancelled" if run.status == DagsterRunStatus.CANCELED else "failed"
    return (
        f"Halted: batch {run.tags.get(BATCH_ID_TAG)} {what} in run {run.run_id} of job "
        f"{run.job_name}, and on_failure is 'halt'. Nothing is requested until a re-execution of "
        f"that run succeeds, or the failed batch is skipped with the reset job (skip_failed)"
    )
