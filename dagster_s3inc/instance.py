"""What we read from, and write to, a Dagster instance beyond its public interface.

Everything private of Dagster that this package relies on is named in this module and in
`stored_sensors`. Checked on Dagster 1.13.27.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import dagster as dg
from dagster._check import CheckError
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.selector import InstigatorSelector
from dagster._core.errors import DagsterInvariantViolationError
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorTick,
    SensorInstigatorData,
    TickStatus,
)
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
)
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG

from dagster_s3inc.errors import ResetError

__all__ = [
    "DAGSTERS_TAGS",
    "RUN_KEY_TAG",
    "SensorAddress",
    "SensorState",
    "TickStatus",
    "cancel_queued",
    "earlier_ticks",
    "evaluation_of",
    "instance_of",
    "latest_evaluation",
    "latest_metadata",
    "sensor_data",
    "sensor_states",
    "sensors_beside",
]

# How many ticks are read at a time, and how many at most; those of a sensor that fails again and
# again hold nothing but an error.
_TICKS_AT_FIRST: Final = 2
_TICKS_PAGE: Final = 100
_TICKS_READ: Final = 2_000

DAGSTERS_TAGS: Final = frozenset({REPOSITORY_LABEL_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG})
"""The tags that Dagster gives every run which a sensor requests, whatever the sensor says."""


class SensorAddress(NamedTuple):
    """Where a sensor is: the same name may stand in several code locations.

    Attributes:
        name: The sensor's name.
        scope: Identifies code location, repository and name; None outside a workspace.
        repository: Code location and repository, as Dagster labels runs with them.
    """

    name: str
    scope: str | None
    repository: str | None = None

    @property
    def run_tags(self) -> dict[str, str]:
        """The tags that Dagster gives the runs which the sensor requests."""
        tags = {SENSOR_NAME_TAG: self.name}
        if self.repository is not None:
            tags[REPOSITORY_LABEL_TAG] = self.repository
        return tags

    @classmethod
    def of_evaluation(cls, context: dg.SensorEvaluationContext, name: str) -> SensorAddress:
        """The sensor of that name, which is being evaluated."""
        origin, repository = context.code_location_origin, context.repository_name
        if origin is None or repository is None:
            return cls(name, None)
        place = origin.location_name
        return cls(name, _scope(place, repository, name), f"{repository}@{place}")

    @classmethod
    def beside_run(cls, run: dg.DagsterRun, sensor_name: str) -> SensorAddress:
        """The sensor of that name in the code location that a run belongs to."""
        origin = run.remote_job_origin
        if origin is None:
            return cls(sensor_name, None)
        repository = origin.repository_origin.repository_name
        place = origin.repository_origin.code_location_origin.location_name
        return cls(sensor_name, _scope(place, repository, sensor_name), f"{repository}@{place}")


def instance_of(context: dg.SensorEvaluationContext) -> dg.DagsterInstance | None:
    """The instance of an evaluation; None in a unit test that has none."""
    try:
        return context.instance
    except DagsterInvariantViolationError:
        return None


def cancel_queued(instance: dg.DagsterInstance, run_ids: Iterable[str]) -> list[str]:
    """Cancels those of these runs that are still queued; returns which."""
    cancelled = []
    for run_id in run_ids:
        run = instance.get_run_by_id(run_id)
        # The coordinator would terminate a run that has started in the meantime.
        if run is None or run.status != dg.DagsterRunStatus.QUEUED:
            continue
        if instance.run_coordinator.cancel_run(run_id):
            cancelled.append(run_id)
    return cancelled


def earlier_ticks(instance: dg.DagsterInstance, address: SensorAddress) -> Iterator[InstigatorTick]:
    """The ticks before the one that is being evaluated, the newest first; of very many the newest.

    None if no tick is being evaluated, as in a dry run.
    """
    if address.scope is None:
        return
    ticks = islice(_ticks(instance, address.scope), _TICKS_READ)
    newest = next(ticks, None)
    if newest is not None and newest.status == TickStatus.STARTED:
        yield from (tick for tick in ticks if tick.status != TickStatus.STARTED)


def _ticks(instance: dg.DagsterInstance, scope: str) -> Iterator[InstigatorTick]:
    before, limit = None, _TICKS_AT_FIRST
    while True:
        ticks = instance.get_ticks("", scope, before=before, limit=limit)
        yield from ticks
        if len(ticks) < limit:
            return
        before, limit = ticks[-1].timestamp, _TICKS_PAGE


def latest_evaluation(
    instance: dg.DagsterInstance, key: dg.AssetCheckKey
) -> dg.AssetCheckEvaluation | None:
    """What an asset check said last; None if it never said anything."""
    records = instance.event_log_storage.get_asset_check_execution_history(
        key, limit=1, status=COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES
    )
    for record in records:
        if record.event is not None and record.event.dagster_event is not None:
            return record.event.dagster_event.asset_check_evaluation_data
    return None


def latest_metadata(
    instance: dg.DagsterInstance, key: dg.AssetKey
) -> Mapping[str, dg.MetadataValue]:
    """The metadata of the latest materialization or observation of an asset."""
    records = [
        *instance.fetch_materializations(key, limit=1).records,
        *instance.fetch_observations(key, limit=1).records,
    ]
    if not records:
        return {}
    latest = max(records, key=lambda record: record.storage_id)
    event = latest.asset_materialization or latest.event_log_entry.asset_observation
    return {} if event is None else event.metadata


class SensorState:
    """A sensor's stored cursor.

    Args:
        instance: The instance, with a schedule storage.
        address: The sensor. Without a scope, the only sensor of that name is taken.

    Raises:
        ResetError: The instance stores no sensors, or several sensors have that name.
    """

    def __init__(self, instance: dg.DagsterInstance, address: SensorAddress) -> None:
        if instance.schedule_storage is None:
            raise ResetError(
                "This instance keeps no sensors (an ephemeral one, as execute_in_process makes "
                "by default?). Pass the instance whose sensor is to be reset, for example "
                "execute_in_process(instance=DagsterInstance.get())."
            )
        self._instance = instance
        self._address = address
        found = self._find()
        self.address = address if found is None else address._replace(scope=found.selector_id)

    @property
    def cursor(self) -> str | None:
        """The cursor as it is stored now; None for a sensor that never ran."""
        return sensor_data(self._find()).cursor

    @property
    def last_run_key(self) -> str | None:
        """The run key of the last run that the sensor requested."""
        return sensor_data(self._find()).last_run_key

    def is_ticking(self) -> bool:
        """Whether a tick has begun and not ended."""
        state = self._find()
        if state is None:
            return False
        ticks = self._instance.get_ticks(
            state.instigator_origin_id, state.selector_id, limit=1, statuses=[TickStatus.STARTED]
        )
        return bool(ticks)

    def replace_cursor(self, cursor: str, *, instead_of: str | None) -> bool:
        """Stores a cursor, unless another than `instead_of` is stored by now.

        False also for a sensor that never ran, which has nowhere to store it.
        """
        state = self._find()
        if state is None or state.instigator_data is None:
            return False
        data = sensor_data(state)
        if data.cursor != instead_of:
            return False
        data = data._replace(cursor=cursor)
        self._instance.update_instigator_state(state.with_data(data))
        return True

    def _find(self) -> InstigatorState | None:
        name, scope = self._address.name, self._address.scope
        states = [
            state
            for state in sensor_states(self._instance)
            if state.instigator_name == name and scope in (None, state.selector_id)
        ]
        if len(states) > 1:
            raise ResetError(
                f"{len(states)} code locations have a sensor named {name!r}, and this run belongs "
                f"to none of them. Launch the reset job from the UI, or with "
                f"`dagster job launch`, so that it knows its own."
            )
        return states[0] if states else None


def sensor_data(state: InstigatorState | None) -> SensorInstigatorData:
    """What is stored of a sensor beside its status; empty where nothing is."""
    data = None if state is None else state.instigator_data
    return data if isinstance(data, SensorInstigatorData) else SensorInstigatorData()


def sensor_states(instance: dg.DagsterInstance) -> Sequence[InstigatorState]:
    """The states of all sensors that were started or have ticked."""
    return instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)


def _scope(location_name: str, repository_name: str, sensor_name: str) -> str:
    return InstigatorSelector(
        location_name=location_name, repository_name=repository_name, name=sensor_name
    ).get_id()


def evaluation_of(sensor: dg.SensorDefinition) -> Callable[..., Any]:
    """The function that a sensor, or a copy of it that Dagster made, was defined with."""
    return sensor._raw_fn


def sensors_beside(context: dg.OpExecutionContext) -> dict[str, dg.SensorDefinition] | None:
    """The sensors in a run's code location, by their names.

    None where the run knows of no code location, as under `JobDefinition.execute_in_process`.
    """
    try:
        repository = context.repository_def
    except CheckError:
        return None
    return {each.name: each for each in repository.sensor_defs}
