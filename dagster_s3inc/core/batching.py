"""Cutting a sequence of objects into batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xxhash import xxh3_128_hexdigest

from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.validation import require_at_least

__all__ = ["Batch", "BatchPolicy"]

# 96 bits: with a million batches in a generation, the chance that two of them share an id (and
# Dagster therefore drops one) is below 1e-17.
_ID_DIGITS = 24


@dataclass(frozen=True, slots=True)
class Batch:
    """Objects that one run processes together.

    Attributes:
        objects: At least one, in position order.
    """

    objects: tuple[S3Object, ...]

    @property
    def id(self) -> str:
        """24 hexadecimal digits, equal for the same versions of the same objects."""
        packed = b"".join(member.identity.to_bytes(8, "big") for member in self.objects)
        return xxh3_128_hexdigest(packed)[:_ID_DIGITS]

    @property
    def bytes(self) -> int:
        """The sum of the sizes, in bytes."""
        return sum(member.size for member in self.objects)

    def __len__(self) -> int:
        return len(self.objects)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How objects are cut into batches.

    Attributes:
        max_files: The most objects in one batch.
        max_bytes: The most bytes in one batch; None means no bound. An object larger than this
            is a batch of its own.
    """

    max_files: int = 100
    max_bytes: int | None = None

    def __post_init__(self) -> None:
        require_at_least("max_files", self.max_files, 1, unit="files in a batch")
        if self.max_bytes is not None:
            require_at_least("max_bytes", self.max_bytes, 1, unit="bytes in a batch")

    def split(self, objects: Sequence[S3Object]) -> Iterator[Batch]:
        """Yields batches that hold the objects in the order given, each exactly once.

        Greedy: a batch is closed when the next object would break a bound. Lazy: what the
        caller does not ask for is not built.
        """
        start, size = 0, 0
        for index, member in enumerate(objects):
            full = index - start >= self.max_files
            heavy = self.max_bytes is not None and size + member.size > self.max_bytes
            if index > start and (full or heavy):
                yield Batch(tuple(objects[start:index]))
                start, size = index, 0
            size += member.size
        if start < len(objects):
            yield Batch(tuple(objects[start:]))
