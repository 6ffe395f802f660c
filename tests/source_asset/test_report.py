"""What ticks report to the source asset, evaluated as Dagster's testing guide does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from dagster_s3inc import BatchPolicy, build_s3_incremental_sensor, build_s3_source_asset
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.cursor_format import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.filters import Selection
from dagster_s3inc.core.late_files import LedgerProgress, Undecided
from dagster_s3inc.core.scan import ScanResult, scan
from dagster_s3inc.runs.run_requests import SKIPPED_TAG
from dagster_s3inc.source_asset.evaluations import evaluate_late_files, is_news
from tests.servers import S3Server, backdate

FILES = dg.AssetKey("landing_files")
MINUTES = timedelta(minutes=1)


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    return new_bucket(moto)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


@pytest.fixture
def put(moto: S3Server, bucket: str) -> Callable[..., None]:
    client = moto.client()

    def put_each(*keys: str, minutes: int = 0) -> None:
        for key in keys:
            client.put_object(Bucket=bucket, Key=key, Body=b"xyz")
            if minutes:
                backdate(bucket, key, datetime.now(timezone.utc) - minutes * MINUTES)

    return put_each


class Ticks:
    """Evaluates a sensor tick after tick, and stores its events as the daemon does."""

    def __init__(self, bucket: str, moto: S3Server, instance: dg.DagsterInstance) -> None:
        self.uri, self.resource, self.instance = f"s3://{bucket}/in/", moto.resource(), instance
        self.cursor: str | None = None
        self.runs: list[dg.DagsterRun] = []
        # None: what is requested is not launched.
        self.status: dg.DagsterRunStatus | None = dg.DagsterRunStatus.SUCCESS

    def evaluate(self, **options: Any) -> Any:
        sensor = build_s3_incremental_sensor(
            name="landing", uri=self.uri, job_name="ingest", source_asset=FILES, **options
        )
        context = dg.build_sensor_context(
            cursor=self.cursor, resources={"s3": self.resource}, instance=self.instance
        )
        return sensor(context)

    def tick(self, **options: Any) -> list[Any]:
        result = self.evaluate(**options)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursor = result.cursor
        self.runs += [
            create_run_for_test(
                self.instance,
                job_name="ingest",
                status=self.status,
                tags={**each.tags, "dagster/sensor_name": "landing"},
                run_config=each.run_config,
            )
            for each in result.run_requests or ()
            if self.status is not None
        ]
        return list(result.asset_events)

    def quiet(self, **options: Any) -> list[Any]:
        """Ticks until what was requested is reported to be done; gives the last tick's events."""
        self.tick(**options)
        return self.tick(**options)


@pytest.fixture
def ticks(bucket: str, moto: S3Server, instance: dg.DagsterInstance) -> Ticks:
    return Ticks(bucket, moto, instance)


def values(event: Any) -> dict[str, Any]:
    return {name: each.value for name, each in event.metadata.items() if name != "batches"}


def records(event: Any) -> list[Any]:
    return [each.data for each in event.metadata["batches"].records]


def observed(events: list[Any]) -> dict[str, Any]:
    """The numbers of the observation among a tick's events."""
    [event] = [each for each in events if isinstance(each, dg.AssetObservation)]
    return values(event)


def checks(events: list[Any]) -> dict[str, Any]:
    return {each.check_name: each for each in events if isinstance(each, dg.AssetCheckEvaluation)}


def test_requested_files_are_a_materialization(ticks: Ticks, put: Any) -> None:
    """A tick that requests files reports its numbers, its batches, and links to their runs."""
    put("in/a", minutes=9)
    put("in/b", minutes=8)
    put("in/c", minutes=7)
    put("in/d", minutes=6)
    events = ticks.tick(batch=BatchPolicy(max_files=2), max_batches_per_tick=1)
    event = events[0]
    assert isinstance(event, dg.AssetMaterialization)
    assert event.asset_key == FILES
    assert "2 files (6 bytes) in 1 batch" in (event.description or "")
    numbers = values(event)
    assert (numbers["files requested"], numbers["bytes requested"], numbers["objects listed"]) == (
        2,
        6,
        4,
    )
    state = observed(events)
    assert (state["files waiting"], state["bytes waiting"]) == (2, 6)
    assert (state["files queued"], state["batches queued"]) == (2, 1)
    assert state["backlog seconds"] > 8 * 60
    assert "files waiting" not in numbers
    assert numbers["generation"] == 1
    assert {"seconds", "LIST requests", "bytes listed"} <= numbers.keys()
    [batch] = records(event)
    assert (batch["first_key"], batch["last_key"], batch["files"]) == ("in/a", "in/b", 2)
    link = f"1. [{batch['batch_id']}](../runs?q%5B0%5D=tag%3Adagster%2Fs3inc%2Fbatch_id%3D"
    assert numbers["runs of the batches"] == f"{link}{batch['batch_id']})"


