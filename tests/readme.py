"""The code of the README, run, and the outputs that README and docs show, made.

`python -m tests.readme` writes the outputs into their places.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg

from dagster_s3inc.core.batching import BatchPolicy, ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import ColumnsPage
from dagster_s3inc.core.scan import ScanResult, scan
from tests.servers import S3Server, backdate, moto_server

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
MOMENT = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
LINES = b"1\n2\n3\n"


def _moment(time: str) -> datetime:
    hours, minutes = map(int, time.split(":"))
    return MOMENT.replace(hour=hours, minute=minutes)


# The worked example of docs/how-it-works.md: five files, and one that appears late.
_FILES = {
    key: S3Object(_moment(time), key, key, 1, "STANDARD")
    for key, time in {
        "a": "08:10",
        "b": "08:20",
        "c": "08:30",
        "d": "09:40",
        "e": "09:50",
        "f": "08:15",
    }.items()
}
_LATE, _LATE_APPEARS = "f", "10:03"
_SCANS = ("10:00", "10:01", "10:02", "10:03")
_LINE = "{:7}{:10}{:15}{:9}{:8}{}\n"

# Base64 in a cursor that is shown: it differs from one zlib to another, but for its beginning.
_SHOWN = 2
_LONGEST_SHOWN = 40


def code_blocks() -> list[str]:
    """The Python code in the README, in order."""
    return re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def yaml_block() -> str:
    """The `defs.yaml` that the README shows."""
    [block] = re.findall(r"```yaml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    return str(block)


def outputs(server: S3Server) -> dict[str, str]:
    """What the code gives, by the name of the place where it is shown."""
    client = server.client()
    client.create_bucket(Bucket="lake")
    # All moto servers of a process share their buckets, and the docs have one name for theirs.
    for each in client.list_objects_v2(Bucket="lake").get("Contents", ()):
        client.delete_object(Bucket="lake", Key=each["Key"])
    for number in range(250):
        key = f"landing/{number:03}.csv"
        client.put_object(Bucket="lake", Key=key, Body=LINES * 50)
        backdate("lake", key, MOMENT + timedelta(seconds=number))
    sensor_code, processor_code = code_blocks()
    with mock.patch.dict(os.environ, server.environment):
        ticks, cursor = _ticks(sensor_code)
        return {
            "ticks": ticks,
            "processor": _printed(processor_code),
            "cursor": _shown_cursor(cursor),
            "scans": "".join(_scans(_SCANS, has_index=True)),
            "scans without index": "".join(_scans(("10:03", "10:04"), has_index=False)),
        }


def with_outputs(text: str, made: Mapping[str, str]) -> str:
    """A page with these outputs in their places."""
    for name, output in made.items():
        place = re.compile(
            rf"(<!-- output: {name} -->\n```(\w+)\n).*?(```\n<!-- end -->)", re.DOTALL
        )
        text = place.sub(lambda found, output=output: found[1] + output + found[3], text)
    return text


def places() -> Iterator[str]:
    """The names of all places for outputs, in README and docs."""
    for page in PAGES:
        yield from re.findall(r"<!-- output: (.*?) -->", page.read_text("utf-8"))


def _ticks(code: str) -> tuple[str, str]:
    """What two ticks say, and the cursor after them."""
    space = _run(code)
    definitions: dg.Definitions = space["defs"]
    sensor = definitions.resolve_sensor_def("landing")
    resources = {"s3": (definitions.resources or {})["s3"]}
    job = definitions.resolve_implicit_global_asset_job_def()
    said = io.StringIO()
    cursor = None
    for number in (1, 2):
        context = dg.build_sensor_context(cursor=cursor, resources=resources)
        with mock.patch.object(context.log, "info", lambda text: print(text, file=said)):
            print(f"tick {number}: ", end="", file=said)
            result = sensor.evaluate_tick(context)
        for request in result.run_requests or ():
            assert job.execute_in_process(run_config=request.run_config).success
            files = request.tags["dagster_s3inc/files"]
            print(f"    run {request.run_key}  dagster_s3inc/files: {files}", file=said)
        cursor = result.cursor
    assert cursor is not None
    return re.sub(r"in \d+\.\d\d s", "in 0.05 s", said.getvalue()), cursor


def _shown_cursor(cursor: str) -> str:
    """A cursor with a field a line, what is long in it cut off."""
    shown = []
    for field, value in json.loads(cursor).items():
        written = json.dumps(value)
        if isinstance(value, str) and len(value) > _LONGEST_SHOWN:
            written = f'"{value[:_SHOWN]}…"'
        shown.append(f'  "{field}": {written}')
    return "{\n" + ",\n".join(shown) + "\n}\n"


def _scans(clock: Sequence[str], *, has_index: bool) -> Iterator[str]:
    """What the scans at some of these times emit, and what the checkpoint says then: a line each.

    Args:
        clock: The times that are shown.
        has_index: Whether the scans at these times have an index.
    """
    limits = ScanLimits(policy=BatchPolicy(max_files=2), max_batches=1)
    checkpoint, index = Checkpoint(), None
    yield _LINE.format("clock", "emitted", "watermark", "recent", "late", "in the digest")
    for time in dict.fromkeys((*_SCANS, *clock)):
        listed = [_FILES[key] for key in sorted(_FILES) if key != _LATE or time >= _LATE_APPEARS]
        page = ColumnsPage(Columns.of(listed))
        result = scan(
            checkpoint,
            [page],
            now=_moment(time),
            limits=limits,
            index=index if has_index else None,
        )
        checkpoint, index = result.checkpoint, result.index
        if time in clock:
            yield _line(time, result)


def _line(time: str, result: ScanResult) -> str:
    checkpoint = result.checkpoint
    keys = {each.fingerprint: key for key, each in _FILES.items()}
    watermark, emitted = checkpoint.watermark, checkpoint.emitted
    assert watermark is not None
    assert emitted is not None
    return _LINE.format(
        time,
        " ".join(each.key for each in result.objects) or "-",
        f"{watermark.last_modified:%H:%M} {watermark.key}",
        " ".join(sorted(keys[each] for each in checkpoint.recent)) or "-",
        " ".join(sorted(keys[each] for each in checkpoint.late)) or "-",
        f"{emitted.size} files",
    )


def _printed(code: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        _run(code)
    return said.getvalue()


def _run(code: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "readme"}
    # Without this module's __future__ imports, as in a module of its own.
    compiled = compile(code, "README.md", "exec", dont_inherit=True)
    exec(compiled, space)  # noqa: S102 # that is what this module is for
    return space


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with moto_server() as local:
        found = outputs(local)
    for each in PAGES:
        each.write_text(with_outputs(each.read_text("utf-8"), found), "utf-8")
