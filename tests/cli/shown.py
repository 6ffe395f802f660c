"""What the documentation of the command line shows. `python -m tests.cli.shown` writes it anew."""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

from click.testing import CliRunner

from dagster_s3inc.cli.command import cli
from dagster_s3inc.core.batching import ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.cursor_format import encode_checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanner import Scanner
from tests.servers import backdate, fill, moto_server

PAGE = Path(__file__).parents[2] / "docs/how-to/command-line.md"
# So old that the clock makes no difference.
MOMENT = datetime(2024, 11, 22, 9, 0, tzinfo=timezone.utc)
BLOCK = re.compile(r"(```console\n\$ dagster-s3inc (.*)\n)(?:.*\n)*?(```)")

# What differs from one time to the next, and (the cursor's length) from one zlib to another.
CHANGING = (
    (r"in \d+\.\d\d s", "in 0.05 s"),
    (r'"seconds": [\d.]+', '"seconds": 0.051'),
    (r"8,\d{3} bytes", "8,801 bytes"),
    (r'"bytes": 8\d{3},', '"bytes": 8801,'),
)


def page_with_outputs() -> str:
    """The page, in which each command is followed by what it prints."""
    with _lake():
        return BLOCK.sub(
            lambda found: found[1] + _printed(found[2]) + found[3], PAGE.read_text("utf-8")
        )


def _printed(arguments: str) -> str:
    result = CliRunner().invoke(cli, shlex.split(arguments))
    assert result.exit_code == 0, result.output
    said = result.output
    for changing, shown in CHANGING:
        said = re.sub(changing, shown, said)
    return said


@contextmanager
def _lake() -> Iterator[None]:
    """The bucket of which the page speaks, and in the working directory a cursor."""
    with moto_server() as server, TemporaryDirectory() as folder:
        client = server.client()
        client.create_bucket(Bucket="lake")
        _put(range(250))
        objects = ObjectFilter()
        location = S3Location("lake", "landing/")
        scan = Scanner().scan(
            client,
            location,
            Checkpoint(),
            given=None,
            selection=objects.selection(location.key, bucket=location.bucket),
            limits=ScanLimits(),
        )
        Path(folder, "cursor.json").write_text(encode_checkpoint(scan.result.checkpoint))
        _put(range(250, 253))
        before = Path.cwd()
        os.chdir(folder)
        try:
            with mock.patch.dict(os.environ, server.environment):
                yield
        finally:
            os.chdir(before)


def _put(numbers: range) -> None:
    for number in numbers:
        key = f"landing/{number:03}.csv"
        fill("lake", [key], b"1\n2\n3\n" * 50)
        backdate("lake", key, MOMENT + timedelta(seconds=number))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    PAGE.write_text(page_with_outputs(), "utf-8")