def test_nothing_new_reports_nothing(ticks: Ticks, put: Any) -> None:
    """A tick in which nothing has changed adds nothing to the event log."""
    put("in/a")
    assert ticks.tick()
    [event] = ticks.tick()
    assert isinstance(event, dg.AssetObservation)
    assert values(event)["files done"] == 1
    assert ticks.tick() == []


def test_deletion_is_an_observation(ticks: Ticks, put: Any, moto: S3Server, bucket: str) -> None:
    """A tick that requests nothing, but finds a file gone, observes: nothing downstream runs."""
    put("in/a", "in/b")
    ticks.tick()
    moto.client().delete_object(Bucket=bucket, Key="in/a")
    [event] = ticks.tick()
    assert isinstance(event, dg.AssetObservation)
    assert (values(event)["files gone"], values(event)["objects listed"]) == (1, 1)
    assert ticks.tick() == []


def test_late_file_is_reported_twice(ticks: Ticks, put: Any) -> None:
    """A file below the watermark is reported when it is found, and when it is requested."""
    put("in/a", minutes=20)
    ticks.tick(lookback=5 * MINUTES)
    put("in/late", minutes=30)
    [event] = ticks.tick(lookback=5 * MINUTES)
    assert values(event)["files found late"] == 1
    [event, *_] = ticks.tick(lookback=5 * MINUTES)
    assert values(event)["files late"] == 1


def test_report_that_comes_twice_is_recognisable(ticks: Ticks, put: Any) -> None:
    """The same request has the same report id, which is the data version; another has not."""
    put("in/a")
    reports = [ticks.evaluate().asset_events[0] for _ in range(2)]
    [same] = {values(each)["report id"] for each in reports}
    assert reports[0].tags == {"dagster/data_version": same}
    ticks.tick()
    put("in/b")
    assert values(ticks.evaluate().asset_events[0])["report id"] != same


def test_evaluation_writes_nothing(ticks: Ticks, put: Any, instance: dg.DagsterInstance) -> None:
    """Events are in the result alone: the page's dry run is harmless."""
    put("in/a")
    assert ticks.evaluate().asset_events
    assert instance.fetch_materializations(FILES, limit=1).records == []


def test_many_batches_are_shown_in_part(ticks: Ticks, put: Any) -> None:
    """Of very many batches some are shown, and it is said how many are not."""
    put(*(f"in/{number:03}" for number in range(101)))
    one = BatchPolicy(max_files=1)
    [event, *_] = ticks.tick(batch=one, max_batches_per_tick=200)
    assert len(records(event)) == 100
    assert values(event)["batches not shown"] == 1


