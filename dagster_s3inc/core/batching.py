"""Cutting candidates into batches.

Example. Batches of at most two files, `linger` of ten minutes, the server's clock says 09:10:

    a 09:00   b 09:01   c 09:02   d 09:03   e 09:04

    [a b] and [c d] are full. [e] is not, and e was modified less than ten minutes ago: it is held
    back until 09:14, or until another file fills its batch.
"""

from __future__ import annotations

import heapq
import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, NamedTuple, TypeVar

import numpy as np
from xxhash import xxh3_128_hexdigest

from dagster_s3inc.core.candidates import NO_GROUP, Candidates
from dagster_s3inc.core.checkpoint import CURSOR_RECENT_LIMIT
from dagster_s3inc.core.columns import Columns, Rows
from dagster_s3inc.core.iblt import cells_for
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.validation import require_at_least, require_positive
from dagster_s3inc.errors import ConfigurationError

__all__ = [
    "LATE_FILE_CAPACITY",
    "Batch",
    "BatchPolicy",
    "Choice",
    "RequestSize",
    "ScanLimits",
    "batch_id",
    "choose",
    "most_that_fit",
    "request_bytes",
]

# 96 bits: with a million batches in a generation, the chance that two of them share an id (and
# Dagster therefore drops one) is below 1e-17.
_ID_DIGITS = 24

_MICROSECOND = timedelta(microseconds=1)
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Batch:
    """Objects that one run processes together.

    Attributes:
        objects: At least one, in position order.
        fingerprints: Of the objects, in the same order.
        group: What they have in common; None where batches are not grouped.
    """

    objects: tuple[S3Object, ...]
    fingerprints: tuple[int, ...]
    group: str | None = None

    @classmethod
    def of(cls, objects: Sequence[S3Object], group: str | None = None) -> Batch:
        """A batch of objects whose fingerprints are not known yet."""
        return cls(tuple(objects), tuple(each.fingerprint for each in objects), group)

    @property
    def id(self) -> str:
        """24 hexadecimal digits, equal for the same versions of the same objects."""
        return batch_id(self.fingerprints)

    @property
    def bytes(self) -> int:
        """The sum of the sizes, in bytes."""
        return sum(member.size for member in self.objects)

    def __len__(self) -> int:
        return len(self.objects)


