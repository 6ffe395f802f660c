"""A child of the benchmark: `python -m benchmarks.worker WAY`.

It imports what the way needs, once. Then, for each task that it reads as a line of JSON, it forks:
the fork prepares, measures, and writes what came of it as a line of JSON. So everything is measured
in a process of its own whose memory holds the imports and nothing else, and imports cost no time.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
import urllib.request
from dataclasses import asdict
from typing import Any

from benchmarks.measuring import Clock, Measurement, Task, peak_memory, reset_peak_memory
from benchmarks.ways import WAYS, WAYS_ASIDE, Way

__all__ = ["ask"]


def ask(endpoint: str, what: str) -> Any:
    """What the server tells of itself: `statistics`, or `expected?bucket=…&prefix=…`."""
    with urllib.request.urlopen(f"{endpoint}/-/{what}") as answer:  # noqa: S310 - our own server
        return json.load(answer)


def _measure(way: Way, task: Task) -> Measurement:
    if task.is_warm:
        way.load()(task)(Clock())
    work = way.load()(task)
    # What the imports left, so that it is not collected on the clock; and, in a fork, the memory
    # that a collection writes to is copied now.
    gc.collect()
    clock = Clock()
    before = ask(task.endpoint, "statistics")
    base = reset_peak_memory()
    with clock.running():
        tell = work(clock)
    peak = peak_memory()
    after = ask(task.endpoint, "statistics")
    return Measurement(
        task=task,
        found=tell(),
        cpu=clock.cpu,
        wall=clock.wall,
        peak=peak,
        base=base,
        requests=after["requests"] - before["requests"],
        server_cpu=after["cpu"] - before["cpu"],
    )


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


def main(name: str) -> None:
    """Imports, and then does tasks until there are no more."""
    way = {**WAYS, **WAYS_ASIDE}[name]
    try:
        way.load()
    except ImportError as error:
        _say({"missing": str(error)})
        return
    _say({"missing": None})
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                _say(asdict(_measure(way, Task(**json.loads(line)))))
            except BaseException:  # noqa: BLE001 - whatever it is, the parent raises it
                _say({"error": traceback.format_exc()})
            # Not exit: what the parent would do at its end is not to be done here.
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1])
