from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dagster_s3inc import BatchPolicy, ObjectFilter, S3IncrementalProcessor
from dagster_s3inc.core.checkpoint import Checkpoint, PartialScan
from dagster_s3inc.core.cursor_format import encode_checkpoint
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.runs.run_requests import parse_run_key
from tests.cli.conftest import Lake
from tests.servers import backdate


def at(seconds: int) -> datetime:
    return datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)


def keys_of(document: dict[str, Any]) -> list[list[str]]:
    return [[each["key"] for each in batch["objects"]] for batch in document["batches"]]


def test_plan_is_what_a_first_tick_requests(lake: Lake, document: Any) -> None:
    """Without a cursor, the batches are those that the first tick of a sensor requests."""
    lake.put(*"abcde", body=b"xyz")
    planned = document("plan", lake.uri, "--max-files", "2", "--files")
    requests = lake.tick(batch=BatchPolicy(max_files=2)).run_requests or ()
    keys = [parse_run_key(each.run_key) for each in requests]
    assert [
        (planned["generation"], planned["sequence"], each["id"], None)
        for each in planned["batches"]
    ] == keys
    assert keys_of(planned) == [
        [file["key"] for file in each.run_config["resources"]["batch"]["config"]["files"]]
        for each in requests
    ]
    assert (planned["files"], planned["bytes"], planned["something_waits"]) == (5, 15, True)
    assert (planned["listed"], planned["requests"]) == ({"objects": 5, "bytes": 15}, 1)


def test_table_shows_each_batch(lake: Lake, run: Any) -> None:
    """The table has number, files, bytes, oldest, first and last key; the summary follows."""
    lake.put("a", "b", "c", body=b"x" * 1024)
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    for name in "abc":
        backdate(lake.bucket, f"in/{name}", moment)
    said = run("plan", lake.uri, "--max-files", "2")
    [_, heads, _, *rows, _, summary] = said.stdout.splitlines()
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in (heads, *rows)]
    assert cells == [
        ["Batch", "Files", "Bytes", "Oldest", "First key", "Last key"],
        ["1", "2", "2.0 KiB", "2026-01-02T03:04:05Z", "in/a", "in/b"],
        ["2", "1", "1.0 KiB", "2026-01-02T03:04:05Z", "in/c", "in/c"],
    ]
    assert summary.startswith("3 files (3.0 KiB) in 2 batches")
    assert said.stderr == ""


def test_files_are_listed_each(lake: Lake, run: Any) -> None:
    """With --files each file has a line of its own; keys are shown as they are, or in quotes."""
    lake.put("a[bold]b", "c\u00a0d", body=b"x" * 2000)
    lines = run("plan", lake.uri, "--files").stdout.splitlines()
    shown = [line.split(maxsplit=3) for line in lines if re.match(r" +1 ", line)]
    assert [(size, key) for _, _, size, key in shown] == [
        ("2,000", "in/a[bold]b"),
        ("2,000", "'in/c\\xa0d'"),
    ]
    assert "│ in/a[bold]b │ 'in/c\\xa0d' │" in "\n".join(lines)


def test_limits_leave_the_rest_waiting(lake: Lake, document: Any) -> None:
    """--max-bytes and --max-batches-per-tick bound what is planned; what waits is counted."""
    lake.put(*"abcde", body=b"x" * 1024)
    planned = document("plan", lake.uri, "--max-bytes", "2KiB", "--max-batches-per-tick", "2")
    assert [each["files"] for each in planned["batches"]] == [2, 2]
    waiting = planned["waiting"]
    assert (waiting["files"], waiting["bytes"]) == (1, 1024)
    assert waiting["oldest"] >= planned["batches"][1]["oldest"]


def test_files_linger(lake: Lake, document: Any) -> None:
    """With --linger, only full batches and those of old enough files are planned."""
    lake.put(*"abc")
    arguments = ["plan", lake.uri, "--linger", "10m", "--files", "--max-files", "2"]
    planned = document(*arguments)
    assert keys_of(planned) == [["in/a", "in/b"]]
    assert planned["waiting"]["files"] == 1
    for name in "abc":
        backdate(lake.bucket, f"in/{name}", at(0))
    assert keys_of(document(*arguments)) == [["in/a", "in/b"], ["in/c"]]


