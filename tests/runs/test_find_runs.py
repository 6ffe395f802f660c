from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from dagster_s3inc import find_runs
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.runs.run_requests import SOURCE_TAG, batch_config

MOMENT = datetime(2026, 1, 31, 23, 59, 59, tzinfo=timezone.utc)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as opened:
        yield opened


def add_run(
    instance: dg.DagsterInstance, *keys: str, source: str = "s3://bucket/in/", etag: str = "e1"
) -> str:
    """A run as the sensor requests it."""
    objects = tuple(S3Object(MOMENT, key, etag, 3) for key in keys)
    config = batch_config("bucket", Batch.of(objects), 2)
    return add(instance, {"resources": {"landed": {"config": config}}}, {SOURCE_TAG: source})


def add(instance: dg.DagsterInstance, config: dict[str, Any], tags: dict[str, str]) -> str:
    run = create_run_for_test(
        instance, "ingest", run_config=config, tags=tags, status=dg.DagsterRunStatus.SUCCESS
    )
    return run.run_id


def test_runs_come_newest_first_with_what_they_were_given(instance: dg.DagsterInstance) -> None:
    """Of each run that had the key: the run, the version and the batch."""
    first = add_run(instance, "in/a", "in/b")
    add_run(instance, "in/b")
    second = add_run(instance, "in/a", etag="e2")
    found = find_runs(instance, "in/a")
    assert [each.run_id for each in found.runs] == [second, first]
    newest = found.runs[0]
    assert (newest.etag, newest.last_modified) == ("e2", "2026-01-31T23:59:59Z")
    assert (newest.job_name, newest.status) == ("ingest", dg.DagsterRunStatus.SUCCESS)
    assert (newest.uri, newest.generation) == ("s3://bucket/in/a", 2)
    assert newest.batch_id == Batch.of((S3Object(MOMENT, "in/a", "e2", 3),)).id
    assert newest.created.utcoffset() is not None
    assert (found.looked_at, found.is_complete) == (3, True)


def test_run_launched_by_hand_is_found(instance: dg.DagsterInstance) -> None:
    """A run whose config names only the key is found; what it was not given is None."""
    config = {"bucket": "bucket", "files": [{"key": "in/a"}]}
    add(instance, {"resources": {"batch": {"config": config}}}, {})
    [found] = find_runs(instance, "in/a").runs
    assert (found.etag, found.last_modified, found.batch_id, found.generation) == (None,) * 4


def test_other_runs_are_passed_by(instance: dg.DagsterInstance) -> None:
    """Runs without a batch, or with other resources that have files, do no harm."""
    add(instance, {}, {})
    add(
        instance, {"resources": {"io": {"config": {"bucket": "b", "files": ["in/a"]}}, "x": {}}}, {}
    )
    assert find_runs(instance, "in/a").runs == ()


def test_search_may_be_narrowed(instance: dg.DagsterInstance) -> None:
    """By the bucket, the source, and the time of creation."""
    first = add_run(instance, "in/a")
    add_run(instance, "in/a", source="s3://bucket/")
    assert [each.run_id for each in find_runs(instance, "in/a", source="s3://bucket/in/").runs] == [
        first
    ]
    assert len(find_runs(instance, "s3://bucket/in/a").runs) == 2
    assert find_runs(instance, "s3://another/in/a").runs == ()
    newest, oldest = find_runs(instance, "in/a").runs
    assert find_runs(instance, "in/a", created_after=oldest.created).runs == (newest,)


def test_search_is_bounded_and_says_so(instance: dg.DagsterInstance) -> None:
    """More runs than are looked at: the result says that it is not complete."""
    for _ in range(150):
        add_run(instance, "in/a")
    some = find_runs(instance, "in/a", max_runs=149)
    assert (len(some.runs), some.looked_at, some.is_complete) == (149, 149, False)
    everything = find_runs(instance, "in/a", max_runs=150)
    assert (len(everything.runs), everything.is_complete) == (150, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_runs": 0}, "max_runs must be at least 1"),
        ({"created_after": datetime(2026, 1, 1)}, "created_after has no time zone"),  # noqa: DTZ001
        ({"source": "bucket/in"}, "is not an S3 URI"),
        ({"key": ""}, "key must be a file's whole key, or s3://BUCKET/KEY, not ''"),
        ({"key": None}, "key must be a file's whole key, or s3://BUCKET/KEY, not None"),
        ({"key": "s3://bucket"}, "does not name a file. Write s3://BUCKET/KEY"),
        ({"key": "s3://b"}, "no valid bucket name"),
    ],
)
def test_wrong_options_are_refused(
    instance: dg.DagsterInstance, options: dict[str, Any], says: str
) -> None:
    """A wrong option is refused by name."""
    with pytest.raises(ConfigurationError, match=says):
        find_runs(instance, **{"key": "in/a", **options})
