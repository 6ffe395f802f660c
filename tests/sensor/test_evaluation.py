from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from hashlib import md5
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.run_size import exceeds_run_size_limit
from dagster_aws.s3 import S3Resource

from dagster_s3inc import BatchPolicy, ObjectFilter, S3Batch, build_s3_incremental_sensor
from dagster_s3inc.core.cursor_format import decode_checkpoint
from dagster_s3inc.errors import ConfigurationError, RegionError
from dagster_s3inc.sensor.recovery import Decision
from dagster_s3inc.sensor.start import Start
from tests.servers import S3Server, backdate


@dg.op
def nothing(batch: S3Batch) -> None:
    """Does nothing."""


@dg.job
def ingest() -> None:
    nothing()


@dg.job
def archive() -> None:
    nothing()


@dg.job
def other() -> None:
    nothing()


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    return new_bucket(moto)


@pytest.fixture
def put(moto: S3Server, bucket: str) -> Callable[..., None]:
    client = moto.client()

    def put_each(*keys: str, size: int = 1, **options: Any) -> None:
        for key in keys:
            client.put_object(Bucket=bucket, Key=key, Body=b"x" * size, **options)

    return put_each


@pytest.fixture
def evaluate(moto: S3Server, bucket: str) -> Callable[..., Any]:
    """Evaluates a sensor once on `s3://BUCKET/in/`, as Dagster's testing guide does."""

    def evaluate_once(cursor: str | None = None, **options: Any) -> Any:
        options = {"job": ingest, **options} if not _has_target(options) else options
        sensor = build_s3_incremental_sensor(name="landing", uri=f"s3://{bucket}/in/", **options)
        key = options.get("s3_resource_key", "s3")
        context = dg.build_sensor_context(cursor=cursor, resources={key: moto.resource()})
        return sensor(context)

    return evaluate_once


def _has_target(options: dict[str, Any]) -> bool:
    return bool({"target", "job", "jobs", "job_name", "asset_selection"} & set(options))


def keys_of(result: Any) -> list[list[str]]:
    """The keys in each run request."""
    configs = [request.run_config["resources"] for request in result.run_requests or ()]
    return [[file["key"] for file in one["batch"]["config"]["files"]] for one in configs]


def test_run_request_holds_the_batch(evaluate: Any, put: Any, bucket: str) -> None:
    """A run request carries the batch in its config, and what it is in its tags and key."""
    put("in/a", "in/b", size=7)
    result = evaluate(run_tags={"team": "data"})
    [request] = result.run_requests
    config = request.run_config["resources"]["batch"]["config"]
    first = config["files"][0]
    assert datetime.fromisoformat(first.pop("last_modified").replace("Z", "+00:00"))
    assert first == {
        "key": "in/a",
        "size": 7,
        "etag": md5(b"x" * 7).hexdigest(),  # noqa: S324 # the ETag of S3
        "storage_class": "STANDARD",
    }
    assert config["bucket"] == bucket
    assert request.run_key == f"1:0:{config['batch_id']}"
    assert request.tags == {
        "team": "data",
        "dagster_s3inc/files": "2 (14 bytes)",
        "dagster/s3inc/source": f"s3://{bucket}/in/",
        "dagster/s3inc/generation": "1",
        "dagster/s3inc/sequence": "0",
        "dagster/s3inc/batch_id": config["batch_id"],
        "dagster/s3inc/files": "2",
        "dagster/s3inc/bytes": "14",
    }


def test_cursor_is_the_checkpoint(evaluate: Any, put: Any) -> None:
    """The cursor is a serialized checkpoint; the next evaluation goes on from it."""
    put("in/a")
    first = evaluate()
    assert len(decode_checkpoint(first.cursor).recent) == 1
    put("in/b")
    assert keys_of(evaluate(first.cursor)) == [["in/b"]]
    assert keys_of(evaluate()) == [["in/a", "in/b"]]


def test_evaluation_has_no_side_effects(evaluate: Any, put: Any) -> None:
    """The same cursor gives the same requests: the page's dry run is harmless."""
    put("in/a", "in/b", "in/c")
    policy = BatchPolicy(max_files=2)
    first, second = evaluate(batch=policy), evaluate(batch=policy)
    assert [each.run_key for each in first.run_requests] == [
        each.run_key for each in second.run_requests
    ]
    assert first.cursor == second.cursor


def test_batch_policy_and_tick_limit(evaluate: Any, put: Any) -> None:
    """Batches keep to the policy, and a tick to its number of batches."""
    put("in/a", "in/b", "in/c", size=10)
    assert keys_of(evaluate(batch=BatchPolicy(max_bytes=20))) == [["in/a", "in/b"], ["in/c"]]
    one = evaluate(batch=BatchPolicy(max_files=1), max_batches_per_tick=2)
    assert keys_of(one) == [["in/a"], ["in/b"]]