@pytest.mark.parametrize("kind", ["file", "text", "stdin"])
def test_plan_from_a_cursor(lake: Lake, run: Any, document: Any, tmp_path: Path, kind: str) -> None:
    """From a sensor's cursor, only what the next tick would request is planned."""
    lake.put("a", "b")
    cursor = lake.cursor()
    lake.put("c")
    file = tmp_path / "cursor"
    file.write_text(f"{cursor}\n")
    given = {"file": str(file), "text": cursor, "stdin": "-"}[kind]
    stdin = cursor if kind == "stdin" else None
    planned = document("plan", lake.uri, "--cursor", given, "--files", stdin=stdin)
    assert keys_of(planned) == [["in/c"]]
    assert planned["warnings"] == []
    assert file.read_text() == f"{cursor}\n"


@pytest.mark.parametrize("place", ["file", "s3"])
def test_plan_from_a_processors_checkpoint(
    lake: Lake, document: Any, tmp_path: Path, place: str
) -> None:
    """From a checkpoint, what get_new_files gives is planned; nothing is changed anywhere."""
    folder = tmp_path / "state"
    path = str(folder / "cp.json") if place == "file" else f"s3://{lake.bucket}/in/cp.json"
    processor = S3IncrementalProcessor(lake.uri, path)
    lake.put("a", "b")
    processor.get_new_files()
    processor.commit_checkpoint()
    lake.put("c", "d")
    for lock in folder.glob("*.lock"):
        lock.unlink()

    def everything() -> Any:
        return lake.versions(), {each: each.read_bytes() for each in folder.glob("*")}

    before = everything()
    planned = document("plan", lake.uri, "--checkpoint", path, "--files")
    assert everything() == before
    assert keys_of(planned) == [["in/c", "in/d"]]
    assert planned["warnings"] == []
    assert processor.get_new_files() == [f"{lake.uri}c", f"{lake.uri}d"]


def test_filters_are_those_of_the_sensor(lake: Lake, document: Any) -> None:
    """Include, exclude, sizes and folder markers select as the sensor's filter does."""
    lake.put("a.csv", "b.csv", "b.tmp", "sub/c.csv", body=b"x" * 10)
    lake.put("large.csv", body=b"x" * 2048)
    lake.put("folder/", body=b"")
    arguments = ["--include", "**/*.csv", "--include", "**/*.tmp", "--exclude", "b.*"]
    arguments += ["--min-size", "1", "--max-size", "1KiB", "--include-folder-markers"]
    planned = document("plan", lake.uri, *arguments, "--files")
    assert keys_of(planned) == [["in/a.csv", "in/sub/c.csv"]]
    assert planned["left_out"] == 4
    assert keys_of(document("plan", lake.uri, "--max-size", "0", "--files")) == []
    markers = document("plan", lake.uri, "--max-size", "0", "--include-folder-markers", "--files")
    assert keys_of(markers) == [["in/folder/"]]


def test_other_options_than_the_sensors_are_noticed(lake: Lake, run: Any, document: Any) -> None:
    """A cursor made with another filter gives a warning; with the same one it gives none."""
    lake.put("a.csv")
    options = ObjectFilter(
        include="*.csv",
        exclude="b*",
        storage_classes=["STANDARD", "STANDARD_IA"],
        min_size=1,
        max_size=1024,
        modified_after=at(0),
        modified_before=at(10**9),
        include_folder_markers=True,
    )
    cursor = lake.cursor(objects=options)
    same = ["--include", "*.csv", "--exclude", "b*", "--storage-class", "STANDARD_IA"]
    same += ["--storage-class", "STANDARD", "--min-size", "1", "--max-size", "1KiB"]
    same += ["--start-from", format_time(at(0)), "--modified-before", format_time(at(10**9))]
    same += ["--include-folder-markers", "--cursor", cursor]
    assert document("plan", lake.uri, *same)["warnings"] == []
    said = run("plan", lake.uri, "--cursor", cursor)
    assert "Warning: The cursor was made with another prefix or filter than this" in said.stderr
    assert "Warning" not in said.stdout


def test_storage_classes(lake: Lake, document: Any) -> None:
    """By default all classes count that can be read at once; from a checkpoint only STANDARD."""
    client = lake.server.client()
    for storage_class in ("STANDARD", "STANDARD_IA", "GLACIER"):
        key = f"in/{storage_class}"
        client.put_object(Bucket=lake.bucket, Key=key, Body=b"x", StorageClass=storage_class)
    path = f"s3://{lake.bucket}/cp.json"
    processor = S3IncrementalProcessor(lake.uri, path)
    processor.reset_checkpoint()

    def planned(*arguments: str) -> list[list[str]]:
        return keys_of(document("plan", lake.uri, "--files", *arguments))

    assert planned() == [["in/STANDARD", "in/STANDARD_IA"]]
    assert planned("--storage-class", "GLACIER") == [["in/GLACIER"]]
    assert planned("--checkpoint", path) == [["in/STANDARD"]]
    readable = planned("--checkpoint", path, "--storage-class", "readable")
    assert readable == [["in/STANDARD", "in/STANDARD_IA"]]