def test_unpartitioned_files_are_reported_once(ticks: Ticks, put: Any) -> None:
    """Files that are in no group are observed when their number changes, not tick by tick."""
    options: dict[str, Any] = {"group_by": r"dt=(?P<day>[^/]+)/"}
    put("in/x")
    found = ticks.tick(**options)
    assert observed(found)["files unpartitioned"] == 1
    assert "in no group" in (found[0].description or "")
    check = checks(found)["files_partitioned"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "in/x" in check.description
    assert ticks.tick(**options) == []
    put("in/y")
    found = ticks.tick(**options)
    assert observed(found)["files unpartitioned"] == 2
    assert not checks(found)["files_partitioned"].passed


def test_unpartitioned_files_that_went_pass_the_check(
    ticks: Ticks, put: Any, moto: S3Server, bucket: str
) -> None:
    """The check passes once every file has a group, and the number falls to zero, once."""
    options: dict[str, Any] = {"group_by": r"dt=(?P<day>[^/]+)/"}
    put("in/x")
    ticks.tick(**options)
    moto.client().delete_object(Bucket=bucket, Key="in/x")
    found = ticks.tick(**options)
    assert observed(found)["files unpartitioned"] == 0
    assert checks(found)["files_partitioned"].passed
    assert ticks.tick(**options) == []


UNDECIDED: dict[str, Any] = {"late_file_capacity": 12, "lookback": timedelta(0)}


def test_late_files_check(ticks: Ticks, put: Any) -> None:
    """The check fails while files are undecided, names the ways out, and passes after a reset."""
    ticks.status = None
    put(*(f"in/{number}" for number in range(40)), minutes=1440)
    assert checks(ticks.tick(**UNDECIDED))["late_files_decided"].passed
    # No process remembers, the runs are not there, and these are too many for the digest.
    put(*(f"in/late{number}" for number in range(60)), minutes=2880)
    failed = checks(ticks.tick(**UNDECIDED))["late_files_decided"]
    assert (failed.passed, failed.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "accept_listed" in failed.description
    assert "matching" in failed.description
    assert values(failed)["files undecided"] >= 60
    # With so few cells the estimate is rough.
    assert values(failed)["appeared, about"] >= 30
    assert checks(ticks.tick(**UNDECIDED)) == {}
    put("in/new")
    found = ticks.tick(**UNDECIDED)
    event, again = found[0], checks(found)["late_files_decided"]
    assert values(event)["files requested"] == 1
    assert observed(found)["files undecided"] == values(failed)["files undecided"]
    assert not again.passed
    ticks.cursor = encode_checkpoint(decode_checkpoint(ticks.cursor or "").restarted())
    assert checks(ticks.tick(**UNDECIDED))["late_files_decided"].passed


def result_of(undecided: Undecided | None, at_most: int) -> ScanResult:
    """A scan that found nothing but this."""
    result = scan(Checkpoint(), [], now=datetime.now(timezone.utc), selection=Selection())
    return replace(
        result,
        checkpoint=replace(result.checkpoint, undecided=at_most),
        statistics=replace(result.statistics, undecided=undecided),
    )


def test_reading_the_runs_is_a_warning() -> None:
    """While the runs are being read the check warns, with the progress, and once."""
    progress = LedgerProgress(runs=10_000, runs_read=2_500)
    undecided = Undecided(
        listed=90, appeared=60, gone=0, margin=10, why="reading", progress=progress
    )
    result = result_of(undecided, 70)
    found = evaluate_late_files(FILES, result, last=None)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "2,500" in (found.description or "")
    assert "10,000" in (found.description or "")
    later = undecided._replace(progress=LedgerProgress(runs=10_000, runs_read=5_000))
    assert not is_news(evaluate_late_files(FILES, result_of(later, 70), last=found), found)
    not_whole = undecided._replace(why="not whole", progress=None)
    failed = evaluate_late_files(FILES, result_of(not_whole, 70), last=None)
    assert failed.severity == dg.AssetCheckSeverity.ERROR
    assert is_news(failed, found)


def test_scan_that_says_nothing_of_undecided_files_repeats_the_last() -> None:
    """A tick that did not come to the listing's end leaves the check as it is."""
    before = evaluate_late_files(FILES, result_of(None, 0), last=None)
    assert before.passed
    unknown = evaluate_late_files(FILES, result_of(None, 70), last=before)
    assert (unknown.passed, unknown.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "Of at most 70 files" in (unknown.description or "")
    assert evaluate_late_files(FILES, result_of(None, 70), last=unknown) is unknown
    assert evaluate_late_files(FILES, result_of(None, 0), last=unknown).passed


def test_backlog_check(ticks: Ticks, put: Any) -> None:
    """The check warns while a file waits that is too old, and is reported when that changes."""
    options: dict[str, Any] = {
        "batch": BatchPolicy(max_files=1),
        "max_batches_per_tick": 1,
        "max_backlog_age": 500 * MINUTES,
    }
    put("in/a", minutes=900)
    put("in/b", minutes=800)
    put("in/c", minutes=100)
    first = checks(ticks.tick(**options))["backlog_age"]
    assert (first.passed, first.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "2 files (6 bytes) wait" in first.description
    assert "raise max_batches_per_tick" in first.description
    # The second is requested now, but its run has not begun.
    assert not checks(ticks.tick(**options))["backlog_age"].passed
    assert checks(ticks.tick(**options))["backlog_age"].passed
    assert checks(ticks.tick(**options))["backlog_age"].description.startswith("No file waits")


def test_backlog_that_lingers_is_reported_as_it_becomes_too_old(ticks: Ticks, put: Any) -> None:
    """A tick that requests nothing evaluates the check only where its result changes."""
    options: dict[str, Any] = {"batch": BatchPolicy(linger=6000 * MINUTES)}
    put("in/a", minutes=1000)
    found = [
        checks(ticks.tick(max_backlog_age=age * MINUTES, **options)).get("backlog_age")
        for age in (3000, 3000, 500, 500)
    ]
    assert [each and each.passed for each in found] == [True, None, False, None]


@dg.asset(deps=[FILES], automation_condition=dg.AutomationCondition.eager())
def eager() -> None:
    """Looks at the prefix by itself, whenever something came in."""


@dg.asset(
    deps=[FILES],
    automation_condition=dg.AutomationCondition.eager().ignore(dg.AssetSelection.assets(FILES)),
)
def launched_by_the_sensor() -> None:
    """Leaves to the sensor when it runs."""


def test_automation_reacts_to_what_came_in(
    ticks: Ticks, put: Any, moto: S3Server, bucket: str, instance: dg.DagsterInstance
) -> None:
    """Dagster's automation sees files that came in, unless told to ignore the source."""
    source = build_s3_source_asset(key=FILES, uri="s3://bucket/in/")
    definitions = dg.Definitions(assets=[source, eager, launched_by_the_sensor])
    for each in (eager, launched_by_the_sensor):
        instance.report_runless_asset_event(dg.AssetMaterialization(each.key))

    def requested(cursor: Any = None) -> Any:
        result = dg.evaluate_automation_conditions(definitions, instance, cursor=cursor)
        return {
            each
            for each in (eager.key, launched_by_the_sensor.key)
            if result.get_num_requested(each)
        }, result.cursor

    _, cursor = requested()
    put("in/a", "in/b")
    ticks.tick()
    found, cursor = requested(cursor)
    assert found == {eager.key}
    moto.client().delete_object(Bucket=bucket, Key="in/a")
    [observation] = ticks.tick()
    assert isinstance(observation, dg.AssetObservation)
    found, cursor = requested(cursor)
    assert found == set()


def test_what_becomes_of_batches_is_told(
    ticks: Ticks, put: Any, instance: dg.DagsterInstance
) -> None:
    """A tick tells what is queued, and a later one what ran, failed or was done, and then no more.

    Numbers that are zero are left out, but for those that have just become zero.
    """
    ticks.status = dg.DagsterRunStatus.STARTED
    put("in/a", "in/b", "in/c")
    options: dict[str, Any] = {"batch": BatchPolicy(max_files=1), "max_batches_per_tick": 2}
    first = ticks.tick(**options)[1]
    states = ("waiting", "queued", "running", "failed", "skipped", "done")

    def told(event: Any) -> dict[str, int]:
        numbers = values(event)
        return {each: numbers[f"files {each}"] for each in states if f"files {each}" in numbers}

    assert told(first) == {"waiting": 1, "queued": 2}
    assert values(first)["batches queued"] == 2
    second = ticks.tick(**options)[1]
    assert told(second) == {"waiting": 0, "queued": 1, "running": 2}
    third = ticks.tick(**options)[0]
    assert isinstance(third, dg.AssetObservation)
    assert told(third) == {"queued": 0, "running": 3}
    assert "3 files in 3 batches running" in (third.description or "")
    assert ticks.tick(**options) == []
    instance.report_run_failed(ticks.runs[0])
    found = ticks.tick(**options)
    assert told(found[0]) == {"failed": 1, "running": 2}
    assert found[0].metadata["failed run"] == dg.MetadataValue.dagster_run(ticks.runs[0].run_id)
    assert next(iter(found[0].metadata)) == "failed run"
    assert ticks.tick(**options) == []


def test_failed_batch_is_a_warning_where_it_is_passed_over(
    ticks: Ticks, put: Any, instance: dg.DagsterInstance
) -> None:
    """The check names the run, the files and what to do; it passes once it is skipped."""
    ticks.status = dg.DagsterRunStatus.FAILURE
    put("in/a", "in/b")
    assert checks(ticks.tick())["batches_failed"].passed
    failed = checks(ticks.tick())["batches_failed"]
    assert (failed.passed, failed.severity) == (False, dg.AssetCheckSeverity.WARN)
    [run] = ticks.runs
    for words in (f"(run {run.run_id})", "2 files are not processed", "what: failed"):
        assert words in failed.description
    assert values(failed)["batches failed"] == 1
    assert failed.metadata["failed run"] == dg.MetadataValue.dagster_run(run.run_id)
    assert ticks.tick() == []
    instance.add_run_tags(run.run_id, {SKIPPED_TAG: "yes"})
    skipped = checks(ticks.tick())["batches_failed"]
    assert (skipped.passed, values(skipped)["batches skipped"]) == (True, 1)
    assert "1 failed batch was skipped" in skipped.description


def test_failed_batch_is_an_error_where_it_halts(
    ticks: Ticks, put: Any, instance: dg.DagsterInstance
) -> None:
    """It is an error while nobody repairs it, a warning while a run tries, and then passes."""
    ticks.status = dg.DagsterRunStatus.FAILURE
    put("in/a")
    ticks.tick(on_failure="halt")
    put("in/b")
    found = ticks.tick(on_failure="halt")
    halted = checks(found)["batches_failed"]
    assert (halted.passed, halted.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert halted.description.startswith("Halted: batch ")
    assert ticks.runs[0].run_id in halted.description
    assert "re-execution" in halted.description
    # The tick's own words begin with it, too: a page shows the beginning.
    assert found[0].description.startswith("Halted: batch ")
    again = create_run_for_test(
        instance,
        job_name="ingest",
        status=dg.DagsterRunStatus.STARTED,
        tags=ticks.runs[0].tags,
        run_config=ticks.runs[0].run_config,
    )
    tried = checks(ticks.tick(on_failure="halt"))["batches_failed"]
    assert (tried.passed, tried.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert again.run_id in tried.description
    create_run_for_test(
        instance,
        job_name="ingest",
        status=dg.DagsterRunStatus.SUCCESS,
        tags=ticks.runs[0].tags,
        run_config=ticks.runs[0].run_config,
    )
    assert checks(ticks.tick(on_failure="halt"))["batches_failed"].passed
    assert len(ticks.runs) == 2


def test_queued_files_are_a_backlog(ticks: Ticks, put: Any) -> None:
    """A file that was requested long ago, and whose run has not begun, waits too."""
    ticks.status = dg.DagsterRunStatus.NOT_STARTED
    put("in/a", minutes=900)
    options: dict[str, Any] = {"max_backlog_age": 500 * MINUTES}
    queued = checks(ticks.tick(**options))["backlog_age"]
    assert not queued.passed
    assert "1 file in 1 batch is queued" in queued.description


@dg.job
def quiet_job() -> None:
    """Never launched."""


def test_quiet_ticks_keep_the_asset_fresh(
    ticks: Ticks, put: Any, moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default a tick reports at least once an hour, with the data version of the last report.

    With a policy of the user's own, which says how often files come in, none does.
    """

    def tick(**asset: Any) -> list[Any]:
        source = build_s3_source_asset(key=FILES, uri=ticks.uri, **asset)
        sensor = build_s3_incremental_sensor(
            name="landing",
            uri=ticks.uri,
            job=quiet_job,
            allow_unread_batches=True,
            source_asset=source,
        )
        definitions = dg.Definitions(assets=[source], jobs=[quiet_job], sensors=[sensor])
        context = dg.build_sensor_context(
            cursor=ticks.cursor,
            resources={"s3": ticks.resource},
            instance=ticks.instance,
            definitions=definitions,
        )
        result: Any = sensor(context)
        ticks.cursor = result.cursor
        for each in result.asset_events:
            ticks.instance.report_runless_asset_event(each)
        return list(result.asset_events)

    put("in/a")
    first = tick()[0]
    tick()
    assert tick() == []
    later = time.time() + 3_700
    monkeypatch.setattr("dagster_s3inc.source_asset.report.time.time", lambda: later)
    assert tick(freshness_policy=None) == []
    week = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=7))
    assert tick(freshness_policy=week) == []
    quiet = tick()[0]
    assert isinstance(quiet, dg.AssetMaterialization)
    assert quiet.tags == first.tags
    assert "files requested" not in quiet.metadata
