"""Files that are undecided, and the two resets that end it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from dagster_s3inc.core.cursor_format import decode_checkpoint
from tests.servers import S3Server, backdate
from tests.world import LAUNCH_RESETS_ALONE, World, open_world

KNOWN = [f"in/known-{number:02}" for number in range(30)]
LATE = [f"in/late-{number:02}" for number in range(30)]


@pytest.fixture
def put(moto: S3Server, bucket: str) -> Callable[..., None]:
    client = moto.client()

    def put_late(*keys: str, days: int) -> None:
        for key in keys:
            client.put_object(Bucket=bucket, Key=key, Body=b"x")
            backdate(bucket, key, datetime.now(timezone.utc) - timedelta(days=days))

    return put_late


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    return new_bucket(moto)


@pytest.fixture
def world(moto: S3Server, bucket: str, put: Any, tmp_path: Path) -> Iterator[World]:
    """A sensor that cannot tell what it emitted.

    Its process is new, more files changed than its digest tells apart, and its runs are deleted.
    """
    put(*KNOWN, days=2)
    environment = {"TEST_LATE_FILE_CAPACITY": "8"}
    with open_world(
        moto,
        f"s3://{bucket}/in/",
        tmp_path,
        max_files=50,
        settings=LAUNCH_RESETS_ALONE,
        environment=environment,
    ) as opened:
        opened.tick()
        assert opened.emitted() == dict.fromkeys(KNOWN, 1)
        for run in opened.instance.get_runs():
            opened.instance.delete_run(run.run_id)
        put(*LATE, days=3)
        opened.workspace.reload_code_location("tests")
        yield opened


def reset(world: World, **fields: Any) -> dg.DagsterRun:
    """Launches the reset job with these fields in its config; returns its run."""
    config = {"ops": {"reset_landing_checkpoint": {"config": fields}}}
    run: dg.DagsterRun = world.launch("reset_landing", config)
    assert run.status == DagsterRunStatus.SUCCESS, world.errors_of(run)
    return run


def undecided(world: World) -> int:
    return decode_checkpoint(world.cursor or "").undecided


def test_nothing_is_emitted_or_given_up_while_undecided(world: World, put: Any) -> None:
    """Ticks say so with numbers; new files go on; with the index lost again it stays so."""
    for _ in range(2):
        message = world.tick().skip_reason or ""
        assert "accept_listed" in message
        assert "matching" in message
        assert undecided(world) > 0
    world.workspace.reload_code_location("tests")
    put("in/new", days=0)
    world.tick()
    assert world.emitted() == {"in/new": 1}
    assert undecided(world) > 0


def test_what_is_listed_is_accepted(world: World, put: Any, moto: S3Server, bucket: str) -> None:
    """After accept_listed nothing of it is emitted, and later late files are found again."""
    world.tick()
    preview = reset(world, what="accept_listed", dry_run=True)
    assert undecided(world) > 0
    assert preview.tags.get("dagster/s3inc/reset_at") is None
    reset(world, what="accept_listed")
    for _ in range(2):
        world.tick()
    assert undecided(world) == 0
    assert world.emitted() == {}
    put("in/later", days=4)
    moto.client().delete_object(Bucket=bucket, Key=KNOWN[0])
    for _ in range(2):
        world.tick()
    assert world.emitted() == {"in/later": 1}
    world.workspace.reload_code_location("tests")
    put("in/later-2", days=4)
    for _ in range(2):
        world.tick()
    assert world.emitted() == {"in/later": 1, "in/later-2": 1}


def test_what_matches_is_processed(world: World, put: Any) -> None:
    """A reset of matching files emits each listed one that meets the conditions, once.

    That settles everything only if all files meet them.
    """
    world.tick()
    reset(world, what="matching", prefix="in/late-")
    for _ in range(3):
        world.tick()
    assert world.emitted() == dict.fromkeys(LATE, 1)
    assert undecided(world) > 0
    reset(world, what="matching", include=["**"])
    for _ in range(3):
        world.tick()
    assert world.emitted() == {**dict.fromkeys(LATE, 2), **dict.fromkeys(KNOWN, 1)}
    assert sum(map(len, world.repeated())) == 90
    assert undecided(world) == 0
    put("in/later", days=4)
    for _ in range(2):
        world.tick()
    assert world.emitted()["in/later"] == 1
    world.workspace.reload_code_location("tests")
    for _ in range(2):
        assert "Nothing new" in (world.tick().skip_reason or "")