def test_start_from(lake: Lake, document: Any) -> None:
    """A first scan may begin now, or at a time; a cursor has begun already, but a time bounds."""
    lake.put("old", "new")
    backdate(lake.bucket, "in/old", at(0))
    since = ["--start-from", format_time(at(60))]
    assert keys_of(document("plan", lake.uri, "--files", *since)) == [["in/new"]]
    assert keys_of(document("plan", lake.uri, "--files", "--start-from", "now")) == []
    beginning = document("plan", lake.uri, "--files", "--start-from", "beginning")
    assert keys_of(beginning) == [["in/old", "in/new"]]
    cursor = lake.cursor(start_from="now")
    lake.put("newer")
    going_on = document("plan", lake.uri, "--files", "--start-from", "now", "--cursor", cursor)
    assert keys_of(going_on) == [["in/newer"]]


def test_lookback_shows_in_the_checkpoint_that_follows(lake: Lake, document: Any) -> None:
    """What is older than the lookback is summed up in the checkpoint that would follow."""
    lake.put("a", "b")
    hours_ago = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(hours=3)
    backdate(lake.bucket, "in/a", hours_ago)

    def after(*arguments: str) -> dict[str, Any]:
        following: dict[str, Any] = document("plan", lake.uri, *arguments)["checkpoint_after"]
        return following

    assert after()["watermark"] == {"last_modified": format_time(hours_ago), "key": "in/a"}
    assert after("--lookback", "1h59m60s")["recent"] == 1
    assert after("--lookback", "1d")["watermark"] is None
    assert after("--lookback", "1d")["recent"] == 2


def test_late_file_capacity_of_the_cursor_is_kept(lake: Lake, document: Any) -> None:
    """A cursor with another capacity than usual still shows a late file."""
    lake.put("a", "b")
    backdate(lake.bucket, "in/a", at(9))
    cursor = lake.cursor(late_file_capacity=80)
    lake.put("late")
    backdate(lake.bucket, "in/late", at(0))
    planned = document("plan", lake.uri, "--cursor", cursor)
    assert (planned["found_late"], planned["something_waits"]) == (1, True)
    assert planned["checkpoint_after"]["emitted"]["late_file_capacity"] == 80


def test_partial_scan_goes_on(lake: Lake, run: Any, document: Any) -> None:
    """From a cursor with a partial scan, only keys after its place are listed; it says so."""
    lake.put(*"abcd")
    selection = ObjectFilter().selection("in/", bucket=lake.bucket)
    began = datetime.now(timezone.utc)
    partial = PartialScan(began=began, horizon=began, after="in/b", listed=Digest.empty())
    cursor = encode_checkpoint(Checkpoint(partial_scan=partial, selection=selection.hash))
    planned = document("plan", lake.uri, "--cursor", cursor, "--files")
    assert keys_of(planned) == [["in/c", "in/d"]]
    assert not planned["complete"]
    said = run("plan", lake.uri, "--cursor", cursor).stderr
    assert "has come as far as in/b: only keys after that one were listed" in said
    assert document("plan", lake.uri)["complete"]


def test_storage_class_without_an_account(lake: Lake, run: Any, document: Any) -> None:
    """Of a class that a processor was never asked for everything is new, and that is said."""
    lake.put("a")
    path = f"s3://{lake.bucket}/cp.json"
    processor = S3IncrementalProcessor(lake.uri, path)
    processor.get_new_files()
    processor.commit_checkpoint()
    assert document("plan", lake.uri, "--checkpoint", path)["files"] == 0
    arguments = ["plan", lake.uri, "--checkpoint", path, "--storage-class", "readable"]
    assert document(*arguments)["files"] == 1
    assert "has no account of this storage class, so every file of it is new. It has: STANDARD" in (
        run(*arguments).stderr
    )


def test_check_tells_by_its_exit_code(lake: Lake, run: Any, document: Any) -> None:
    """With --check the exit code is 3 if something waits and else 0; without it always 0."""
    lake.put("a")
    cursor = lake.cursor()
    run("plan", lake.uri, "--check", code=3)
    assert document("plan", lake.uri, "--check", code=3)["something_waits"]
    run("plan", lake.uri, "--check", "--cursor", cursor, code=0)
    run("plan", lake.uri)
    assert not document("plan", lake.uri, "--cursor", cursor)["something_waits"]


