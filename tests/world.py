"""A Dagster deployment in small: an instance on disk, a code server, daemon iterations."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.reconstruct import ReconstructableJob
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher.base import LaunchRunContext
from dagster._core.launcher.sync_in_memory_run_launcher import SyncInMemoryRunLauncher
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from dagster._core.test_utils import create_test_daemon_workspace_context
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import PythonFileTarget
from dagster._daemon.sensor import execute_sensor_iteration
from dagster._serdes import deserialize_value, serialize_value

from dagster_s3inc.runs.run_requests import FILES_TAG, GENERATION_TAG, REPEATS_TAG
from tests.servers import S3Server

LAUNCH = """
mutation ($params: ExecutionParams!) {
  launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""

REEXECUTE = """
mutation ($params: ReexecutionParams!) {
  launchRunReexecution(reexecutionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""

EXECUTE_RUNS = {
    "run_launcher": {
        "module": "dagster._core.launcher.sync_in_memory_run_launcher",
        "class": "SyncInMemoryRunLauncher",
    },
    # A run is launched when it is submitted, in this process, so that a tick ends with its runs.
    "run_coordinator": {
        "module": "dagster._core.run_coordinator",
        "class": "DefaultRunCoordinator",
    },
    "telemetry": {"enabled": False},
}

LAUNCH_PROCESSES = {
    **EXECUTE_RUNS,
    "run_launcher": {"module": "dagster", "class": "DefaultRunLauncher"},
}

LAUNCH_RESETS_ALONE = {
    **EXECUTE_RUNS,
    "run_launcher": {"module": "tests.world", "class": "ResetsAloneLauncher"},
}


class ResetsAloneLauncher(SyncInMemoryRunLauncher):
    """Executes reset runs, and leaves all others as they were launched."""

    def launch_run(self, context: LaunchRunContext) -> None:
        if context.dagster_run.job_name.startswith("reset_"):
            super().launch_run(context)


class World:
    """What a test does to a deployment, and sees of it."""

    def __init__(
        self, instance: dg.DagsterInstance, workspace: WorkspaceProcessContext, hold: Path
    ):
        self.instance = instance
        self.workspace = workspace
        self.hold = hold

    def tick(self, **crash: Any) -> InstigatorTick:
        """One daemon iteration; returns the sensor's tick."""
        iterate(self.workspace, **crash)
        return self.ticks()[0]

    def ticks(self) -> list[InstigatorTick]:
        """The sensor's ticks, newest first."""
        [state] = self.states()
        return list(self.instance.get_ticks(state.instigator_origin_id, state.selector_id))

    @property
    def cursor(self) -> str | None:
        [state] = self.states()
        return state.instigator_data.cursor

    @property
    def last_run_key(self) -> str | None:
        [state] = self.states()
        return state.instigator_data.last_run_key

    def set_cursor(self, cursor: str | None) -> None:
        """What the sensor's page does when a person edits the cursor."""
        [state] = self.states()
        data = state.instigator_data._replace(cursor=cursor)
        self.instance.update_instigator_state(state.with_data(data))

    def batches(self) -> list[tuple[int, list[str]]]:
        """(generation, keys) of each run of the sensor, oldest first."""
        runs = self.instance.get_runs(dg.RunsFilter(job_name="ingest"))
        found = []
        for run in reversed(runs):
            keys = keys_of(run)
            assert run.tags[FILES_TAG] == str(len(keys))
            found.append((int(run.tags[GENERATION_TAG]), keys))
        return found

    def emitted(self, generation: int = 1) -> Counter[str]:
        """How often each key was emitted in a generation, repeats included."""
        return Counter(
            key for number, keys in self.batches() if number == generation for key in keys
        )

    def repeated(self) -> list[list[str]]:
        """The keys of each run that repeats something, oldest first."""
        runs = self.instance.get_runs(dg.RunsFilter(job_name="ingest"))
        return [keys_of(run) for run in reversed(runs) if REPEATS_TAG in run.tags]

    def launch(self, job_name: str, run_config: Mapping[str, Any] | None = None) -> Any:
        """What the Launchpad does; returns the finished run, or the refusal's text."""
        from dagster_graphql.test.utils import execute_dagster_graphql

        request = self.workspace.create_request_context()
        [location] = request.code_location_names
        selector = {
            "repositoryLocationName": location,
            "repositoryName": "__repository__",
            "jobName": job_name,
        }
        params = {"selector": selector, "runConfigData": json.dumps(run_config or {})}
        outcome = execute_dagster_graphql(request, LAUNCH, {"params": params}).data["launchRun"]
        if outcome["__typename"] != "LaunchRunSuccess":
            return " ".join(each["message"] for each in outcome.get("errors", [outcome]))
        return self.instance.get_run_by_id(outcome["run"]["runId"])

    def reexecute(self, run: dg.DagsterRun) -> str:
        """What "Re-execute all" on a run's page does; returns the new run's id."""
        from dagster_graphql.test.utils import execute_dagster_graphql

        params = {"parentRunId": run.run_id, "strategy": "ALL_STEPS"}
        request = self.workspace.create_request_context()
        answer = execute_dagster_graphql(request, REEXECUTE, {"params": params})
        return answer.data["launchRunReexecution"]["run"]["runId"]

    def errors_of(self, run: dg.DagsterRun) -> str:
        """All that a failed run says."""
        records = self.instance.all_logs(run.run_id)
        return "\n".join(
            str(event.dagster_event.event_specific_data.error)
            for event in records
            if event.is_dagster_event and event.dagster_event.is_failure
        )

    def tick_unstored(self) -> InstigatorTick:
        """A tick that ended, but whose daemon was killed before it stored the cursor."""
        storage = self.instance.schedule_storage
        store = storage.update_instigator_state
        with pytest.MonkeyPatch.context() as patch:

            def store_until_the_end(state: Any) -> Any:
                # A tick writes the sensor's state twice: when it begins, and when it has ended.
                patch.setattr(storage, "update_instigator_state", _die)
                return store(state)

            patch.setattr(storage, "update_instigator_state", store_until_the_end)
            return self.tick()

    def states(self) -> list[Any]:
        """What Dagster stores of the sensor: one state, or none before its first tick."""
        states = self.instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        return [state for state in states if state.instigator_name == "landing"]


def keys_of(run: dg.DagsterRun) -> list[str]:
    """The keys of a run's batch."""
    return [file["key"] for file in run.run_config["resources"]["batch"]["config"]["files"]]


def _die(*_: Any) -> None:
    raise KilledError


class KilledError(Exception):
    """The daemon does nothing more in this tick."""


def iterate(workspace: WorkspaceProcessContext, **crash: Any) -> None:
    """Lets the daemon look at its sensors once; `crash` names where it dies of which signal."""
    with pytest.MonkeyPatch.context() as patch:
        # Each iteration is a tick: the least interval that Dagster knows is a second.
        patch.setattr("dagster._daemon.sensor.is_under_min_interval", lambda *_: False)
        list(
            execute_sensor_iteration(
                workspace,
                logging.getLogger("dagster.daemon"),
                threadpool_executor=None,
                submit_threadpool_executor=None,
                debug_crash_flags={"landing": crash} if crash else None,
            )
        )


@contextmanager
def open_workspace(
    instance: dg.DagsterInstance, location: str = "location.py"
) -> Iterator[WorkspaceProcessContext]:
    """A workspace with one of the tests' code locations, in a code server of its own."""
    target = PythonFileTarget(
        python_file=str(Path(__file__).with_name(location)),
        attribute=None,
        working_directory=str(Path(__file__).parent.parent),
        location_name="tests",
    )
    with create_test_daemon_workspace_context(target, instance) as workspace:
        yield workspace


@contextmanager
def open_world(
    server: S3Server,
    uri: str,
    folder: Path,
    *,
    max_files: int = 5,
    max_batches: int = 20,
    settings: Mapping[str, Any] = EXECUTE_RUNS,
    location: str = "location.py",
    environment: Mapping[str, str] | None = None,
) -> Iterator[World]:
    """Starts a deployment whose sensor scans `uri`; ends its processes.

    `settings` are those of its dagster.yaml, and `environment` is beside the server's.
    """
    _forget(location)
    hold = folder / "hold"
    environment = {
        **server.environment,
        **(environment or {}),
        "TEST_URI": uri,
        "TEST_MAX_FILES": str(max_files),
        "TEST_MAX_BATCHES": str(max_batches),
        "TEST_HOLD_FILE": str(hold),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        with (
            dg.instance_for_test(overrides=dict(settings), temp_dir=str(folder)) as instance,
            open_workspace(instance, location) as workspace,
        ):
            yield World(instance, workspace, hold)


def _forget(location: str) -> None:
    """Runs in this process would otherwise know the code location of the world before."""
    sys.modules.pop(Path(location).stem, None)
    ReconstructableJob.get_definition.cache_clear()
    ReconstructableJob.get_repository_definition.cache_clear()


def die_in_a_tick(instance_ref: str, point: str, signal: int) -> None:
    """Runs in a process of its own: a daemon that is killed at a point of its tick."""
    ref = deserialize_value(instance_ref, InstanceRef)
    with dg.DagsterInstance.from_ref(ref) as instance, open_workspace(instance) as workspace:
        iterate(workspace, **{point: signal})
    os._exit(0)


def tick_for_ever(instance_ref: str, environment: Mapping[str, str], ready: Path) -> None:
    """Runs in a process group of its own: a daemon that looks at its sensors until it is killed.

    Args:
        instance_ref: As `packed_ref` gives it.
        environment: Of this process and of its code server.
        ready: Is written when the first tick is about to begin: the code server's process id.
    """
    os.setsid()
    os.environ.update(environment)
    parent = os.getppid()
    ref = deserialize_value(instance_ref, InstanceRef)
    with dg.DagsterInstance.from_ref(ref) as instance, open_workspace(instance) as workspace:
        ready.write_text(str(code_server_pid(workspace)))
        # Ends with the tests' process, too, where that was killed and could not end it.
        while os.getppid() == parent:
            iterate(workspace)


def code_server_pid(workspace: WorkspaceProcessContext) -> int:
    """The process id of a workspace's code server."""
    [entry] = workspace._grpc_server_registry._active_entries.values()
    return entry.process.server_process.pid


def packed_ref(instance: dg.DagsterInstance) -> str:
    """The instance's address, for another process."""
    return serialize_value(instance.get_ref())


def succeeded(tick: InstigatorTick) -> bool:
    """Whether a tick requested runs and ended well."""
    return tick.status == TickStatus.SUCCESS
