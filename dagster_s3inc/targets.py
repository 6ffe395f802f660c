"""What a batch is launched on.

Dagster answers a run request for a selection without any asset with a run that materializes every
asset of the code location, or with a run that does nothing. In the one case too much is done, in
the other the files of the batch are lost. So a selection is resolved before anything is requested.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import dagster as dg

from dagster_s3inc.errors import ConfigurationError

__all__ = ["Targets"]

_OPTIONS: Final = ("target", "job", "jobs", "job_name", "asset_selection")


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
        self._selected = tuple(_selected(option, given[option]))

    def require_assets(self, context: dg.SensorEvaluationContext) -> None:
        """Refuses a selection that no asset of the code location is in.

        Raises:
            ConfigurationError: Names the selection.
        """
        # In a unit test there may be none, and then Dagster resolves no selection either.
        repository = context.repository_def
        if repository is None:
            return
        graph = repository.asset_graph
        for each in self._selected:
            found = each.selection.resolve(graph, allow_missing=True) & graph.executable_asset_keys
            if found or (each.may_be_checks and each.selection.resolve_checks(graph)):
                continue
            raise ConfigurationError(
                f"The {each.option} of sensor {self._sensor_name!r} selects no asset of this code "
                f"location that a run could materialize: {each.selection}. Nothing was requested: "
                f"such a run would process every asset, or none. Mend the selection, or add the "
                f"asset; the files come with the next tick."
            )


def _selected(option: str, given: Any) -> list[_Selected]:
    """The asset selections among the targets."""
    if option == "asset_selection":
        return [_Selected(option, dg.AssetSelection.from_coercible(given), may_be_checks=False)]
    found = []
    for each in given if option == "jobs" else [given]:
        # What define_asset_job makes has a selection, and no public type.
        selection = getattr(each, "selection", each)
        if option == "target" and isinstance(selection, (str, list, tuple)):
            selection = dg.AssetSelection.from_coercible(selection)
        if isinstance(selection, dg.AssetSelection):
            found.append(_Selected(option, selection, may_be_checks=True))
    return found
