"""What a batch is launched on.

Dagster answers a run request for a selection without any asset with a run that materializes every
asset of the code location, or with a run that does nothing. In the one case too much is done, in
the other the files of the batch are lost. So a selection is resolved before anything is requested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from textwrap import shorten
from typing import Any, Final, NamedTuple

import dagster as dg

from dagster_s3inc.errors import ConfigurationError

__all__ = ["AssetsOfRun", "Targets"]

_DESCRIBED: Final = 100

_OPTIONS: Final = ("target", "job", "jobs", "job_name", "asset_selection")


class AssetsOfRun(NamedTuple):
    """What a run request names beside its job."""

    assets: tuple[dg.AssetKey, ...] = ()
    checks: tuple[dg.AssetCheckKey, ...] = ()


class _Selected(NamedTuple):
    option: str
    selection: dg.AssetSelection
    # A job may consist of checks; Dagster takes no checks from asset_selection.
    may_be_checks: bool


class Targets:
    """The targets of one sensor.

    Args:
        sensor_name: The sensor's name, for messages.
        given: All ways to name a target, as `dagster.SensorDefinition` takes them.

    Attributes:
        job_names: The jobs that each batch is launched on; None stands for the only target.

    Raises:
        ConfigurationError: Not exactly one way is taken, or it names nothing.
    """

    def __init__(self, sensor_name: str, given: Mapping[str, Any]) -> None:
        chosen = [option for option in _OPTIONS if given[option] is not None]
        if len(chosen) != 1:
            raise ConfigurationError(
                f"Sensor {sensor_name!r} needs exactly one of {', '.join(_OPTIONS)} to know what "
                f"to launch, but has {' and '.join(chosen) or 'none'}"
            )
        [option] = chosen
        if not given[option]:
            raise ConfigurationError(f"Sensor {sensor_name!r} has an empty {option}")
        several = option == "jobs" and len(given["jobs"]) > 1
        self.job_names: tuple[str | None, ...] = (
            tuple(job.name for job in given["jobs"]) if several else (None,)
        )
        self._sensor_name = sensor_name
        self._targets = tuple(given["jobs"]) if option == "jobs" else (given[option],)
        self._selected = tuple(_selected(option, self._targets))

    def require_partitions(self, partitions_def: dg.PartitionsDefinition[Any]) -> None:
        """Refuses a job or an asset that is known here and has no partitions, or others in kind.

        Raises:
            ConfigurationError: Names the target and the partitions of both.
        """
        for each in self._targets:
            if isinstance(each, dg.JobDefinition):
                name, found = f"job {each.name}", {each.partitions_def}
            elif isinstance(each, dg.AssetsDefinition):
                name = f"asset {', '.join(sorted(key.to_user_string() for key in each.keys))}"
                found = {spec.partitions_def for spec in each.specs}
            else:
                continue
            # A run takes assets without partitions along with those of one definition. The sensor's
            # may have fewer keys than its target's.
            others = found - {None}
            if len(others) == 1 and type(partitions_def) in map(type, others):
                continue
            has = " and ".join(_described(other) for other in others if other is not None)
            raise ConfigurationError(
                f"Sensor {self._sensor_name!r} has the partitions {_described(partitions_def)}, "
                f"but its target, {name}, has {has or 'none'}. Give both the same partitions_def, "
                f"or leave that of the sensor out: group_by alone keeps batches apart"
            )

    def require_assets(self, context: dg.SensorEvaluationContext) -> AssetsOfRun:
        """Refuses a selection that no asset of the code location is in.

        Returns:
            What Dagster adds to each run request, by `asset_selection`.

        Raises:
            ConfigurationError: Names the selection.
        """
        # In a unit test there may be none, and then Dagster resolves no selection either.
        repository = context.repository_def
        named = AssetsOfRun()
        if repository is None:
            return named
        graph = repository.asset_graph
        for each in self._selected:
            found = each.selection.resolve(graph, allow_missing=True) & graph.executable_asset_keys
            if each.may_be_checks:
                found_checks = not found and each.selection.resolve_checks(graph)
            else:
                checks = dg.AssetSelection.assets(*found).resolve_checks(graph)
                named, found_checks = AssetsOfRun(tuple(found), tuple(checks)), set()
            if found or found_checks:
                continue
            raise ConfigurationError(
                f"The {each.option} of sensor {self._sensor_name!r} selects no asset of this code "
                f"location that a run could materialize: {each.selection}. Nothing was requested: "
                f"such a run would process every asset, or none. Fix the selection, or add the "
                f"asset; the files come with the next tick."
            )
        return named


def _selected(option: str, targets: tuple[Any, ...]) -> Iterator[_Selected]:
    """The asset selections among the targets."""
    for each in targets:
        # What define_asset_job makes has a selection, and no public type.
        selection = getattr(each, "selection", each)
        if option == "asset_selection":
            selection = dg.AssetSelection.from_coercible(each)
        elif option == "target" and isinstance(selection, (str, list, tuple)):
            selection = dg.AssetSelection.from_coercible(selection)
        if isinstance(selection, dg.AssetSelection):
            yield _Selected(option, selection, may_be_checks=option != "asset_selection")


def _described(partitions_def: dg.PartitionsDefinition[Any]) -> str:
    """The definition in one line, as Dagster describes it; some have thousands of keys."""
    return f"({shorten(str(partitions_def), _DESCRIBED, placeholder=' …')})"
