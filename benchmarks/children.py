"""The processes of the benchmark, as its program sees them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

__all__ = ["BenchmarkError", "running"]

_ROOT: Final = Path(__file__).resolve().parents[1]


class BenchmarkError(Exception):
    """A way found something else than is there, or could not do its work."""


@contextlib.contextmanager
def running(
    module: str, argument: str, python: str = sys.executable
) -> Iterator[Callable[..., Any]]:
    """Runs `python -m benchmarks.MODULE ARGUMENT`; it ends with the block.

    Yields what sends it arguments, if there are any, and returns its answer, both as lines of JSON.
    """
    process = subprocess.Popen(  # noqa: S603 - no shell, and no text from outside
        [python, "-m", f"benchmarks.{module}", argument],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A group of its own, so that the forks of a worker end with it.
        start_new_session=True,
    )
    stdin: Any = process.stdin
    stdout: Any = process.stdout

    def ask(*arguments: Any) -> Any:
        if arguments:
            print(json.dumps(arguments), file=stdin, flush=True)
        line = stdout.readline()
        if not line:
            raise BenchmarkError(f"A child ended without an answer: {process.args!r}")
        answer = json.loads(line)
        if "error" in answer:
            raise BenchmarkError(answer["error"])
        return answer

    try:
        yield ask
    finally:
        with contextlib.suppress(BrokenPipeError):
            stdin.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        stdout.close()
