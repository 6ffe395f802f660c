"""What this package uses of Dagster beyond its public interface.

Every private name of Dagster that the package relies on is named in this module, and nowhere
else. Checked on Dagster 1.13.27.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from itertools import islice, takewhile
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import dagster as dg
from dagster._check import CheckError
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy as TimeWindow
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
from dagster._serdes import serialize_value
from dagster._utils.warnings import disable_dagster_warnings as quiet

from dagster_s3inc.errors import ResetError

__all__ = [
    "DAGSTERS_TAGS",
    "RUN_KEY_TAG",
    "FailedTicks",
    "LatestReports",
    "QuietSensor",
    "SensorAddress",
    "SensorState",
    "StoredSensor",
    "StoredTick",
    "TickStatus",
    "assets_run_by",
    "cancel_queued",
    "earlier_ticks",
    "evaluation_of",
    "failed_ticks",
    "freshness_of",
    "instance_of",
    "latest_evaluation",
    "latest_reports",
    "quiet",
    "required_resources",
    "run_size_limit",
    "sensor_names",
    "sensors_beside",
    "sensors_of",
    "stored_bytes",
]

# How many ticks are read at a time, and how many at most. The ticks of a sensor that fails again
# and again hold nothing but an error.
_TICKS_AT_FIRST: Final = 2
_TICKS_PAGE: Final = 100
_TICKS_READ: Final = 2_000

_WRAPPERS: Final = frozenset({"SensorExecutionError", "DagsterUserCodeProcessError"})

DAGSTERS_TAGS: Final = frozenset({REPOSITORY_LABEL_TAG, RUN_KEY_TAG, SENSOR_NAME_TAG})
"""The tags that Dagster gives to every run that a sensor requests, whatever the sensor says."""


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
        """The tags that Dagster gives to the runs which the sensor requests."""
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
        return cls._at(name, origin.location_name, repository)

    @classmethod
    def beside_run(cls, run: dg.DagsterRun, sensor_name: str) -> SensorAddress:
        """The sensor of that name in the code location that a run belongs to."""
        origin = run.remote_job_origin
        if origin is None:
            return cls(sensor_name, None)
        place = origin.repository_origin
        location = place.code_location_origin.location_name
        return cls._at(sensor_name, location, place.repository_name)

    @classmethod
    def _at(cls, name: str, location: str, repository: str) -> SensorAddress:
        selector = InstigatorSelector(location_name=location, repository_name=repository, name=name)
        return cls(name, selector.get_id(), f"{repository}@{location}")


class QuietSensor(dg.SensorDefinition):
    """A sensor of which Dagster makes copies without a warning.

    It makes them where code locations are loaded, with all options, and would warn of those that
    are new to it, whether they were given or not.
    """

    def with_attributes(self, **changed: Any) -> dg.SensorDefinition:
        """A copy with other jobs or metadata."""
        with quiet():
            copied = super().with_attributes(**changed)
        copied.__class__ = QuietSensor
        return copied


def instance_of(context: dg.SensorEvaluationContext) -> dg.DagsterInstance | None:
    """The instance of an evaluation; None in a unit test that has none."""
    try:
        return context.instance
    except DagsterInvariantViolationError:
        return None


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


def run_size_limit(instance: dg.DagsterInstance) -> int | None:
    """The most bytes of a run that the instance accepts; None means no bound."""
    # Only some deployments have a bound. Dagster drops requests beyond it and fails the tick; tried
    # again, the tick succeeds without them, and its cursor says that they were requested.
    limit = getattr(instance, "get_run_size_limit_bytes", None)
    return None if limit is None else limit()


def stored_bytes(value: Any) -> int:
    """How many bytes a run request, or another value of a tick, takes in Dagster's database."""
    return len(serialize_value(value))


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


class LatestReports(NamedTuple):
    """What was reported of an asset last.

    Attributes:
        materialized: When it was materialized last, seconds since the epoch; None if never.
        tags: Of that materialization.
        metadata: Of that materialization.
        observed: The metadata of the latest observation.
    """

    materialized: float | None = None
    tags: Mapping[str, str] = MappingProxyType({})
    metadata: Mapping[str, dg.MetadataValue] = MappingProxyType({})
    observed: Mapping[str, dg.MetadataValue] = MappingProxyType({})


