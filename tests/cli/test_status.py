from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_s3inc import ObjectFilter, S3IncrementalProcessor
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.page import ObjectsPage, Rest
from dagster_s3inc.core.scan import scan
from tests.cli.conftest import Lake
from tests.core.making import at, make_object
from tests.servers import S3Server, backdate
from tests.world import World, open_world

OLD = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


@pytest.fixture
def world(moto: S3Server, new_bucket: Callable[[S3Server], str], tmp_path: Path) -> Iterator[World]:
    """A deployment whose instance is the one that DAGSTER_HOME names."""
    bucket = new_bucket(moto)
    for name in "ab":
        moto.client().put_object(Bucket=bucket, Key=f"in/{name}", Body=b"x")
    with open_world(moto, f"s3://{bucket}/in/", tmp_path) as opened:
        yield opened


def test_cursor_in_words(lake: Lake, run: Any) -> None:
    """Each part of a cursor is told in a line of its own."""
    lake.put("a", "b", "c")
    backdate(lake.bucket, "in/a", OLD)
    cursor = lake.cursor()
    assert run("status", "--cursor", cursor).stdout.splitlines() == [
        f"The cursor: {len(cursor):,} bytes.",
        "Generation: 1.",
        "Floor: everything up to 2026-01-02T03:04:05Z, in/a, is done, but for the wanted.",
        "Recent: 2 files above the floor handed over, remembered one by one.",
        "Sketch: 1 file handed over at or below the floor, in 600 cells; up to about 400 that "
        "appear late or go from one look to the next can be told apart.",
        "Wanted: no file that appeared late waits.",
        "Pass: none under way.",
        "Overflows: none in this generation.",
        "Reset: it knows of none.",
    ]


def test_cursor_as_a_document(lake: Lake, document: Any) -> None:
    """The document says what the cursor says, under names that stay."""
    lake.put("a", "b", "c")
    backdate(lake.bucket, "in/a", OLD)
    cursor = lake.cursor()
    assert document("status", "--cursor", "-", stdin=cursor) == {
        "source": "the cursor",
        "bytes": len(cursor),
        "checkpoint": {
            "generation": 1,
            "floor": {"last_modified": "2026-01-02T03:04:05Z", "key": "in/a"},
            "recent": 2,
            "settled": {"files": 1, "cells": 600, "tells_apart": 400},
            "wanted": 0,
            "pass": None,
            "redo": None,
            "overflows": 0,
            "reset_seen": None,
            "selection": decode_checkpoint(cursor).selection,
        },
        "next_generation": 1,
        "sensor": None,
    }


def test_wanted_and_overflows(lake: Lake, run: Any, document: Any) -> None:
    """Late files that are wanted are told; so is an overflow, and what to do about it."""
    lake.put("a")
    backdate(lake.bucket, "in/a", OLD)
    cursor = lake.cursor(sketch_cells=8)
    for name in ("late", *(f"late{number}" for number in range(12))):
        lake.put(name)
        backdate(lake.bucket, f"in/{name}", at(0))
        if name == "late":
            cursor = lake.tick(cursor, sketch_cells=8).cursor or ""
            said = run("status", "--cursor", cursor).stdout
            assert "Wanted: 1 file that appeared late at or below the floor, to be" in said
            assert document("status", "--cursor", cursor)["checkpoint"]["wanted"] == 1
    cursor = lake.tick(cursor, sketch_cells=8).cursor or ""
    said = run("status", "--cursor", cursor).stdout
    assert "Overflows: 1 time in this generation more files changed at or below the floor" in said
    assert "NOT handed over: launch the reset job (or call reset_checkpoint()" in said
    assert "raise sketch_cells or split the prefix" in said
    assert document("status", "--cursor", cursor)["checkpoint"]["overflows"] == 1


