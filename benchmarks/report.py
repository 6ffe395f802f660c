"""The report, in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Final

from benchmarks.cases import NEW, Case, Options, Results
from benchmarks.content import SHARE
from benchmarks.plot import draw
from benchmarks.targets import Figure, best_figure, figure_of, targets
from benchmarks.ways import LANES, LANES_FIRST, WAYS, WAYS_ASIDE

__all__ = ["write_report"]

_PACKAGES: Final = ("boto3", "botocore", "dagster", "dagster-aws", "s3fs", "obstore", "urllib3")

_HEADER: Final = (
    "",
    "CPU s",
    "least to most",
    "floors",
    "wall s",
    "peak MB",
    "before",
    "requests",
    "server's CPU s",
)

_METHOD: Final = """\
## How it was measured

- The server is a process of its own on loopback. Its entries are written before anything is
  measured; a page takes it a join and a write. The last column is its own CPU: where that is small
  beside the way's, the way was not waiting for it.
- Each measurement is a process of its own, forked from one that has imported what the way needs.
  The client has been made and has sent one request. CPU is user and system time of all threads;
  what the benchmark itself does to compare keys is left out.
- "Peak MB" is all of the process; "before" is what it had when the work began: for this package and
  dagster_aws, mostly Dagster's own modules.
- In each round, every way takes its turn, the quick ones several times, and each round begins with
  another. Figures are medians.
- "Floors" is the CPU in units of the floor: the same bytes, read with urllib3, not looked at.
- Steady state: {new:,} new objects, spread over all pages, among N old ones, of which the cursor
  holds nothing but the sketch. First scan: all are new; each is made, sorted and put into a batch.
  Whole tick: the sensor evaluated with its cursor, 10 run requests built, the cursor written.
  The others only list, which is less; `get_objects` also sorts, and gives what is new.
- All ways found the same objects, by number and by a digest of their keys, with the same number of
  requests, and every page of ours went the fast way. Otherwise there would be no report.

## What it does not show

A network: bandwidth, TLS, and answers in chunks cost everyone more. Keys here are plain; keys that
are percent-encoded in a listing, such as `dt=2026-01-01/`, are decoded one by one.
"""


def write_report(results: Results, options: Options, folder: Path) -> Path:
    """Writes REPORT.md and its plot into a folder; returns the former."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(results, options.sizes, folder / "cost.png")
    path = folder / "REPORT.md"
    path.write_text("\n".join(_lines(results, options)) + "\n")
    return path


def _lines(results: Results, options: Options) -> Iterable[str]:
    largest = options.sizes[-1]
    yield "# What listing costs\n"
    time = f"in {results.seconds:.0f} s with {results.rounds} round(s)"
    yield f"Written by `python -m benchmarks` {time}. {_place()}\n"
    yield "![CPU seconds and memory against the number of objects](cost.png)\n"
    yield f"## Targets, at {largest:,} objects\n"
    yield from _table(
        ("", "target", "reached", ""),
        [
            (each.what, each.wanted, each.reached, _verdict(each.is_met))
            for each in targets(results, largest)
        ],
    )
    for size in options.sizes:
        yield f"\n## {size:,} old objects and {NEW:,} new ones\n"
        figures = {way: best_figure(results, way, size) for way in WAYS}
        yield from _table(
            _HEADER, [_row(WAYS[way].title, f, figures) for way, f in figures.items()]
        )
        if any(figure and figure.is_reckoned for figure in figures.values()):
            yield (
                f"\n≈ For the sake of time, only a {round(1 / SHARE)}th of the objects was listed, "
                f"and the figures were multiplied, as if cost grew no faster than the number of "
                f"objects, which flatters those that keep and sort them. `--full` lists all."
            )
    yield f"\n## {largest:,} objects, each request {options.latency * 1000:.0f} ms away\n"
    far = {
        "dagster_s3inc, steady state, 1 lane": Case(way="steady", size=largest, is_far=True),
        f"the same, {options.lanes} lanes": Case(way=LANES.name, size=largest, is_far=True),
        f"the same, {LANES_FIRST.title}": Case(way=LANES_FIRST.name, size=largest, is_far=True),
    }
    rows = [_row(title, figure_of(results, case), {}) for title, case in far.items()]
    yield from _table(_HEADER, rows)
    yield (
        "\nThe one lane was measured while other ways computed in other processes: it "
        "does little else than wait. Where the pages are, a sensor's process knows from the "
        "look before; in its first one it must find out.\n"
    )
    for way, why in results.missing.items():
        yield f"Not measured: {({**WAYS, **WAYS_ASIDE})[way].title} ({why}).\n"
    yield _METHOD.format(new=NEW).rstrip()


def _row(title: str, figure: Figure | None, others: dict[str, Figure | None]) -> Sequence[str]:
    if figure is None:
        return (title, *["-"] * (len(_HEADER) - 1))
    about = "≈ " if figure.is_reckoned else ""
    floor = others.get("floor")
    spread = f"{_seconds(figure.least)} to {_seconds(figure.most)}" if figure.rounds > 1 else "once"
    return (
        title,
        about + _seconds(figure.cpu),
        spread,
        f"{about}{figure.cpu / floor.cpu:.1f}" if floor else "-",
        about + _seconds(figure.wall),
        f"{about}{figure.peak:,.0f}",
        f"{figure.base:.0f}",
        f"{about}{figure.requests:,.0f}",
        about + _seconds(figure.server_cpu),
    )


def _seconds(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _verdict(is_met: bool | None) -> str:
    return "not measured" if is_met is None else "reached" if is_met else "**missed**"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    yield f"| {' | '.join(header)} |"
    yield f"| :-- | {' | '.join(['--:'] * (len(header) - 1))} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _place() -> str:
    versions = []
    for name in _PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"no {name}")
    return (
        f"{datetime.now(timezone.utc):%Y-%m-%d}, {platform.system()} on {platform.machine()}, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[2]:.1f}, Python "
        f"{platform.python_version()}, {', '.join(versions)}. Compare ratios, not seconds."
    )
