"""Random histories of the real sensor: its listing over HTTP, its runs, ticks and resets on disk.

What the daemon does is done here in its place, so that a tick can be lost at each point of it:
before its row is written, after some of its runs, and before its cursor is stored. A small bound
makes the rare common: the digest tells 12 changes apart, and bursts have 60 files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from random import Random
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)

from dagster_s3inc import BatchPolicy, S3Batch, build_s3_incremental_sensor, build_s3_reset_job
from dagster_s3inc.core.cursor_format import decode_checkpoint
from dagster_s3inc.core.late_files import Ledger
from dagster_s3inc.dagster_internals import RUN_KEY_TAG, SensorAddress, SensorState
from dagster_s3inc.errors import ResetError
from dagster_s3inc.runs.ledger import InstanceLedger, LedgerCache
from dagster_s3inc.runs.run_requests import REPEATS_TAG
from dagster_s3inc.sensor import incremental_sensor_of
from tests.bursts.bucket import Version
from tests.bursts.deployment import versions_of
from tests.bursts.judge import Judge
from tests.bursts.scenarios import PREFIX, Stage
from tests.bursts.server import Server, running_server

LOCATION = RegisteredCodeLocationOrigin("tests")
QUIET_TICKS = 6

numbers = count()


@dg.op
def nothing(batch: S3Batch) -> None:
    """Does nothing."""


@dg.job
def ingest() -> None:
    nothing()


class Killed(Exception):  # noqa: N818 # what happens, not what is wrong
    """The daemon does nothing more in this tick."""


class History:
    """A bucket, a sensor of it in an instance, and what happens to both."""

    def __init__(self, instance: dg.DagsterInstance, server: Server, seed: int) -> None:
        self.instance, self.server = instance, server
        self.random = Random(seed)  # noqa: S311 # the same each time
        self.bucket = server.new_bucket()
        self.stage = Stage(server, self.bucket, str(seed))
        self.judge = Judge(self.bucket)
        self.client = server.client()
        self.name = f"landing_{next(numbers)}"
        repository = RemoteRepositoryOrigin(LOCATION, "repository")
        self.origin = repository.get_instigator_origin(self.name)
        instance.add_instigator_state(
            InstigatorState(
                self.origin,
                InstigatorType.SENSOR,
                InstigatorStatus.RUNNING,
                SensorInstigatorData(),
            )
        )
        state = SensorState(instance, SensorAddress(self.name, None))
        self.address = state.address._replace(repository="repository@tests")
        self.overwritten: list[str] = []
        self.cursors: list[str] = []
        self.counts: Counter[str] = Counter()
        self.is_whole = True
        self.is_quiet = self.is_reprocessing = False
        self.emitted: set[Version] = set()
        self.by_ledger = False
        self.number = 0
        self.start_process()

    # What happens.

    def start_process(self) -> None:
        """A new code server: nothing is remembered."""
        self.sensor = build_s3_incremental_sensor(
            name=self.name,
            uri=f"s3://{self.bucket.name}/{PREFIX}",
            job=ingest,
            batch=BatchPolicy(max_files=self.random.choice((7, 20))),
            # All that is new: what is deleted while it waits is missed, and the judge cannot know.
            max_batches_per_tick=200,
            late_file_capacity=12,
            lookback=timedelta(minutes=1),
        )
        built = incremental_sensor_of(self.sensor)
        assert built is not None
        scan = built.scanner.scan

        def watched(*args: Any, **options: Any) -> Any:
            found = scan(*args, **options)
            self.is_reprocessing = found.result.statistics.reprocess is not None
            self.by_ledger |= found.result.statistics.decided_by == "ledger"
            return found

        built.scanner.scan = watched  # type: ignore[method-assign]

    def change(self) -> None:
        """Something happens to the bucket."""
        random, stage, minute = self.random, self.stage, timedelta(minutes=1)
        keys = sorted(self.bucket.oldest(len(self.bucket)))
        what = random.choice(("new", "burst", "late", "wave", "over", "back", "gone", "expire"))
        if what in ("new", "late"):
            stage.put(random.randint(1, 5), since=60 * minute if what == "late" else minute / 60)
        elif what in ("burst", "wave"):
            stage.put(60, since=timedelta(0) if what == "burst" else 60 * minute)
        elif what == "over" and keys:
            for key in random.sample(keys, min(len(keys), 10)):
                stage.overwrite(key)
                self.overwritten.append(key)
        elif what == "back" and self.overwritten:
            key = self.overwritten.pop(random.randrange(len(self.overwritten)))
            self.bucket.roll_back([key])
        elif what in ("gone", "expire") and keys:
            some = random.sample(keys, min(len(keys), 3))
            gone = set(self.bucket.oldest(len(keys) // 3) if what == "expire" else some)
            self.bucket.remove(gone)
            self.overwritten = [key for key in self.overwritten if key not in gone]
        self.counts[what] += 1

    def reset(self, what: str) -> None:
        fields = {"what": what, **({"prefix": f"{PREFIX}0"} if what == "matching" else {})}
        job = build_s3_reset_job(sensor=self.sensor)
        try:
            job.execute_in_process(
                {"ops": {f"reset_{self.name}_checkpoint": {"config": fields}}},
                instance=self.instance,
                resources={"s3": None},
            )
        except ResetError:
            # Nothing is known yet.
            return
        if what == "everything":
            self.judge.start_over()
            self.is_whole = True
        self.counts[f"reset {what}"] += 1

    def set_back(self) -> None:
        self.store(cursor=self.random.choice(self.cursors[-4:]))
        self.is_whole = False
        self.counts["set back"] += 1

    # What the daemon does.

    def tick(self, *, lost: bool = False) -> None:
        """One tick; where it is lost, the daemon is killed somewhere in it."""
        self.number += 1
        self.server.now += timedelta(seconds=self.random.choice((1, 20, 60, 300)))
        self.bucket.served.clear()
        self.is_reprocessing = False
        emitted: list[Version] = []
        try:
            self._run(emitted, lost)
        except Killed:
            self.counts["lost"] += 1
            if not emitted:
                # Decided anew: nobody knows of this scan.
                self.bucket.served.clear()
        if self.is_reprocessing:
            # It did not ask what is new.
            self.bucket.served.clear()
        self.emitted.update(emitted)
        self.judge.tick(self.number, self.bucket.served, emitted)

    def _run(self, emitted: list[Version], lost: bool) -> None:
        data = self.state.instigator_data
        assert isinstance(data, SensorInstigatorData)
        tick = self.instance.create_tick(
            TickData(
                self.origin.get_id(),
                self.name,
                InstigatorType.SENSOR,
                TickStatus.STARTED,
                self.server.now.timestamp() + self.number,
                selector_id=self.address.scope,
            )
        )
        context = dg.SensorEvaluationContext(
            instance_ref=None,
            last_tick_completion_time=data.last_tick_timestamp,
            last_run_key=data.last_run_key,
            cursor=data.cursor,
            log_key=None,
            repository_name="repository",
            instance=self.instance,
            sensor_name=self.name,
            resources={"s3": dg.ResourceDefinition.hardcoded_resource(self.client)},
            code_location_origin=LOCATION,
        )
        with context:
            result = self.sensor.evaluate_tick(context)
        requests = list(result.run_requests or ())
        ends_at = self.random.randrange(-1, len(requests) + 1) if lost else None
        if ends_at == -1:
            self.instance.update_tick(tick.with_status(TickStatus.SKIPPED))
            raise Killed
        tick = tick.with_run_requests(requests, cursor=result.cursor)
        for number, request in enumerate(requests):
            if number == ends_at:
                break
            self._submit(request, emitted)
        is_done = ends_at in (None, len(requests)) and bool(requests)
        status = TickStatus.SUCCESS if is_done else TickStatus.SKIPPED
        self.instance.update_tick(tick.with_status(status))
        if lost:
            raise Killed
        self.is_quiet = not requests
        self.store(
            cursor=result.cursor,
            last_tick_timestamp=tick.timestamp,
            **({"last_run_key": requests[-1].run_key} if requests else {}),
        )
        self.cursors.append(result.cursor or "")
        assert len(self.cursors[-1]) <= 32_768

    def _submit(self, request: dg.RunRequest, emitted: list[Version]) -> None:
        assert request.run_key
        tags = {**self.address.run_tags, RUN_KEY_TAG: request.run_key}
        if self.instance.get_run_ids(dg.RunsFilter(tags=tags)):
            return
        failed = self.random.random() < 0.1
        self.instance.add_run(
            dg.DagsterRun(
                "ingest",
                run_config=request.run_config,
                tags={**request.tags, **tags},
                status=DagsterRunStatus.FAILURE if failed else DagsterRunStatus.SUCCESS,
            )
        )
        if REPEATS_TAG not in request.tags:
            emitted.extend(versions_of(request.run_config))

    @property
    def state(self) -> InstigatorState:
        found = self.instance.get_instigator_state(self.origin.get_id(), str(self.address.scope))
        assert found is not None
        return found

    def store(self, **fields: Any) -> None:
        data: Any = self.state.instigator_data
        self.instance.update_instigator_state(self.state.with_data(data._replace(**fields)))

    # The end.

    def settle(self) -> None:
        """Nothing happens any more until nothing is requested any more."""
        quiet = 0
        for _ in range(200):
            self.tick()
            quiet = quiet + 1 if self.is_quiet else 0
            if quiet == QUIET_TICKS:
                return
        raise AssertionError("It never comes to rest")

    def check(self, *, twice: bool) -> None:
        lost = self.judge.lost()
        if self.by_ledger:
            # What came back may count as emitted where a whole ledger decides.
            lost = [each for each in lost if each[1] not in self.emitted]
        assert not lost, [str(each) for each in lost[:3]]
        assert not twice or not self.judge.twice(), [str(each) for each in self.judge.twice()[:3]]
        checkpoint = decode_checkpoint(self.cursors[-1])
        if not self.is_whole:
            return
        assert checkpoint.undecided == 0
        ledger = InstanceLedger(self.instance, self.address, LedgerCache())
        found = ledger(checkpoint.generation, checkpoint.sequence)
        assert isinstance(found, Ledger)
        assert found.total == checkpoint.total


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as opened:
        yield opened


def play(instance: dg.DagsterInstance, server: Server, seed: int, *, sets_back: bool) -> None:
    history = History(instance, server, seed)
    random = history.random
    for _ in range(25):
        for _ in range(random.choice((0, 1, 1, 2))):
            history.change()
        if random.random() < 0.3:
            history.start_process()
        if random.random() < 0.06:
            history.reset(random.choice(("everything", "matching", "failed")))
        if sets_back and history.cursors and random.random() < 0.06:
            history.set_back()
        history.tick(lost=random.random() < 0.2)
    history.settle()
    if sets_back and decode_checkpoint(history.cursors[-1]).undecided:
        # The ledger cannot be whole, and the digest cannot tell: that was said.
        history.reset("everything")
        history.settle()
    history.check(twice=not sets_back)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_lost_nothing_twice(
    instance: dg.DagsterInstance, server: Server, seed: int
) -> None:
    """Each showing of a version is emitted once, and the runs add up to the cursor's total."""
    play(instance, server, seed, sets_back=False)


@pytest.mark.parametrize("seed", range(100, 102))
def test_nothing_lost_when_cursors_are_set_back(
    instance: dg.DagsterInstance, server: Server, seed: int
) -> None:
    """Nothing is lost either where people paste older cursors."""
    play(instance, server, seed, sets_back=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1_000, 1_060))
def test_many_histories(instance: dg.DagsterInstance, server: Server, seed: int) -> None:
    """The same, sixty times more."""
    play(instance, server, seed, sets_back=seed % 3 == 0)
