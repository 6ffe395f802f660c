"""Which objects of a listing count."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt
from wcmatch import glob
from xxhash import xxh3_64_hexdigest

from dagster_s3inc.core.columns import Columns, microseconds
from dagster_s3inc.core.objects import format_time, parse_time
from dagster_s3inc.core.validation import require_at_least, require_aware
from dagster_s3inc.errors import ConfigurationError

__all__ = [
    "ARCHIVE_CLASSES",
    "LONGEST_CONDITIONS",
    "Conditions",
    "FilterRules",
    "Mask",
    "ObjectFilter",
    "Rules",
    "Selection",
    "narrower",
]

Mask = npt.NDArray[np.bool_]


class Rules(Protocol):
    """Tells which entries of a listing count. `ObjectFilter` makes one for a prefix."""

    def may_count(self, columns: Columns) -> Mask:
        """Which rows count as far as everything but their storage class goes."""

    def class_counts(self, columns: Columns) -> Mask:
        """Which rows have a storage class that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects count; by default every one.

    The storage class is the only property by which a version may count at one time and not at
    another. So it is asked apart from the others.

    Attributes:
        rules: Tell which rows count; None means all.
        group_of: Tells in which group of batches a key belongs, None for a key that is in none;
            such objects are held back. None means that there are no groups.
        prefix: Below it the keys have names, which globs match.
        own_key: A key that never counts: that of the checkpoint, where it lies below the prefix.
        hash: Differs between selections that select differently.
    """

    rules: Rules | None = None
    group_of: Callable[[str], str | None] | None = None
    prefix: str = ""
    own_key: bytes | None = None
    hash: str = ""

    def may_match(self, columns: Columns) -> Mask:
        """Which rows match, whatever their storage class."""
        if self.rules is None:
            mask = np.ones(len(columns), np.bool_)
        else:
            mask = self.rules.may_count(columns)
        if self.own_key is not None and len(columns):
            for row in np.flatnonzero(mask & _long_as(columns, self.own_key)).tolist():
                mask[row] = columns.key(row) != self.own_key
        return mask

    def class_counts(self, columns: Columns) -> Mask:
        """Which rows have a storage class that counts."""
        if self.rules is None:
            return np.ones(len(columns), np.bool_)
        return self.rules.class_counts(columns)

    def matches(self, columns: Columns) -> Mask:
        """Which rows match now."""
        return self.may_match(columns) & self.class_counts(columns)


def _long_as(columns: Columns, key: bytes) -> Mask:
    lengths = columns.keys.ends - columns.keys.starts
    mask: Mask = lengths >= len(key) if columns.encoded else lengths == len(key)
    return mask


ARCHIVE_CLASSES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Classes whose objects cannot be read before a restore that takes minutes to days."""

# DOTGLOB: a key is not a path, a leading dot hides nothing. CASE: S3 keys are case-sensitive.
_GLOB_FLAGS: Final = glob.GLOBSTAR | glob.DOTGLOB | glob.BRACE | glob.CASE | glob.FORCEUNIX

# As S3 writes them all, and compatible servers their own; another spelling would never match.
_STORAGE_CLASS: Final = re.compile(r"[A-Z0-9_]+")