@pytest.mark.parametrize("adopt", [False, True])
def test_unfinished_pass(run: Any, document: Any, adopt: bool) -> None:
    """A pass is told with its beginning, how far it is, and where the floor rises at its end."""
    selection = ObjectFilter().selection("")
    part = [ObjectsPage([make_object("a"), make_object("b\u00a0")]), Rest("b\u00a0")]
    result = scan(Checkpoint(), part, now=at(7200), selection=selection, adopt=adopt)
    cursor = encode_checkpoint(result.checkpoint)
    said = run("status", "--cursor", cursor).stdout
    horizon = at(7200) if adopt else at(3600)
    assert (
        f"Pass: under way since {format_time(at(7200))}; it has looked at 2 objects, as far as "
        f"'b\\xa0', and the next look goes on from there. At its end the floor rises to "
        f"{format_time(horizon)}."
    ) in said
    assert ("What it finds counts as handed over." in said) is adopt
    assert document("status", "--cursor", cursor)["checkpoint"]["pass"] == {
        "began": format_time(at(7200)),
        "horizon": format_time(horizon),
        "after": "b\u00a0",
        "objects": 2,
        "met": 0,
        "adopts": adopt,
    }


def test_floor_without_a_key(run: Any) -> None:
    """After a pass has ended, the floor lies before all files of its time."""
    first = scan(Checkpoint(), [ObjectsPage([make_object("a")]), Rest("a")], now=at(7200))
    last = scan(first.checkpoint, [ObjectsPage([make_object("b")])], now=at(7260))
    said = run("status", "--cursor", encode_checkpoint(last.checkpoint)).stdout
    assert f"Floor: everything before {format_time(at(3600))} is done" in said


def test_sketch_that_is_not_known(run: Any, lake: Lake) -> None:
    """Where there is no sketch, it is told why, and from when on late files are found."""
    said = run("status", "--cursor", encode_checkpoint(Checkpoint())).stdout
    assert "Floor: none yet" in said
    assert "Sketch: none yet; there is nothing at or below the floor." in said
    legacy = json.dumps({"Key": "in/a", "LastModified": OLD.timestamp(), "last_ingestion_run": 1})
    lake.server.client().put_object(Bucket=lake.bucket, Key="old", Body=legacy.encode())
    said = run("status", "--checkpoint", f"s3://{lake.bucket}/old").stdout
    assert "Floor: everything up to 2026-01-02T03:04:05Z, in/a, is done" in said
    assert "Sketch: none; the next look takes what is listed at or below the floor" in said


@pytest.mark.parametrize("place", ["file", "s3"])
def test_processors_checkpoint(
    lake: Lake, run: Any, document: Any, tmp_path: Path, place: str
) -> None:
    """A processor's checkpoint is explained wherever it is kept, and left as it is."""
    path = str(tmp_path / "cp.json") if place == "file" else f"s3://{lake.bucket}/cp.json"
    lake.put("a", "b")
    processor = S3IncrementalProcessor(lake.uri, path)
    processor.reset_checkpoint()
    processor.get_new_files()
    processor.commit_checkpoint()
    before = lake.versions()
    assert run("status", "--checkpoint", path).stdout.startswith(f"The checkpoint {path}: ")
    told = document("status", "--checkpoint", path)
    assert (told["checkpoint"]["generation"], told["checkpoint"]["recent"]) == (2, 2)
    assert lake.versions() == before


def test_running_sensor(world: World, run: Any, document: Any) -> None:
    """Of a sensor its status and last tick are told as well; a plan can start from it."""
    tick = world.tick()
    lines = run("status", "--sensor", "landing").stdout.splitlines()
    began = format_time(datetime.fromtimestamp(tick.timestamp, timezone.utc))
    assert lines[0].startswith("The cursor of sensor landing (code location tests): ")
    assert lines[1:4] == [
        "Sensor: DECLARED_IN_CODE.",
        f"Last tick: {began}, SUCCESS: 1 run requested.",
        "Generation: 1.",
    ]
    told = document("status", "--sensor", "landing", "--location", "tests")
    assert told["sensor"] == {
        "name": "landing",
        "location": "tests",
        "repository": "__repository__",
        "status": "DECLARED_IN_CODE",
        "last_tick": {"at": began, "status": "SUCCESS", "runs": 1, "message": None},
        "newest_reset": None,
    }
    assert told["bytes"] == len(world.cursor or "")
    uri = world.instance.get_runs()[0].tags["dagster_s3inc/source"]
    cursor = world.cursor
    assert document("plan", uri, "--sensor", "landing")["files"] == 0
    assert document("plan", uri)["files"] == 2
    assert world.cursor == cursor
    world.tick()
    said = run("status", "--sensor", "landing").stdout
    assert ", SKIPPED: Nothing new in generation 1: looked at 2 objects" in said


