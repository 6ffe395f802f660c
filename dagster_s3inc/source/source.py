"""What is scanned."""

from __future__ import annotations

from dataclasses import dataclass, replace

import dagster as dg
from xxhash import xxh3_64_hexdigest

from dagster_s3inc.core.filters import ObjectFilter, Selection
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.source.grouping import Grouping

__all__ = ["Source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A prefix, which of its objects count, and which of them may share a batch.

    Attributes:
        location: The prefix.
        objects: Which objects count.
        grouping: Their groups; None if any of them may share a batch.
    """

    location: S3Location
    objects: ObjectFilter
    grouping: Grouping | None = None

    @property
    def uri(self) -> str:
        """The prefix as `s3://BUCKET/PREFIX`."""
        return self.location.uri

    @property
    def listed_location(self) -> S3Location:
        """What has to be listed: the prefix, or the part of it below which all that counts lies."""
        return replace(self.location, key=self.objects.list_prefix(self.location.key))

    def selection(self, instance: dg.DagsterInstance | None = None) -> Selection:
        """What counts, as a scan takes it. Its answers are those of one tick.

        Args:
            instance: Knows the keys of dynamic partitions; None in a unit test.
        """
        selection = self.objects.selection(self.location.key, bucket=self.location.bucket)
        if self.grouping is None:
            return selection
        both = f"{selection.hash}\n{self.grouping.hash}"
        return replace(
            selection,
            group_of=self.grouping.group_of(instance),
            # A cursor keeps it, and an expression may be long.
            hash=xxh3_64_hexdigest(both.encode("utf-8", "surrogatepass")),
        )
