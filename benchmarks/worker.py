"""A child of the benchmark: `python -m benchmarks.worker MODULE`.

It imports a module of ways, once. Then, for each row that it reads, it forks: the fork prepares,
measures, and writes the result. So everything is measured in a process of its own whose memory
holds the imports and nothing else, and imports cost no time.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback
import urllib.request
from dataclasses import asdict
from types import ModuleType
from typing import Any

from benchmarks.measuring import Clock, Measurement, Work
from benchmarks.rows import Row

__all__ = ["ask"]


def ask(endpoint: str, what: str) -> Any:
    """What the server says: `requests`, or `expected?bucket=…&prefix=…&oldest=…&sensor=…`."""
    with urllib.request.urlopen(f"{endpoint}/-/{what}") as answer:  # noqa: S310 - our own server
        return json.load(answer)


def _measure(module: ModuleType, row: Row, endpoints: dict[str, str]) -> Measurement:
    ready = Clock()
    work: Work = module.prepare(row, endpoints, ready)
    measured = [_once(work, endpoints[row.at], ready.base) for _ in range(row.times)]
    return min(measured, key=lambda each: each.cpu)


def _once(work: Work, endpoint: str, base: float) -> Measurement:
    # So that what the imports left is not collected on the clock, nor copied from the parent.
    gc.collect()
    clock = Clock()
    before = ask(endpoint, "requests")
    with clock.running():
        found = work(clock)
    requests = ask(endpoint, "requests") - before
    return Measurement(found(), clock.cpu, clock.wall, clock.peak, base, requests)


def main(name: str) -> None:
    """Imports, and then does tasks until there are no more."""
    module = importlib.import_module(f"benchmarks.{name}")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                row, endpoints = json.loads(line)
                answer = asdict(_measure(module, Row(**row), endpoints))
            except BaseException:  # noqa: BLE001 - whatever it is, the parent raises it
                answer = {"error": traceback.format_exc()}
            print(json.dumps(answer), flush=True)
            # Not exit: what the parent would do at its end is not to be done here.
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1])
