"""Which partition an object belongs to, by its key."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import dagster as dg
from dagster import DagsterUnknownPartitionError

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.core.words import count
from dagster_s3inc.errors import ConfigurationError

__all__ = ["GroupBy", "Grouping", "Placement"]

GroupBy = str | re.Pattern[str] | Callable[[str], "str | Mapping[str, str] | None"]

# Dagster refuses partition keys with any of these.
_FORBIDDEN: Final = ("...", "\a", "\b", "\f", "\n", "\r", "\t", "\v", "\0")

# Between the dimensions of a multi-partition, as Dagster writes it.
_BETWEEN: Final = "|"

_EXAMPLES: Final = 5


class Grouping:
    """Tells groups of keys apart, and which of them are partitions.

    Args:
        group_by: A regular expression that is searched for in the key and has named groups, or a
            function of the key. One named group, or a function that returns text, gives the
            group. Several, or a function that returns a mapping, give the dimensions of a
            multi-partition by their names. Where nothing is found, or the function returns None,
            the key is in no group.
        partitions_def: The partitions that the groups are; None if they are none.

    Raises:
        ConfigurationError: The expression is none, or has no named group.
    """

    def __init__(
        self, group_by: GroupBy, partitions_def: dg.PartitionsDefinition[Any] | None
    ) -> None:
        self._partitions = partitions_def
        self._group_by: Callable[[str], str | Mapping[str, str] | None]
        if callable(group_by):
            self._group_by = group_by
            name = f"{group_by.__module__}.{getattr(group_by, '__qualname__', type(group_by))}"
        else:
            pattern = _compiled(group_by)
            if isinstance(partitions_def, dg.MultiPartitionsDefinition):
                _require_dimensions(pattern, partitions_def)
            self._group_by = lambda key: _found(pattern, key)
            name = pattern.pattern
        self.digest = f"{name}\n{type(partitions_def).__name__}"

    @property
    def has_partitions(self) -> bool:
        """Whether the groups are partitions."""
        return self._partitions is not None

    def placement(self, instance: dg.DagsterInstance | None) -> Placement:
        """How keys are placed during one tick."""
        return Placement(self, instance)

    def name_of(self, key: str) -> str | None:
        """The group of a key, as a partition would be named."""
        found = self._group_by(key)
        if isinstance(found, Mapping):
            values = [str(value) for _, value in sorted(found.items())]
            if any(_BETWEEN in value for value in values):
                return None
            return _BETWEEN.join(values)
        if found is not None and not isinstance(found, str):
            raise ConfigurationError(
                f"group_by must give a str, a mapping of str, or None, but gave {found!r} for the "
                f"key {key!r}"
            )
        return found

    def is_partition(self, name: str, instance: dg.DagsterInstance | None) -> bool:
        """Whether a group is one of the partitions, or can become one."""
        if self._partitions is None:
            return True
        if not name or any(each in name for each in _FORBIDDEN):
            return False
        if isinstance(self._partitions, dg.MultiPartitionsDefinition):
            values = name.split(_BETWEEN)
            dimensions = sorted(self._partitions.partitions_defs, key=lambda each: each.name)
            return len(values) == len(dimensions) and all(
                _has(each.partitions_def, value, instance)
                for each, value in zip(dimensions, values, strict=True)
            )
        return _has(self._partitions, name, instance)

    def partition_key(self, batch: Batch) -> str | None:
        """What a run request names as the batch's partition."""
        if self._partitions is None or batch.group is None:
            return None
        if isinstance(self._partitions, dg.MultiPartitionsDefinition):
            return self._partitions.get_partition_key_from_str(batch.group)
        return batch.group

    def new_partitions(
        self, batches: Iterable[Batch], instance: dg.DagsterInstance | None
    ) -> list[Any]:
        """Requests to add the dynamic partitions that the batches need and that are not there."""
        if self._partitions is None:
            return []
        names = [batch.group for batch in batches if batch.group is not None]
        if isinstance(self._partitions, dg.MultiPartitionsDefinition):
            dimensions = sorted(self._partitions.partitions_defs, key=lambda each: each.name)
            wanted: list[tuple[dg.PartitionsDefinition[Any], list[str]]] = [
                (each.partitions_def, [name.split(_BETWEEN)[index] for name in names])
                for index, each in enumerate(dimensions)
            ]
        else:
            wanted = [(self._partitions, names)]
        requests = []
        for definition, keys in wanted:
            if not isinstance(definition, dg.DynamicPartitionsDefinition) or not definition.name:
                continue
            known = set(instance.get_dynamic_partitions(definition.name)) if instance else set()
            new = [key for key in dict.fromkeys(keys) if key not in known]
            if new:
                requests.append(definition.build_add_request(new))
        return requests


