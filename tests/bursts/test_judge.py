"""The judge finds what is lost or repeated, the server lists as S3 does, and processes forget."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.bursts.bucket import Bucket, Span, Version
from tests.bursts.engine import SetEngine
from tests.bursts.judge import Judge
from tests.bursts.play import Outcome, Play, scaled
from tests.bursts.process import new_process
from tests.bursts.scenarios import PREFIX, SCENARIOS
from tests.bursts.server import Server, running_server

ALL = [Span("", None)]
SOME = ["second-3000", "deleted-100000", "rolled-back-100"]
NINE, TEN = "2026-11-22T09:00:00", "2026-11-22T10:00:00"

Spoil = Callable[[int, list[Version]], list[Version]]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def client(server: Server) -> Any:
    return server.client()


@pytest.fixture
def bucket(server: Server) -> Bucket:
    return server.new_bucket()


@pytest.fixture
def judge(bucket: Bucket) -> Judge:
    return Judge(bucket)


def play(server: Server, client: Any, name: str, spoil: Spoil | None = None) -> Outcome:
    bucket = server.new_bucket()
    engine = SetEngine(bucket, client) if spoil is None else SetEngine(bucket, client, spoil)
    scenario = SCENARIOS[name]
    return Play(scenario, scaled(scenario, 0.002) + 20, server, bucket, engine).run()


@pytest.mark.parametrize("name", SCENARIOS)
def test_right(server: Server, client: Any, name: str) -> None:
    """Whoever remembers every listing gets over every scenario."""
    outcome = play(server, client, name)
    assert outcome.is_right, outcome.complaints()
    assert outcome.showings >= outcome.files


@pytest.mark.parametrize("name", SOME)
def test_lost(server: Server, client: Any, name: str) -> None:
    """One file that one tick leaves out is found, and said which, and when it was listed."""
    left_out: list[Version] = []

    def lose(emission: int, emitted: list[Version]) -> list[Version]:
        if emission == 2:
            left_out.append(emitted.pop(len(emitted) // 2))
        return emitted

    outcome = play(server, client, name, lose)
    assert not outcome.is_right
    assert [each.version for each in outcome.lost] == left_out
    assert not outcome.twice
    assert "first listed in tick" in outcome.complaints()[0]


@pytest.mark.parametrize("name", SOME)
def test_twice(server: Server, client: Any, name: str) -> None:
    """One file that a later tick emits once more is found."""
    kept: list[Version] = []

    def repeat(emission: int, emitted: list[Version]) -> list[Version]:
        if emission == 1:
            kept.append(emitted[0])
        return [*emitted, *kept] if emission == 2 else emitted

    outcome = play(server, client, name, repeat)
    assert not outcome.is_right
    assert [each.version for each in outcome.twice] == kept
    assert not outcome.lost


def test_never_listed(bucket: Bucket, judge: Judge) -> None:
    """A version that was never listed may not be emitted."""
    judge.tick(1, ALL, [Version("a", NINE, "0")])
    assert "never listed" in str(judge.twice()[0])


def test_twice_in_one_tick(bucket: Bucket, judge: Judge) -> None:
    """Nor may one be emitted twice by the same tick."""
    bucket.put("a", NINE)
    shown = bucket.current("a")
    assert shown is not None
    judge.tick(1, ALL, [shown, shown])
    assert len(judge.twice()) == 1


def test_showings(bucket: Bucket, judge: Judge) -> None:
    """What a scan finds gone, and what then comes back, shows again and is emitted again."""
    bucket.put("a", NINE)
    first = bucket.current("a")
    assert first is not None
    judge.tick(1, ALL, [first])
    bucket.put("a", TEN)
    second = bucket.current("a")
    assert second is not None
    judge.tick(2, ALL, [second])
    bucket.roll_back(["a"])
    judge.tick(3, ALL, [first])
    judge.tick(4, ALL, [])
    assert judge.count == 3
    assert not judge.lost()
    assert not judge.twice()


def test_unseen(bucket: Bucket, judge: Judge) -> None:
    """What goes and comes back between two scans has one showing, and so has one emission."""
    bucket.put("a", NINE)
    first = bucket.current("a")
    assert first is not None
    judge.tick(1, ALL, [first])
    bucket.put("a", TEN)
    judge.tick(2, [], [])
    bucket.roll_back(["a"])
    judge.tick(3, ALL, [])
    assert judge.count == 1
    assert not judge.lost()
    judge.tick(4, ALL, [first])
    assert len(judge.twice()) == 1


def test_seen_once(bucket: Bucket, judge: Judge) -> None:
    """What a single completed scan has seen may be missed; what two have seen may not."""
    bucket.put("a", NINE)
    judge.tick(1, ALL, [])
    bucket.put("a", TEN)
    judge.tick(2, ALL, [])
    assert not judge.lost()
    judge.tick(3, ALL, [])
    assert [each.version.modified for each in judge.lost()] == [TEN]


def test_parts(bucket: Bucket, judge: Judge) -> None:
    """Ticks that list in parts see what lies in their part, and complete a scan together."""
    bucket.put("b", NINE)
    judge.tick(1, [Span("", "a")], [])
    bucket.remove(["b"])
    bucket.put("c", NINE)
    judge.tick(2, [Span("a", None)], [])
    judge.tick(3, [Span("", "b"), Span("b", None)], [])
    assert judge.count == 1
    assert [each.version.key for each in judge.lost()] == ["c"]


def test_start_over(bucket: Bucket, judge: Judge) -> None:
    """After a reset, what shows is to be emitted once more."""
    bucket.put("a", NINE)
    shown = bucket.current("a")
    assert shown is not None
    judge.tick(1, ALL, [shown])
    judge.start_over()
    judge.tick(2, ALL, [])
    judge.tick(3, ALL, [])
    assert len(judge.lost()) == 1
    judge.tick(4, ALL, [shown])
    assert not judge.lost()
    assert not judge.twice()


def test_listing(bucket: Bucket, client: Any) -> None:
    """The server lists in UTF-8 order, page by page, what it shows, as boto3 reads it."""
    keys = ["a b", "a+b", "a/ü", "a/😀", "a%2Fb", "a&b<c>", "b/c"]
    for key in keys:
        bucket.put(key, NINE)
    pages = list(
        client.get_paginator("list_objects_v2").paginate(
            Bucket=bucket.name, PaginationConfig={"PageSize": 2}
        )
    )
    listed = [each for page in pages for each in page["Contents"]]
    assert [each["Key"] for each in listed] == sorted(keys, key=str.encode)
    assert len(pages) == 4
    assert {f"{each['LastModified']:%Y-%m-%dT%H:%M:%S}" for each in listed} == {NINE}
    assert {each["StorageClass"] for each in listed} == {"STANDARD"}
    assert bucket.served[0] == Span("", "a%2Fb")
    assert bucket.served[-1].upto is None


def test_listing_part(bucket: Bucket, client: Any) -> None:
    """It honours Prefix, StartAfter and Delimiter."""
    for key in ("a/1", "a/2", "a/3", "b/1", "c"):
        bucket.put(key, NINE)
    part = client.list_objects_v2(Bucket=bucket.name, Prefix="a/", StartAfter="a/1")
    assert [each["Key"] for each in part["Contents"]] == ["a/2", "a/3"]
    rolled = client.list_objects_v2(Bucket=bucket.name, Delimiter="/", MaxKeys=2)
    assert [each["Prefix"] for each in rolled["CommonPrefixes"]] == ["a/", "b/"]
    rest = client.list_objects_v2(
        Bucket=bucket.name, Delimiter="/", ContinuationToken=rolled["NextContinuationToken"]
    )
    assert [each["Key"] for each in rest["Contents"]] == ["c"]


def test_conditional_writes(server: Server, client: Any) -> None:
    """It stores an object only if the condition of the write holds."""
    place = {"Bucket": "checkpoints", "Key": "conditional"}
    etag = client.put_object(Body=b"1", IfNoneMatch="*", **place)["ETag"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Body=b"2", IfNoneMatch="*", **place)
    client.put_object(Body=b"2", IfMatch=etag, Metadata={"who": "me"}, **place)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        client.put_object(Body=b"3", IfMatch=etag, **place)
    assert client.get_object(**place)["Body"].read() == b"2"
    assert client.head_object(**place)["Metadata"] == {"who": "me"}
    assert server.text("checkpoints/conditional") == "2"


def test_refuses(server: Server, client: Any) -> None:
    """What it does not know is refused, and remembered."""
    with pytest.raises(ClientError):
        client.get_bucket_location(Bucket="any")
    with pytest.raises(ClientError):
        client.delete_object(Bucket="any", Key="any")
    assert server.refused.pop().startswith("DELETE")
    server.refused.clear()


def test_new_process() -> None:
    """A new process has the package's modules anew, and afterwards they are as they were."""
    before = importlib.import_module("dagster_s3inc.errors")
    with new_process():
        within = importlib.import_module("dagster_s3inc.errors")
        assert within is not before
    assert sys.modules["dagster_s3inc.errors"] is before
    assert PREFIX