def latest_reports(instance: dg.DagsterInstance, key: dg.AssetKey) -> LatestReports:
    """What was reported of an asset last."""
    latest = LatestReports()
    for record in instance.fetch_materializations(key, limit=1).records:
        event = record.asset_materialization
        if event is not None:
            latest = LatestReports(record.timestamp, event.tags or {}, event.metadata)
    for record in instance.fetch_observations(key, limit=1).records:
        observation = record.event_log_entry.asset_observation
        if observation is not None:
            latest = latest._replace(observed=observation.metadata)
    return latest


def freshness_of(
    context: dg.SensorEvaluationContext, key: dg.AssetKey
) -> tuple[timedelta | None, Mapping[str, Any]]:
    """After how long without a materialization an asset is stale, and the asset's metadata.

    None where it has no such policy, or is not known here, as in a unit test.
    """
    repository = context.repository_def
    if repository is None or not repository.asset_graph.has(key):
        return None, {}
    node = repository.asset_graph.get(key)
    policy = node.freshness_policy
    window = policy.fail_window.to_timedelta() if isinstance(policy, TimeWindow) else None
    return window, node.metadata


class FailedTicks(NamedTuple):
    """The ticks that failed one after the other before the one that is being evaluated.

    Attributes:
        ticks: How many; of very many the newest.
        since: When the first of them began.
        message: What the last of them said.
    """

    ticks: int
    since: datetime
    message: str


def failed_ticks(instance: dg.DagsterInstance, address: SensorAddress) -> FailedTicks | None:
    """The ticks that failed since the last one that did not; None if the last one did not."""
    failed = list(
        takewhile(lambda tick: tick.status == TickStatus.FAILURE, earlier_ticks(instance, address))
    )
    if not failed:
        return None
    message = _stored_tick(failed[0]).message or ""
    since = datetime.fromtimestamp(failed[-1].timestamp, timezone.utc)
    return FailedTicks(len(failed), since, message.splitlines()[0] if message else "")


def earlier_ticks(instance: dg.DagsterInstance, address: SensorAddress) -> Iterator[InstigatorTick]:
    """The ticks before the one that is being evaluated, newest first; of very many the newest.

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
        found = self._find(address)
        self._origin_id = None if found is None else found.instigator_origin_id
        self.address = address if found is None else address._replace(scope=found.selector_id)

    @property
    def cursor(self) -> str | None:
        """The cursor as it is stored now; None for a sensor that never ran."""
        return _sensor_data(self._read()).cursor

    @property
    def last_run_key(self) -> str | None:
        """The run key of the last run that the sensor requested."""
        return _sensor_data(self._read()).last_run_key

    def is_ticking(self) -> bool:
        """Whether a tick has begun and not ended."""
        if self._origin_id is None:
            return False
        ticks = self._instance.get_ticks(
            self._origin_id, str(self.address.scope), limit=1, statuses=[TickStatus.STARTED]
        )
        return bool(ticks)

    def replace_cursor(self, cursor: str, *, instead_of: str | None) -> bool:
        """Stores a cursor, unless another than `instead_of` is stored by now.

        The sensor's whole state is one record, and Dagster has no way to write it only if it is
        unchanged. So it is read immediately before it is written. What someone does to the sensor
        in the milliseconds between (stop it, start it, edit its cursor) is undone.

        Returns:
            Whether it was stored. False also for a sensor that never ran: it has no state yet.
        """
        state = self._read()
        if state is None or state.instigator_data is None:
            return False
        data = _sensor_data(state)
        if data.cursor != instead_of:
            return False
        self._instance.update_instigator_state(state.with_data(data._replace(cursor=cursor)))
        return True

    def _read(self) -> InstigatorState | None:
        if self._origin_id is None:
            return None
        return self._instance.get_instigator_state(self._origin_id, str(self.address.scope))

    def _find(self, address: SensorAddress) -> InstigatorState | None:
        states = [
            state
            for state in _sensor_states(self._instance)
            if state.instigator_name == address.name and address.scope in (None, state.selector_id)
        ]
        if len(states) > 1:
            raise ResetError(
                f"{len(states)} code locations have a sensor named {address.name!r}, and this run "
                f"belongs to none of them. Launch the reset job from the UI, or with "
                f"`dagster job launch`, so that it knows its own."
            )
        return states[0] if states else None


class StoredTick(NamedTuple):
    """How a tick ended.

    Attributes:
        at: When it began.
        status: As Dagster has it: `STARTED`, `SKIPPED`, `SUCCESS` or `FAILURE`.
        runs: How many runs it requested.
        message: Why it skipped, or its error; None if it requested runs.
    """

    at: datetime
    status: str
    runs: int
    message: str | None


class StoredSensor(NamedTuple):
    """What an instance stores of a sensor, for someone who only reads it.

    Attributes:
        address: Where the sensor is.
        location: The name of its code location.
        repository: The name of its repository there.
        status: As Dagster has it: `RUNNING`, `STOPPED`, or `DECLARED_IN_CODE`, which means what
            its definition says.
        cursor: Its cursor; None before its first tick.
        last_run_key: The run key of the last run that it requested.
        last_tick: None before its first tick.
    """

    address: SensorAddress
    location: str
    repository: str
    status: str
    cursor: str | None
    last_run_key: str | None
    last_tick: StoredTick | None

    @property
    def name(self) -> str:
        """The sensor's name."""
        return self.address.name


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
    for state in _sensor_states(instance):
        place = state.origin.repository_origin
        where = place.code_location_origin.location_name, place.repository_name
        if state.instigator_name != name:
            continue
        if location not in (None, where[0]) or repository not in (None, where[1]):
            continue
        data = _sensor_data(state)
        ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        found.append(
            StoredSensor(
                SensorAddress(name, state.selector_id, f"{where[1]}@{where[0]}"),
                *where,
                status=state.status.value,
                cursor=data.cursor,
                last_run_key=data.last_run_key,
                last_tick=_stored_tick(ticks[0]) if ticks else None,
            )
        )
    return found