def test_filter_is_honoured(evaluate: Any, put: Any) -> None:
    """What the filter leaves out is not requested, and the tick says how much it was."""
    put("in/a.csv", "in/a.tmp", "in/2026/b.csv", "in/folder/")
    put("in/cold.csv", StorageClass="GLACIER")
    result = evaluate(objects=ObjectFilter(include="**/*.csv"))
    [found] = keys_of(result)
    assert sorted(found) == ["in/2026/b.csv", "in/a.csv"]
    idle = evaluate(result.cursor, objects=ObjectFilter(include="**/*.csv"))
    assert "; 3 of the recent ones left out by the filter" in idle.skip_reason.skip_message


def test_only_what_can_match_is_listed(evaluate: Any, put: Any) -> None:
    """The literal start of the include patterns narrows the listing itself."""
    put("in/2025/a.csv", "in/2026/b.csv", "in/2026/c.csv")
    first = evaluate(objects=ObjectFilter(include="2026/*.csv"))
    idle = evaluate(first.cursor, objects=ObjectFilter(include="2026/*.csv"))
    assert "2 objects (2 bytes) listed" in idle.skip_reason.skip_message


def test_start_from_now(evaluate: Any, put: Any, bucket: str) -> None:
    """From now on: what is there is passed by; what appears later comes, even if dated back."""
    put("in/old", "in/older")
    backdate(bucket, "in/older", datetime.now(timezone.utc) - timedelta(days=9))
    first = evaluate(start_from="now")
    assert keys_of(first) == []
    put("in/new", "in/late")
    backdate(bucket, "in/late", datetime.now(timezone.utc) - timedelta(minutes=30))
    assert keys_of(evaluate(first.cursor, start_from="now")) == [["in/late", "in/new"]]


def test_start_from_now_in_an_empty_prefix(evaluate: Any, put: Any) -> None:
    """From now on, and nothing there yet: the first file to come is requested."""
    first = evaluate(start_from="now")
    put("in/first")
    assert keys_of(evaluate(first.cursor, start_from="now")) == [["in/first"]]


def test_start_from_a_moment(evaluate: Any, put: Any, bucket: str) -> None:
    """From a moment: what was modified before it never counts."""
    put("in/old", "in/new")
    backdate(bucket, "in/old", datetime(2026, 1, 1, tzinfo=timezone.utc))
    moment = datetime(2026, 1, 2, tzinfo=timezone.utc)
    assert keys_of(evaluate(start_from=moment)) == [["in/new"]]


def test_lookback_is_honoured(evaluate: Any, put: Any, bucket: str) -> None:
    """What appears later than the lookback is requested, without an index one tick later."""
    put("in/first")
    backdate(bucket, "in/first", datetime.now(timezone.utc) - timedelta(minutes=20))
    options: dict[str, Any] = {"lookback": timedelta(minutes=5)}
    first = evaluate(**options)
    put("in/late")
    backdate(bucket, "in/late", datetime.now(timezone.utc) - timedelta(minutes=30))
    second = evaluate(first.cursor, **options)
    assert keys_of(second) == []
    assert "1 late file found" in second.skip_reason.skip_message
    assert keys_of(evaluate(second.cursor, **options)) == [["in/late"]]


