"""The report, in Markdown, and the table of the documentation."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.rows import ONE_REQUEST, Row
from benchmarks.run import Results

__all__ = ["Target", "documented", "report", "targets", "write_report"]

_PACKAGES: Final = ("boto3", "botocore", "dagster", "dagster-aws", "numpy", "urllib3")
_TABLE: Final = re.compile(r"(<!-- table: figures -->\n).*?(<!-- end -->)", re.DOTALL)

_HEAD: Final = """\
# What listing costs

Written by `python -m benchmarks`. For a million objects: how many times less CPU than boto3's
paginator, how many times the wire, seconds of CPU (least and most of the rounds), seconds in all,
MB above what the process took before its first tick, and what that was. How it is measured:
[docs/performance.md](../../docs/performance.md#how-it-is-measured).
"""


class Target(NamedTuple):
    """One figure that a row is to reach: the bound and the figure as text, and whether it is."""

    wanted: str
    reached: str
    is_met: bool


def targets(results: Results, row: Row) -> Iterator[Target]:
    """What a row is to reach, and what it reached."""
    if row.ratio:
        ratio = results.ratio(row)
        yield Target(f"≥ {row.ratio} times less", f"{ratio:.1f}", ratio >= row.ratio)
    if row.wire:
        wire = results.of_wire(row)
        yield Target(f"≤ {row.wire} times the wire", f"{wire:.1f}", wire <= row.wire)
    if row.above:
        above = results.above(row)
        yield Target(f"≤ {row.above} MB above", f"{above:.0f}", above <= row.above)
    if row.memory:
        peak = max(each.peak for each in results.of[row])
        yield Target(f"≤ {row.memory} MB in all", f"{peak:.0f}", peak <= row.memory)
    if row.speed and ONE_REQUEST in results.of:
        speed = results.wall(ONE_REQUEST) / results.wall(row)
        yield Target(f"≥ {row.speed} times as fast", f"{speed:.1f}", speed >= row.speed)


def documented(results: Results) -> str:
    """The table of the documentation: some of the columns."""
    return _table([[row[at] for at in (0, 1, 3, 5, 6)] for row in _rows(results)])


def write_report(text: str, table: str, path: Path, page: Path) -> None:
    """Writes the report, and the table into a page of the documentation."""
    path.write_text(text, "utf-8")
    old = page.read_text("utf-8")
    page.write_text(_TABLE.sub(lambda found: found[1] + table + found[2], old), "utf-8")


def report(results: Results, peers: Mapping[str, str]) -> str:
    """The whole report; `peers` are the versions in the environment of the peers."""
    return f"{_HEAD}\n{_place(results, peers)}\n\n{_table(_rows(results))}"


def _rows(results: Results) -> Iterator[Sequence[str]]:
    header = ("", "times less", "times the wire", "CPU s", "most", "s", "MB above", "before")
    yield (*header, "requests", "to reach")
    for row, measured in results.of.items():
        verdicts = [
            each.wanted if each.is_met else f"**{each.wanted}: missed, {each.reached}**"
            for each in targets(results, row)
        ]
        yield (
            row.title,
            f"{results.ratio(row):.1f}",
            f"{results.of_wire(row):.1f}",
            _seconds(results.cpu(row)),
            _seconds(max(each.cpu for each in measured) / row.millions),
            _seconds(results.wall(row)),
            f"{results.above(row):.0f}",
            f"{min(each.base for each in measured):.0f}",
            f"{min(each.requests for each in measured):,}",
            ", ".join(verdicts),
        )


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _table(rows: Iterable[Sequence[str]]) -> str:
    header, *others = rows
    lines = [header, (":--", *["--:"] * (len(header) - 1)), *others]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _place(results: Results, peers: Mapping[str, str]) -> str:
    ours = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    theirs = ", ".join(f"{name} {version}" for name, version in peers.items())
    loads = " ".join(f"{load:.1f}" for load in results.load)
    return (
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {len(results.load) - 1} round(s) in "
        f"{results.seconds:.0f} s. {_processor()}, {os.cpu_count()} cores, load {loads} (before "
        f"each round and at the end; the benchmark itself makes up to 2). {platform.system()}, "
        f"Python {platform.python_version()}, {ours}; of the peers: {theirs or 'none'}. "
        f"Compare ratios, not seconds."
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.machine()
