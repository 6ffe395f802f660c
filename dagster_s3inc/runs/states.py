"""The runs of a sensor's batches, as the instance knows them: unfinished, failed, by run key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import dagster as dg
from dagster import DagsterRunStatus

from dagster_s3inc.dagster_internals import RUN_KEY_TAG, SensorAddress
from dagster_s3inc.runs.run_requests import (
    BATCH_ID_TAG,
    GENERATION_TAG,
    REPEATS_TAG,
    SEQUENCE_TAG,
    SKIPPED_TAG,
    SOURCE_TAG,
)

__all__ = [
    "FAILED",
    "UNFINISHED",
    "BatchOfJob",
    "FailedBatch",
    "Tags",
    "batch_of",
    "describe_halt",
    "failed_batches",
    "name_runs",
    "records_with",
    "runs_by_key",
    "runs_with",
    "sequence_of",
    "tags_of",
]

UNFINISHED: Final = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.MANAGED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
FAILED: Final = (DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED)

# So many run records are read at a time, and so many batches asked for; a read takes about 5 ms.
_PAGE: Final = 100

_RUNS_NAMED: Final = 3

Tags = Mapping[str, str | Sequence[str]]


class BatchOfJob(NamedTuple):
    """A batch on one of the jobs on which it was launched."""

    batch_id: str
    job_name: str


class FailedBatch(NamedTuple):
    """A batch that no run of a job has processed.

    Attributes:
        batch: The batch and the job.
        run_ids: Its failed runs, oldest first.
        newest: The newest of them.
        since: The sequence since which it has failed: the same files may have been emitted, and
            processed, in an earlier tick.
    """

    batch: BatchOfJob
    run_ids: tuple[str, ...]
    newest: dg.DagsterRun
    since: int

    @property
    def is_skipped(self) -> bool:
        """Whether someone has given it up."""
        return SKIPPED_TAG in self.newest.tags


def tags_of(source: str, address: SensorAddress, generation: int | None = None) -> Tags:
    """The tags of the runs that a sensor has requested, in this generation or in any."""
    tags = {SOURCE_TAG: source, **address.run_tags}
    return tags if generation is None else {**tags, GENERATION_TAG: str(generation)}


def batch_of(run: dg.DagsterRun) -> BatchOfJob:
    """The batch that a run processes; a run without a batch counts as one of its own."""
    return BatchOfJob(run.tags.get(BATCH_ID_TAG, run.run_id), run.job_name)


def runs_with(
    instance: dg.DagsterInstance, tags: Tags, statuses: Sequence[DagsterRunStatus] | None = None
) -> Iterator[dg.DagsterRun]:
    """The runs with these tags in one of these statuses, newest first."""
    for record in records_with(instance, dg.RunsFilter(tags=tags, statuses=statuses)):
        yield record.dagster_run


def runs_by_key(
    instance: dg.DagsterInstance, address: SensorAddress, run_keys: Sequence[str]
) -> dict[str, dg.DagsterRun]:
    """The runs that the sensor has requested by these run keys."""
    tags = {**address.run_tags, RUN_KEY_TAG: run_keys}
    return {run.tags[RUN_KEY_TAG]: run for run in runs_with(instance, tags)}


def records_with(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> Iterator[dg.RunRecord]:
    """The records of the runs that a filter lets through, newest first."""
    cursor = None
    while True:
        records = instance.get_run_records(filters, limit=_PAGE, cursor=cursor)
        yield from records
        if len(records) < _PAGE:
            return
        cursor = records[-1].dagster_run.run_id


def failed_batches(
    instance: dg.DagsterInstance,
    tags: Tags,
    *,
    unless: Sequence[DagsterRunStatus],
    of: Callable[[dg.DagsterRun], BatchOfJob] = batch_of,
) -> Iterator[FailedBatch]:
    """The batches of which runs failed or were cancelled, the first to be requested first.

    Args:
        instance: Knows the runs.
        tags: Of the runs that count.
        unless: A batch with a run in one of these statuses has not failed, unless that run is
            older than the tick that emitted the files again, as after a version came back.
        of: Gives the batch of a run.
    """
    found: dict[BatchOfJob, FailedBatch] = {}
    for run in runs_with(instance, tags, FAILED):
        batch = of(run)
        known = found.pop(batch, None)
        # The oldest run of a batch, read last, decides its place among the others.
        found[batch] = (
            FailedBatch(batch, (run.run_id,), run, _emitted_in(run))
            if known is None
            else known._replace(
                run_ids=(run.run_id, *known.run_ids), since=max(known.since, _emitted_in(run))
            )
        )
    oldest_first = iter(reversed(found.values()))
    while chunk := list(islice(oldest_first, _PAGE)):
        ids = list({each.batch.batch_id for each in chunk})
        good: dict[BatchOfJob, int] = {}
        for run in runs_with(instance, {**tags, BATCH_ID_TAG: ids}, unless):
            good[of(run)] = max(good.get(of(run), -1), sequence_of(run))
        yield from (each for each in chunk if good.get(each.batch, -1) < each.since)


def _emitted_in(run: dg.DagsterRun) -> int:
    """The sequence in which a failed run's files were emitted, as far as the run shows it."""
    # A failed batch that is requested again does not fail anew, but still.
    return 0 if run.tags.get(REPEATS_TAG) == "retry" else sequence_of(run)


def sequence_of(run: dg.DagsterRun) -> int:
    """The sequence of the tick that requested a run; 0 if its tags do not tell it."""
    sequence = run.tags.get(SEQUENCE_TAG, "")
    return int(sequence) if sequence.isdecimal() else 0


def name_runs(run_ids: Sequence[str]) -> str:
    """The oldest of these runs, which are given newest first."""
    shown = ", ".join(run_ids[: -_RUNS_NAMED - 1 : -1])
    more = len(run_ids) - _RUNS_NAMED
    runs = "run" if len(run_ids) == 1 else "runs"
    return f"{runs} {shown}" + (f" and {more:,} more" if more > 0 else "")


def describe_halt(run: dg.DagsterRun) -> str:
    """Says which failed run stops a sensor, and what ends that."""
    what = "was cancelled" if run.status == DagsterRunStatus.CANCELED else "failed"
    return (
        f"Halted: batch {run.tags.get(BATCH_ID_TAG)} {what} in run {run.run_id} of job "
        f"{run.job_name}, and on_failure is 'halt'. Nothing is requested until a re-execution of "
        f"that run succeeds, or the failed batch is skipped with the reset job (skip_failed)"
    )
