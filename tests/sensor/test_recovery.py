from __future__ import annotations

from collections.abc import Iterator, Sequence

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import InstigatorTick, TickData, TickStatus
from dagster._core.test_utils import create_run_for_test
from dagster._utils.error import SerializableErrorInfo

from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.runs.run_requests import BATCH_ID_TAG
from dagster_s3inc.sensor.recovery import Decision, Stored, lost_decision

ADDRESS = SensorAddress("landing", "scope", "repository@location")
STARTED, SUCCESS = TickStatus.STARTED, TickStatus.SUCCESS
SKIPPED, FAILURE = TickStatus.SKIPPED, TickStatus.FAILURE
REQUESTS = tuple(dg.RunRequest(run_key=f"1:7:{name}") for name in "abc")
A, B, C = REQUESTS


@pytest.fixture(scope="module")
def instances() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as opened:
        yield opened


class History:
    """The ticks of a sensor, and the runs that they requested."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.moment = 1_000.0

    def tick(
        self,
        status: TickStatus,
        cursor: str | None = None,
        requests: Sequence[dg.RunRequest] = (),
        scope: str = "scope",
        error: str | None = None,
    ) -> InstigatorTick:
        self.moment += 1
        data = TickData(
            instigator_origin_id="origin",
            instigator_name="landing",
            instigator_type=InstigatorType.SENSOR,
            status=status,
            timestamp=self.moment,
            selector_id=scope,
            cursor=cursor,
            run_requests=requests or None,
            run_ids=[],
            error=SerializableErrorInfo("It failed", [], error) if status == FAILURE else None,
        )
        return self.instance.create_tick(data)

    def run(
        self,
        key: str,
        status: DagsterRunStatus = DagsterRunStatus.STARTED,
        sensor: str = "landing",
    ) -> None:
        tags = {
            "dagster/run_key": key,
            "dagster/sensor_name": sensor,
            ".dagster/repository": "repository@location",
            BATCH_ID_TAG: key.split(":")[2],
        }
        create_run_for_test(self.instance, tags=tags, status=status)

    def lost(
        self,
        last_run_key: str | None = "1:7:0",
        cursor: str | None = "before",
        last_tick: float | None = None,
    ) -> Decision | None:
        """What a tick finds that begins now."""
        now = self.tick(STARTED)
        found = lost_decision(self.instance, ADDRESS, Stored(cursor, last_run_key, last_tick))
        self.instance.update_tick(now.with_status(SKIPPED))
        return found


@pytest.fixture
def history(instances: dg.DagsterInstance) -> History:
    instances.wipe()
    instances.schedule_storage.wipe()
    return History(instances)


def test_stored_decisions_are_not_lost(history: History) -> None:
    """The run key that Dagster stores with the cursor tells that the cursor is stored."""
    assert history.lost(None) is None
    history.tick(SKIPPED, "nothing new")
    assert history.lost(None) is None
    history.tick(SUCCESS, "cursor", REQUESTS)
    assert history.lost("1:7:c") is None
    history.tick(SKIPPED, "nothing new")
    history.tick(FAILURE)
    assert history.lost("1:7:c") is None


@pytest.mark.parametrize("later", [0, 1, 150])
def test_ended_tick_whose_cursor_was_not_stored(history: History, later: int) -> None:
    """It is found, however many ticks have failed or were killed since."""
    history.tick(SUCCESS, "cursor", REQUESTS)
    for _ in range(later):
        history.tick(FAILURE)
        history.tick(STARTED)
    assert history.lost() == Decision("cursor", C)
    assert history.lost(None) == Decision("cursor", C)
    history.tick(SUCCESS, "later cursor", REQUESTS[:1])
    assert history.lost() == Decision("later cursor", A)


@pytest.mark.parametrize("edited", [False, True])
def test_tick_that_went_on_from_a_lost_decision(history: History, edited: bool) -> None:
    """What it stored counts, though it requested no runs, and what somebody stores then."""
    history.tick(SUCCESS, "cursor", REQUESTS)
    quiet = history.tick(SKIPPED, "later cursor")
    assert (
        history.lost(cursor="edited" if edited else "later cursor", last_tick=quiet.timestamp)
        is None
    )
    failed = history.tick(FAILURE)
    assert history.lost(cursor="later cursor", last_tick=failed.timestamp) is None
    history.tick(SKIPPED, "lost as well")
    assert history.lost(last_tick=failed.timestamp) == Decision("cursor", C)


def test_dry_run_starts_from_the_cursor_given(history: History) -> None:
    """An evaluation that belongs to no tick looks at none."""
    history.tick(SUCCESS, "cursor", REQUESTS)
    stored = Stored("before", "1:7:0", None)
    assert lost_decision(history.instance, ADDRESS, stored) is None
    assert lost_decision(history.instance, ADDRESS._replace(scope=None), stored) is None


@pytest.mark.parametrize("status", [FAILURE, SKIPPED])
def test_tick_that_could_not_submit_all(history: History, status: TickStatus) -> None:
    """Its rest is left to be requested; what was not requested at all may be decided anew."""
    history.tick(status, "cursor", REQUESTS)
    history.run("1:7:a", sensor="another")
    assert history.lost() is None
    history.run("1:7:c")
    assert history.lost() == Decision("cursor", C, (A, B), frozenset({"c"}))
    history.run("1:7:a")
    assert history.lost() == Decision("cursor", C, (B,), frozenset({"a", "c"}))
    history.run("1:7:b")
    assert history.lost() == Decision("cursor", C, (), frozenset("abc"))


def test_requests_that_were_too_large(history: History) -> None:
    """Dagster dropped them, and the cursor says that they were requested: decided anew."""
    history.tick(FAILURE, "cursor", REQUESTS[:1], error="DagsterRunTooLargeError")
    history.run("1:7:a")
    assert history.lost() is None


def test_run_that_was_not_launched(history: History) -> None:
    """It is requested again, by which Dagster launches it."""
    history.tick(SKIPPED, "cursor", REQUESTS[:1])
    history.run("1:7:a", DagsterRunStatus.NOT_STARTED)
    assert history.lost() == Decision("cursor", A, (A,))


def test_tick_that_submitted_nothing_hides_no_other(history: History) -> None:
    """What was lost before it is still lost."""
    history.tick(SUCCESS, "cursor", REQUESTS)
    history.tick(FAILURE, "later cursor", [dg.RunRequest(run_key="1:7:d")])
    assert history.lost() == Decision("cursor", C)
    assert history.lost("1:7:c") is None


def test_ticks_of_others_do_not_count(history: History) -> None:
    """A sensor of the same name in another code location has its own."""
    history.tick(SUCCESS, "cursor", REQUESTS, scope="elsewhere")
    assert history.lost() is None
