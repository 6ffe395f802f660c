"""Objects, listings and ticks for the tests of the core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dagster_s3inc.core.batching import Batch, BatchPolicy, ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint, Reprocess
from dagster_s3inc.core.columns import Columns, microseconds
from dagster_s3inc.core.cursor_format import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.filters import Selection
from dagster_s3inc.core.index import Index
from dagster_s3inc.core.late_files import Ledger, LedgerEntry, LedgerProgress
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.outcome import Building, ScanResult
from dagster_s3inc.core.page import ColumnsPage, Page, Rest
from dagster_s3inc.core.scan import scan
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.page_reader import BytesPage

START = datetime(2026, 1, 1, tzinfo=timezone.utc)

HOUR = timedelta(hours=1)

DAY = 86_400
"""In seconds."""

FIRST = Checkpoint()

RANDOMS = st.randoms(use_true_random=True)

# What UTF-8 can hold; S3 has no other keys.
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


def at(seconds: float) -> datetime:
    """A moment, counted from the start of the test's time."""
    return START + timedelta(seconds=seconds)


def make_object(
    key: str = "a",
    seconds: float = 0,
    *,
    etag: str = "e1",
    size: int = 1,
    storage_class: str = "STANDARD",
) -> S3Object:
    """An object modified `seconds` after the start of the test's time."""
    return S3Object(at(seconds), key, etag, size, storage_class)


def make_objects(prefix: str, count: int, seconds: float = 0) -> list[S3Object]:
    """So many objects of one second, in the order of their keys."""
    return [make_object(f"{prefix}{number:06}", seconds) for number in range(count)]


def keys_of(objects: Iterable[S3Object]) -> list[str]:
    """The keys, in the order given."""
    return [each.key for each in objects]


@st.composite
def listings(draw: st.DrawFn, *, max_size: int = 30, max_seconds: int = 9) -> list[S3Object]:
    """Listings in key order, in which many objects share a second."""
    keys = draw(st.lists(KEYS, unique=True, max_size=max_size))
    seconds = st.integers(0, max_seconds)
    return [make_object(key, draw(seconds), size=draw(st.integers(0, 9))) for key in sorted(keys)]


def page(objects: Iterable[S3Object]) -> ColumnsPage:
    """A page of these objects in the order of their keys."""
    return ColumnsPage(Columns.of(sorted(objects, key=lambda each: each.key)))


def in_pages(objects: Iterable[S3Object], random: Random) -> list[Page]:
    """The objects in the order of their keys, in pages of random sizes, some of them empty."""
    left = sorted(objects, key=lambda each: each.key)
    pages: list[Page] = []
    while left:
        size = random.randint(0, 5)
        pages.append(page(left[:size]))
        left = left[size:]
    return pages


def byte_pages(objects: Iterable[S3Object], size: int) -> list[Page]:
    """The same in the bytes in which Amazon's S3 lists them; keys are plain."""
    listed = sorted(objects, key=lambda each: each.key)
    return [_byte_page(listed[start : start + size]) for start in range(0, len(listed), size)]


def _byte_page(objects: Sequence[S3Object]) -> BytesPage:
    entries = "".join(
        f"<Contents><Key>{each.key}</Key>"
        f"<LastModified>{each.last_modified:%Y-%m-%dT%H:%M:%S}.000Z</LastModified>"
        f"<ETag>&quot;{each.etag}&quot;</ETag><Size>{each.size}</Size>"
        f"<StorageClass>{each.storage_class}</StorageClass></Contents>"
        for each in objects
    )
    head, tail = b"<ListBucketResult>", b"</ListBucketResult>"
    return BytesPage(head, entries.encode(), tail, S3Location("bucket"), url_encoded=False)


def limits_of(files: int = 10**6, **options: Any) -> ScanLimits:
    """Limits by which at most so many objects are emitted, each in a batch of its own."""
    return ScanLimits(policy=BatchPolicy(max_files=1), max_batches=files, **options)


def scan_all(
    checkpoint: Checkpoint,
    objects: Iterable[S3Object],
    now: float = DAY,
    *,
    files: int = 10**6,
    recent_limit: int = 512,
    lookback: timedelta = HOUR,
    **options: Any,
) -> ScanResult:
    """Scans a whole listing `now` seconds after the start; without an index, if none is given."""
    limits = limits_of(files, recent_limit=recent_limit, lookback=lookback)
    return scan(checkpoint, [page(objects)], now=at(now), limits=limits, **options)


