from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_s3inc import S3IncrementalProcessor
from dagster_s3inc.core.checkpoint import Checkpoint, PartialScan, Reprocess
from dagster_s3inc.core.cursor_format import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.filters import Conditions
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.objects import Position, format_time
from dagster_s3inc.processor.document import CheckpointDocument
from dagster_s3inc.runs.run_requests import SOURCE_TAG
from tests.cli.conftest import Lake
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
    """Each part of a cursor is explained in a line of its own."""
    lake.put("a", "b", "c")
    backdate(lake.bucket, "in/a", OLD)
    cursor = lake.cursor()
    sequence = decode_checkpoint(cursor).sequence
    assert run("status", "--cursor", cursor).stdout.splitlines() == [
        f"The cursor: {len(cursor):,} bytes.",
        f"Generation: 1, sequence {sequence}.",
        "Watermark: every file up to 2026-01-02T03:04:05Z, in/a, was requested, but for late and "
        "undecided ones.",
        "Recent: 2 files requested above the watermark, remembered one by one.",
        "Late: no file that was found late waits.",
        "Digest: 1 file requested at or below the watermark; a new process tells up to 400 changes "
        "among them apart.",
        "Total: 3 files requested in this generation.",
        "Partial scan: none under way.",
        "Reprocess: nothing is requested again.",
        "Undecided: none.",
        "Reset: none honoured yet.",
    ]


def test_cursor_as_a_document(lake: Lake, document: Any) -> None:
    """The document says what the cursor says, under names that stay."""
    lake.put("a", "b", "c")
    backdate(lake.bucket, "in/a", OLD)
    cursor = lake.cursor()
    assert document("status", "--cursor", "-", stdin=cursor) == {
        "origin": "the cursor",
        "bytes": len(cursor),
        "checkpoint": {
            "generation": 1,
            "sequence": decode_checkpoint(cursor).sequence,
            "watermark": {"last_modified": "2026-01-02T03:04:05Z", "key": "in/a"},
            "recent": 2,
            "late": 0,
            "emitted": {"files": 1, "late_file_capacity": 400},
            "total": 3,
            "undecided": 0,
            "partial_scan": None,
            "reprocess": None,
            "reset_seen": None,
            "selection": decode_checkpoint(cursor).selection,
        },
        "storage_classes": None,
        "next_generation": 1,
        "sensor": None,
    }


def test_late_and_undecided_files(run: Any, document: Any) -> None:
    """Late files are counted; so are undecided ones, with what ends that."""
    checkpoint = Checkpoint(late=frozenset({1, 2}), undecided=3_000, total=None)
    cursor = encode_checkpoint(checkpoint)
    said = run("status", "--cursor", cursor).stdout
    assert "Late: 2 files found late at or below the watermark, for the next scan to req" in said
    assert "Undecided: of at most 3,000 files at or below the watermark it is not known" in said
    for way_out in ("`matching`", "`accept_listed`", "reset_checkpoint()"):
        assert way_out in said
    assert "Total: not known" in said
    shown = document("status", "--cursor", cursor)["checkpoint"]
    assert (shown["late"], shown["undecided"], shown["total"]) == (2, 3_000, None)


@pytest.mark.parametrize("adopts", [False, True])
def test_partial_scan(run: Any, document: Any, adopts: bool) -> None:
    """A partial scan is shown with its beginning, its place, and where the watermark will be."""
    began, horizon = datetime(2026, 1, 1, 2, tzinfo=timezone.utc), OLD
    partial = PartialScan(
        began=began,
        horizon=horizon,
        after="b\u00a0",
        objects=2,
        listed=Digest.empty(),
        adopts=adopts,
    )
    cursor = encode_checkpoint(Checkpoint(partial_scan=partial))
    said = run("status", "--cursor", cursor).stdout
    assert (
        f"Partial scan: under way since {format_time(began)}; it has listed 2 objects up to "
        f"'b\\xa0', and the next tick goes on from there. At its end the watermark rises to "
        f"{format_time(horizon)}."
    ) in said
    assert ("What it lists counts as requested." in said) is adopts
    assert document("status", "--cursor", cursor)["checkpoint"]["partial_scan"] == {
        "began": format_time(began),
        "horizon": format_time(horizon),
        "after": "b\u00a0",
        "objects": 2,
        "met": 0,
        "adopts": adopts,
    }


