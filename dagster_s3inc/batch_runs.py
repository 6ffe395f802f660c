"""The runs of a sensor's batches, as the instance knows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import dagster as dg
from dagster import DagsterRunStatus

from dagster_s3inc.batch import (
    BATCH_ID_TAG,
    GENERATION_TAG,
    GROUP_TAG,
    SKIPPED_TAG,
    SOURCE_TAG,
    read_batch_config,
)
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.instance import RUN_KEY_TAG, SensorAddress

__all__ = [
    "FAILED",
    "UNFINISHED",
    "BatchOfJob",
    "FailedBatch",
    "Tags",
    "batch_of",
    "failed_batches",
    "records_of",
    "requested_batch",
    "runs_by_key",
    "runs_with",
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
    """

    batch: BatchOfJob
    run_ids: tuple[str, ...]
    newest: dg.DagsterRun

    @property
    def is_skipped(self) -> bool:
        """Whether someone has given it up."""
        return SKIPPED_TAG in self.newest.tags


def tags_of(source: str, address: SensorAddress, generations: Iterable[int] | None = None) -> Tags:
    """The tags of the runs that a sensor has requested, in these generations or in any."""
    tags: dict[str, str | Sequence[str]] = {SOURCE_TAG: source, **address.run_tags}
    if generations is not None:
        tags[GENERATION_TAG] = [str(each) for each in generations]
    return tags


def batch_of(run: dg.DagsterRun) -> BatchOfJob:
    """The batch that a run processes; without a batch, it is one of its own."""
    return BatchOfJob(run.tags.get(BATCH_ID_TAG, run.run_id), run.job_name)


def requested_batch(run: dg.DagsterRun | dg.RunRequest, resource_key: str) -> Batch | None:
    """The files that the sensor requested a run for; None if its config is not the sensor's."""
    try:
        config: Any = run.run_config["resources"]
        return read_batch_config(config[resource_key]["config"], group=run.tags.get(GROUP_TAG))
    except (KeyError, TypeError, ValueError):
        return None


def runs_with(
    instance: dg.DagsterInstance, tags: Tags, statuses: Sequence[DagsterRunStatus] | None = None
) -> Iterator[dg.DagsterRun]:
    """The runs with these tags in one of these statuses, newest first."""
    for record in records_of(instance, dg.RunsFilter(tags=tags, statuses=statuses)):
        yield record.dagster_run


def runs_by_key(
    instance: dg.DagsterInstance, address: SensorAddress, run_keys: Sequence[str]
) -> dict[str, dg.DagsterRun]:
    """The runs that the sensor has requested by these run keys."""
    tags = {**address.run_tags, RUN_KEY_TAG: run_keys}
    return {run.tags[RUN_KEY_TAG]: run for run in runs_with(instance, tags)}


def records_of(instance: dg.DagsterInstance, filters: dg.RunsFilter) -> Iterator[dg.RunRecord]:
    """The records of the runs that the filters let through, newest first."""
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
        unless: A batch with a run in one of these statuses is none of them.
        of: Tells the batch of a run.
    """
    found: dict[BatchOfJob, FailedBatch] = {}
    for run in runs_with(instance, tags, FAILED):
        batch = of(run)
        known = found.pop(batch, None)
        # The oldest run of a batch, read last, tells its place among the others.
        found[batch] = (
            FailedBatch(batch, (run.run_id,), run)
            if known is None
            else known._replace(run_ids=(run.run_id, *known.run_ids))
        )
    oldest_first = iter(reversed(found.values()))
    while chunk := list(islice(oldest_first, _PAGE)):
        ids = [each.batch.batch_id for each in chunk]
        good = set(map(of, runs_with(instance, {**tags, BATCH_ID_TAG: ids}, unless)))
        yield from (each for each in chunk if each.batch not in good)
