"""New and modified S3 files, batch by batch, with a checkpoint."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dagster_s3inc.core.batching import LATE_FILE_CAPACITY, BatchPolicy, ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint, Reprocess
from dagster_s3inc.core.cursor_format import encode_checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.report import describe_scan
from dagster_s3inc.core.validation import require_at_least, require_type
from dagster_s3inc.errors import (
    CheckpointConflictError,
    CheckpointFormatError,
    ConfigurationError,
)
from dagster_s3inc.processor.document import CheckpointDocument
from dagster_s3inc.processor.stores import (
    CheckpointFile,
    CheckpointObject,
    CheckpointStore,
    checkpoint_place,
)
from dagster_s3inc.s3.client import make_client, pool_warning
from dagster_s3inc.s3.listing import MAX_CONCURRENT_REQUESTS
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanner import MAX_INDEX_BYTES, Scanner

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["RECENT_LIMIT", "S3IncrementalProcessor"]

_log = logging.getLogger(__name__)

RECENT_LIMIT = 1_000_000
"""The checkpoint is a file, not a cursor: so many files keep their 11 bytes in it, and the
watermark stays out of the lookback."""

_FILTER_CHANGED = (
    "The filter or the prefix changed. Of the files at or below the watermark, those that only the "
    "new one matches count as returned. To have them returned, call reset_checkpoint(), which "
    "starts over with every file."
)
_WITHOUT_RESET_JOB = (
    "Without Dagster, reset_checkpoint() is the only reset: it starts over with every file."
)

# A reset must win against commits that come between its read and its write; each try takes two
# requests, so that many in a row mean that something else is wrong.
_RESET_TRIES = 10


class _Pending(NamedTuple):
    document: CheckpointDocument
    replacing: str | None


class S3IncrementalProcessor:
    """Returns each new or modified object of an S3 prefix once, oldest first.

    The checkpoint is read at each `get_new_files` and written by `commit_checkpoint` alone: files
    that were not committed come again. Of several processors on one checkpoint, only one can
    commit the same files; the others get `CheckpointConflictError`. Not thread-safe: use one
    processor for each thread.

    There are no runs that could be read back. So where a new process finds more changes among old
    files than `late_file_capacity`, files are left undecided: the log says so, with numbers, and
    `reset_checkpoint` starts over.

    Args:
        path: What to scan, as `s3://BUCKET/PREFIX`, taken literally.
        checkpoint_path: Where the checkpoint is kept: `s3://BUCKET/KEY` or a local path. If it
            lies below `path`, its own key is never returned.
        client: A boto3 S3 client; by default one from the environment, with adaptive retries.
        objects: Which objects count. When it changes, older files that only the new filter lets
            through count as returned; the log says so.
        lookback: For how long files are remembered one by one, up to a million of them; see
            `build_s3_incremental_sensor`.
        late_file_capacity: How many changes among older files a new process can tell apart; see
            `build_s3_incremental_sensor`.
        max_concurrent_requests: The most LIST requests at a time.
        max_index_bytes: The most memory for the index of each storage class that is asked for.
        conditional_writes: Whether a checkpoint in S3 is written under the condition that nobody
            else has written it, which the server must support: AWS does, and the first commit
            finds out whether yours does. With False, processors that commit at the same moment
            overwrite each other unnoticed, so there may be only one; other conflicts are still
            found. A local file needs no server, and takes no False.

    Raises:
        ConfigurationError: An argument is wrong.
    """

    def __init__(
        self,
        path: str,
        checkpoint_path: str | Path,
        *,
        client: S3Client | None = None,
        objects: ObjectFilter | None = None,
        lookback: timedelta = timedelta(hours=1),
        late_file_capacity: int = 10 * LATE_FILE_CAPACITY,
        max_concurrent_requests: int = MAX_CONCURRENT_REQUESTS,
        max_index_bytes: int = MAX_INDEX_BYTES,
        conditional_writes: bool = True,
    ) -> None:
        self._location = S3Location.parse_prefix(path)
        self._limits = ScanLimits(
            lookback=lookback,
            max_batches=1,
            recent_limit=RECENT_LIMIT,
            late_file_capacity=late_file_capacity,
        )

        def make_scanner() -> Scanner:
            # Nobody waits for a processor as the daemon waits for a tick: it lists everything.
            return Scanner(
                time_budget=None,
                max_concurrent_requests=max_concurrent_requests,
                max_index_bytes=max_index_bytes,
            )

        # One for each account, since an index belongs to the checkpoint of one. The first is made
        # now, so that wrong options are refused now.
        self._scanners = defaultdict(make_scanner, {"STANDARD": make_scanner()})
        self._objects = ObjectFilter() if objects is None else objects
        require_type("objects", self._objects, ObjectFilter)
        self._own_key: bytes | None = None
        self._pending: _Pending | None = None
        place = checkpoint_place(checkpoint_path)
        if isinstance(place, Path) and not conditional_writes:
            raise ConfigurationError(
                f"conditional_writes=False is for a checkpoint in S3, but checkpoint_path is the "
                f"local file {place}, on which conflicts are always found. Leave it out"
            )
        if client is not None and not hasattr(client, "list_objects_v2"):
            hint = " Pass its get_client()" if hasattr(client, "get_client") else ""
            raise ConfigurationError(f"client must be a boto3 S3 client, not {client!r}.{hint}")
        self._client = client if client is not None else make_client()
        if (warning := pool_warning(self._client, max_concurrent_requests)) is not None:
            _log.warning(warning)
        self._store: CheckpointStore
        if isinstance(place, Path):
            self._store = CheckpointFile(place)
        else:
            self._store = CheckpointObject(self._client, place, conditional=conditional_writes)
            self._note_own_key(place)

    def get_new_files(
        self, batch_size: int = 5, storage_class: str | None = "STANDARD"
    ) -> list[str]:
        """Finds the oldest files that have not been committed.

        Changes nothing: without a commit, the same files come again, and more.

        Args:
            batch_size: The most files to return.
            storage_class: The only storage class that counts; None leaves it to `objects`. Each
                value has an account of its own in the checkpoint: what was committed under one is
                new to another, and so is a file that a lifecycle rule moves into another class.

        Returns:
            `s3://` URIs in the order of LastModified, then key; empty if nothing is new.

        Raises:
            ConfigurationError: `batch_size` is below 1, or `storage_class` contradicts `objects`.
            CheckpointFormatError: The stored checkpoint cannot be read.
            S3RequestError: The listing or the checkpoint could not be had.
        """
        require_at_least("batch_size", batch_size, 1, unit="files")
        objects = self._narrowed(storage_class)
        self._pending = None
        began = time.monotonic()
        stored = self._store.read()
        document = CheckpointDocument.read(stored.text, storage_class)
        checkpoint = document.account(storage_class)
        selection = objects.selection(self._location.key, bucket=self._location.bucket)
        given = None if checkpoint is None else encode_checkpoint(checkpoint)
        changed = checkpoint is not None and checkpoint.selection not in (None, selection.hash)
        if checkpoint is not None and changed:
            # A sensor's runs tell what another filter let through; here nothing does.
            checkpoint, given = replace(checkpoint, reprocess=Reprocess(accepts=True)), None
        scan = self._scanners[storage_class or ""].scan(
            self._client,
            replace(self._location, key=objects.list_prefix(self._location.key)),
            checkpoint or Checkpoint(),
            given=given,
            selection=replace(selection, own_key=self._own_key),
            limits=replace(self._limits, policy=BatchPolicy(max_files=batch_size)),
        )
        result = scan.result
        following = document.with_account(storage_class, result.checkpoint)
        self._pending = _Pending(following, stored.version)
        report = describe_scan(result, source=self._location.uri, seconds=time.monotonic() - began)
        _log.info(report.summary)
        for warning in (_FILTER_CHANGED,) if changed else report.warnings:
            _log.warning(warning)
        if result.statistics.undecided is not None:
            _log.warning(_WITHOUT_RESET_JOB)
        return [
            S3Location(self._location.bucket, each.key).uri
            for batch in result.batches
            for each in batch.objects
        ]

    def commit_checkpoint(self) -> None:
        """Stores that the files of the last `get_new_files` are done.

        With nothing to commit (no `get_new_files` before, committed already, or reset since), it
        does nothing but log so.

        Raises:
            CheckpointConflictError: Someone else committed or reset since `get_new_files`.
                Nothing was written, and the next `get_new_files` starts from what they wrote.
            ConditionalWritesError: The server has no conditional writes; see
                `conditional_writes`.
            S3RequestError: The checkpoint could not be written; the commit can be tried again.
        """
        if self._pending is None:
            _log.warning("%s: nothing to commit", self._store.name)
            return
        text = self._pending.document.encoded()
        try:
            self._store.write(text, replacing=self._pending.replacing)
        except CheckpointConflictError:
            self._pending = None
            raise
        self._pending = None
        _log.info("%s: checkpoint committed", self._store.name)

    def reset_checkpoint(self) -> None:
        """Starts over, for all storage classes: from now on everything is new again.

        What the last `get_new_files` returned can no longer be committed, neither here nor by
        another processor that read the checkpoint before.

        Raises:
            ConditionalWritesError: The server has no conditional writes; see
                `conditional_writes`.
            S3RequestError: The checkpoint could not be written; nothing was reset.
        """
        self._pending = None
        for _ in range(_RESET_TRIES - 1):
            with suppress(CheckpointConflictError):
                self._restart()
                return
        self._restart()

    def _restart(self) -> None:
        stored = self._store.read()
        try:
            before = CheckpointDocument.read(stored.text)
        except CheckpointFormatError as error:
            _log.warning("%s: replaced by a new checkpoint: %s", self._store.name, error)
            before = CheckpointDocument()
        self._store.write(before.restarted().encoded(), replacing=stored.version)
        _log.info("%s: reset, every file is new again", self._store.name)

    def _note_own_key(self, checkpoint: S3Location) -> None:
        if self._location.covers(checkpoint):
            self._own_key = checkpoint.key.encode("utf-8", "surrogatepass")
            _log.warning(
                "The checkpoint %s lies inside the scanned prefix %s. It is never returned, but "
                "other readers of the prefix see it; a place outside is better",
                checkpoint,
                self._location,
            )

    def _narrowed(self, storage_class: str | None) -> ObjectFilter:
        if storage_class is None:
            return self._objects
        allowed = self._objects.storage_classes
        if allowed is not None and storage_class not in allowed:
            raise ConfigurationError(
                f"storage_class={storage_class!r} contradicts objects, which lets through only "
                f"{', '.join(sorted(allowed))}, so nothing could ever match. Pass "
                f"storage_class=None to leave it to objects"
            )
        return replace(self._objects, storage_classes=(storage_class,))