def test_reprocessing(run: Any, document: Any) -> None:
    """What is requested again is shown, and what is to count as requested."""
    conditions = Conditions(prefix="in/", since=OLD)
    again = Checkpoint(reprocess=Reprocess(conditions=conditions, after="in/k"))
    said = run("status", "--cursor", encode_checkpoint(again)).stdout
    assert "is modified since 2026-01-02T03:04:05Z, under in/ is requested again, so far" in said
    assert "up to in/k; what is new waits." in said
    shown = document("status", "--cursor", encode_checkpoint(again))["checkpoint"]["reprocess"]
    assert shown == {"conditions": conditions.written(), "after": "in/k", "accepts": False}
    accepting = encode_checkpoint(Checkpoint(reprocess=Reprocess(accepts=True)))
    assert "counts as requested after the next scan" in run("status", "--cursor", accepting).stdout


def test_watermark_without_a_key(run: Any) -> None:
    """After a partial scan has ended, the watermark lies before all files of its time."""
    cursor = encode_checkpoint(Checkpoint(watermark=Position(OLD, "")))
    said = run("status", "--cursor", cursor).stdout
    assert f"Watermark: every file before {format_time(OLD)} was requested" in said


def test_digest_that_is_not_known(run: Any, lake: Lake) -> None:
    """Where there is no digest, the line says why, and from when on late files are found."""
    said = run("status", "--cursor", encode_checkpoint(Checkpoint())).stdout
    assert "Watermark: none yet" in said
    assert "Digest: none yet; there is nothing at or below the watermark." in said
    legacy = json.dumps({"Key": "in/a", "LastModified": OLD.timestamp(), "last_ingestion_run": 1})
    lake.server.client().put_object(Bucket=lake.bucket, Key="old", Body=legacy.encode())
    said = run("status", "--checkpoint", f"s3://{lake.bucket}/old").stdout
    assert "Watermark: every file up to 2026-01-02T03:04:05Z, in/a, was requested" in said
    assert "Digest: none; the next scan takes what is listed at or below the watermark" in said


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
    processor.get_new_files(storage_class=None)
    processor.commit_checkpoint()
    before = lake.versions()
    lines = run("status", "--checkpoint", path).stdout.splitlines()
    assert lines[0].startswith(f"The checkpoint {path}: ")
    assert [each for each in lines if each.startswith(("Storage", "Generation", "Recent: 2"))] == [
        "Storage class: STANDARD.",
        "Generation: 2, sequence 1.",
        "Recent: 2 files requested above the watermark, remembered one by one.",
        "Storage class: any that the filter lets through.",
        "Generation: 1, sequence 1.",
        "Recent: 2 files requested above the watermark, remembered one by one.",
    ]
    shown = document("status", "--checkpoint", path)
    assert (shown["checkpoint"], shown["next_generation"]) == (None, None)
    assert shown["storage_classes"].keys() == {"STANDARD", ""}
    standard = shown["storage_classes"]["STANDARD"]
    assert (standard["generation"], standard["recent"]) == (2, 2)
    assert lake.versions() == before


def test_account_that_cannot_be_read(run: Any, tmp_path: Path) -> None:
    """An account of a later release ends with 1."""
    path = tmp_path / "cp.json"
    path.write_text(CheckpointDocument({"STANDARD": {"version": 99}}).encoded())
    assert "of version 99" in run("status", "--checkpoint", str(path), code=1).stderr


def test_running_sensor(world: World, run: Any, document: Any) -> None:
    """Of a sensor its status and last tick are shown as well; a plan can start from it."""
    tick = world.tick()
    lines = run("status", "--sensor", "landing").stdout.splitlines()
    began = format_time(datetime.fromtimestamp(tick.timestamp, timezone.utc))
    assert lines[0].startswith("The cursor of sensor landing (code location tests): ")
    assert lines[1:4] == [
        "Sensor: running, as its definition says.",
        f"Last tick: {began}, succeeded: 1 run requested.",
        "Generation: 1, sequence 1.",
    ]
    shown = document("status", "--sensor", "landing", "--location", "tests")
    assert shown["sensor"] == {
        "name": "landing",
        "location": "tests",
        "repository": "__repository__",
        "status": "RUNNING",
        "last_tick": {"at": began, "status": "SUCCESS", "runs": 1, "message": None},
        "newest_reset": None,
    }
    assert shown["bytes"] == len(world.cursor or "")
    uri = world.instance.get_runs()[0].tags[SOURCE_TAG]
    cursor = world.cursor
    assert document("plan", uri, "--sensor", "landing")["files"] == 0
    assert document("plan", uri)["files"] == 2
    assert world.cursor == cursor
    world.tick()
    said = run("status", "--sensor", "landing").stdout
    assert ", requested nothing: Nothing new" in said


