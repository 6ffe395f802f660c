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

from benchmarks.rows import LATENCY, ONE_REQUEST, Row
from benchmarks.run import Results

__all__ = ["Target", "documented", "report", "targets", "write_report"]

_PACKAGES: Final = ("boto3", "botocore", "dagster", "dagster-aws", "numpy", "urllib3")
_TABLE: Final = re.compile(r"(<!-- table: figures -->\n).*?(<!-- end -->)", re.DOTALL)

_HEAD: Final = """\
# What listing costs

Written by `python -m benchmarks`. For a million objects: how many times less CPU than boto3's
paginator, how many times the wire, seconds of CPU (least and most of the rounds), seconds in all.
"""

_METHOD: Final = f"""\
## How it was measured

- Rows of this package are whole ticks of its sensor in Dagster: the cursor is read, the bucket
  listed, run requests made, the cursor written. Options are the defaults, but for those that are
  named. The client is boto3's with `max_pool_connections=32`, as many as the sensor sends requests
  at a time by default.
- CPU and time are for a million objects. The paginator, `get_objects`, s3fs and "one request at a
  time" list a sixteenth of the bucket, and rows with percent-encoded keys a quarter of a million
  objects. The MB are those of what was listed.
- Each bucket has a million objects, but for those that are named. Changed pages are at random
  places; half of the changes are new objects, half are old ones that were written anew. In a steady
  tick, the process has made the tick before as well. A filter leaves out about one object in
  sixteen.
- The server is a process of its own on loopback, whose pages are written beforehand. The far one
  answers each request {LATENCY * 1000:.0f} ms later.
- Each measurement is a process of its own, whose client has sent one request. CPU is user and
  system time of all threads. What the benchmark itself does to compare keys is left out.
- Figures are the least of the rounds, since whatever else the machine does only adds. In each
  round each row has its turn, and the paginator and the wire come again and again between them.
- "MB above" is the most memory of the process, less what it had before its first tick, with all
  imports and a client ("before").
- All ways found the same objects, by number and by a digest of their keys, in as many requests as
  there are pages (key ranges side by side, and parts, take some more), and every page of this
  package was read without botocore's parser. Otherwise there would be no report.

A network is not in it: bandwidth, TLS, and answers in chunks cost everyone more.
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
    """The table of the documentation."""
    header = ("", "times less CPU", "CPU s", "s", "MB above")
    rows = [
        (
            row.title,
            f"{results.ratio(row):.1f}",
            _seconds(results.cpu(row)),
            _seconds(results.wall(row)),
            f"{results.above(row):.0f}",
        )
        for row in results.of
    ]
    return _table(header, rows)


def write_report(text: str, table: str, path: Path, page: Path) -> None:
    """Writes the report, and the table into a page of the documentation."""
    path.write_text(text, "utf-8")
    old = page.read_text("utf-8")
    page.write_text(_TABLE.sub(lambda found: found[1] + table + found[2], old), "utf-8")


def report(results: Results, peers: Mapping[str, str]) -> str:
    """The whole report; `peers` are the versions in the environment of the peers."""
    header = ("", "times less", "times the wire", "CPU s", "most", "s", "MB above", "before")
    rows = [_row(results, row) for row in results.of]
    table = _table((*header, "requests", "to reach"), rows)
    return f"{_HEAD}\n{_place(results, peers)}\n\n{table}\n{_METHOD}"


def _row(results: Results, row: Row) -> Sequence[str]:
    measured = results.of[row]
    verdicts = [
        each.wanted if each.is_met else f"**{each.wanted}: missed, {each.reached}**"
        for each in targets(results, row)
    ]
    return (
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


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, (":--", *["--:"] * (len(header) - 1)), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _place(results: Results, peers: Mapping[str, str]) -> str:
    ours = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    theirs = ", ".join(f"{name} {version}" for name, version in peers.items())
    loads = " ".join(f"{load:.1f}" for load in results.load)
    return (
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {results.rounds} round(s) in "
        f"{results.seconds:.0f} s. {_processor()}, {os.cpu_count()} cores, load {loads} (before "
        f"each round and at the end; the benchmark itself makes up to 2). {platform.system()}, "
        f"Python {platform.python_version()}, {ours}; of the peers: {theirs or 'none'}. "
        f"Compare ratios, not seconds."
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()