def sensor_names(instance: dg.DagsterInstance) -> list[str]:
    """The names of all sensors that an instance stores, in alphabetical order."""
    return sorted({state.instigator_name for state in _sensor_states(instance)})


def _stored_tick(tick: InstigatorTick) -> StoredTick:
    error = tick.error
    # What Dagster wraps around an error says only that there was one; what lies below an error of
    # this package, as of botocore, is in its message.
    while error is not None and error.cause is not None and error.cls_name in _WRAPPERS:
        error = error.cause
    return StoredTick(
        at=datetime.fromtimestamp(tick.timestamp, timezone.utc),
        status=tick.status.value,
        runs=len(tick.run_ids),
        message=error.message.strip() if error else tick.skip_reason,
    )


def _sensor_states(instance: dg.DagsterInstance) -> Sequence[InstigatorState]:
    return instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)


def _sensor_data(state: InstigatorState | None) -> SensorInstigatorData:
    data = None if state is None else state.instigator_data
    return data if isinstance(data, SensorInstigatorData) else SensorInstigatorData()


def assets_run_by(
    graph_of: dg.JobDefinition | dg.RepositoryDefinition,
    keys: Iterable[dg.AssetKey | dg.AssetCheckKey] | None = None,
) -> list[dg.AssetsDefinition]:
    """The definitions of the assets that a run materializes; those of its checks if there are none.

    Args:
        graph_of: The run's job; or the repository, of which a run takes some assets.
        keys: Those that the run takes; None means all of the job.
    """
    layer = graph_of.asset_layer if isinstance(graph_of, dg.JobDefinition) else graph_of
    if layer is None:
        return []
    found = layer.asset_graph.assets_defs
    if keys is not None:
        found = layer.asset_graph.assets_defs_for_keys(keys)
    executable = [each for each in found if each.is_executable]
    return [each for each in executable if each.keys] or executable


def required_resources(
    run: dg.JobDefinition | Iterable[dg.AssetsDefinition],
    resources: Mapping[str, dg.ResourceDefinition],
) -> tuple[set[str], set[str]]:
    """The keys of the resources that a job, or a run of assets, needs, and that these need in turn.

    Args:
        run: The job, or the assets; where a job materializes assets, its checks do not count.
        resources: Those that are known, beside the run's own.

    Returns:
        All keys, and those of which it is not known what the resource needs.
    """
    required: set[str] = set()
    parts: Iterable[Any] = run if not isinstance(run, dg.JobDefinition) else assets_run_by(run)
    if isinstance(run, dg.JobDefinition):
        resources = {**resources, **run.resource_defs}
        if not parts:
            for node in run.all_node_defs:
                if isinstance(node, dg.OpDefinition):
                    needs = node.get_resource_requirements(handle=None, asset_layer=None)
                    required |= {each.key for each in needs if hasattr(each, "key")}
    for each in parts:
        required |= each.required_resource_keys
        resources = {**resources, **each.resource_defs}
    found, unknown, left = set[str](), set[str](), list(required)
    while left:
        key = left.pop()
        if key in found:
            continue
        found.add(key)
        if key not in resources:
            unknown.add(key)
            continue
        try:
            left += resources[key].get_required_resource_keys(resources)
        except CheckError:
            # What it needs is not among its own resources, but the code location's.
            unknown.add(key)
    return found, unknown
