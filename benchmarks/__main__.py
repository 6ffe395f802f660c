"""The command line: `python -m benchmarks`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.cases import Options
from benchmarks.children import BenchmarkError
from benchmarks.plan import measure_all
from benchmarks.short import LEAST_RATIO, compare

_RESULTS: Final = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    given = _parser().parse_args(arguments)
    began = time.monotonic()
    # Both end the program through the blocks that end its children.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    try:
        if given.short:
            return _short(compare(say))
        # Only here, since the short form does without matplotlib.
        from benchmarks.report import write_report

        options = Options(
            sizes=tuple(sorted(set(given.sizes))),
            rounds=given.rounds,
            lanes=given.lanes,
            latency=given.latency / 1000,
            full=given.full,
        )
        print(f"The report: {write_report(measure_all(options, say), options, given.results)}")
    except KeyboardInterrupt:
        print("Ended.", file=sys.stderr)
        return 130
    except BenchmarkError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _short(ratio: float) -> int:
    print(f"The boto3 paginator takes {ratio:.1f} times the CPU of the steady state.")
    if ratio >= LEAST_RATIO:
        return 0
    print(f"It should be {LEAST_RATIO:.0f} times or more.", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compares what it costs to list a bucket. Takes less than three minutes.",
        epilog="Peers that are not installed are left out: `pip install -e '.[benchmarks]'`.",
    )
    parser.add_argument(
        "--short",
        action="store_true",
        help=f"only 20,000 objects, only against the boto3 paginator, no report; fails if the "
        f"paginator takes less than {LEAST_RATIO:.0f} times the CPU",
    )
    parser.add_argument(
        "--sizes",
        type=_sizes,
        default=(10_000, 100_000, 1_000_000),
        metavar="N,N,…",
        help="how many old objects there are (10000,100000,1000000)",
    )
    parser.add_argument("--rounds", type=_positive, default=3, help="of each size (3)")
    parser.add_argument("--lanes", type=_positive, default=32, help="how many are many (32)")
    parser.add_argument(
        "--latency", type=float, default=80.0, metavar="MS", help="of a far server (80)"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="let slow ways, too, list the whole of large buckets; takes minutes more",
    )
    parser.add_argument(
        "--results", type=Path, default=_RESULTS, metavar="DIR", help="where the report goes"
    )
    return parser


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(_positive(each) for each in text.split(","))


def _positive(text: str) -> int:
    number = int(text.replace("_", ""))
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