_GLOB_SPECIAL: Final = re.compile(r"[*?\[{\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFilter:
    """Tells which objects count. The default is every file that can be read at once.

    Patterns are globs: `*` and `?` stop at `/`, `**` crosses it, `[a-c]` and `{csv,json}` work,
    a backslash escapes. They are case-sensitive and are matched against the key *below the
    scanned prefix*: under `s3://lake/landing/`, the object `landing/2026/a.csv` is matched as
    `2026/a.csv`, and so it is under `s3://lake/landing`, where the slash after the prefix is left
    out. One string stands for a list of one. The globs are wcmatch's, which takes keys for paths:
    `a//b` matches as `a/b` does, and a part that is just `.` or `..` is matched by no wildcard.

    Attributes:
        include: An object must match one of these; empty means any.
        exclude: An object must match none of these; stronger than `include`.
        storage_classes: The storage classes that count, as S3 names them. None means all but
            `GLACIER` and `DEEP_ARCHIVE`. An object listed without a class is `STANDARD`.
        min_size: In bytes, inclusive.
        max_size: In bytes, inclusive.
        modified_after: The earliest LastModified, inclusive, with a time zone.
        modified_before: The first LastModified that is too late (exclusive), with a time zone.
        include_folder_markers: Whether objects of zero bytes whose key ends in `/`, which
            consoles make to show an empty folder, count as files.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    storage_classes: Collection[str] | None = None
    min_size: int | None = None
    max_size: int | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    include_folder_markers: bool = False

    def __post_init__(self) -> None:
        # Set in place: a frozen value that was given a list must not change with that list.
        object.__setattr__(self, "include", _texts("include", self.include))
        object.__setattr__(self, "exclude", _texts("exclude", self.exclude))
        if self.storage_classes is not None:
            classes = frozenset(_texts("storage_classes", self.storage_classes))
            object.__setattr__(self, "storage_classes", classes)
        self._validate()

    def _validate(self) -> None:
        if self.storage_classes is not None and not self.storage_classes:
            raise ConfigurationError(
                "storage_classes is empty, so nothing could ever match; leave it out to take "
                "every class that can be read at once"
            )
        for name in self.storage_classes or ():
            if not _STORAGE_CLASS.fullmatch(name):
                hint = name.strip().upper().replace("-", "_").replace(" ", "_")
                raise ConfigurationError(
                    f"storage_classes holds {name!r}, but classes are compared as S3 writes them: "
                    f"in capitals, as in {hint if _STORAGE_CLASS.fullmatch(hint) else 'STANDARD'}"
                )
        for option in ("include", "exclude"):
            for pattern in getattr(self, option):
                if pattern.startswith("s3://"):
                    raise ConfigurationError(
                        f"{option} holds {pattern!r}, but globs are matched against the key below "
                        f"the scanned prefix, without s3:// and the bucket. Write it as a glob "
                        f"such as '2026/**'"
                    )
                why = _matches_nothing(pattern)
                if why is not None:
                    raise ConfigurationError(f"{option} holds {pattern!r}, but {why}")
        for name in ("min_size", "max_size"):
            if getattr(self, name) is not None:
                require_at_least(name, getattr(self, name), 0, unit="bytes")
        if (
            self.min_size is not None
            and self.max_size is not None
            and self.min_size > self.max_size
        ):
            raise ConfigurationError(
                f"min_size ({self.min_size}) is greater than max_size ({self.max_size}), so "
                f"nothing could ever match"
            )
        for name in ("modified_after", "modified_before"):
            if getattr(self, name) is not None:
                require_aware(name, getattr(self, name))
        after, before = self.modified_after, self.modified_before
        if after is not None and before is not None and after >= before:
            raise ConfigurationError(
                f"modified_after ({after.isoformat()}) is not before modified_before "
                f"({before.isoformat()}), so nothing could ever match"
            )

    def selection(self, prefix: str, *, bucket: str = "") -> Selection:
        """This filter as a scan of a prefix takes it.

        Args:
            prefix: The prefix that is scanned.
            bucket: Where it is; part of what makes one selection differ from another.
        """
        rules: dict[str, object] = {each.name: getattr(self, each.name) for each in fields(self)}
        rules.update(bucket=bucket, prefix=prefix)
        # Sets have no order of their own that lasts beyond the process.
        text = json.dumps(rules, sort_keys=True, default=_plain)
        return Selection(
            rules=FilterRules(self, prefix),
            prefix=prefix,
            hash=xxh3_64_hexdigest(text.encode("utf-8", "surrogatepass")),
        )

    def list_prefix(self, prefix: str) -> str:
        """The longest prefix below which everything that matches lies.

        It is `prefix` with the literal start that all include patterns share, so that a listing
        need not visit the rest. Below a prefix that does not end in `/` nothing is added, since
        the patterns then match both `logs/x` and `logs-old/x`.
        """
        if not self.include or (prefix and not prefix.endswith("/")):
            return prefix
        starts = []
        for pattern in self.include:
            special = _GLOB_SPECIAL.search(pattern)
            starts.append(pattern[: special.start()] if special else pattern)
        return prefix + _common_start(starts)


class FilterRules:
    """A filter below one prefix, applied to columns.

    Cheap rules come first, so that globs are matched against what is left alone; and of a key,
    the literal start and end of the patterns are compared before the patterns themselves.

    Args:
        filter_: The filter.
        prefix: The prefix that is scanned; every key has it.
    """

    def __init__(self, filter_: ObjectFilter, prefix: str) -> None:
        self._filter = filter_
        self._start = filter_.list_prefix(prefix).encode()
        self._cut = len(prefix.encode())
        self._is_open = prefix != "" and not prefix.endswith("/")
        self._included = _compiled(filter_.include)
        self._excluded = _compiled(filter_.exclude)
        self._ends = _literal_ends(filter_.include)

    def class_counts(self, columns: Columns) -> Mask:
        """Which rows have a storage class that counts."""
        counts = [self._class_counts(name) for name in columns.class_names]
        if all(counts):
            return np.ones(len(columns), np.bool_)
        mask: Mask = np.array(counts, np.bool_)[columns.storage_classes]
        return mask

    def may_count(self, columns: Columns) -> Mask:
        """Which rows count as far as everything but their storage class goes."""
        rules, mask = self._filter, np.ones(len(columns), np.bool_)
        if rules.min_size is not None:
            mask &= columns.sizes >= rules.min_size
        if rules.max_size is not None:
            mask &= columns.sizes <= rules.max_size
        if rules.modified_after is not None:
            mask &= columns.last_modified >= microseconds(rules.modified_after)
        if rules.modified_before is not None:
            mask &= columns.last_modified < microseconds(rules.modified_before)
        if not rules.include_folder_markers:
            empty = np.flatnonzero(mask & (columns.sizes == 0))
            if len(empty):
                mask[empty] = [not key.endswith(b"/") for key in columns.key_bytes(empty)]
        if self._included is not None or self._excluded is not None:
            rows = np.flatnonzero(mask)
            mask[rows] = self._match(columns.key_bytes(rows))
        return mask

    def _class_counts(self, name: str) -> bool:
        if self._filter.storage_classes is None:
            return name not in ARCHIVE_CLASSES
        return name in self._filter.storage_classes

    def _match(self, keys: list[bytes]) -> Mask:
        """Which keys match the globs."""
        names = [key[self._cut :].decode("utf-8", "surrogatepass") for key in keys]
        if self._is_open:
            names = [name.removeprefix("/") for name in names]
        found = np.ones(len(keys), np.bool_)
        if self._included is not None:
            # wcmatch takes `a//b` for the path `a/b`, which a listing of `a/b` does not show.
            start, ends, matches = self._start, self._ends, self._included.fullmatch
            fits = [
                key.startswith(start) and key.endswith(ends) and matches(name) is not None
                for key, name in zip(keys, names, strict=True)
            ]
            found &= np.array(fits, np.bool_)
        if self._excluded is not None:
            matches = self._excluded.fullmatch
            found &= np.array([matches(name) is None for name in names], np.bool_)
        return found


def _matches_nothing(pattern: str) -> str | None:
    """Why a glob can match no key, or not what it seems to; None if it can."""
    plain = re.sub(r"\\.", "x", pattern)
    if plain.startswith("/"):
        return (
            "globs are matched against the key below the scanned prefix, which does not begin "
            "with a slash. Leave the slash out"
        )
    if "//" in plain or {".", ".."} & set(plain.split("/")):
        return (
            "globs take keys for paths, so it can match no key: leave out empty parts, . and .., "
            "or give more of the key as the prefix that is scanned"
        )
    for opening, closing in ("[]", "{}"):
        rest = plain
        while opening in rest:
            _, found, rest = rest.partition(opening)[2].partition(closing)
            if not found:
                return (
                    f"its {opening} is never closed. Write {closing} behind it, or \\{opening} "
                    f"for the character itself"
                )
    return None


def _compiled(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """One regular expression of those that wcmatch makes of globs; None if there are no globs."""
    if not patterns:
        return None
    # No limit to what braces expand to: the patterns are the project's own, not a stranger's.
    found, _ = glob.translate(patterns, flags=_GLOB_FLAGS, limit=0)
    return re.compile("|".join(f"(?:{each})" for each in found))


def _literal_ends(patterns: Sequence[str]) -> tuple[bytes, ...]:
    """What a key that matches one of the globs ends with; an empty one means that it may be any."""
    # Behind the last special character, braces and slashes included, all is literal. wcmatch
    # takes a slash at the end as optional.
    literals = [re.split(r"[*?\[\]{}\\/!+@()|]", each)[-1] for each in patterns]
    return (b"/", *(each.encode() for each in literals))


def _common_start(texts: Sequence[str]) -> str:
    # What the least and the greatest share, all between them share too.
    least, greatest = min(texts), max(texts)
    for index, character in enumerate(least):
        if greatest[index : index + 1] != character:
            return least[:index]
    return least


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return format_time(value)
    return sorted(cast("frozenset[str]", value))


def _texts(name: str, value: Collection[str]) -> tuple[str, ...]:
    if not isinstance(value, Iterable):
        raise ConfigurationError(f"{name} must be a string or a list of strings, not {value!r}")
    texts = (value,) if isinstance(value, str) else tuple(value)
    for text in texts:
        if not isinstance(text, str) or not text:
            raise ConfigurationError(f"{name} holds {text!r}; each must be a non-empty string")
    return texts


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


def narrower(prefix: str, other: str) -> str:
    """The other prefix if it lies below the first; else the first."""
    return other if other.startswith(prefix) else prefix