def test_sensor_after_resets(world: World, run: Any, document: Any) -> None:
    """A cursor that was cleared, and a reset that no tick has honoured, name what comes next."""
    world.tick()
    cursor = world.cursor
    world.set_cursor("")
    said = run("status", "--sensor", "landing").stdout
    assert "No cursor: it was cleared. The next tick starts generation 2." in said
    shown = document("status", "--sensor", "landing")
    assert (shown["checkpoint"], shown["next_generation"]) == (None, 2)
    world.launch("reset_landing")
    # As a tick does that ran while the reset did.
    world.set_cursor(cursor)
    said = run("status", "--sensor", "landing").stdout
    assert "A reset waits to be honoured: the next tick starts generation" in said
    shown = document("status", "--sensor", "landing")
    next_generation = shown["sensor"]["newest_reset"]["generation"]
    assert shown["checkpoint"]["generation"] == 1
    assert shown["next_generation"] == next_generation > 1
    uri = world.instance.get_runs(dg.RunsFilter(job_name="ingest"))[0].tags[SOURCE_TAG]
    planned = document("plan", uri, "--sensor", "landing")
    assert (planned["generation"], planned["files"]) == (next_generation, 2)
    world.tick()
    said = run("status", "--sensor", "landing").stdout
    assert f"Generation: {next_generation}, sequence " in said
    reset = shown["sensor"]["newest_reset"]["at"]
    assert f"Reset: the newest honoured is {reset}." in said


def test_cursor_that_was_set_back(world: World, run: Any, moto: S3Server) -> None:
    """A cursor that somebody set back by hand is noticed, with what follows from that."""
    world.tick()
    cursor = world.cursor
    uri = world.instance.get_runs()[0].tags[SOURCE_TAG]
    bucket = uri.removeprefix("s3://").partition("/")[0]
    moto.client().put_object(Bucket=bucket, Key="in/c", Body=b"x")
    world.tick()
    assert "set back" not in run("status", "--sensor", "landing").stdout
    world.set_cursor(cursor)
    said = run("status", "--sensor", "landing").stdout
    assert "The cursor was set back: what came after it is requested again by" in said


def test_sensor_that_fails(world: World, run: Any) -> None:
    """The error of a failed tick is shown; a cursor that cannot be read ends with 1."""
    world.tick()
    uri = world.instance.get_runs()[0].tags[SOURCE_TAG]
    world.set_cursor("{}")
    world.tick()
    said = run("status", "--sensor", "landing", code=1)
    assert "has no field 'version'" in said.stderr
    world.set_cursor(encode_checkpoint(Checkpoint()))
    said = run("status", "--sensor", "landing").stdout
    assert ", failed: dagster_s3inc.errors.CheckpointFormatError: The stored checkpoint" in said
    run("plan", uri, "--sensor", "landing")


def test_name_that_no_or_two_code_locations_have(world: World, run: Any) -> None:
    """A name that is not known, or not clear, is refused, with the names that there are."""
    world.tick()
    said = " ".join(run("status", "--sensor", "landng", code=1).stderr.split())
    assert "The Dagster instance has no sensor 'landng': it was never started there." in said
    assert "It has: landing." in said
    for option in ("--location", "--repository"):
        said = " ".join(run("status", "--sensor", "landing", option, "x", code=1).stderr.split())
        assert "in other places: tests (__repository__). Fix --location" in said
    [state] = world.states()
    place = state.origin.repository_origin
    elsewhere = place.code_location_origin._replace(location_name="elsewhere")
    origin = state.origin._replace(repository_origin=place._replace(code_location_origin=elsewhere))
    world.instance.add_instigator_state(state._replace(origin=origin))
    said = run("status", "--sensor", "landing", code=2).stderr
    assert "tests (__repository__)" in said
    assert "elsewhere (__repository__)" in said
    said = run("status", "--sensor", "landing", "--location", "elsewhere").stdout
    assert "Last tick: none yet." in said
    run("status", "--sensor", "landing", "--location", "tests", "--repository", "__repository__")


def test_no_instance(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a DAGSTER_HOME, or with one that cannot be read, the command says so."""
    said = run("status", "--sensor", "landing", code=1).stderr
    assert "Could not read the Dagster instance: " in said
    assert "DAGSTER_HOME" in said
    (tmp_path / "schedules").mkdir()
    (tmp_path / "schedules/schedules.db").write_bytes(b"no database" * 1000)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    said = run("status", "--sensor", "landing", code=1).stderr
    assert "Could not read the Dagster instance: " in said


def test_nothing_given(run: Any) -> None:
    """Without a cursor, checkpoint or sensor there is nothing to explain."""
    assert "Give one of --cursor, --checkpoint and --sensor." in run("status", code=2).stderr