class Placement:
    """How keys are placed during one tick, and which could not be.

    Attributes:
        unplaced: How many objects that match are in no group, or in one that is no partition.
        examples: The keys of some of them.
    """

    def __init__(self, grouping: Grouping, instance: dg.DagsterInstance | None) -> None:
        self._grouping = grouping
        self._instance = instance
        self._is_partition = lru_cache(maxsize=None)(
            lambda name: grouping.is_partition(name, instance)
        )
        self.unplaced = 0
        self.examples: list[str] = []

    def applied_to(self, selection: Selection) -> Selection:
        """The selection that also takes only what can be placed, in groups.

        What cannot be placed is left out as if it had the wrong storage class: it holds nothing
        back, and once there is a partition for it, it is found like any other.
        """

        def matches(entry: S3Object) -> bool:
            if not selection.matches(entry):
                return False
            if self.group_of(entry) is not None:
                return True
            self.unplaced += 1
            if len(self.examples) < _EXAMPLES:
                self.examples.append(entry.key)
            return False

        return replace(
            selection,
            matches=matches,
            takes_all=lambda _: False,
            group_of=self.group_of,
            digest=f"{selection.digest}\n{self._grouping.digest}",
        )

    def group_of(self, entry: S3Object) -> str | None:
        """The group of an object, if it is in one that is a partition."""
        name = self._grouping.name_of(entry.key)
        return name if name is not None and self._is_partition(name) else None

    def describe(self) -> str | None:
        """A warning about what could not be placed; None if everything was."""
        if not self.unplaced:
            return None
        found = count(self.unplaced, "file")
        if self._grouping.has_partitions:
            found += f" {'matches' if self.unplaced == 1 else 'match'} no partition"
            place, mend = "partition", "group_by or partitions_def"
        else:
            found += f" {'is' if self.unplaced == 1 else 'are'} in no group of group_by"
            place, mend = "group", "group_by"
        return (
            f"{found}, such as {', '.join(self.examples)}. They hold nothing back, and are handed "
            f"over once there is a {place} for them: mend {mend}, or exclude them by the filter."
        )


def _compiled(group_by: str | re.Pattern[str]) -> re.Pattern[str]:
    try:
        pattern = re.compile(group_by)
    except (re.error, TypeError) as error:
        raise ConfigurationError(
            f"group_by must be a regular expression or a function of the key, not {group_by!r}: "
            f"{error}"
        ) from error
    if not pattern.groupindex:
        raise ConfigurationError(
            f"group_by has no named group: {pattern.pattern!r}. Write it with one, for example "
            f"r'dt=(?P<partition>\\d{{4}}-\\d\\d-\\d\\d)/'"
        )
    return pattern


def _require_dimensions(
    pattern: re.Pattern[str], partitions_def: dg.MultiPartitionsDefinition
) -> None:
    dimensions = sorted(each.name for each in partitions_def.partitions_defs)
    if sorted(pattern.groupindex) != dimensions:
        raise ConfigurationError(
            f"group_by has the named groups {', '.join(sorted(pattern.groupindex))}, but "
            f"partitions_def has the dimensions {', '.join(dimensions)}. Name the groups like the "
            f"dimensions"
        )


def _found(pattern: re.Pattern[str], key: str) -> str | Mapping[str, str] | None:
    found = pattern.search(key)
    if found is None:
        return None
    groups = {name: value for name, value in found.groupdict().items() if value is not None}
    if len(groups) < len(pattern.groupindex):
        return None
    return next(iter(groups.values())) if len(groups) == 1 else groups


def _has(
    definition: dg.PartitionsDefinition[Any], key: str, instance: dg.DagsterInstance | None
) -> bool:
    if isinstance(definition, dg.DynamicPartitionsDefinition):
        return bool(key)
    with dg.partition_loading_context(dynamic_partitions_store=instance):
        try:
            return definition.has_partition_key(key)
        except (DagsterUnknownPartitionError, ValueError):
            return False
