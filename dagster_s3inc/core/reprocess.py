"""What a reset asks for that does not start everything over.

The checkpoint keeps all that it knows, and a `Reprocess` beside it until that has been done. What
is new waits until then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from dagster_s3inc.core.columns import Columns, microseconds
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.objects import format_time, parse_time
from dagster_s3inc.core.selection import Mask, Rules, Selection
from dagster_s3inc.core.validation import require_aware
from dagster_s3inc.errors import ConfigurationError

__all__ = ["LONGEST_CONDITIONS", "Conditions", "Reprocess", "narrower"]

LONGEST_CONDITIONS: Final = 700
"""In characters of JSON. The cursor keeps them while files are reprocessed, and it is bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What an object must be like to be emitted again. Every condition that is given counts.

    Attributes:
        since: Modified at or after this moment; None means at any time.
        prefix: The key, the whole of it, begins with this.
        include: The key below the scanned prefix matches one of these globs, which are those of
            `ObjectFilter`; empty means any key.

    Raises:
        ConfigurationError: A condition is malformed, or all together are too long.
    """

    since: datetime | None = None
    prefix: str = ""
    include: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.since is not None:
            require_aware("since", self.since)
        self._globs()
        length = len(json.dumps(self.written()))
        if length > LONGEST_CONDITIONS:
            raise ConfigurationError(
                f"The conditions are too long for a cursor: {length:,} characters of JSON where "
                f"{LONGEST_CONDITIONS} are the most. Give fewer globs, or shorter ones"
            )

    def rules(self, scanned: str) -> Rules:
        """The conditions as a scan of a prefix applies them to columns."""
        return _ConditionRules(self, self._globs().selection(scanned))

    def list_prefix(self, scanned: str) -> str:
        """The longest prefix below which everything that meets the conditions lies."""
        return narrower(self._globs().list_prefix(scanned), self.prefix)

    def written(self) -> dict[str, Any]:
        """The conditions that are given, as JSON has them."""
        document: dict[str, Any] = {}
        if self.since is not None:
            document["since"] = format_time(self.since)
        if self.prefix:
            document["prefix"] = self.prefix
        if self.include:
            document["include"] = list(self.include)
        return document

    @classmethod
    def read(cls, document: Any) -> Conditions:
        """Reads what `written` gave.

        Raises:
            ValueError: It is something else.
        """
        if not isinstance(document, dict) or document.keys() - {"since", "prefix", "include"}:
            raise ValueError(document)
        since, prefix = document.get("since"), document.get("prefix", "")
        include = document.get("include", [])
        if not isinstance(since, str | None) or not isinstance(prefix, str):
            raise ValueError(document)
        if not isinstance(include, list):
            raise ValueError(document)
        moment = None if since is None else parse_time(since)
        return cls(since=moment, prefix=prefix, include=tuple(include))

    def __str__(self) -> str:
        said = []
        if self.since is not None:
            said.append(f"modified since {format_time(self.since)}")
        if self.prefix:
            said.append(f"under {self.prefix}")
        if self.include:
            said.append(f"matching {' or '.join(self.include)}")
        return ", ".join(said) or "all"

    def _globs(self) -> ObjectFilter:
        return ObjectFilter(include=self.include, include_folder_markers=True)


class _ConditionRules:
    """Conditions below one prefix."""

    def __init__(self, conditions: Conditions, globs: Selection) -> None:
        self._conditions = conditions
        self._globs = globs if conditions.include else None
        self._prefix = conditions.prefix.encode("utf-8", "surrogatepass")

    def may_count(self, columns: Columns) -> Mask:
        """Which rows meet all conditions."""
        mask = np.ones(len(columns), np.bool_)
        if self._conditions.since is not None:
            mask &= columns.last_modified >= microseconds(self._conditions.since)
        if self._prefix and mask.any():
            rows = np.flatnonzero(mask)
            mask[rows] = [key.startswith(self._prefix) for key in columns.key_bytes(rows)]
        if self._globs is not None and mask.any():
            rows = np.flatnonzero(mask)
            mask[rows] = self._globs.may_match(columns.only(rows))
        return mask

    def class_counts(self, columns: Columns) -> Mask:
        """All rows: conditions do not ask for the storage class."""
        return np.ones(len(columns), np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reprocess:
    """What is emitted again, or counts as emitted from now on. A value.

    Attributes:
        conditions: Which of the files that were emitted are emitted again. While files are
            undecided, every listed file that meets the conditions is emitted, and those at or
            below the watermark are settled once all of them have been.
        after: The key up to which that has been done, in the order of the keys.
        in_parts: Whether the listing takes longer than a tick and there is no index. What counts
            as emitted is then what the checkpoint says without its digest: everything at or
            below the watermark that is not in `late`.
        accepts: Emit nothing; everything listed at or below the watermark counts as emitted.
    """

    conditions: Conditions = Conditions()
    after: str = ""
    in_parts: bool = False
    accepts: bool = False


def narrower(prefix: str, other: str) -> str:
    """The other prefix if it lies below the first; else the first."""
    return other if other.startswith(prefix) else prefix