class Sensor:
    """A sensor without Dagster: it stores the text of the checkpoint, and its runs are a ledger.

    Args:
        limits: What a tick may emit; by default everything, each file in a batch of its own.
        selection: What counts.
        remembers: Whether one process evaluates all ticks; else each has a new one.
        has_ledger: Whether runs can be read.
        max_index_bytes: A larger index is not kept.
    """

    def __init__(
        self,
        limits: ScanLimits | None = None,
        *,
        selection: Selection | None = None,
        remembers: bool = True,
        has_ledger: bool = True,
        max_index_bytes: int = 10**9,
    ) -> None:
        self.limits = limits or limits_of()
        self.selection = selection or Selection()
        self.remembers, self.has_ledger = remembers, has_ledger
        self.max_index_bytes = max_index_bytes
        self.page_size = 100
        self.text = encode_checkpoint(FIRST)
        self.index: Index | None = None
        self.building: Building | None = None
        self.entries: list[LedgerEntry] = []
        self.emitted: list[S3Object] = []
        self.progress: LedgerProgress | None = None
        self.reads = 0

    @property
    def checkpoint(self) -> Checkpoint:
        """What the stored text says."""
        return decode_checkpoint(self.text)

    def tick(
        self,
        listed: Iterable[S3Object],
        now: float = DAY,
        *,
        part: int | None = None,
        is_stored: bool = True,
        adopt: bool = False,
    ) -> ScanResult:
        """Scans a listing, or so many objects of it; and stores what follows."""
        checkpoint = self.checkpoint
        result = scan(
            checkpoint,
            self._pages(checkpoint, listed, part),
            now=at(now),
            selection=self.selection,
            limits=self.limits,
            index=self.index,
            ledger=self.read if self.has_ledger else None,
            building=self.building,
            adopt=adopt,
            max_index_bytes=self.max_index_bytes,
        )
        if is_stored:
            self.store(result, now)
        return result

    def store(self, result: ScanResult, now: float = DAY) -> None:
        """Stores a tick's checkpoint, and launches its runs."""
        generation = self.checkpoint.generation
        self.text = encode_checkpoint(result.checkpoint)
        assert len(self.text) <= 32 * 1024, "The cursor is bounded."
        assert self.checkpoint == result.checkpoint, "The cursor says all of it."
        assert result.checkpoint.generation == generation
        if self.remembers:
            self.index, self.building = result.index, result.building
        self.emitted += result.objects
        if not result.repeats:
            self.entries += [entry_of(result.sequence, each, now) for each in result.batches]

    def forget(self) -> None:
        """A new process evaluates the next tick."""
        self.index, self.building = None, None

    def reset(self, reprocess: Reprocess) -> None:
        """A reset reaches the stored checkpoint."""
        self.text = encode_checkpoint(self.checkpoint.reprocessing(reprocess, reset_seen="later"))

    def read(self, generation: int, sequence: int) -> Ledger | LedgerProgress:
        """Reads the runs."""
        self.reads += 1
        if self.progress is not None:
            return self.progress
        return Ledger.of([each for each in self.entries if each.sequence < sequence], generation)

    def _pages(
        self, checkpoint: Checkpoint, listed: Iterable[S3Object], part: int | None
    ) -> list[Page | Rest]:
        partial = checkpoint.partial_scan
        after = "" if partial is None else partial.after
        left = sorted((e for e in listed if e.key > after), key=lambda each: each.key)
        if part is None or part >= len(left):
            return [*byte_pages(left, self.page_size)]
        return [*byte_pages(left[:part], self.page_size), Rest(left[part - 1].key.encode())]


def entry_of(sequence: int, batch: Batch, now: float) -> LedgerEntry:
    """What the ledger holds of a batch."""
    prints = np.array(batch.fingerprints, np.uint64)
    return LedgerEntry(sequence, batch.id, prints, microseconds(at(now)))


def without_selection(checkpoint: Checkpoint) -> Checkpoint:
    """The same, whatever was selected."""
    return replace(checkpoint, selection=None)
