"""One whole round without the UI: drop files, let a daemon process them, reset, compare.

Everything is as in production, only faster: a real daemon evaluates the sensor, real runs load
the files, the reset job is launched from the command line.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

import dagster as dg
from dagster import DagsterRunStatus

from example_project.orders import LandingFolder, OrderFile, broken_orders, make_orders
from example_project.place import WORKSPACE, prepared
from example_project.processes import running, tail
from example_project.settings import STATE
from example_project.warehouse import Warehouse

__all__ = ["RoundError", "run_once"]

# Three batches of at most five.
_FILES: Final = 12

# For one step of the round, which takes some 20 s where the machine has nothing else to do.
_STEP_SECONDS: Final = 180.0
_PAUSE_SECONDS: Final = 0.5

_ERROR: Final = dg.AssetCheckSeverity.ERROR

_ENDED_BADLY: Final = {DagsterRunStatus.FAILURE, DagsterRunStatus.CANCELED}


class RoundError(Exception):
    """Something in the round was not as it should be."""


def run_once() -> None:
    """Does the round in a state folder of its own; prints what happens.

    Raises:
        RoundError: A step took too long, a run failed, or the numbers are off. The state folder
            is kept then, for its logs.
    """
    STATE.mkdir(exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix="once-", dir=STATE))
    name = f"{state.name}-{datetime.now(timezone.utc):%Y%m%dT%H%M%SZ}/"
    try:
        with prepared(state, subfolder=name) as landing:
            try:
                _Round(state, landing).run()
            finally:
                # They may lie in a bucket that is there to stay.
                landing.remove(landing.etags())
    except RoundError:
        print(f"The state is kept in {state}")
        raise
    except BaseException:
        shutil.rmtree(state)
        raise
    shutil.rmtree(state)


class _Round:
    """The steps, and what was dropped so far."""

    def __init__(self, state: Path, landing: LandingFolder) -> None:
        self._state = state
        self._landing = landing
        self._instance = dg.DagsterInstance.from_config(str(state / "dagster"))
        self._log = state / "daemon.log"
        self._began = time.monotonic()
        self._dropped: dict[str, OrderFile] = {}
        self._versions: set[tuple[str, str]] = set()

    def run(self) -> None:
        self._drop(*[make_orders(number) for number in range(1, _FILES + 1)])
        self._say(f"{_FILES} files dropped")
        with running("dagster._daemon", "run", "-w", str(WORKSPACE), log=self._log) as daemon:
            self._is_daemon_alive: Callable[[], bool] = lambda: daemon.poll() is None
            self._processed(generation=1, versions=set(self._versions))

            self._drop(make_orders(_FILES + 1), make_orders(1, version=2))
            self._say("1 new file dropped, 1 file overwritten")
            self._processed(generation=1, versions=set(self._versions))

            self._break_and_repair(_FILES + 2)

            self._reset("everything")
            # What is there now: the first version of the overwritten file is gone.
            self._processed(generation=2, versions=set(self._landing.etags().items()))
            self._quiet()
        self._compare()

    def _drop(self, *files: OrderFile) -> None:
        for file in files:
            self._landing.put(file)
            self._dropped[self._landing.prefix + file.name] = file
        self._versions |= set(self._landing.etags().items())

    def _break_and_repair(self, number: int) -> None:
        """Drops a file that cannot be read among good ones; the sensor halts until it is repaired.

        The repair is what the message says: the shop sends a good version, and the reset job has
        the failed batch requested again. Of that batch the file is left out then, since its version
        is gone; the good one comes in a batch of its own.
        """
        self._landing.put(broken_orders(number))
        self._drop(make_orders(number + 1))
        self._say("1 broken file dropped, and a good one")

        def is_halted() -> bool:
            check = self._check()
            return check is not None and not check.passed and check.severity == _ERROR

        self._wait("the sensor to halt", is_halted)
        self._say("halted, and the check batches_failed is an error")
        self._drop(make_orders(number, version=2))
        self._reset("failed")

        def is_repaired() -> bool:
            check = self._check()
            has_failed = check is None or not check.passed
            return not has_failed and self._loaded() == self._landing.etags()

        self._wait("the failed batch to be repaired", is_repaired)
        self._say("repaired: the sensor goes on, and every file is loaded")

    def _check(self) -> dg.AssetCheckEvaluation | None:
        """What the source asset says of failed batches."""
        key = dg.AssetCheckKey(dg.AssetKey("landed_order_files"), "batches_failed")
        record = self._instance.get_latest_asset_check_evaluation_record(key)
        event = None if record is None or record.event is None else record.event.dagster_event
        return None if event is None else event.asset_check_evaluation_data

    def _loaded(self) -> dict[str, str]:
        """The ETags of the files in the warehouse."""
        with Warehouse(path=str(self._state / "warehouse.duckdb")).connect() as db:
            return dict(db.execute("SELECT file, etag FROM loaded_files").fetchall())

    def _reset(self, what: str) -> None:
        """Launches the reset job as a user does, and waits until it is done."""
        log = self._state / "reset.log"
        job = "reset_landed_orders"
        config = self._state / "reset.yaml"
        config.write_text(f"ops: {{{job}_checkpoint: {{config: {{what: {what}}}}}}}")
        arguments = ["job", "launch", "-w", str(WORKSPACE), "-j", job, "-c", str(config)]
        with running("dagster", *arguments, log=log) as launch:
            self._wait("the reset job to be launched", lambda: launch.poll() is not None)
        if launch.returncode != 0:
            raise RoundError(f"The reset job could not be launched:\n{tail(log)}")
        self._wait("the reset job", lambda: self._all_succeeded(dg.RunsFilter(job_name=job)))
        self._say(f"reset job done: {what}")

    def _processed(self, *, generation: int, versions: set[tuple[str, str]]) -> None:
        """Waits until a generation has processed its files, and checks that each came once."""
        batches = dg.RunsFilter(
            tags={
                "dagster/s3inc/source": f"s3://{self._landing.bucket}/{self._landing.prefix}",
                "dagster/s3inc/generation": str(generation),
            }
        )

        def is_done() -> bool:
            files = sum(int(run.tags["dagster/s3inc/files"]) for run in self._runs(batches))
            return files >= len(versions) and self._all_succeeded(batches)

        self._wait(f"generation {generation} to process {len(versions)} files", is_done)
        runs = self._runs(batches)
        counted = Counter((file["key"], file["etag"]) for run in runs for file in _files_of(run))
        if counted != Counter(versions):
            raise RoundError(f"In generation {generation}, files came not once each: {counted}")
        self._say(f"generation {generation}: {len(versions)} files, each once, in {len(runs)} runs")

    def _quiet(self) -> None:
        """Waits for one more tick, which must find nothing."""
        before = self._instance.get_runs_count()
        done = datetime.now(timezone.utc).timestamp()

        def has_ticked() -> bool:
            (sensor,) = self._instance.all_instigator_state()
            return (getattr(sensor.instigator_data, "last_tick_timestamp", None) or 0) > done

        self._wait("one more tick", has_ticked)
        more = self._instance.get_runs_count() - before
        if more:
            raise RoundError(f"With nothing new, {more} more runs were requested")
        self._say("one more tick: nothing new")

    def _compare(self) -> None:
        """Compares the warehouse, and what the asset says of itself, with what was dropped."""
        etags = self._loaded()
        with Warehouse(path=str(self._state / "warehouse.duckdb")).connect() as db:
            rows = dict(db.execute("SELECT file, count(*) FROM orders GROUP BY file").fetchall())
            (days, revenue) = db.execute(
                "SELECT count(*), sum(revenue)::DOUBLE FROM revenue_by_day"
            ).fetchall()[0]
        event = self._instance.get_latest_materialization_event(dg.AssetKey("revenue_by_day"))
        materialization = None if event is None else event.asset_materialization
        if materialization is None:
            raise RoundError("Asset revenue_by_day was not materialized")
        expected_revenue = sum(file.cents for file in self._dropped.values()) / 100
        for what, found, expected in (
            ("rows of each file", rows, {key: file.rows for key, file in self._dropped.items()}),
            ("ETag of each loaded file", etags, self._landing.etags()),
            ("revenue", revenue, expected_revenue),
            ("revenue in the metadata", materialization.metadata["revenue"].value, revenue),
        ):
            if found != expected:
                raise RoundError(f"{what.capitalize()}: {found} instead of {expected}")
        self._say(
            f"warehouse: {sum(rows.values()):,} orders of {len(rows)} files, "
            f"{revenue:,.2f} of revenue in {days} days, as dropped"
        )

    def _runs(self, which: dg.RunsFilter) -> list[dg.DagsterRun]:
        return [record.dagster_run for record in self._instance.get_run_records(which)]

    def _all_succeeded(self, which: dg.RunsFilter) -> bool:
        runs = self._runs(which)
        for run in runs:
            if run.status in _ENDED_BADLY:
                raise RoundError(
                    f"Run {run.run_id} of {run.job_name} ended as {run.status.value}. "
                    f"The daemon's log ends:\n{tail(self._log)}"
                )
        return bool(runs) and all(run.status == DagsterRunStatus.SUCCESS for run in runs)

    def _wait(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _STEP_SECONDS
        while not condition():
            if not self._is_daemon_alive():
                raise RoundError(f"The daemon ended. Its log ends:\n{tail(self._log)}")
            if time.monotonic() > deadline:
                raise RoundError(
                    f"Waited {_STEP_SECONDS:.0f} s for {what}. "
                    f"The daemon's log ends:\n{tail(self._log)}"
                )
            time.sleep(_PAUSE_SECONDS)

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", flush=True)


def _files_of(run: dg.DagsterRun) -> list[dict[str, str]]:
    config: Any = run.run_config
    files: list[dict[str, str]] = config["resources"]["batch"]["config"]["files"]
    return files
