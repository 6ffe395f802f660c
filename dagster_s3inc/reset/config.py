"""What the Launchpad of a reset job offers."""

# No "from __future__ import annotations" here: Dagster reads the annotations of a config class.
from datetime import datetime
from typing import Literal, NamedTuple

import dagster as dg
from pydantic import Field

from dagster_s3inc.core.filters import Conditions
from dagster_s3inc.core.objects import parse_time
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.s3.location import S3Location

__all__ = ["Order", "ResetConfig", "What"]


What = Literal["everything", "matching", "failed", "skip_failed", "accept_listed"]
"""What a reset does. The Launchpad refuses another value, and lists these."""


class Order(NamedTuple):
    """A reset as someone asks for it.

    Attributes:
        what: What it does.
        conditions: Which files, where that is `matching`; else those that every file meets.
        dry_run: Change nothing; show what would happen.
        cancel_queued: Cancel queued runs, too.
    """

    what: What
    conditions: Conditions
    dry_run: bool
    cancel_queued: bool


class ResetConfig(dg.Config):
    """What is processed again; by default everything."""

    what: What = Field(
        default="everything",
        description="everything: processes every file again, in a new generation. "
        "matching: processes those files again that were requested and meet all the conditions "
        "below; while files are undecided, every listed file that meets them, requested before or "
        "not (include: ['**'] is every file, and settles them). "
        "failed: requests those batches again of which all runs failed or were cancelled. "
        "skip_failed: processes nothing; marks these batches as skipped on purpose, so that they "
        "no longer stop a sensor with on_failure='halt'. "
        "accept_listed: processes nothing; every file that is listed at or below the watermark "
        "counts as requested, so that no file is undecided any more. "
        "How many files that concerns is on the page of the sensor's source asset: 'objects "
        "listed' for everything, 'files failed' for failed and skip_failed, 'files undecided' for "
        "accept_listed. A dry run counts them for each, matching included.",
    )
    modified_since: str | None = Field(
        default=None,
        description="With matching: files modified at or after this time. ISO 8601 with a time "
        "zone, as in 2026-11-22T00:00:00Z.",
    )
    prefix: str | None = Field(
        default=None,
        description="With matching: files whose key begins with this, which is the whole "
        "beginning of the key or an S3 URI, as in landing/2026/11/ or s3://lake/landing/2026/11/.",
    )
    include: list[str] = Field(
        default=[],
        description="With matching: files whose key below the sensor's prefix matches one of "
        "these globs, as in ['2026/11/**', '**/orders-*.csv']. They are those of the sensor's "
        "ObjectFilter.",
    )
    dry_run: bool = Field(
        default=False,
        description="Change nothing; show what would be processed again, and how much that is.",
    )
    cancel_queued: bool = Field(
        default=False,
        description="Also cancel the sensor's runs that are queued and not started: with "
        "everything and failed all of them; with matching those whose files all meet the "
        "conditions.",
    )

    def order(self, source: S3Location) -> Order:
        """The reset that the fields ask for, of a sensor that scans `source`.

        Raises:
            ConfigurationError: The fields are malformed or contradict each other.
        """
        conditions = Conditions(
            since=self._since(), prefix=self._key_prefix(source), include=self._globs()
        )
        given = [name for name in ("modified_since", "prefix", "include") if getattr(self, name)]
        if self.what == "matching" and not given:
            raise ConfigurationError(
                "what is matching, but there is no condition. Give modified_since, prefix or "
                "include; or everything"
            )
        if self.what != "matching" and given:
            raise ConfigurationError(
                f"{' and '.join(given)} given, but what is {self.what}. Give matching to "
                f"process only these files again, or leave the conditions out"
            )
        if self.what in ("skip_failed", "accept_listed") and self.cancel_queued:
            raise ConfigurationError(
                f"{self.what} processes nothing again, so that no queued run is in its way. "
                f"Leave cancel_queued out, or reset first"
            )
        return Order(self.what, conditions, self.dry_run, self.cancel_queued)

    def _since(self) -> datetime | None:
        if self.modified_since is None:
            return None
        try:
            return parse_time(self.modified_since.strip())
        except (ValueError, OverflowError) as error:
            raise ConfigurationError(
                f"modified_since is {self.modified_since!r}, which is not a time with a time zone. "
                f"Write it as 2026-11-22T00:00:00Z, or with an offset as +01:00"
            ) from error

    def _key_prefix(self, source: S3Location) -> str:
        if self.prefix is None:
            return ""
        if not self.prefix.strip():
            raise ConfigurationError("prefix is empty. Leave it out, or give the beginning of keys")
        key = self.prefix
        if key.startswith("s3://"):
            location = S3Location.parse(key)
            if location.bucket != source.bucket:
                raise ConfigurationError(
                    f"prefix {key!r} is in another bucket than {source}, which the sensor scans"
                )
            key = location.key
        if not key.startswith(source.key) and not source.key.startswith(key):
            raise ConfigurationError(
                f"No key under {source}, which the sensor scans, begins with {key!r}. Give the "
                f"whole beginning of the key, as in {source.key + key!r}"
            )
        return key

    def _globs(self) -> tuple[str, ...]:
        for glob in self.include:
            if not glob.strip():
                raise ConfigurationError("include has an empty glob. Leave it out")
            if glob.startswith("s3://"):
                raise ConfigurationError(
                    f"include has {glob!r}, but globs are matched against the key below the "
                    f"sensor's prefix, without s3:// and the bucket. Give it as prefix, or as a "
                    f"glob such as '2026/**'"
                )
        return tuple(self.include)
