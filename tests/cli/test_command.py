from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dagster_s3inc import __version__
from tests.cli.conftest import Lake

ROOT = Path(__file__).parents[2]
MAIN = "from dagster_s3inc.cli import main; main()"


def command(*arguments: str, code: str = MAIN) -> Any:
    """Runs the command in a process of its own, whose error output is no terminal."""
    line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=False)


def test_version_and_help(run: Any) -> None:
    """The command shows its version, its commands and its exit codes."""
    assert run("--version").stdout.endswith(f"version {__version__}\n")
    said = " ".join(run("--help").stdout.split())
    for words in (
        "plan",
        "status",
        "1 it could not be found out",
        "2 the call was wrong",
        "3 something",
    ):
        assert words in said


def test_without_a_terminal_it_is_quiet(lake: Lake) -> None:
    """Where standard error is no terminal, a good call writes nothing to it."""
    lake.put("a")
    done = command("plan", lake.uri, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["files"] == 1


def test_errors_end_the_process_with_their_code(lake: Lake) -> None:
    """The process ends with the documented codes, with a message and without a traceback."""
    lake.put("a")
    for arguments, code in (
        (["plan", "s3://no-such-bucket/"], 1),
        (["plan", "no-uri"], 2),
        (["plan", lake.uri, "--check"], 3),
    ):
        done = command(*arguments)
        assert done.returncode == code
        assert "Traceback" not in done.stderr


def test_progress_on_a_terminal(lake: Lake) -> None:
    """On a terminal the listing's progress is shown, and the document stays clean."""
    lake.put("a", "b")
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(
        [sys.executable, "-c", MAIN, "plan", lake.uri, "--json"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        cwd=ROOT,
        env=environment,
    ) as process:
        os.close(theirs)
        stdout, _ = process.communicate()
    shown = b""
    # Linux reports the end of a terminal that nobody writes to any more as an error.
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            while chunk := terminal.read(4096):
                shown += chunk
        except OSError:
            pass
    assert process.returncode == 0
    assert f"Listing {lake.uri}".encode() in shown
    assert b"2 objects" in shown
    assert json.loads(stdout)["files"] == 2


@pytest.mark.parametrize("package", ["click", "rich"])
def test_missing_package(package: str) -> None:
    """Without the packages of the extra, the command says what to install."""
    hide = f"""
import sys, dagster_s3inc
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
for name in [each for each in sys.modules if each.partition(".")[0] == {package!r}]:
    del sys.modules[name]
sys.meta_path.insert(0, Hidden())
"""
    done = command("--help", code=hide + MAIN)
    assert done.returncode == 1
    assert "pip install 'dagster-s3inc[cli]'" in done.stderr
    assert repr(package) in done.stderr
    assert "Traceback" not in done.stderr
