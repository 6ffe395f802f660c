from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.checkpoint import RECENT_LIMIT, Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.redo import Conditions, Redo
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanning import Look, Scanner
from tests.servers import S3Server, backdate, fill

NO_TIME = timedelta(0)
OLD = datetime(2026, 1, 1, tzinfo=timezone.utc)
MANY = 2300
"""Three pages."""


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    name = new_bucket(moto)
    fill(name, (f"in/{number:04}" for number in range(MANY)))
    return name


@pytest.fixture
def look(moto: S3Server, bucket: str) -> Callable[..., Look]:
    """Scans `s3://BUCKET/in/` once, from the checkpoint's text, as after a restart."""
    client = moto.client()

    def look_once(
        checkpoint: Checkpoint,
        scanner: Scanner,
        *,
        files: int = MANY,
        objects: ObjectFilter | None = None,
        adopt: bool = False,
    ) -> Look:
        return scanner.scan(
            client,
            S3Location(bucket, "in/"),
            decode_checkpoint(encode_checkpoint(checkpoint)),
            selection=(objects or ObjectFilter()).selection("in/"),
            limits=ScanLimits(policy=BatchPolicy(max_files=files), max_batches=1),
            adopt=adopt,
        )

    return look_once


def passes(look: Any, checkpoint: Checkpoint, **options: Any) -> tuple[list[str], Checkpoint]:
    """The keys of a whole pass, each part by a process of its own, and what follows."""
    found: list[str] = []
    while True:
        result = look(checkpoint, Scanner(time_budget=NO_TIME), **options).result
        found += [each.key for each in result.objects]
        checkpoint = result.checkpoint
        if checkpoint.unfinished is None:
            return found, checkpoint


def test_scan_without_time_goes_on_in_the_next(look: Any, bucket: str) -> None:
    """However little time a scan has, passes hand over each file once, through restarts."""
    recently = datetime.now(timezone.utc) - timedelta(minutes=10)
    for number in range(MANY):
        backdate(bucket, f"in/{number:04}", recently)
    first = look(Checkpoint(), Scanner(time_budget=NO_TIME))
    assert first.requests <= 2
    assert first.result.checkpoint.unfinished.after == "in/0999"
    # So many files within the lookback can be remembered; the others wait for the next pass.
    assert first.result.statistics.files == RECENT_LIMIT
    assert first.result.statistics.files_waiting == 1000 - RECENT_LIMIT
    more, checkpoint = passes(look, first.result.checkpoint)
    assert more == []
    rest, checkpoint = passes(look, checkpoint)
    handed = Counter([*(each.key for each in first.result.objects), *rest])
    assert set(handed.values()) == {1}
    assert len(handed) == MANY
    assert passes(look, checkpoint)[0] == []


def test_pass_reveals_what_appeared_late(look: Any, bucket: str) -> None:
    """The sketch is compared over a whole pass: a late file comes in the next."""
    for number in range(MANY):
        backdate(bucket, f"in/{number:04}", OLD + timedelta(seconds=number))
    found, checkpoint = passes(look, Checkpoint(), files=700)
    assert found == sorted(found)
    assert len(found) == MANY
    for key in ("in/0000late", "in/1500late", "in/late"):
        fill(bucket, [key])
        backdate(bucket, key, OLD)
    assert passes(look, checkpoint)[0] == []
    _, checkpoint = passes(look, checkpoint)
    assert sorted(passes(look, checkpoint)[0]) == ["in/0000late", "in/1500late", "in/late"]


def test_adoption_may_take_several_ticks(look: Any, bucket: str) -> None:
    """Files from now on alone: what is there when the pass begins is never handed over."""
    for number in range(MANY):
        backdate(bucket, f"in/{number:04}", OLD)
    first = look(Checkpoint(), Scanner(time_budget=NO_TIME), adopt=True).result
    assert first.batches == ()
    found, checkpoint = passes(look, first.checkpoint)
    assert found == []
    fill(bucket, ["in/0000new"])
    assert passes(look, checkpoint)[0] == ["in/0000new"]


def test_backlog_needs_no_request(look: Any, bucket: str) -> None:
    """What one look found is handed over scan by scan from memory, while nobody interferes."""
    scanner = Scanner()
    first = look(Checkpoint(), scanner, files=1000)
    second = look(first.result.checkpoint, scanner, files=1000)
    assert (first.requests, second.requests) == (3, 0)
    third = look(second.result.checkpoint, scanner, files=1000)
    keys = [each.key for one in (first, second, third) for each in one.result.objects]
    assert keys == sorted(keys)
    assert len(keys) == MANY


