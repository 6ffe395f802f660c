"""Runs random histories, or plants bugs and runs histories until they are found.

Each line: a kind of histories; how many of them broke a promise, which, and their first seeds; how
many ended undecided; how often the digest and the ledger decided, and neither.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable

from tests.core.model.engine import Engine, RealEngine
from tests.core.model.fakes import ExactEngine
from tests.core.model.history import play
from tests.core.model.planted import PLANTED, histories_until_found
from tests.core.model.scenarios import SCENARIOS

_SHOWN = ("ends undecided", "decided by the digest", "decided by the ledger", "undecided")


def main() -> int:
    """Does what the command line says.

    Returns:
        1 if a promise was broken, or a planted bug was not found; else 0.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tests.core.model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--histories", type=int, default=20, help="so many of each scenario (20)")
    add("--scenario", action="append", choices=SCENARIOS, help="only this; may be repeated")
    add("--seed", type=int, default=0, help="of the first history (0)")
    add("--show", type=int, default=2, help="so many failures of each scenario in words (2)")
    add("--trace", action="store_true", help="say what each tick does")
    add("--exact", action="store_true", help="with a scan that is surely right")
    add("--planted", action="store_true", help="plant bugs, one after the other")
    add("--bug", default="", help="only those whose name has this in it")
    arguments = parser.parse_args()
    if arguments.planted:
        return _plant(arguments.bug)
    engine = ExactEngine() if arguments.exact else RealEngine()
    seeds = range(arguments.seed, arguments.seed + arguments.histories)
    bad = 0
    for name in arguments.scenario or SCENARIOS:
        bad += _run(engine, name, seeds, show=arguments.show, trace=arguments.trace)
    return 1 if bad else 0


def _run(engine: Engine, name: str, seeds: Iterable[int], *, show: int, trace: bool) -> int:
    kinds: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    bad = []
    for seed in seeds:
        broken, counted = play(engine, SCENARIOS[name], seed, log=_say if trace else None)
        counts += counted
        if broken is not None:
            kinds[broken.kind] += 1
            bad.append(seed)
            if len(bad) <= show:
                _say(f"    seed {seed}: {broken}")
    shown = ", ".join(f"{each} {counts[each]}" for each in _SHOWN)
    failures = f" {dict(kinds)} seeds {bad[:6]}" if bad else ""
    _say(f"{name:22} bad {len(bad)}{failures}; {shown}")
    return len(bad)


def _plant(part: str) -> int:
    missed = 0
    for bug in PLANTED:
        if part not in bug.name:
            continue
        count, broken = histories_until_found(bug)
        missed += broken is None
        how = f"not found in {count}" if broken is None else f"found in {count:3}, by {broken.kind}"
        _say(f"{bug.name:82} {how}")
    return 1 if missed else 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 # a program for the terminal


if __name__ == "__main__":
    sys.exit(main())
