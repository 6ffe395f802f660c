"""Reads the runs of a sensor as its ledger: the record of what it emitted.

Runs are found by the sensor, not by its source, since a prefix may change. Their ids come in one
query; what is known of these ids from earlier is kept, and the records of the others are read a
few hundred at a time. Most of the time goes into Dagster's deserialising: some 5 s for 10,000 runs
of 100 files. So reading stops when the tick's time is over, and the next tick goes on.

Example. Generation 1, sequence 2 is asked for, and the instance has these runs:

    run  key        tags                 the ledger has
    r1   1:0:0b17…                       sequence 0, batch 0b17…: a, b
    r2   1:1:5d02…                       sequence 1, batch 5d02…: c, d
    r3   1:1:5d02…  a re-execution       nothing more: the same entry
    r4   1:1:9a3e…  repeats: reprocess   nothing: its files were emitted before
    r5   1:2:91c4…                       nothing: it is of a tick whose cursor was not stored
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any, Final

import dagster as dg
import numpy as np

from dagster_s3inc.core.batching import batch_id
from dagster_s3inc.core.columns import microseconds
from dagster_s3inc.core.late_files import Ledger, LedgerEntry, LedgerProgress
from dagster_s3inc.core.objects import (
    SECONDS_LENGTH,
    fingerprints_of,
    format_time,
    identity_text,
    parse_time,
)
from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.runs.run_requests import (
    BATCH_ID_TAG,
    GENERATION_TAG,
    REPEATS_TAG,
    SEQUENCE_TAG,
)

__all__ = ["InstanceLedger", "LedgerCache"]

# The fastest way to read records: paging a filter on tags repeats its join for each page.
_RECORDS: Final = 200

# 128 MB. What lies beyond is not read: the ledger then fails to prove itself, which is said.
_MOST_FILES: Final = 2**24

_USUAL_SECONDS: Final = 15.0

_NO_ENTRY: Final = LedgerEntry(-1, "", np.empty(0, np.uint64), 0)


class LedgerCache:
    """What one process has read of a sensor's runs: 8 bytes for each file, bounded.

    Safe to be used from several threads.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.generation = 0
        self.runs = 0
        self.entries: dict[str, LedgerEntry] = {}
        self.files = 0

    def clear(self) -> None:
        """Frees the memory, unless a thread is reading."""
        if self.entries and self.lock.acquire(blocking=False):
            self._forget(0)
            self.lock.release()

    def keep(self, generation: int, run_ids: Mapping[str, None]) -> None:
        """Forgets runs of other generations, and those that do not exist any more."""
        if generation != self.generation:
            self._forget(generation)
        self.runs = len(run_ids)
        for run_id in self.entries.keys() - run_ids.keys():
            self.files -= len(self.entries.pop(run_id).fingerprints)

    def add(self, run_id: str, entry: LedgerEntry) -> None:
        """Remembers what a run holds."""
        self.entries[run_id] = entry
        self.files += len(entry.fingerprints)

    def _forget(self, generation: int) -> None:
        self.generation, self.entries, self.files = generation, {}, 0


class InstanceLedger:
    """A `core.late_files.LedgerReader` over the runs in an instance, for one tick.

    Args:
        instance: Knows the runs.
        address: The sensor.
        cache: What earlier ticks of this process have read.
        time_budget: The tick's; None means the usual one. It counts from when this is made, and
            reading takes a third of it at least.

    Attributes:
        was_read: Whether anything has asked for the ledger.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        address: SensorAddress,
        cache: LedgerCache,
        *,
        time_budget: timedelta | None = None,
    ) -> None:
        self._instance = instance
        self._tags = address.run_tags
        self._cache = cache
        self._seconds = _USUAL_SECONDS if time_budget is None else time_budget.total_seconds()
        self._until = time.monotonic() + self._seconds
        self.was_read = False

    def __call__(self, generation: int, sequence: int) -> Ledger | LedgerProgress:
        """What was emitted in this generation with a sequence below this one.

        Returns:
            How far reading has come, if the time is over before its end.
        """
        self.was_read = True
        cache, until = self._cache, max(self._until, time.monotonic() + self._seconds / 3)
        if not cache.lock.acquire(timeout=max(0.0, until - time.monotonic())):
            # An evaluation that Dagster has given up is still reading.
            return LedgerProgress(cache.runs, len(cache.entries))
        try:
            if not self._read(generation, until):
                return LedgerProgress(cache.runs, len(cache.entries))
            known = [each for each in cache.entries.values() if each is not _NO_ENTRY]
        finally:
            cache.lock.release()
        return Ledger.of((each for each in known if each.sequence < sequence), generation)

    def _read(self, generation: int, until: float) -> bool:
        """Reads what is not known yet; returns whether that is all there is."""
        cache = self._cache
        tags = {**self._tags, GENERATION_TAG: str(generation)}
        run_ids = dict.fromkeys(self._instance.get_run_ids(dg.RunsFilter(tags=tags)))
        cache.keep(generation, run_ids)
        unread = iter([each for each in run_ids if each not in cache.entries])
        while cache.files < _MOST_FILES and (chunk := list(islice(unread, _RECORDS))):
            self._read_records(chunk)
            if time.monotonic() >= until:
                return len(cache.entries) == len(run_ids)
        return True

    def _read_records(self, run_ids: list[str]) -> None:
        for record in self._instance.get_run_records(dg.RunsFilter(run_ids=run_ids)):
            entry = _entry(record)
            self._cache.add(record.dagster_run.run_id, _NO_ENTRY if entry is None else entry)
        for run_id in run_ids:
            # It was deleted since its id was read.
            if run_id not in self._cache.entries:
                self._cache.add(run_id, _NO_ENTRY)


def _entry(record: dg.RunRecord) -> LedgerEntry | None:
    """What a run says was emitted; None if it repeats something, or was edited by hand."""
    run = record.dagster_run
    batch, sequence = run.tags.get(BATCH_ID_TAG, ""), run.tags.get(SEQUENCE_TAG, "")
    if REPEATS_TAG in run.tags or not sequence.isdecimal():
        return None
    for files in _batches(run.run_config, batch):
        try:
            fingerprints = fingerprints_of(map(_identity, files))
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        if batch_id(fingerprints.tolist()) == batch:
            created = microseconds(record.create_timestamp)
            return LedgerEntry(int(sequence), batch, fingerprints, created)
    return None


def _batches(run_config: Mapping[str, Any], batch: str) -> Iterator[Any]:
    """The files of the resources that say that they are this batch, under whatever key."""
    for resource in (run_config.get("resources") or {}).values():
        config = (resource or {}).get("config")
        if isinstance(config, Mapping) and config.get("batch_id") == batch:
            yield config.get("files")


def _identity(file: Mapping[str, str]) -> bytes:
    modified = file["last_modified"]
    if not modified.endswith("Z"):
        modified = format_time(parse_time(modified))
    return identity_text(
        file["key"].encode("utf-8", "surrogatepass"),
        modified[:SECONDS_LENGTH].encode(),
        file["etag"].encode("utf-8", "surrogatepass"),
    )