def test_runs_keep_to_what_the_instance_accepts(
    moto: S3Server, bucket: str, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a deployment bounds the size of a run, batches are cut so that Dagster drops none."""
    put(*(f"in/{number}" + 700 * "x" for number in range(6)))
    monkeypatch.setattr(dg.DagsterInstance, "get_run_size_limit_bytes", lambda _: 5_000)
    sensor = build_s3_incremental_sensor(name="x", uri=f"s3://{bucket}/in/", job=ingest)
    cursor, sizes = None, []
    with dg.DagsterInstance.ephemeral() as instance:
        while sum(sizes) < 6:
            resources = {"s3": moto.client()}
            context = dg.build_sensor_context(instance, cursor, resources=resources)
            result: Any = sensor(context)
            assert not any(exceeds_run_size_limit(each, 5_000) for each in result.run_requests)
            sizes += map(len, keys_of(result))
            cursor = result.cursor
    assert len(sizes) > 1


def test_several_jobs_each_get_every_batch(evaluate: Any, put: Any) -> None:
    """With several jobs, each batch is requested once for every job, under keys that differ."""
    put("in/a")
    requests = evaluate(jobs=[ingest, archive]).run_requests
    assert [each.job_name for each in requests] == ["ingest", "archive"]
    assert [each.run_key.split(":")[3] for each in requests] == ["ingest", "archive"]


def test_resource_keys_are_honoured(evaluate: Any, put: Any) -> None:
    """The S3 resource is found, and the batch put, under the keys that are named."""
    put("in/a")

    @dg.asset
    def orders(landed: S3Batch) -> None: ...

    result = evaluate(s3_resource_key="lake", batch_resource_key="landed", target=orders)
    assert list(result.run_requests[0].run_config["resources"]) == ["landed"]


def test_plain_client_is_an_s3_resource(moto: S3Server, bucket: str, put: Any) -> None:
    """The S3 resource may be a boto3 client itself; anything else is refused by name."""
    put("in/a")
    sensor = build_s3_incremental_sensor(name="x", uri=f"s3://{bucket}/in/", job=ingest)
    result: Any = sensor(dg.build_sensor_context(resources={"s3": moto.client()}))
    assert keys_of(result) == [["in/a"]]
    with pytest.raises(ConfigurationError, match="The S3 resource is a str"):
        sensor(dg.build_sensor_context(resources={"s3": "not a client"}))


def test_client_with_fewer_connections_is_said_once(
    moto: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests beyond the client's connections are a warning of the first tick, if asked for."""
    monkeypatch.setattr("dagster_s3inc.s3.client._said", set())
    said = r"keeps 10 connections, .* at most 10 .*[.]Config\(max_pool_connections=11\)"
    options: dict[str, Any] = {"name": "x", "uri": f"s3://{bucket}/in/", "job": ingest}
    sensor = build_s3_incremental_sensor(**options, max_concurrent_requests=11)
    first, second = (
        sensor(dg.build_sensor_context(resources={"s3": moto.client()})) for _ in range(2)
    )
    assert re.search(said, first.skip_reason.skip_message)
    assert "connections" not in second.skip_reason.skip_message
    for each in ({}, {"max_concurrent_requests": 10}):
        sensor = build_s3_incremental_sensor(**options, **each)
        tick: Any = sensor(dg.build_sensor_context(resources={"s3": moto.client()}))
        assert "connections" not in tick.skip_reason.skip_message


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"endpoint_url": "127.0.0.1:5917"}, ConfigurationError, "Write http://HOST:PORT.*:5917"),
        ({"region_name": "not a region"}, RegionError, "The region name is not valid"),
    ],
)
def test_wrong_settings_of_the_resource(
    options: dict[str, Any], kind: type[Exception], says: str
) -> None:
    """A resource that fails to make its client fails the tick, with what to fix."""

    class Lake:
        def get_client(self) -> Any:
            return S3Resource(**options).get_client()

    sensor = build_s3_incremental_sensor(name="x", uri="s3://bucket/in/", job=ingest)
    with pytest.raises(kind, match=says):
        sensor(dg.build_sensor_context(resources={"s3": Lake()}))


@pytest.mark.parametrize(
    ("jobs", "is_begun", "expected"),
    [
        ([ingest, archive], True, ["ingest", "archive"]),
        ([archive, other], True, ["archive"]),
        ([archive, other], False, ["archive", "other"]),
        ([other], True, []),
        ([other], False, [None]),
    ],
)
def test_what_was_left_undone(
    evaluate: Any,
    put: Any,
    monkeypatch: pytest.MonkeyPatch,
    jobs: Any,
    is_begun: bool,
    expected: list[str | None],
) -> None:
    """It is requested for the jobs that the sensor has now; a batch that was not begun, for all."""
    put("in/a")
    before = evaluate(jobs=[ingest, archive])
    [first, _] = before.run_requests
    begun = frozenset({first.tags["dagster/s3inc/batch_id"]} if is_begun else ())
    left = tuple(before.run_requests)
    start_with(monkeypatch, Decision(before.cursor, left[-1], left, begun))

    targets = {"job": jobs[0]} if len(jobs) == 1 else {"jobs": jobs}
    again = evaluate(**targets, run_tags={"team": "lake"})
    assert again.cursor == before.cursor
    assert [each.job_name for each in again.run_requests or ()] == expected
    for each in again.run_requests or ():
        assert each.run_config == first.run_config
        assert each.tags == {**first.tags, "team": "lake"}
    if not expected:
        assert "no longer the sensor's" in again.skip_reason.skip_message


@pytest.mark.parametrize(("jobs", "expected"), [([ingest, archive], "archive"), ([other], None)])
def test_what_was_lost_at_the_end(
    evaluate: Any, put: Any, monkeypatch: pytest.MonkeyPatch, jobs: Any, expected: str | None
) -> None:
    """The last run alone is requested once more, if its job is still the sensor's."""
    put("in/a", "in/b")
    before = evaluate(jobs=[ingest, archive], batch=BatchPolicy(max_files=1))
    start_with(monkeypatch, Decision(before.cursor, before.run_requests[-1]))
    targets = {"job": jobs[0]} if len(jobs) == 1 else {"jobs": jobs}
    again = evaluate(**targets)
    assert again.cursor == before.cursor
    requests = again.run_requests or ()
    assert list(requests) == ([before.run_requests[-1]] if expected else [])


def start_with(monkeypatch: pytest.MonkeyPatch, lost: Decision) -> None:
    """Lets the next evaluation find that this was lost."""
    start = Start(decode_checkpoint(lost.cursor), lost.cursor, lost=lost)
    monkeypatch.setattr("dagster_s3inc.sensor.evaluation.start_of_tick", lambda *_: start)
