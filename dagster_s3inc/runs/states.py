"""The runs of a sensor's batches, as the instance knows them: in flight, failed, and by file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

import dagster as dg
from dagster import DagsterRunStatus

from dagster_s3inc.core.validation import require_at_least, require_aware
from dagster_s3inc.dagster_internals import RUN_KEY_TAG, SensorAddress
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.runs.run_requests import (
    BATCH_ID_TAG,
    GENERATION_TAG,
    REPEATS_TAG,
    SEQUENCE_TAG,
    SKIPPED_TAG,
    SOURCE_TAG,
)
from dagster_s3inc.s3.location import S3Location

__all__ = [
    "FAILED",
    "UNFINISHED",
    "BatchOfJob",
    "FailedBatch",
    "FileRun",
    "FoundRuns",
    "Tags",
    "batch_of",
    "failed_batches",
    "find_runs",
    "records_with",
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
            good[of(run)] = max(good.get(of(run), -1), _sequence_of(run))
        yield from (each for each in chunk if good.get(each.batch, -1) < each.since)


def _emitted_in(run: dg.DagsterRun) -> int:
    """The sequence in which a failed run's files were emitted, as far as the run shows it."""
    # A failed batch that is requested again does not fail anew, but still.
    return 0 if run.tags.get(REPEATS_TAG) == "retry" else _sequence_of(run)


def _sequence_of(run: dg.DagsterRun) -> int:
    sequence = run.tags.get(SEQUENCE_TAG, "")
    return int(sequence) if sequence.isdecimal() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRun:
    """A run that had a file in its batch.

    Attributes:
        run_id: The run's id.
        job_name: The job that was run.
        status: The run's status when it was looked up.
        created: When the run was created, aware.
        uri: The file, as `s3://BUCKET/KEY`.
        etag: Of the version that was requested; None if the run was launched without it.
        last_modified: Of that version, as ISO 8601; None if the run was launched without it.
        batch_id: The batch's id; None if the run was launched by hand.
        generation: The batch's generation; None if the run was launched by hand.
    """

    run_id: str
    job_name: str
    status: DagsterRunStatus
    created: datetime
    uri: str
    etag: str | None
    last_modified: str | None
    batch_id: str | None
    generation: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRuns:
    """The runs that had a file in their batches.

    Attributes:
        runs: The newest first.
        looked_at: How many runs were looked at.
        is_complete: Whether these are all: False if there are more runs than were looked at.
    """

    runs: tuple[FileRun, ...]
    looked_at: int
    is_complete: bool


def find_runs(
    instance: dg.DagsterInstance,
    key: str,
    *,
    source: str | None = None,
    created_after: datetime | None = None,
    max_runs: int = 10_000,
) -> FoundRuns:
    """Finds the runs that had a file in their batches, from a notebook or a terminal.

    Re-executions and runs launched by hand are among them. Tags cannot hold keys, so the config of
    one run after the other is read, newest first: 1,000 runs of 100 files take about a second.
    Narrow it by `source` or `created_after` where there are many.

    Args:
        instance: Such as `DagsterInstance.get()`.
        key: The file's whole key; or `s3://BUCKET/KEY`, where several buckets have that key.
        source: Only runs that the sensor of this URI requested, and their re-executions. A slash
            at its end makes no difference.
        created_after: Only runs created after this time, aware.
        max_runs: The most runs to look at.

    Raises:
        ConfigurationError: An argument is wrong.
    """
    require_at_least("max_runs", max_runs, 1, unit="runs")
    if created_after is not None:
        require_aware("created_after", created_after)
    wanted = _location(key)
    tags: dict[str, str | Sequence[str]] = {}
    if source is not None:
        uri = S3Location.parse_prefix(source).uri.rstrip("/")
        tags = {SOURCE_TAG: [uri, f"{uri}/"]}
    filters = dg.RunsFilter(tags=tags, created_after=created_after)
    found: list[FileRun] = []
    looked_at = 0
    for record in records_with(instance, filters):
        if looked_at == max_runs:
            return FoundRuns(runs=tuple(found), looked_at=looked_at, is_complete=False)
        looked_at += 1
        for config in _batches(record.dagster_run.run_config):
            if wanted is not None and config["bucket"] != wanted.bucket:
                continue
            sought = key if wanted is None else wanted.key
            found += [
                _file_run(record, config, file)
                for file in config["files"]
                if isinstance(file, Mapping) and file.get("key") == sought
            ]
    return FoundRuns(runs=tuple(found), looked_at=looked_at, is_complete=True)


def _location(key: object) -> S3Location | None:
    """The file that a URI names; None if it is the key alone."""
    if not isinstance(key, str) or not key:
        raise ConfigurationError(
            f"key must be a file's whole key, or s3://BUCKET/KEY, not {key!r}. find_runs looks for "
            f"one file; runs are found by their tags"
        )
    if not key.startswith("s3://"):
        return None
    location = S3Location.parse(key)
    if not location.key:
        raise ConfigurationError(f"{key!r} does not name a file. Write s3://BUCKET/KEY")
    return location


def _batches(run_config: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The configs in which a run got its batches, under whatever resource key."""
    for resource in (run_config.get("resources") or {}).values():
        config = (resource or {}).get("config")
        if isinstance(config, Mapping) and {"bucket", "files"} <= config.keys():
            yield config


def _file_run(record: dg.RunRecord, config: Mapping[str, Any], file: Mapping[str, Any]) -> FileRun:
    run = record.dagster_run
    return FileRun(
        run_id=run.run_id,
        job_name=run.job_name,
        status=run.status,
        created=record.create_timestamp,
        uri=S3Location(config["bucket"], file["key"]).uri,
        etag=file.get("etag"),
        last_modified=file.get("last_modified"),
        batch_id=config.get("batch_id"),
        generation=config.get("generation"),
    )
