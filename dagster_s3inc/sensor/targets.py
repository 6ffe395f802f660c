"""What a batch is launched on.

Dagster answers a run request for a selection without any asset with a run that materializes every
asset of the code location, or with a run that does nothing. In the one case too much is done, in
the other the files of the batch are lost. They are lost as well where the run succeeds without its
batch, or in no partition. So each target is examined before anything is requested: at once, if its
definition is given; if it is only named, when the code location is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from textwrap import shorten
from typing import Any, Final, NamedTuple

import dagster as dg

from dagster_s3inc.dagster_internals import assets_run_by, required_resources
from dagster_s3inc.errors import ConfigurationError

__all__ = ["AssetsOfRun", "Targets"]

_DESCRIBED: Final = 100
_NAMED: Final = 3

_OPTIONS: Final = ("target", "job", "jobs", "job_name", "asset_selection")

# Every asset requires one. That it reads the batch is known only where it is defined.
_IO_MANAGER: Final = "io_manager"


class AssetsOfRun(NamedTuple):
    """What a run request names beside its job."""

    assets: tuple[dg.AssetKey, ...] = ()
    checks: tuple[dg.AssetCheckKey, ...] = ()


class _Run(NamedTuple):
    """What is launched on a batch: a job, or assets."""

    name: str
    launched: dg.JobDefinition | list[dg.AssetsDefinition]
    partitions: frozenset[dg.PartitionsDefinition[Any]]

    @classmethod
    def of_job(cls, job: dg.JobDefinition) -> _Run:
        own = job.partitions_def
        return cls(f"job {job.name}", job, frozenset() if own is None else frozenset({own}))

    @classmethod
    def of_assets(
        cls, assets: list[dg.AssetsDefinition], keys: Set[dg.AssetKey] | None = None
    ) -> _Run:
        """A run of assets, or of some of their keys."""
        specs = [spec for each in assets for spec in each.specs if keys is None or spec.key in keys]
        names = sorted(spec.key.to_user_string() for spec in specs)
        named = ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")
        # A run takes assets without partitions along with those of one definition.
        found = (spec.partitions_def for spec in specs)
        partitions = frozenset(each for each in found if each is not None)
        return cls(f"asset {named}" if names else "asset checks", assets, partitions)


class Targets:
    """The targets of one sensor.

    Args:
        sensor_name: The sensor's name, for messages.
        given: All ways to name a target, as `dagster.SensorDefinition` takes them.
        batch_resource_key: The key under which runs find their batch; None if they may leave it
            unread.
        s3_resource_key: The key of the S3 resource, which has no batch.
        partitions_def: The partitions that the sensor gives to runs; None if none.
        names_partition: Whether the sensor's run tags name a partition: its runs may have others.

    Attributes:
        job_names: The jobs that each batch is launched on; None stands for the only target.

    Raises:
        ConfigurationError: Not exactly one way is taken, or it names nothing; or what is given
            does not take the batch, or is in other partitions.
    """

    def __init__(
        self,
        sensor_name: str,
        given: Mapping[str, Any],
        *,
        batch_resource_key: str | None = None,
        s3_resource_key: str = "s3",
        partitions_def: dg.PartitionsDefinition[Any] | None = None,
        names_partition: bool = False,
    ) -> None:
        chosen = [option for option in _OPTIONS if given[option] is not None]
        if len(chosen) != 1:
            raise ConfigurationError(
                f"Sensor {sensor_name!r} needs exactly one of {', '.join(_OPTIONS)} to know what "
                f"to launch, but has {' and '.join(chosen) or 'none'}"
            )
        [self._option] = chosen
        value = given[self._option]
        if not value:
            raise ConfigurationError(f"Sensor {sensor_name!r} has an empty {self._option}")
        several = self._option == "jobs" and len(value) > 1
        self.job_names: tuple[str | None, ...] = (
            tuple(job.name for job in value) if several else (None,)
        )
        self._sensor_name = sensor_name
        self._targets = tuple(value) if self._option == "jobs" else (value,)
        self._batch_key, self._partitions_def = batch_resource_key, partitions_def
        self._without_batch = {_IO_MANAGER, s3_resource_key}
        self._names_partition = names_partition
        self._examined: tuple[dg.RepositoryDefinition | None, AssetsOfRun] = (None, AssetsOfRun())
        for run in filter(None, map(_given_run, self._targets)):
            self._require_batch(run, {}, unknown_may_read=True)
            self._require_partitions(run)

    def examine(self, context: dg.SensorEvaluationContext) -> AssetsOfRun:
        """Refuses what selects nothing, does not take the batch, or is in other partitions.

        Returns:
            What Dagster adds to each run request, by `asset_selection`.

        Raises:
            ConfigurationError: Names the target, and says what to do.
        """
        # In a unit test there may be none, and then Dagster resolves no selection either.
        repository = context.repository_def
        if repository is None:
            return AssetsOfRun()
        examined, named = self._examined
        if examined is not repository:
            for target in self._targets:
                run, named = self._in_repository(target, repository)
                if run is not None:
                    self._require_batch(run, repository.get_top_level_resources())
                    self._require_partitions(run)
            self._examined = repository, named
        return named

    def _in_repository(
        self, target: Any, repository: dg.RepositoryDefinition
    ) -> tuple[_Run | None, AssetsOfRun]:
        """What a target launches, and what Dagster adds to each run request."""
        graph, selection = repository.asset_graph, self._selection(target)
        if selection is None:
            name = target if isinstance(target, str) else target.name
            job = repository.get_job(name) if repository.has_job(name) else None
            # Dagster itself refuses a job that there is not.
            return (None if job is None else _Run.of_job(job)), AssetsOfRun()
        found = selection.resolve(graph, allow_missing=True) & graph.executable_asset_keys
        named, checks = AssetsOfRun(), set[dg.AssetCheckKey]()
        if self._option == "asset_selection":
            of_assets = dg.AssetSelection.assets(*found).resolve_checks(graph)
            named = AssetsOfRun(tuple(found), tuple(of_assets))
        elif not found:
            # A job may consist of checks; Dagster takes no checks from asset_selection.
            checks |= selection.resolve_checks(graph)
        if found or checks:
            return _Run.of_assets(assets_run_by(repository, found or checks), found), named
        raise ConfigurationError(
            f"The {self._option} of sensor {self._sensor_name!r} selects no asset of this code "
            f"location that a run could materialize: {selection}. Nothing was requested: "
            f"such a run would process every asset, or none. Fix the selection, or add the "
            f"asset; the files come with the next tick."
        )

    def _selection(self, target: Any) -> dg.AssetSelection | None:
        """The assets that a target selects; None if it is a job, or the name of one."""
        # What define_asset_job makes has a selection, and no public type.
        target = getattr(target, "selection", target)
        if isinstance(target, dg.AssetsDefinition):
            target = [target]
        if isinstance(target, dg.AssetSelection) or self._option in ("job", "jobs", "job_name"):
            return target if isinstance(target, dg.AssetSelection) else None
        if isinstance(target, (str, list, tuple)) or self._option == "asset_selection":
            return dg.AssetSelection.from_coercible(target)
        return None

    def _require_batch(
        self,
        run: _Run,
        resources: Mapping[str, dg.ResourceDefinition],
        *,
        unknown_may_read: bool = False,
    ) -> None:
        key = self._batch_key
        if key is None:
            return
        required, unknown = required_resources(run.launched, resources)
        if key in required or (unknown_may_read and unknown - self._without_batch):
            return
        raise ConfigurationError(
            f"Sensor {self._sensor_name!r} launches {run.name}, which does not take the batch: its "
            f"runs would succeed without reading a file, and the files would count as processed. "
            f"Nothing was requested. Give the asset or op that reads the files a parameter "
            f"{key}: S3Batch (one of an asset check is not enough), or a resource that needs it; "
            f"or, if nothing is to read them, set allow_unread_batches=True"
        )

    def _require_partitions(self, run: _Run) -> None:
        if self._names_partition:
            return
        found, own = run.partitions, self._partitions_def
        if own is None and found:
            raise ConfigurationError(
                f"Sensor {self._sensor_name!r} has no partitions, but its target, {run.name}, has "
                f"{_described(found)}: its runs would be in none of them. Nothing was requested. "
                f"Give the sensor the same partitions_def, and a group_by that finds the partition "
                f"in a key, as in r'dt=(?P<day>[^/]+)/'"
            )
        if own is not None and not (len(found) == 1 and all(_is_part(own, each) for each in found)):
            raise ConfigurationError(
                f"Sensor {self._sensor_name!r} has the partitions {_described({own})}, but its "
                f"target, {run.name}, has {_described(found)}. Nothing was requested. Give both "
                f"the same partitions_def; or, if the target has none, leave that of the sensor "
                f"out: group_by alone keeps batches apart"
            )


def _given_run(target: Any) -> _Run | None:
    """What a target launches, if it is a definition; None if it only names something."""
    if isinstance(target, dg.JobDefinition):
        return _Run.of_job(target)
    # Not isinstance: what define_asset_job makes is a tuple, too.
    each = target if type(target) in (list, tuple) else [target]
    if all(isinstance(part, dg.AssetsDefinition) and part.is_executable for part in each):
        return _Run.of_assets([part for part in each if part.keys] or list(each))
    return None


def _is_part(part: dg.PartitionsDefinition[Any], whole: dg.PartitionsDefinition[Any]) -> bool:
    """Whether each partition of one definition is one of another, as far as can be seen."""
    if part == whole:
        return True
    match part, whole:
        case dg.MultiPartitionsDefinition(), dg.MultiPartitionsDefinition():
            ours, theirs = (
                {each.name: each.partitions_def for each in multi.partitions_defs}
                for multi in (part, whole)
            )
            return ours.keys() == theirs.keys() and all(
                _is_part(ours[name], theirs[name]) for name in ours
            )
        case dg.StaticPartitionsDefinition(), dg.StaticPartitionsDefinition():
            return set(part.get_partition_keys()) <= set(whole.get_partition_keys())
        case dg.TimeWindowPartitionsDefinition(), dg.TimeWindowPartitionsDefinition():
            names = ("fmt", "timezone", "cron_schedule")
            is_alike = all(getattr(part, name) == getattr(whole, name) for name in names)
            return is_alike and part.start >= whole.start
    return not isinstance(part, dg.DynamicPartitionsDefinition) and type(part) is type(whole)


def _described(partitions: Set[Any]) -> str:
    """The definitions in one line, as Dagster describes them; some have thousands of keys."""
    each_in_short = (shorten(str(each), _DESCRIBED, placeholder=" …") for each in partitions)
    return " and ".join(sorted(f"({each})" for each in each_in_short)) or "none"
