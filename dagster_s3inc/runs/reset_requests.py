"""The resets of a sensor: requests that last, as tags on the reset runs.

A reset cannot merely change the cursor: a tick that is running would write its own cursor over it.
So a reset is a request, written down first, that each later tick finds: it honours those that are
newer than the newest which its cursor has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple

import dagster as dg

from dagster_s3inc.dagster_internals import SensorAddress

__all__ = [
    "ACCEPT_LISTED",
    "EVERYTHING",
    "FAILED",
    "MATCHING",
    "ResetRequest",
    "reset_requests",
    "write_reset_request",
]

EVERYTHING: Final = "everything"
MATCHING: Final = "matching"
FAILED: Final = "failed"
ACCEPT_LISTED: Final = "accept_listed"
"""What a reset may ask for."""

_OWN: Final = "dagster/s3inc/reset_"
_SENSOR_TAG: Final = f"{_OWN}sensor"
_SCOPE_TAG: Final = f"{_OWN}scope"
_AT_TAG: Final = f"{_OWN}at"
_GENERATION_TAG: Final = f"{_OWN}generation"
_WHAT_TAG: Final = f"{_OWN}what"
_CONDITIONS_TAG: Final = f"{_OWN}conditions"

# Requests are found newest run first, but a run may have waited in the queue for long after it
# was created. So many resets between its creation and its start are not to be expected.
_REQUESTS_READ: Final = 50


class ResetRequest(NamedTuple):
    """A reset that someone asked for.

    Attributes:
        at: When, as ISO 8601 in UTC with microseconds; compares as text.
        generation: That in which the sensor goes on: for a reset of everything the one that it
            starts.
        what: `everything`, `matching`, `failed` or `accept_listed`.
        conditions: Which files, where `what` is `matching`, as JSON; else empty.
    """

    at: str
    generation: int
    what: str = EVERYTHING
    conditions: str = ""


def reset_requests(instance: dg.DagsterInstance, address: SensorAddress) -> list[ResetRequest]:
    """The resets of a sensor, oldest first; of very many the newest."""
    found = _tags_of_runs(instance, {_SENSOR_TAG: address.name})
    if address.scope is not None:
        if len(found) == _REQUESTS_READ:
            # However many resets there are of its namesakes, they do not hide those of this sensor.
            this_one = {_SENSOR_TAG: address.name, _SCOPE_TAG: address.scope}
            found += _tags_of_runs(instance, this_one)
        # A reset that knew of no code location counts for each sensor of that name.
        found = [tags for tags in found if tags.get(_SCOPE_TAG, address.scope) == address.scope]
    requests = {
        ResetRequest(
            tags[_AT_TAG],
            int(tags[_GENERATION_TAG]),
            tags.get(_WHAT_TAG, EVERYTHING),
            tags.get(_CONDITIONS_TAG, ""),
        )
        for tags in found
    }
    return sorted(requests)


def _tags_of_runs(instance: dg.DagsterInstance, tags: Mapping[str, str]) -> list[Mapping[str, str]]:
    records = instance.get_run_records(dg.RunsFilter(tags=tags), limit=_REQUESTS_READ)
    return [record.dagster_run.tags for record in records]


def write_reset_request(
    instance: dg.DagsterInstance,
    run_id: str,
    address: SensorAddress,
    *,
    generation: int,
    what: str,
    conditions: str = "",
) -> ResetRequest:
    """Records on a run that it resets a sensor; lasts as long as the run does.

    The moment is this machine's, or just after the newest reset's where clocks disagree, so that
    of two resets the later one is the newer. The generation is at least `generation`, and not
    before that of a reset which no cursor shows yet, because a tick is running, or because another
    reset is still under way.
    """
    moment = datetime.now(timezone.utc)
    for previous in reset_requests(instance, address)[-1:]:
        following = datetime.fromisoformat(previous.at) + timedelta(microseconds=1)
        moment = max(moment, following)
        generation = max(generation, previous.generation + (what == EVERYTHING))
    request = ResetRequest(moment.isoformat(timespec="microseconds"), generation, what, conditions)
    tags = {
        _SENSOR_TAG: address.name,
        _AT_TAG: request.at,
        _GENERATION_TAG: str(generation),
        _WHAT_TAG: what,
    }
    if conditions:
        tags[_CONDITIONS_TAG] = conditions
    if address.scope is not None:
        tags[_SCOPE_TAG] = address.scope
    instance.add_run_tags(run_id, tags)
    return request
