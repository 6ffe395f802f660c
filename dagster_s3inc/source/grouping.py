"""Which group of batches an object belongs to, by its key, and which partition that is.

Example. `group_by` is `dt=(?P<day>[^/]+)/`, and `partitions_def` has the days of January:

    key                  group         partition
    in/dt=2026-01-02/a   2026-01-02    2026-01-02
    in/dt=2026-02-01/a   2026-02-01    none: unpartitioned
    in/readme            none: unpartitioned

An unpartitioned object holds nothing back. It is counted, and emitted once there is a partition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import dagster as dg
from dagster import DagsterUnknownPartitionError

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.words import count, readable
from dagster_s3inc.errors import ConfigurationError

__all__ = ["GroupBy", "Grouping"]

GroupBy = str | re.Pattern[str] | Callable[[str], "str | Mapping[str, str] | None"]

# What no run can carry: the group is the value of a tag, and PostgreSQL stores neither NUL nor half
# of a surrogate pair. Dagster refuses the other control characters, and dots, in partition keys.
_UNSTORABLE: Final = re.compile(r"[\0-\x1f\x7f-\x9f\ud800-\udfff]")
_DOTS: Final = "..."

# PostgreSQL refuses a tag of more than about 2,600 bytes, since it indexes them.
_LONGEST: Final = 1_000

# Between the dimensions of a multi-partition, as Dagster writes it.
_BETWEEN: Final = "|"


class Grouping:
    """The groups of keys, and which of them are partitions.

    Args:
        group_by: A regular expression that is searched for in the key and has named groups, or a
            function of the key. One named group, or a function that returns text, gives the
            group. Several, or a function that returns a mapping, give the dimensions of a
            multi-partition by their names. Where nothing is found, or the function returns None,
            the key is in no group.
        partitions_def: The partitions that the groups are; None if they are no partitions.

    Attributes:
        hash: Differs between groupings that group differently, as far as can be seen: of a
            function, only the name is known.

    Raises:
        ConfigurationError: The expression is malformed, or has no named group.
    """

    def __init__(
        self, group_by: GroupBy, partitions_def: dg.PartitionsDefinition[Any] | None
    ) -> None:
        self._partitions = partitions_def
        self._group_by: Callable[[str], str | Mapping[str, str] | None]
        if callable(group_by):
            self._group_by = group_by
            module = getattr(group_by, "__module__", None)
            name = f"{module}.{getattr(group_by, '__qualname__', type(group_by))}"
        else:
            pattern = _compiled(group_by)
            if isinstance(partitions_def, dg.MultiPartitionsDefinition):
                _require_dimensions(pattern, partitions_def)
            self._group_by = lambda key: _found(pattern, key)
            name = pattern.pattern
        self.hash = f"{name}\n{type(partitions_def).__name__}"

    def group_of(self, instance: dg.DagsterInstance | None) -> Callable[[str], str | None]:
        """Makes the function that a selection takes: a key's group, None if it is unpartitioned.

        Each group is looked up once, so the function is to be used for one tick.

        Args:
            instance: Knows the keys of dynamic partitions; None in a unit test.
        """
        is_partition = lru_cache(maxsize=None)(lambda name: self._is_partition(name, instance))

        def group_of(key: str) -> str | None:
            name = self._name_of(key)
            return name if name is not None and is_partition(name) else None

        return group_of

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
        needed: list[tuple[dg.PartitionsDefinition[Any], list[str]]] = [(self._partitions, names)]
        if isinstance(self._partitions, dg.MultiPartitionsDefinition):
            needed = [
                (definition, [name.split(_BETWEEN)[index] for name in names])
                for index, definition in enumerate(_dimensions(self._partitions))
            ]
        requests = []
        for definition, keys in needed:
            if not isinstance(definition, dg.DynamicPartitionsDefinition) or not definition.name:
                continue
            known = set(instance.get_dynamic_partitions(definition.name)) if instance else set()
            new = [key for key in dict.fromkeys(keys) if key not in known]
            if new:
                requests.append(definition.build_add_request(new))
        return requests

    def describe_unpartitioned(self, number: int, examples: Sequence[str]) -> str:
        """A warning about objects that match, but are in no group or in no partition.

        Args:
            number: How many there are, at least one.
            examples: The keys of some of them.
        """
        found = count(number, "file")
        if self._partitions is not None:
            found += f" {'matches' if number == 1 else 'match'} no partition"
            place, cause = "partition", "group_by or partitions_def"
        else:
            found += f" {'is' if number == 1 else 'are'} in no group of group_by"
            place, cause = "group", "group_by"
        return (
            f"{found}, such as {', '.join(map(readable, examples))}. They hold nothing back, and "
            f"are requested once there is a {place} for them: fix {cause}, or exclude them by the "
            f"filter."
        )

    def _name_of(self, key: str) -> str | None:
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

    def _is_partition(self, name: str, instance: dg.DagsterInstance | None) -> bool:
        """Whether a run can be of this group: it is a partition, or can become one."""
        if _UNSTORABLE.search(name) or len(name.encode()) > _LONGEST:
            return False
        if self._partitions is None:
            return True
        if not name or _DOTS in name:
            return False
        if isinstance(self._partitions, dg.MultiPartitionsDefinition):
            values, dimensions = name.split(_BETWEEN), _dimensions(self._partitions)
            return len(values) == len(dimensions) and all(
                _has(definition, value, instance)
                for definition, value in zip(dimensions, values, strict=True)
            )
        return _has(self._partitions, name, instance)


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


def _dimensions(multi: dg.MultiPartitionsDefinition) -> list[dg.PartitionsDefinition[Any]]:
    """The definitions of the dimensions, in the order in which Dagster joins their keys."""
    ordered = sorted(multi.partitions_defs, key=lambda each: each.name)
    return [each.partitions_def for each in ordered]


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