def batch_id(fingerprints: Sequence[int]) -> str:
    """The id of the batch of files with these fingerprints, in this order."""
    packed = struct.pack(f">{len(fingerprints)}Q", *fingerprints)
    return xxh3_128_hexdigest(packed)[:_ID_DIGITS]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How objects are cut into batches.

    Attributes:
        max_files: The most objects in one batch.
        max_bytes: The most bytes in one batch; None means no bound. An object larger than this
            is a batch of its own.
        linger: For how long an object may wait for others, so that its batch becomes full. A
            batch that is not full is requested once its oldest object was modified so long
            ago. None means that nothing waits.
    """

    max_files: int = 100
    max_bytes: int | None = None
    linger: timedelta | None = None

    def __post_init__(self) -> None:
        require_at_least("max_files", self.max_files, 1, unit="files in a batch")
        if self.max_bytes is not None:
            require_at_least("max_bytes", self.max_bytes, 1, unit="bytes in a batch")
        if self.linger is not None:
            require_positive("linger", self.linger)


class RequestSize(NamedTuple):
    """How many bytes the run requests of one tick take where ticks are recorded.

    Attributes:
        most: The most that they may take; the first batch is requested all the same.
        tick: Beside the requests: the cursor and the tick itself.
        partial_scan: More of it where the listing was cut off: the cursor is longer then.
        batch: For each batch beside its files and its group: tags, run keys, ids, on all jobs.
        jobs: On how many jobs a batch is launched. The files are written once for each.
        group_copies: How often the name of a batch's group is written, on all jobs.
    """

    most: int
    tick: int = 0
    partial_scan: int = 0
    batch: int = 1_500
    jobs: int = 1
    group_copies: int = 0


# The JSON of a file without its values, and the digits of its size and its LastModified.
_FILE_BYTES = 80 + 20 + 27


class Choice(NamedTuple):
    """Which candidates are emitted.

    Attributes:
        batches: The rows of each batch, in position order, in the order of their oldest rows.
        held: The rows that linger.
        is_all: Whether every row is in a batch or lingers.
    """

    batches: tuple[Rows, ...]
    held: Rows
    is_all: bool

    @property
    def chosen(self) -> Rows:
        """The rows of all batches, batch after batch."""
        return np.concatenate([np.empty(0, np.intp), *self.batches])


def choose(
    candidates: Candidates,
    limits: ScanLimits,
    names: Sequence[str],
    *,
    is_partial: bool = False,
    now: int | None = None,
) -> Choice:
    """The first batches that the limits allow.

    Greedy: a batch is closed when the next object would break a bound.

    Args:
        candidates: In position order.
        limits: How they are cut, and how much may be emitted.
        names: The names of the groups, by number.
        is_partial: Whether the scan goes on in the next tick, so that its cursor is longer.
        now: In microseconds since 1970. Objects linger at this time; None means that none does.
    """
    request, left = limits.request_size, None
    if request is not None:
        left = max(0, request.most - request.tick - is_partial * request.partial_scan)
    cutter = _BatchCutter(candidates, limits, names, left, now)
    chosen: list[Rows] = []
    is_all = True
    for rows, size in cutter.batches():
        if len(chosen) == limits.max_batches or (left is not None and chosen and size > left):
            is_all = False
            break
        chosen.append(rows)
        left = None if left is None else left - size
    return Choice(tuple(chosen), cutter.held(), is_all)


class _BatchCutter:
    def __init__(
        self,
        candidates: Candidates,
        limits: ScanLimits,
        names: Sequence[str],
        longest: int | None,
        now: int | None,
    ) -> None:
        self._candidates, self._policy, self._names = candidates, limits.policy, names
        self._request_size, self._longest = limits.request_size, longest
        self._due: int | None = None
        if limits.policy.linger is not None and now is not None:
            self._due = now - limits.policy.linger // _MICROSECOND
        self._groups = _rows_by_group(candidates)

    def batches(self) -> Iterator[tuple[Rows, int]]:
        """The rows of each batch that does not linger, and how long its run requests are."""
        cut = [self._cut(rows) for rows in self._groups]
        merged = cut[0] if len(cut) == 1 else heapq.merge(*cut, key=lambda each: each[0][0])
        for rows, size, lingers in merged:
            if not lingers:
                yield rows, size

    def held(self) -> Rows:
        """The rows that linger."""
        found = [np.empty(0, np.intp)]
        if self._due is not None:
            for group in self._groups:
                found += [rows for rows, _, lingers in self._cut(group) if lingers]
        return np.concatenate(found)

    def _cut(self, rows: Rows) -> Iterator[tuple[Rows, int, bool]]:
        policy, request = self._policy, self._request_size
        most = policy.max_files
        if policy.max_bytes is None and request is None:
            for start in range(0, len(rows), most):
                batch = rows[start : start + most]
                yield batch, 0, self._lingers(batch, 0)
            return
        base, longest = self._base(rows), self._longest
        start, size, length = 0, 0, base
        for index, (weight, written) in enumerate(self._weights(rows)):
            size, length = size + weight, length + written
            full = index - start >= most
            heavy = policy.max_bytes is not None and size > policy.max_bytes
            long = longest is not None and length > longest
            if index > start and (full or heavy or long):
                yield rows[start:index], length - written, False
                start, size, length = index, weight, base + written
        if start < len(rows):
            last = rows[start:]
            yield last, length, self._lingers(last, size)

    def _base(self, rows: Rows) -> int:
        """What the run requests of a batch take beside its files."""
        request = self._request_size
        if request is None:
            return 0
        group = self._candidates.groups[rows[0]]
        name = "" if group == NO_GROUP else self._names[group]
        return request.batch + request.group_copies * _json_length(name)

    def _weights(self, rows: Rows) -> Iterator[tuple[int, int]]:
        request, columns = self._request_size, self._candidates.columns
        # In chunks, since few of the rows are asked for.
        for start in range(0, len(rows), 1000):
            chunk = columns.only(rows[start : start + 1000])
            sizes = chunk.sizes.tolist()
            if request is None:
                yield from ((size, 0) for size in sizes)
            else:
                yield from zip(sizes, _file_bytes(chunk, request), strict=True)

    def _lingers(self, last: Rows, size: int) -> bool:
        policy = self._policy
        if self._due is None or len(last) >= policy.max_files:
            return False
        if policy.max_bytes is not None and size >= policy.max_bytes:
            return False
        return bool(self._candidates.columns.last_modified[last[0]] > self._due)


def request_bytes(candidates: Candidates, size: RequestSize | None) -> int:
    """How many bytes the files of all these candidates take in run requests."""
    return 0 if size is None else sum(_file_bytes(candidates.columns, size))


def _file_bytes(columns: Columns, size: RequestSize) -> list[int]:
    """How many bytes each file takes in the run requests of its batch."""
    names = [_json_length(name) for name in columns.class_names]
    etags = (columns.etags.ends - columns.etags.starts).tolist()
    return [
        size.jobs * (_FILE_BYTES + 2 * etag + names[class_] + _json_length(key.decode()))
        if b"\\" in key or b'"' in key or not key.isascii() or not key.decode().isprintable()
        else size.jobs * (_FILE_BYTES + etag + names[class_] + len(key))
        for etag, class_, key in zip(
            etags, columns.storage_classes.tolist(), columns.key_bytes(), strict=True
        )
    ]


def _json_length(text: str) -> int:
    """How long a text is as JSON in ASCII, without its quotes."""
    return len(json.dumps(text)) - 2


def _rows_by_group(candidates: Candidates) -> list[Rows]:
    groups = candidates.groups
    if not len(groups):
        return []
    if groups[0] == NO_GROUP:
        return [np.arange(len(groups))]
    order = np.argsort(groups, kind="stable")
    borders = np.flatnonzero(np.diff(groups[order])) + 1
    return list(np.split(order, borders))


def most_that_fit(count: int, attempt: Callable[[int], _Made | None]) -> tuple[int, _Made | None]:
    """The greatest number up to `count` that fits, and what the attempt made of it.

    Args:
        count: At least 0.
        attempt: Makes something of a number, or None if it is too much. What is less than a
            number that fits does fit.

    Returns:
        0 and None if nothing fits that was tried.
    """
    made = attempt(count)
    if made is not None:
        return count, made
    most, too_much = 0, count
    while too_much - most > 1:
        number = (most + too_much) // 2
        tried = attempt(number)
        if tried is None:
            too_much = number
        else:
            most, made = number, tried
    return most, made


LATE_FILE_CAPACITY: Final = 400
"""A digest for so many changes takes 8.4 KB, or 11.2 KB of base64 in a cursor of 32 KB."""

# Older than S3, so that more could only be a mistake (and a time before the first year).
_LONGEST_LOOKBACK: Final = timedelta(days=36_500)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLimits:
    """What one scan may emit, and how much the checkpoint may remember.

    Attributes:
        policy: How objects are cut into batches.
        max_batches: The most batches that one scan emits; with 0 it only counts.
        request_size: How many bytes the run requests of one scan may take. None means no bound.
        lookback: How far the watermark stays behind the server's clock.
        recent_limit: The most fingerprints that the checkpoint keeps one by one.
        late_file_capacity: How many changes at or below the watermark, from one scan to the
            next, the digest tells apart.
    """

    policy: BatchPolicy = field(default_factory=BatchPolicy)
    max_batches: int = 20
    request_size: RequestSize | None = None
    lookback: timedelta = timedelta(hours=1)
    recent_limit: int = CURSOR_RECENT_LIMIT
    late_file_capacity: int = LATE_FILE_CAPACITY

    def __post_init__(self) -> None:
        require_at_least("max_batches", self.max_batches, 0, unit="batches")
        require_at_least("recent_limit", self.recent_limit, 2, unit="fingerprints")
        require_at_least("late_file_capacity", self.late_file_capacity, 1, unit="files")
        cells_for(self.late_file_capacity)
        least, most = timedelta(0), _LONGEST_LOOKBACK
        if not isinstance(self.lookback, timedelta) or not least <= self.lookback <= most:
            raise ConfigurationError(
                f"lookback must be a timedelta of zero or more, and at most {most.days} days, not "
                f"{self.lookback!r}"
            )

    @property
    def cells(self) -> int:
        """How many cells the digest has."""
        return cells_for(self.late_file_capacity)

    @property
    def late_limit(self) -> int:
        """The most fingerprints of late files that the checkpoint keeps one by one."""
        return max(1, self.recent_limit // 2)
