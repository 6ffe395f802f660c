"""Cutting a sequence of objects into batches."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from xxhash import xxh3_128_hexdigest

from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.validation import require_at_least, require_positive

__all__ = ["Batch", "BatchPolicy"]

# 96 bits: with a million batches in a generation, the chance that two of them share an id (and
# Dagster therefore drops one) is below 1e-17.
_ID_DIGITS = 24

# What a run request takes in a tick's record beside its files: tags, ids and punctuation.
_REQUEST_BYTES = 1000

# The same for a file beside its key and its ETag.
_FILE_BYTES = 130


@dataclass(frozen=True)
class Batch:
    """Objects that one run processes together.

    Attributes:
        objects: At least one, in position order.
        group: What they have in common; None where batches are not grouped.
    """

    objects: tuple[S3Object, ...]
    group: str | None = None

    @property
    def id(self) -> str:
        """24 hexadecimal digits, equal for the same versions of the same objects."""
        packed = struct.pack(f">{len(self)}Q", *self.identities)
        return xxh3_128_hexdigest(packed)[:_ID_DIGITS]

    # Kept, since a scan asks for them, and then whoever needs the id.
    @cached_property
    def identities(self) -> tuple[int, ...]:
        """The identities of the objects, in the same order."""
        return tuple(member.identity for member in self.objects)

    @property
    def bytes(self) -> int:
        """The sum of the sizes, in bytes."""
        return sum(member.size for member in self.objects)

    @property
    def request_bytes(self) -> int:
        """About how long its run request is in JSON, and rather too long than too short."""
        return _REQUEST_BYTES + sum(map(_request_bytes, self.objects))

    def __len__(self) -> int:
        return len(self.objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How objects are cut into batches.

    Attributes:
        max_files: The most objects in one batch.
        max_bytes: The most bytes in one batch; None means no bound. An object larger than this
            is a batch of its own.
        linger: For how long an object may wait for others, so that its batch becomes full. A
            batch that is not full is handed over once its oldest object was modified so long
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

    def split(
        self,
        objects: Sequence[S3Object],
        *,
        group_of: Callable[[S3Object], str | None] | None = None,
        now: datetime | None = None,
        max_request_bytes: int | None = None,
    ) -> Iterator[Batch]:
        """Yields batches in the order of their oldest objects, each object at most once.

        Greedy: a batch is closed when the next object would break a bound. Lazy: what the
        caller does not ask for is not built.

        Args:
            objects: In position order.
            group_of: Objects for which it differs are never in one batch.
            now: Objects linger until they are older than `linger` at this time; by default no
                object is held back.
            max_request_bytes: The most that the run request of a batch may take.
        """
        if group_of is None:
            return self._cut(objects, None, now, max_request_bytes)
        groups: dict[str | None, list[S3Object]] = {}
        for each in objects:
            groups.setdefault(group_of(each), []).append(each)
        cut = (self._cut(each, group, now, max_request_bytes) for group, each in groups.items())
        return heapq.merge(*cut, key=lambda batch: batch.objects[0])

    def _cut(
        self,
        objects: Sequence[S3Object],
        group: str | None,
        now: datetime | None,
        max_request_bytes: int | None,
    ) -> Iterator[Batch]:
        start, size, written = 0, 0, _REQUEST_BYTES
        for index, member in enumerate(objects):
            weight = 0 if max_request_bytes is None else _request_bytes(member)
            size, written = size + member.size, written + weight
            full = index - start >= self.max_files
            heavy = self.max_bytes is not None and size > self.max_bytes
            long = max_request_bytes is not None and written > max_request_bytes
            if index > start and (full or heavy or long):
                yield Batch(tuple(objects[start:index]), group)
                start, size, written = index, member.size, _REQUEST_BYTES + weight
        if start < len(objects):
            last = Batch(tuple(objects[start:]), group)
            if not self._lingers(last, now):
                yield last

    def _lingers(self, last: Batch, now: datetime | None) -> bool:
        if self.linger is None or now is None or len(last) >= self.max_files:
            return False
        if self.max_bytes is not None and last.bytes >= self.max_bytes:
            return False
        return now - last.objects[0].last_modified < self.linger


def _request_bytes(member: S3Object) -> int:
    key = len(member.key)
    # At worst JSON in ASCII writes two characters for one that prints (a quote), and twelve for
    # one beyond U+FFFF.
    plain = member.key.isascii() and member.key.isprintable()
    return _FILE_BYTES + len(member.etag) + (2 if plain else 12) * key
