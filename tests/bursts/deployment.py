"""A sensor in a Dagster instance, ticked by Dagster's own daemon code, by the scenario's clock.

The code location is loaded into this process, so that one can see what a scan was decided by.
Ticks, cursors, run requests and the filter on run keys are Dagster's. Runs are launched for small
scenarios, and written into the run storage for large ones; nothing executes them.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import dagster as dg
from dagster._core.definitions.instigation_logger import InstigationLogger
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.scheduler.instigation import TickStatus
from dagster._core.storage.tags import RUN_KEY_TAG
from dagster._core.test_utils import create_test_daemon_workspace_context, freeze_time
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._serdes import ConfigurableClass
from dagster._utils.error import SerializableErrorInfo

from tests.bursts.bucket import Bucket, Version
from tests.bursts.engine import Tick, TickFailedError
from tests.bursts.process import decided_by, new_process, watch_scans
from tests.bursts.scenarios import PREFIX
from tests.bursts.server import Server

LOCATION = "tests.bursts.location"
SENSOR = "landing"

INSTANCE = {
    "run_launcher": {"module": "tests.bursts.deployment", "class": "SucceedingLauncher"},
    # A run is launched when it is submitted, so that a tick ends with its runs.
    "run_coordinator": {
        "module": "dagster._core.run_coordinator",
        "class": "DefaultRunCoordinator",
    },
    "telemetry": {"enabled": False},
}

# Runs are read back so many at a time.
_PAGE = 200

# Ticks come one after the other, even where the scenario's clock stands still.
_BETWEEN_TICKS = timedelta(milliseconds=20)


class Settings(NamedTuple):
    """What the code location is made with.

    Attributes:
        uri: What the sensor scans.
        make_client: Makes the boto3 client by which it does.
        max_files: The most files of a batch.
    """

    uri: str
    make_client: Callable[[], Any]
    max_files: int


settings: ContextVar[Settings] = ContextVar("settings")


class SucceedingLauncher(RunLauncher, ConfigurableClass):
    """Marks each run as succeeded, and executes none."""

    def __init__(self, inst_data: Any = None) -> None:
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> Any:
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> SucceedingLauncher:
        return cls(inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        event = DagsterEvent(DagsterEventType.PIPELINE_SUCCESS.value, run.job_name)
        self._instance.report_dagster_event(event, run.run_id)

    def terminate(self, run_id: str) -> bool:
        return False


class SensorEngine:
    """The sensor of the code location.

    Args:
        instance: Keeps its ticks and runs.
        server: Has the clock.
        made_with: What the sensor scans.
        keeps_process: Whether all ticks are of one process. If not, each has a package that was
            just imported, which knows nothing of the ticks before.
        launches: Whether runs are created and launched as Dagster does it. If not, they are
            written into the run storage.
    """

    def __init__(
        self,
        instance: dg.DagsterInstance,
        server: Server,
        made_with: Settings,
        *,
        keeps_process: bool,
        launches: bool,
    ) -> None:
        self._instance, self._server, self._settings = instance, server, made_with
        self._keeps_process, self._launches = keeps_process, launches
        self._process = ExitStack()
        self._workspace: WorkspaceProcessContext | None = None
        self._now = server.now
        self._scans: list[Any] = []
        self._said = _Said()

    def __enter__(self) -> SensorEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def start_over(self) -> None:
        raise NotImplementedError("A sensor is reset by a job")

    def tick(self) -> Tick:
        self._scans.clear()
        self._said.texts.clear()
        self._now = max(self._server.now, self._now + _BETWEEN_TICKS)
        with freeze_time(self._now):
            self._iterate(self._started())
        if not self._keeps_process:
            self._process.close()
            self._workspace = None
        return self._what_happened()

    def _started(self) -> WorkspaceProcessContext:
        if self._workspace is None:
            self._process.enter_context(new_process(LOCATION))
            token = settings.set(self._settings)
            self._process.callback(settings.reset, token)
            self._workspace = self._process.enter_context(open_workspace(self._instance))
            watch_scans(self._scans)
        return self._workspace

    def _iterate(self, workspace: WorkspaceProcessContext) -> None:
        with ExitStack() as stack:
            # Each iteration is a tick.
            stack.enter_context(
                patch("dagster._daemon.sensor.is_under_min_interval", lambda *_: False)
            )
            # An evaluation opens the instance anew; here it is open already.
            stack.enter_context(
                patch.object(dg.DagsterInstance, "from_ref", lambda _: nullcontext(self._instance))
            )
            # What a sensor logs is kept here, not printed.
            console = _silent_logger()
            console.addHandler(self._said)
            stack.callback(console.removeHandler, self._said)
            stack.enter_context(
                patch(
                    "dagster._core.definitions.sensor_definition.InstigationLogger",
                    partial(InstigationLogger, console_logger=console),
                )
            )
            if not self._launches:
                stack.enter_context(patch("dagster._daemon.sensor._create_sensor_run", _write_run))
                stack.enter_context(patch.object(self._instance, "submit_run", lambda *_: None))
            for error in execute_sensor_iteration(
                workspace,
                _silent_logger(),
                threadpool_executor=None,
                submit_threadpool_executor=None,
            ):
                if error is not None:
                    raise TickFailedError(_messages(error))

    def _what_happened(self) -> Tick:
        [state] = self._instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        [tick] = self._instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        if tick.status not in (TickStatus.SUCCESS, TickStatus.SKIPPED):
            raise TickFailedError(f"it ended as {tick.status.value}: {_messages(tick.error)}")
        run_ids = [each for each in tick.run_ids if each is not None]
        cursor = state.instigator_data.cursor or ""
        return Tick(
            emitted=[each for run in self._runs(run_ids) for each in versions_of(run.run_config)],
            runs=len(run_ids),
            checkpoint=cursor,
            undecided=json.loads(cursor).get("undecided", 0),
            decided_by=decided_by(self._scans),
            said=" ".join(self._said.texts),
        )

    def _runs(self, run_ids: list[str]) -> Iterator[dg.DagsterRun]:
        for start in range(0, len(run_ids), _PAGE):
            chunk = run_ids[start : start + _PAGE]
            runs = self._instance.get_runs(dg.RunsFilter(run_ids=chunk))
            if len(runs) != len(chunk):
                raise TickFailedError(f"{len(chunk)} runs were requested, {len(runs)} are there")
            yield from runs


@contextmanager
def open_sensor(
    server: Server,
    bucket: Bucket,
    *,
    keeps_process: bool,
    launches: bool,
    storage: Mapping[str, Any] | None = None,
    max_files: int = 100,
) -> Iterator[SensorEngine]:
    """A sensor of a bucket, in an instance of its own.

    Args:
        server: Lists the bucket.
        bucket: Is scanned.
        keeps_process: As in `SensorEngine`.
        launches: As in `SensorEngine`.
        storage: The `storage` of the dagster.yaml; by default SQLite.
        max_files: The most files of a batch.
    """
    made_with = Settings(f"s3://{bucket.name}/{PREFIX}", server.client, max_files)
    with (
        dg.instance_for_test(overrides={**INSTANCE, **(storage or {})}) as instance,
        SensorEngine(
            instance, server, made_with, keeps_process=keeps_process, launches=launches
        ) as engine,
    ):
        yield engine


@contextmanager
def open_workspace(instance: dg.DagsterInstance) -> Iterator[WorkspaceProcessContext]:
    """The code location, loaded into this process."""
    ReconstructableJob.get_definition.cache_clear()
    ReconstructableJob.get_repository_definition.cache_clear()
    target = LoadableTargetOrigin(
        executable_path=sys.executable,
        module_name=LOCATION,
        working_directory=str(Path(__file__).parents[2]),
    )
    origin = InProcessCodeLocationOrigin(target, location_name="bursts")
    with create_test_daemon_workspace_context(
        InProcessWorkspaceLoadTarget(origin), instance
    ) as workspace:
        for entry in workspace.create_request_context().get_code_location_entries().values():
            if entry.load_error is not None:
                raise TickFailedError(_messages(entry.load_error))
        yield workspace


def versions_of(run_config: Mapping[str, Any]) -> Iterator[Version]:
    """The files of a run."""
    for file in run_config["resources"]["batch"]["config"]["files"]:
        yield Version(file["key"], file["last_modified"].removesuffix("Z"), file["etag"])


def _write_run(
    instance: dg.DagsterInstance,
    code_location: Any,
    remote_sensor: Any,
    remote_job: Any,
    run_id: str,
    run_request: dg.RunRequest,
    target_data: Any,
) -> dg.DagsterRun:
    """Does what Dagster's function of the daemon does, but for execution plans and events."""
    return instance.run_storage.add_run(
        dg.DagsterRun(
            job_name=target_data.job_name,
            run_id=run_id,
            run_config=run_request.run_config,
            status=dg.DagsterRunStatus.SUCCESS,
            tags={
                **(remote_job.run_tags or {}),
                **run_request.tags,
                **dg.DagsterRun.tags_for_sensor(remote_sensor),
                RUN_KEY_TAG: run_request.run_key,
            },
            remote_job_origin=remote_job.get_remote_origin(),
            job_code_origin=remote_job.get_python_origin(),
        )
    )


def _messages(error: SerializableErrorInfo | None) -> str:
    """What an error and its causes say, and where the first of them was raised."""
    messages, stack = [], []
    while error is not None:
        messages.append(error.message.strip())
        stack = error.stack
        error = error.cause
    return " because of ".join(messages) + "\n" + "".join(stack[-3:])


class _Said(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _silent_logger() -> logging.Logger:
    logger = logging.getLogger("bursts")
    logger.propagate = False
    return logger
