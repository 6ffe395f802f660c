"""What we read from, and write to, a Dagster instance beyond its public interface.

Everything private of Dagster that this package relies on is named in this module and in
`stored_sensors`. Checked on Dagster 1.13.27.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple

import dagster as dg
from dagster._check import CheckError
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.definitions.selector import InstigatorSelector
from dagster._core.errors import DagsterInvariantViolationError
from dagster._core.scheduler.instigation import InstigatorState, SensorInstigatorData, TickStatus
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
)
from dagster._core.storage.dagster_run import RunsFilter
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG, SENSOR_NAME_TAG

from dagster_s3inc.errors import ResetError

__all__ = [
    "RESET_AT_TAG",
    "RESET_GENERATION_TAG",
    "RESET_SCOPE_TAG",
    "RESET_SENSOR_TAG",
    "ResetMarker",
    "SensorAddress",
    "SensorState",
    "instance_of",
    "latest_evaluation",
    "latest_metadata",
    "newest_reset",
    "sensor_data",
    "sensor_states",
    "sensors_beside",
    "write_marker",
]

RESET_SENSOR_TAG: Final = "dagster_s3inc/reset_sensor"
RESET_SCOPE_TAG: Final = "dagster_s3inc/reset_scope"
RESET_AT_TAG: Final = "dagster_s3inc/reset_at"
RESET_GENERATION_TAG: Final = "dagster_s3inc/reset_generation"

# Markers are found newest run first, but a run may have waited in the queue for long after it
# was created. So many resets between its creation and its start are not to be expected.
_MARKERS_READ: Final = 50


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
        place = origin.repository_origin
        location_name = place.code_location_origin.location_name
        return cls(sensor_name, _scope(location_name, place.repository_name, sensor_name))


class ResetMarker(NamedTuple):
    """A reset that was asked for.

    Attributes:
        at: When, as ISO 8601 in UTC with microseconds; compares as text.
        generation: The generation that it starts.
    """

    at: str
    generation: int


def instance_of(context: dg.SensorEvaluationContext) -> dg.DagsterInstance | None:
    """The instance of an evaluation; None in a unit test that has none."""
    try:
        return context.instance
    except DagsterInvariantViolationError:
        return None


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


def newest_reset(instance: dg.DagsterInstance, address: SensorAddress) -> ResetMarker | None:
    """The newest reset of a sensor, or None."""
    records = instance.get_run_records(
        RunsFilter(tags={RESET_SENSOR_TAG: address.name}), limit=_MARKERS_READ
    )
    markers = []
    for record in records:
        tags = record.dagster_run.tags
        scope = tags.get(RESET_SCOPE_TAG)
        if address.scope is not None and scope is not None and scope != address.scope:
            continue
        markers.append(ResetMarker(tags[RESET_AT_TAG], int(tags[RESET_GENERATION_TAG])))
    return max(markers, default=None)


def write_marker(
    instance: dg.DagsterInstance, run_id: str, address: SensorAddress, *, generation: int
) -> ResetMarker:
    """Records on a run that it resets a sensor; lasts as long as the run does.

    The moment is this machine's, or just after the newest reset's where clocks disagree, so that
    of two resets the later one is the newer. The generation is at least `generation`, and later
    than that of any reset which no cursor shows yet, because a tick is running.
    """
    moment = datetime.now(timezone.utc)
    previous = newest_reset(instance, address)
    if previous is not None:
        following = datetime.fromisoformat(previous.at) + timedelta(microseconds=1)
        moment = max(moment, following)
        generation = max(generation, previous.generation + 1)
    marker = ResetMarker(moment.isoformat(timespec="microseconds"), generation)
    tags = {
        RESET_SENSOR_TAG: address.name,
        RESET_AT_TAG: marker.at,
        RESET_GENERATION_TAG: str(generation),
    }
    if address.scope is not None:
        tags[RESET_SCOPE_TAG] = address.scope
    instance.add_run_tags(run_id, tags)
    return marker


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

    def replace_cursor(self, cursor: str) -> bool:
        """Stores a cursor; False for a sensor that never ran, which has nowhere to store it."""
        state = self._find()
        if state is None or state.instigator_data is None:
            return False
        data = sensor_data(state)._replace(cursor=cursor)
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


def sensors_beside(context: dg.OpExecutionContext, *, with_metadata: str) -> set[str] | None:
    """The names of the sensors in a run's code location that carry a metadata key.

    None where the run knows of no code location, as under `JobDefinition.execute_in_process`.
    """
    try:
        repository = context.repository_def
    except CheckError:
        return None
    return {each.name for each in repository.sensor_defs if with_metadata in each.metadata}