@pytest.mark.parametrize("interference", ["commit", "filter", "time"])
def test_backlog_of_another_checkpoint_is_dropped(
    look: Any, interference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backlog counts for the checkpoint that it follows, the same filter, and for a while."""
    scanner, objects = Scanner(), None
    checkpoint = look(Checkpoint(), scanner, files=10).result.checkpoint
    if interference == "commit":
        checkpoint = checkpoint.restarted()
    elif interference == "filter":
        objects = ObjectFilter(exclude="x")
    else:
        monkeypatch.setattr("dagster_s3inc.s3.scanning._BACKLOG_LOOKS", 0)
        checkpoint = look(Checkpoint(), scanner, files=10).result.checkpoint
    assert look(checkpoint, scanner, files=10, objects=objects).requests == 3


def test_redo_lists_no_more_than_it_needs(look: Any, bucket: str) -> None:
    """A redo lists below its conditions' prefix, from where it stands, as far as it must."""
    for number in range(MANY):
        backdate(bucket, f"in/{number:04}", OLD + timedelta(seconds=number))
    scanner = Scanner()
    checkpoint = look(Checkpoint(), scanner).result.checkpoint
    assert handed_over_again(look, checkpoint, Conditions(prefix="in/22"), files=30) == (
        [f"in/22{number:02}" for number in range(100)],
        [1, 1, 1, 1],
    )
    since = Conditions(since=OLD + timedelta(seconds=900))
    found, requests = handed_over_again(look, checkpoint, since, files=500)
    assert found == [f"in/{number:04}" for number in range(900, MANY)]
    assert requests == [2, 1, 1]


def handed_over_again(
    look: Any, checkpoint: Checkpoint, conditions: Conditions, **options: Any
) -> tuple[list[str], list[int]]:
    """The keys, and how many requests each part of the redo took."""
    redo = Redo(conditions=conditions)
    checkpoint = checkpoint.continued(generation=2, reset_seen=None, redo=redo)
    found: list[str] = []
    requests: list[int] = []
    while checkpoint.redo is not None:
        done = look(checkpoint, Scanner(), **options)
        found += [each.key for each in done.result.objects]
        requests.append(done.requests)
        checkpoint = done.result.checkpoint
    return found, requests


def test_each_page_is_told(moto: S3Server, bucket: str) -> None:
    """Someone who watches a scan is told of each page how large it is, and what it has cost."""
    told: list[tuple[int, int]] = []
    done = Scanner().scan(
        moto.client(),
        S3Location(bucket, "in/"),
        Checkpoint(),
        selection=ObjectFilter().selection("in/"),
        limits=ScanLimits(),
        on_page=lambda objects, requests: told.append((objects, requests)),
    )
    assert [objects for objects, _ in told] == [1000, 1000, 300]
    assert [requests for _, requests in told] == [1, 2, 3]
    assert done.requests == 3


def test_redo_needs_no_order_of_keys(
    s3_server: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """A redo cut anywhere hands over each file once, on a server that sorts by folder too."""
    keys = ["a-b", "a.z", "a/x", "a/y", "b/1-2", "b/1/2", "c"]
    client, name = s3_server.client(), new_bucket(s3_server)
    for key in keys:
        client.put_object(Bucket=name, Key=key, Body=b"x")

    def look_once(checkpoint: Checkpoint, scanner: Scanner, *, files: int = 100) -> Look:
        return scanner.scan(
            client,
            S3Location(name),
            decode_checkpoint(encode_checkpoint(checkpoint)),
            selection=ObjectFilter().selection(""),
            limits=ScanLimits(policy=BatchPolicy(max_files=files), max_batches=1),
        )

    checkpoint = look_once(Checkpoint(), Scanner()).result.checkpoint
    for files in (1, 2, 3):
        found, _ = handed_over_again(look_once, checkpoint, Conditions(), files=files)
        assert sorted(found) == keys
    found, _ = handed_over_again(look_once, checkpoint, Conditions(prefix="b/1"), files=1)
    assert found == ["b/1-2", "b/1/2"]
