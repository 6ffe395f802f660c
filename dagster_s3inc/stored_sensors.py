"""What an instance stores of a sensor, for someone who only looks."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorTick

from dagster_s3inc.instance import SensorAddress, sensor_data, sensor_states
from dagster_s3inc.markers import ResetMarker, resets

__all__ = ["StoredSensor", "StoredTick", "sensor_names", "sensors_of"]


class StoredSensor(NamedTuple):
    """A sensor as an instance stores it, for someone who only looks.

    Attributes:
        name: The sensor's name.
        location: The name of its code location.
        repository: The name of its repository there.
        status: As Dagster has it: `RUNNING`, `STOPPED`, or `DECLARED_IN_CODE`, which means what
            its definition says.
        cursor: Its cursor; None before its first tick.
        last_run_key: The run key of the last run that it requested.
        resets: Of it, oldest first, whether its cursor knows of them or not.
        last_tick: None before its first tick.
    """

    name: str
    location: str
    repository: str
    status: str
    cursor: str | None
    last_run_key: str | None
    resets: tuple[ResetMarker, ...]
    last_tick: StoredTick | None


class StoredTick(NamedTuple):
    """How a tick ended.

    Attributes:
        at: When it began.
        status: As Dagster has it: `STARTED`, `SKIPPED`, `SUCCESS` or `FAILURE`.
        runs: How many runs it requested.
        said: Why it skipped, or its error; None if it requested runs.
    """

    at: datetime
    status: str
    runs: int
    said: str | None


def sensors_of(
    instance: dg.DagsterInstance,
    name: str,
    *,
    location: str | None = None,
    repository: str | None = None,
) -> list[StoredSensor]:
    """The sensors of a name that an instance stores: those that were started or have ticked.

    Args:
        instance: The instance.
        name: The sensor's name.
        location: The name of the code location; None means any.
        repository: The name of the repository; None means any.
    """
    found = []
    for state in sensor_states(instance):
        place = state.origin.repository_origin
        where = place.code_location_origin.location_name, place.repository_name
        if state.instigator_name != name:
            continue
        if location not in (None, where[0]) or repository not in (None, where[1]):
            continue
        data = sensor_data(state)
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        found.append(
            StoredSensor(
                name,
                *where,
                status=state.status.value,
                cursor=data.cursor,
                last_run_key=data.last_run_key,
                resets=tuple(resets(instance, SensorAddress(name, state.selector_id))),
                last_tick=_stored(ticks[0]) if ticks else None,
            )
        )
    return found


def sensor_names(instance: dg.DagsterInstance) -> list[str]:
    """The names of all sensors that an instance stores, in alphabetical order."""
    return sorted({state.instigator_name for state in sensor_states(instance)})


def _stored(tick: InstigatorTick) -> StoredTick:
    error = tick.error
    # What Dagster wraps around an error says only that there was one.
    while error is not None and error.cause is not None:
        error = error.cause
    return StoredTick(
        at=datetime.fromtimestamp(tick.timestamp, timezone.utc),
        status=tick.status.value,
        runs=len(tick.run_ids),
        said=error.message.strip() if error else tick.skip_reason,
    )
