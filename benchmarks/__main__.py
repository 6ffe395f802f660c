"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.children import BenchmarkError
from benchmarks.peers import peers_python, peers_versions
from benchmarks.report import documented, report, targets, write_report
from benchmarks.rows import ROWS, SHORT_ROWS
from benchmarks.run import measure

_ROOT: Final = Path(__file__).resolve().parents[1]
_REPORT: Final = _ROOT / "benchmarks/results/REPORT.md"
_PAGE: Final = _ROOT / "docs/performance.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Compares what it costs to list a bucket. Takes minutes, writes {_REPORT} "
        f"and the table of {_PAGE}, and installs s3fs and obstore into .venv/benchmark-peers.",
    )
    help_ = "only a few rows of 100,000 objects, no report; fails where one misses its target"
    parser.add_argument("--short", action="store_true", help=help_)
    help_ = "without s3fs and obstore; prints the report"
    parser.add_argument("--no-peers", action="store_true", help=help_)
    help_ = "only the rows with this text in their title; prints the report"
    parser.add_argument("--rows", default="", metavar="TEXT", help=help_)
    help_ = "how often each row is measured, 3 times by default"
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 10), help=help_)
    given = parser.parse_args(arguments)
    # Both end the program through the blocks that end its children.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if given.short:
            return _short()
        peers = None if given.no_peers else peers_python()
        rows = [row for row in ROWS if peers is not None or row.module != "peers"]
        rows = [row for row in rows if given.rows in row.title or row in ROWS[:2]]
        results = measure(rows, rounds=given.rounds, peers=peers)
        text = report(results, peers_versions(peers) if peers else {})
        if len(rows) < len(ROWS):
            print(text)
        else:
            write_report(text, documented(results), _REPORT, _PAGE)
            print(f"The report: {_REPORT}")
    except BenchmarkError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _short() -> int:
    results = measure(SHORT_ROWS, rounds=2)
    judged = [(row, each) for row in results.of for each in targets(results, row)]
    for row, each in judged:
        print(f"{row.title}: {each.wanted}, reached {each.reached}")
    if all(each.is_met for _, each in judged):
        return 0
    print("The listing takes more than it should.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
