"""Which of what was handed over is handed over again, and how far that has come.

A reset may start a new generation in which not everything is handed over again, but only what
meets some conditions. The checkpoint then keeps all that it knows, and a `Redo` beside it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.objects import Position, S3Object, format_time, parse_time
from dagster_s3inc.core.validation import require_aware
from dagster_s3inc.errors import ConfigurationError

__all__ = ["LONGEST_CONDITIONS", "Conditions", "Redo", "narrower"]

LONGEST_CONDITIONS: Final = 700
"""In characters of JSON. The cursor keeps them during a redo, and it is bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What an object must be like to be handed over again. Every condition that is given counts.

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

    def matcher(self, scanned: str) -> Callable[[S3Object], bool]:
        """Makes the test for objects below the scanned prefix."""
        matches_globs = self._globs().matcher(scanned, any_class=True)

        def matches(each: S3Object) -> bool:
            if self.since is not None and each.last_modified < self.since:
                return False
            return each.key.startswith(self.prefix) and matches_globs(each)

        return matches

    def list_prefix(self, scanned: str) -> str:
        """The longest prefix below which everything that meets the conditions lies."""
        return narrower(self._globs().list_prefix(scanned), self.prefix)

    @property
    def oldest(self) -> Position | None:
        """The position above which all that meets the conditions lies; None if they set none."""
        return None if self.since is None else Position(self.since, "")

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Redo:
    """A redo that is under way. A value.

    Attributes:
        conditions: What is handed over again.
        after: The key up to which that has been done, in the order of the keys.
        whole: Whether the listing must be read from its beginning all the same, because the
            server does not list in that order.
    """

    conditions: Conditions
    after: str = ""
    whole: bool = False


def narrower(prefix: str, other: str) -> str:
    """The other prefix if it lies below the first; else the first."""
    return other if other.startswith(prefix) else prefix
