"""The resets of a sensor: markers that last, as tags on the reset runs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple

import dagster as dg

from dagster_s3inc.instance import SensorAddress

__all__ = ["EVERYTHING", "FAILED", "MATCHING", "ResetMarker", "resets", "write_marker"]

EVERYTHING: Final = "everything"
MATCHING: Final = "matching"
FAILED: Final = "failed"
"""What a reset's marker may ask for."""

_SENSOR_TAG: Final = "dagster_s3inc/reset_sensor"
_SCOPE_TAG: Final = "dagster_s3inc/reset_scope"
_AT_TAG: Final = "dagster_s3inc/reset_at"
_GENERATION_TAG: Final = "dagster_s3inc/reset_generation"
_WHAT_TAG: Final = "dagster_s3inc/reset_what"
_CONDITIONS_TAG: Final = "dagster_s3inc/reset_conditions"

# Markers are found newest run first, but a run may have waited in the queue for long after it
# was created. So many resets between its creation and its start are not to be expected.
_MARKERS_READ: Final = 50


class ResetMarker(NamedTuple):
    """A reset that was asked for.

    Attributes:
        at: When, as ISO 8601 in UTC with microseconds; compares as text.
        generation: The generation that it starts.
        what: What is handed over again: `everything`, `matching` or `failed`.
        conditions: Which files, where `what` is `matching`, as JSON; else empty.
    """

    at: str
    generation: int
    what: str = EVERYTHING
    conditions: str = ""


def resets(instance: dg.DagsterInstance, address: SensorAddress) -> list[ResetMarker]:
    """The resets of a sensor, oldest first; of very many the newest."""
    found = _tags_of_runs(instance, {_SENSOR_TAG: address.name})
    if address.scope is not None:
        if len(found) == _MARKERS_READ:
            # However many there are elsewhere, they do not hide ours.
            ours = {_SENSOR_TAG: address.name, _SCOPE_TAG: address.scope}
            found += _tags_of_runs(instance, ours)
        # Those that knew of no code location count for each of that name.
        found = [tags for tags in found if tags.get(_SCOPE_TAG, address.scope) == address.scope]
    markers = {
        ResetMarker(
            tags[_AT_TAG],
            int(tags[_GENERATION_TAG]),
            tags.get(_WHAT_TAG, EVERYTHING),
            tags.get(_CONDITIONS_TAG, ""),
        )
        for tags in found
    }
    return sorted(markers)


def _tags_of_runs(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> list[Mapping[str, str]]:
    records = instance.get_run_records(dg.RunsFilter(tags=tags), limit=_MARKERS_READ)
    return [record.dagster_run.tags for record in records]


def write_marker(
    instance: dg.DagsterInstance,
    run_id: str,
    address: SensorAddress,
    *,
    generation: int,
    what: str,
    conditions: str = "",
) -> ResetMarker:
    """Records on a run that it resets a sensor; lasts as long as the run does.

    The moment is this machine's, or just after the newest reset's where clocks disagree, so that
    of two resets the later one is the newer. The generation is at least `generation`, and later
    than that of any reset which no cursor shows yet, because a tick is running, or because another
    is still under way.
    """
    moment = datetime.now(timezone.utc)
    for previous in resets(instance, address)[-1:]:
        following = datetime.fromisoformat(previous.at) + timedelta(microseconds=1)
        moment = max(moment, following)
        generation = max(generation, previous.generation + 1)
    marker = ResetMarker(moment.isoformat(timespec="microseconds"), generation, what, conditions)
    tags = {
        _SENSOR_TAG: address.name,
        _AT_TAG: marker.at,
        _GENERATION_TAG: str(generation),
        _WHAT_TAG: what,
    }
    if conditions:
        tags[_CONDITIONS_TAG] = conditions
    if address.scope is not None:
        tags[_SCOPE_TAG] = address.scope
    instance.add_run_tags(run_id, tags)
    return marker