def test_sensor_after_resets(world: World, run: Any, document: Any) -> None:
    """A cursor that was cleared, and a reset that no tick has honoured, name what comes next."""
    world.tick()
    cursor = world.cursor
    world.set_cursor("")
    said = run("status", "--sensor", "landing").stdout
    assert "No cursor: it was cleared. The next tick starts generation 2." in said
    told = document("status", "--sensor", "landing")
    assert (told["checkpoint"], told["next_generation"]) == (None, 2)
    world.launch("reset_landing")
    # As a tick does that ran while the reset did.
    world.set_cursor(cursor)
    said = run("status", "--sensor", "landing").stdout
    assert "A reset waits to be honoured: the next tick starts generation" in said
    told = document("status", "--sensor", "landing")
    next_generation = told["sensor"]["newest_reset"]["generation"]
    assert told["checkpoint"]["generation"] == 1
    assert told["next_generation"] == next_generation > 1
    uri = world.instance.get_runs(dg.RunsFilter(job_name="ingest"))[0].tags["dagster_s3inc/source"]
    planned = document("plan", uri, "--sensor", "landing")
    assert (planned["generation"], planned["files"]) == (next_generation, 2)
    world.tick()
    said = run("status", "--sensor", "landing").stdout
    assert f"Generation: {next_generation}." in said
    reset = told["sensor"]["newest_reset"]["at"]
    assert f"Reset: the newest that it knows of is of {reset}." in said


def test_sensor_that_fails(world: World, run: Any) -> None:
    """The error of a failed tick is told; a cursor that cannot be read ends with 1."""
    world.tick()
    uri = world.instance.get_runs()[0].tags["dagster_s3inc/source"]
    world.set_cursor("{}")
    world.tick()
    said = run("status", "--sensor", "landing", code=1)
    assert "it has no field 'version'" in said.stderr
    world.set_cursor(encode_checkpoint(Checkpoint()))
    said = run("status", "--sensor", "landing").stdout
    assert ", FAILURE: dagster_s3inc.errors.CheckpointFormatError: The stored checkpoint" in said
    run("plan", uri, "--sensor", "landing")


def test_name_that_no_or_two_code_locations_have(world: World, run: Any) -> None:
    """A name that is not known, or not clear, is refused and tells what there is."""
    world.tick()
    said = " ".join(run("status", "--sensor", "landng", code=1).stderr.split())
    assert "The Dagster instance knows no such sensor" in said
    assert "It knows: landing." in said
    for option in ("--location", "--repository"):
        said = " ".join(run("status", "--sensor", "landing", option, "x", code=1).stderr.split())
        assert "in other places: tests (__repository__). Mend --location" in said
    [state] = world._states()
    place = state.origin.repository_origin
    elsewhere = place.code_location_origin._replace(location_name="elsewhere")
    origin = state.origin._replace(repository_origin=place._replace(code_location_origin=elsewhere))
    world.instance.add_instigator_state(state._replace(origin=origin))
    said = run("status", "--sensor", "landing", code=2).stderr
    assert "tests (__repository__)" in said
    assert "elsewhere (__repository__)" in said
    told = run("status", "--sensor", "landing", "--location", "elsewhere").stdout
    assert "Last tick: none yet." in told
    run("status", "--sensor", "landing", "--location", "tests", "--repository", "__repository__")


def test_no_instance(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a DAGSTER_HOME, or with one that cannot be read, the command says so."""
    said = run("status", "--sensor", "landing", code=1).stderr
    assert "Could not look into the Dagster instance: " in said
    assert "DAGSTER_HOME" in said
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules/schedules.db").write_bytes(b"no database" * 1000)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    said = run("status", "--sensor", "landing", code=1).stderr
    assert "Could not look into the Dagster instance: " in said


def test_nothing_given(run: Any) -> None:
    """Without a cursor, checkpoint or sensor there is nothing to explain."""
    assert "Give one of --cursor, --checkpoint and --sensor." in run("status", code=2).stderr