def test_nothing_new(lake: Lake, run: Any) -> None:
    """Where nothing is new there is no table, but the sentence of the sensor's tick."""
    lake.put("a")
    said = run("plan", lake.uri, "--cursor", lake.cursor())
    assert said.stdout.startswith("Nothing new in generation 1: 1 object (1 byte) listed under")
    assert said.stdout.count("\n") == 1


def test_endpoint_of_the_command_line_is_used(
    lake: Lake, document: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--endpoint-url stands for the environment's endpoint, for the prefix and the checkpoint."""
    lake.put("a")
    path = f"s3://{lake.bucket}/cp.json"
    S3IncrementalProcessor(lake.uri, path).reset_checkpoint()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    arguments = ["plan", lake.uri, "--endpoint-url", lake.server.endpoint_url]
    assert document(*arguments, "--checkpoint", path)["generation"] == 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["s3://no-such-bucket/in/"], 1, "Error: Could not list s3://no-such-bucket/in/: The buck"),
        (["{uri}", "--endpoint-url", "http://127.0.0.1:9"], 1, "The server cannot be reached"),
        (["{uri}", "--endpoint-url", "localhost"], 2, "Write http://HOST:PORT"),
        (["lake/in/"], 2, "is not an S3 URI. Write s3://BUCKET/PREFIX"),
        ([], 2, "Missing argument 'URI'"),
        (["{uri}", "--max-files", "0"], 2, "max_files must be at least 1"),
        (["{uri}", "--max-files", "many"], 2, "'many' is not a valid integer"),
        (["{uri}", "--max-batches-per-tick", "-1"], 2, "max_batches must be at least 0"),
        (
            ["{uri}", "--max-bytes", "1MB"],
            2,
            "--max-bytes': '1MB' is not a size. Write bytes",
        ),
        (["{uri}", "--lookback", "1x"], 2, "--lookback': '1x' is not a duration. Write seconds"),
        (["{uri}", "--lookback", "9999999999d"], 2, "is too long"),
        (["{uri}", "--lookback", "40000d"], 2, "lookback must be a timedelta"),
        (["{uri}", "--start-from", "2026-01-01"], 2, "is not a moment. Write it in ISO 8601"),
        (["{uri}", "--include", ""], 2, "include holds ''"),
        (["{uri}", "--storage-class", "readable", "--storage-class", "X"], 2, "goes with no other"),
        (["{uri}", "--storage-class", "standard"], 2, "in capitals, as in STANDARD"),
        (["{uri}", "--exclude", "s3://lake/in/**"], 2, "exclude holds 's3://lake/in/**'"),
        (["{uri}", "--cursor", "no-such-file"], 2, "There is no file 'no-such-file'"),
        (["{uri}", "--cursor", "/"], 1, "Could not read the cursor in /: "),
        (["{uri}", "--cursor", ""], 1, "it is empty"),
        (["{uri}", "--cursor", "-"], 1, "it is empty"),
        (["{uri}", "--cursor", "/dev/null"], 1, "it is empty"),
        (["{uri}", "--checkpoint", "/dev/null"], 1, "it is empty"),
        (["{uri}", "--cursor", "{}"], 1, "has no field 'version'"),
        (["{uri}", "--cursor", '{"version":99}'], 1, "of version 99"),
        (["{uri}", "--checkpoint", "no-such-file"], 1, "There is no checkpoint no-such-file"),
        (["{uri}", "--checkpoint", "s3://{bucket}/no"], 1, "There is no checkpoint s3://"),
        (["{uri}", "--checkpoint", "s3://no-such-bucket/x"], 1, "Could not read the checkpoint"),
        (["{uri}", "--checkpoint", "/dev/null/x"], 1, "Could not read the checkpoint /dev/null/x"),
        (["{uri}", "--checkpoint", "s3://{bucket}/"], 2, "names no object"),
        (["{uri}", "--checkpoint", "a", "--cursor", "b"], 2, "Give only one of --cursor"),
        (["{uri}", "--location", "a"], 2, "go with --sensor"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_errors(
    lake: Lake,
    run: Any,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    says: str,
    as_json: bool,
) -> None:
    """What could not be found out ends with 1, a wrong call with 2; stdout stays empty."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    filled = [
        each.replace("{uri}", lake.uri).replace("{bucket}", lake.bucket) for each in arguments
    ]
    said = run("plan", *filled, *(["--json"] if as_json else []), code=code)
    assert says in " ".join(said.stderr.split())
    assert "Traceback" not in said.stderr
    assert said.stdout == ""
