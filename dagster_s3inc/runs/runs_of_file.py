"""Finding the runs that had a file in their batches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import dagster as dg
from dagster import DagsterRunStatus

from dagster_s3inc.core.validation import require_at_least, require_aware
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.runs.run_requests import SOURCE_TAG
from dagster_s3inc.runs.states import records_with
from dagster_s3inc.s3.location import S3Location

__all__ = ["FileRun", "FoundRuns", "find_runs"]


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
