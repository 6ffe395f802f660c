"""Measures all rows, in an order that is fair."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Final
from urllib.parse import urlencode

from benchmarks.children import BenchmarkError, running
from benchmarks.content import PAGE
from benchmarks.measuring import Found, Measurement
from benchmarks.rows import BUCKETS, LATENCY, PAGINATOR, WIRE, Row
from benchmarks.worker import ask

__all__ = ["Results", "check", "in_turn", "measure"]

# Of a row, what the server must know to say what is to be found.
_ASKED: Final = ("bucket", "prefix", "sensor", "oldest")


@dataclass(slots=True, kw_only=True)
class Results:
    """All that was measured: each row in each round."""

    of: dict[Row, list[Measurement]] = field(default_factory=dict)
    seconds: float = 0.0
    load: list[float] = field(default_factory=list)  # of a minute, before each round and at the end

    def cpu(self, row: Row) -> float:
        """The least CPU for a million objects, in seconds; what else goes on only adds to it."""
        return min(each.cpu for each in self.of[row]) / row.millions

    def wall(self, row: Row) -> float:
        """The least time for a million objects, in seconds."""
        return min(each.wall for each in self.of[row]) / row.millions

    def above(self, row: Row) -> float:
        """The most memory above what the process took before its first tick, in MB."""
        return max(each.peak - each.base for each in self.of[row])

    def ratio(self, row: Row) -> float:
        """How many times its CPU the paginator takes."""
        return self.cpu(self._way(PAGINATOR)) / self.cpu(row)

    def of_wire(self, row: Row) -> float:
        """How many times the CPU of the wire it takes."""
        return self.cpu(row) / self.cpu(self._way(WIRE))

    def _way(self, row: Row) -> Row:
        """The row of this way in these results, be it of another bucket."""
        return next(each for each in self.of if each.way == row.way)


def measure(rows: Sequence[Row], *, rounds: int, peers: str | None = None) -> Results:
    """Measures rows, each time in a process of its own, and prints a line for each.

    The wire and the paginator are among them. `peers` is the Python of the peers' environment.

    Raises:
        BenchmarkError: A way did not find what is there.
    """
    began = time.monotonic()
    results = Results(of={row: [] for row in rows})
    buckets = {row.bucket: BUCKETS[row.bucket] for row in rows}
    pythons = {"ours": sys.executable, "others": sys.executable, "peers": peers}
    with contextlib.ExitStack() as stack:
        # First, so that they import while the server writes its pages.
        workers = {
            name: stack.enter_context(running("worker", name.replace("peers", "others"), python))
            for name, python in pythons.items()
            if python is not None
        }
        options = json.dumps({"buckets": buckets, "latency": LATENCY})
        endpoints = stack.enter_context(running("server", options))()
        for number in range(rounds):
            results.load.append(os.getloadavg()[0])
            for row in in_turn(rows, number):
                answer = workers[row.module](asdict(row), endpoints)
                measured = Measurement(found=Found(**answer.pop("found")), **answer)
                asked = {name: getattr(row, name) for name in _ASKED}
                expected = ask(endpoints[row.at], f"expected?{urlencode(asked)}")
                check(row, measured, expected)
                results.of[row].append(measured)
                results.seconds = time.monotonic() - began
                print(
                    f"{results.seconds:6.1f} s  {row.title}: {measured.cpu:.3f} s of CPU, "
                    f"{measured.wall:.3f} s, {measured.peak - measured.base:+.0f} MB, "
                    f"{measured.requests} requests",
                    flush=True,
                )
    results.load.append(os.getloadavg()[0])
    return results


def in_turn(rows: Sequence[Row], number: int) -> list[Row]:
    """The rows in the order of one round: each round begins with another.

    The two with which all are compared come again and again, so that they see the same of whatever
    else the machine does.
    """
    compared = [row for row in rows if row.way in (WIRE.way, PAGINATOR.way)]
    others = [row for row in rows if row not in compared and not (row.is_slow and number % 2)]
    first = number * 5 % max(1, len(others))
    order = [*others[first:], *others[:first]]
    parts = (order[start : start + 5] for start in range(0, len(order), 5))
    return [row for part in parts for row in (*compared, *part)]


def check(row: Row, measured: Measurement, expected: Mapping[str, int | str]) -> None:
    """Compares what was found with what is there: a way that finds something else proves nothing.

    Raises:
        BenchmarkError: Other objects were found, or more requests sent than there are pages.
    """
    found = measured.found
    if row.in_flight:
        expected = {**expected, "new": 0, "new_digest": f"{0:016x}"}
    for what, value in expected.items():
        said = getattr(found, what)
        # Not everyone says everything.
        if said not in (None, value):
            raise BenchmarkError(f"{row.title} found {what}={said} instead of {value}")
    pages = math.ceil(int(expected["listed"]) / PAGE)
    # Ranges that are listed side by side meet within pages, and so do parts.
    most = pages * 5 // 4 if row.module == "ours" else pages
    if not pages <= measured.requests <= most:
        raise BenchmarkError(f"{row.title} sent {measured.requests} requests for {pages} pages")
