"""A run request: its key, config and tags, reading them back, and the bytes that they take.

Example. The batch 0b17… of two files, which tick 4 of generation 1 emits to the job `ingest`:

    run key  1:4:0b17…            (1:4:0b17…:ingest where a batch goes to several jobs)
    config   {"resources": {"batch": {"config": {"bucket": …, "files": [{"key": …}, {…}]}}}}
    tags     dagster_s3inc/files: 2 files (3.1 KiB)
             dagster/s3inc/generation: 1, dagster/s3inc/sequence: 4, dagster/s3inc/batch_id: 0b17…

Dagster starts one run for a run key, ever. The sequence is part of it, so that a version that was
deleted and came back is processed again; and so is the generation, for resets. A tick that starts
from the same cursor and finds the same files requests the same keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import dagster as dg

from dagster_s3inc.core.batching import Batch, RequestSize, ScanLimits
from dagster_s3inc.core.filters import LONGEST_CONDITIONS
from dagster_s3inc.core.objects import S3Object, format_time, parse_time
from dagster_s3inc.core.words import format_bytes
from dagster_s3inc.dagster_internals import quiet, stored_bytes
from dagster_s3inc.source import Source

__all__ = [
    "BATCH_ID_TAG",
    "BYTES_TAG",
    "FILES_TAG",
    "GENERATION_TAG",
    "GROUP_TAG",
    "OWN_TAGS",
    "REPEATS_TAG",
    "REPROCESS",
    "RESET_TAG",
    "RETRY",
    "SEQUENCE_TAG",
    "SHOWN_TAG",
    "SKIPPED_TAG",
    "SOURCE_METADATA",
    "SOURCE_TAG",
    "RunKey",
    "RunRequests",
    "batch_config",
    "parse_run_key",
    "read_batch_config",
    "requested_batch",
]

# The runs page shows every tag of a run in its row, but for those under `dagster/`, which it
# lists under "View all tags". Filters find both, and re-executions copy both.
SHOWN_TAG: Final = "dagster_s3inc/files"
"""The one tag that people see in the rows of the runs page, as in `100 (29.3 KiB)`."""

_HIDDEN: Final = "dagster/s3inc/"
SOURCE_TAG: Final = f"{_HIDDEN}source"
GENERATION_TAG: Final = f"{_HIDDEN}generation"
SEQUENCE_TAG: Final = f"{_HIDDEN}sequence"
BATCH_ID_TAG: Final = f"{_HIDDEN}batch_id"
FILES_TAG: Final = f"{_HIDDEN}files"
BYTES_TAG: Final = f"{_HIDDEN}bytes"
GROUP_TAG: Final = f"{_HIDDEN}group"
REPEATS_TAG: Final = f"{_HIDDEN}repeats"
"""On a run whose files were emitted before; the ledger leaves it out."""
RESET_TAG: Final = f"{_HIDDEN}reset"
"""Beside it: the moment of the reset that asked for it."""
SKIPPED_TAG: Final = f"{_HIDDEN}skipped"
"""On a failed run whose batch someone has given up, so that it stops no other batch."""

OWN_TAGS: Final = ("dagster_s3inc/", _HIDDEN)
"""How the tags of this package begin."""

SOURCE_METADATA: Final = "dagster_s3inc/source"
"""The metadata of sensors and source assets that names the URI that they stand for."""

REPROCESS: Final = "reprocess"
RETRY: Final = "retry"
"""Why the files of a run are processed again: a reset of some files, or of failed batches."""

# What a row holds for a run beside its request: its id twice, its key once, and what is longer than
# in a request without files: the numbers of files and bytes.
_BESIDE_REQUEST: Final = 2 * len('"f1b6d6f0-5fb7-4f6a-8f2c-1d0c3a0f0a55", ') + 160

# For a request with a partition: the tags that Dagster adds.
_PARTITION_TAGS: Final = 300

# For a tick beside its requests and its cursor: names, statuses, times, and where its log is.
_BESIDE_CURSOR: Final = 1_500

# What is not known before a batch is has at most so many digits and letters.
_LARGE: Final = 10**9
_A_MOMENT: Final = "2026-01-31T23:59:59.123456+00:00"
_LONG_NAME: Final = "n" * 60


class RunKey(NamedTuple):
    """What a run key says.

    Attributes:
        generation: Counts the beginnings.
        sequence: Counts the ticks of the generation that emitted something.
        batch_id: The batch.
        job: The job, where a batch goes to several; else None.
    """

    generation: int
    sequence: int
    batch_id: str
    job: str | None = None

    def __str__(self) -> str:
        """`GENERATION:SEQUENCE:BATCH_ID`, and `:JOB` where a batch goes to several jobs."""
        text = f"{self.generation}:{self.sequence}:{self.batch_id}"
        return text if self.job is None else f"{text}:{self.job}"


def parse_run_key(text: str | None) -> RunKey | None:
    """Reads a run key; None if it is not one of this package."""
    parts = (text or "").split(":", 3)
    if len(parts) < 3 or not all(each.isascii() and each.isdecimal() for each in parts[:2]):
        return None
    return RunKey(int(parts[0]), int(parts[1]), *parts[2:])


def batch_config(bucket: str, batch: Batch, generation: int) -> dict[str, Any]:
    """The config of the `S3Batch` that holds these files."""
    return {
        "bucket": bucket,
        "batch_id": batch.id,
        "generation": generation,
        "files": [
            {
                "key": member.key,
                "size": member.size,
                "last_modified": format_time(member.last_modified),
                "etag": member.etag,
                "storage_class": member.storage_class,
            }
            for member in batch.objects
        ],
    }


def read_batch_config(config: Any, *, group: str | None) -> Batch:
    """The batch of which `batch_config` made this config.

    Raises:
        ValueError: It is another's config, or it was edited.
    """
    try:
        objects = [
            S3Object(
                parse_time(each["last_modified"]),
                each["key"],
                each["etag"],
                each["size"],
                each["storage_class"],
            )
            for each in config["files"]
        ]
        batch_id = config["batch_id"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("The sensor did not write this config") from error
    batch = Batch.of(objects, group)
    if batch.id != batch_id:
        raise ValueError("Its files are not those that the sensor wrote")
    return batch


def requested_batch(run: dg.DagsterRun | dg.RunRequest, resource_key: str) -> Batch | None:
    """The files that the sensor requested a run for; None if its config is not the sensor's."""
    try:
        config: Any = run.run_config["resources"]
        return read_batch_config(config[resource_key]["config"], group=run.tags.get(GROUP_TAG))
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequests:
    """Makes the run requests of one sensor.

    Attributes:
        source: What is scanned.
        job_names: The jobs that each batch is launched on; None stands for the only target.
        batch_resource_key: The key under which a run finds its batch.
        run_tags: The user's tags for every run.
    """

    source: Source
    job_names: Sequence[str | None]
    batch_resource_key: str
    run_tags: Mapping[str, str]

    def request(
        self,
        batch: Batch,
        job_name: str | None,
        *,
        generation: int,
        sequence: int,
        repeats: str | None = None,
        reset: str | None = None,
    ) -> dg.RunRequest:
        """The request to process a batch on one job.

        Args:
            batch: The files.
            job_name: One of `job_names`.
            generation: That of the checkpoint from which the batch comes.
            sequence: That of the tick that emits the batch.
            repeats: Why the files are processed again, `REPROCESS` or `RETRY`; None if they are
                new.
            reset: The moment of the reset that asked for it.
        """
        config = batch_config(self.source.location.bucket, batch, generation)
        tags = {
            **self.run_tags,
            SHOWN_TAG: f"{len(batch):,} ({format_bytes(batch.bytes)})",
            SOURCE_TAG: self.source.uri,
            GENERATION_TAG: str(generation),
            SEQUENCE_TAG: str(sequence),
            BATCH_ID_TAG: batch.id,
            FILES_TAG: str(len(batch)),
            BYTES_TAG: str(batch.bytes),
        }
        # PostgreSQL refuses a NUL in a tag, and with it the run.
        if batch.group is not None and "\0" not in batch.group:
            tags[GROUP_TAG] = batch.group
        if repeats is not None:
            tags[REPEATS_TAG] = repeats
        if reset is not None:
            tags[RESET_TAG] = reset
        grouping = self.source.grouping
        # Dagster would like tags with one slash; those of this package have two.
        with quiet():
            return dg.RunRequest(
                run_key=str(RunKey(generation, sequence, batch.id, job_name)),
                run_config={"resources": {self.batch_resource_key: {"config": config}}},
                tags=tags,
                job_name=job_name,
                partition_key=None if grouping is None else grouping.partition_key(batch),
            )

    def again(self, request: dg.RunRequest, job_name: str | None) -> dg.RunRequest | None:
        """The same request as an earlier tick wrote it, as this sensor would write it now.

        Args:
            request: The earlier tick's.
            job_name: The job, which may be another than the earlier tick's.

        Returns:
            None if the request cannot be read.
        """
        batch = requested_batch(request, self.batch_resource_key)
        key = parse_run_key(request.run_key)
        if batch is None or key is None:
            return None
        return self.request(
            batch,
            job_name,
            generation=key.generation,
            sequence=key.sequence,
            repeats=request.tags.get(REPEATS_TAG),
            reset=request.tags.get(RESET_TAG),
        )

    def size(
        self,
        limits: ScanLimits,
        most: int,
        *,
        place: str = 3 * _LONG_NAME,
        assets: Sequence[dg.AssetKey] = (),
        checks: Sequence[dg.AssetCheckKey] = (),
    ) -> RequestSize:
        """What the run requests of one tick take in Dagster's database.

        A tick is one row of one table, with the cursor, all run requests, and the ids and keys of
        their runs. This is never less than the row, and about a tenth more.

        Args:
            limits: Of the scan; they bound the cursor.
            most: The most that the row may take.
            place: The sensor's name, repository and code location, one after the other.
            assets: Those that each request names beside its job.
            checks: The same.
        """
        requests = [
            self.request(
                Batch.of(()),
                name or _LONG_NAME,
                generation=_LARGE,
                sequence=_LARGE,
                repeats=REPROCESS,
                reset=_A_MOMENT,
            )
            for name in self.job_names
        ]
        # Dagster adds a tag with the sensor's name, and the assets.
        added = len(place) + (stored_bytes([*assets, *checks]) + 100 if assets or checks else 0)
        has_groups = self.source.grouping is not None
        cursor, partial_scan = _longest_cursor(limits)
        return RequestSize(
            most=most,
            tick=_BESIDE_CURSOR + 4 * len(place) + cursor,
            partial_scan=partial_scan,
            batch=self.stored_bytes(requests)
            + len(requests) * (added + has_groups * _PARTITION_TAGS),
            jobs=len(requests),
            # In the tag of the group, as partition key, in the tag of the partition and in those
            # of its dimensions; and once for each batch as a new dynamic partition.
            group_copies=has_groups * (4 * len(requests) + 1),
        )

    def stored_bytes(self, requests: Iterable[dg.RunRequest]) -> int:
        """How many bytes Dagster writes for these requests and the runs that they start."""
        return sum(stored_bytes(each) + _BESIDE_REQUEST for each in requests)


def _longest_cursor(limits: ScanLimits) -> tuple[int, int]:
    """The most bytes that a cursor takes in a row, and those more of one with a partial scan."""
    # Base64 makes four characters of three bytes; a cell is of 14 bytes, a fingerprint of 8.
    digest, recent = (limits.cells * 14 + 16) * 4 // 3, limits.recent_limit * 8 * 4 // 3
    key = 1_024 * 4 // 3
    # The cursor is JSON in JSON, so that each quote and each backslash takes a byte more. Digests
    # and fingerprints have none.
    cursor = digest + recent + 2 * (key + LONGEST_CONDITIONS) + 2_000
    return cursor, digest + recent // 32 + 2 * key + 500
