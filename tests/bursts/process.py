"""The package in this process: imported anew for each new process, and watched as it scans."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

PACKAGE = "dagster_s3inc"

# To compile the package takes longer than a tick, and CI keeps Python from writing into the tree.
_compiled = TemporaryDirectory()


@contextmanager
def new_process(*others: str) -> Iterator[None]:
    """Inside, the package (and other modules) is imported anew, as where a process has just begun.

    So whatever the package keeps in its modules is lost, too.
    """

    def own() -> list[str]:
        return [name for name in sys.modules if name.split(".")[0] == PACKAGE or name in others]

    before = {name: sys.modules.pop(name) for name in own()}
    try:
        with patch.multiple(sys, dont_write_bytecode=False, pycache_prefix=_compiled.name):
            yield
    finally:
        for name in own():
            del sys.modules[name]
        sys.modules.update(before)


def watch_scans(scans: list[Any]) -> None:
    """Appends each scan of this process to a list; what a scan does stays as it is."""
    scanner = importlib.import_module(f"{PACKAGE}.s3.scanner").Scanner
    scan = scanner.scan

    def watched(*args: Any, **options: Any) -> Any:
        result = scan(*args, **options)
        scans.append(result)
        return result

    scanner.scan = watched


def decided_by(scans: list[Any]) -> str | None:
    """By what the scans told which files were new, where the index did not know."""
    found = [scan.result.statistics.decided_by for scan in scans]
    return next(filter(None, found), None)
