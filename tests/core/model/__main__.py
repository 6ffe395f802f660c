"""Runs random histories, or plants bugs and runs histories until they are found."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from tests.core.model.engine import RealEngine
from tests.core.model.fakes import ExactEngine
from tests.core.model.history import play
from tests.core.model.planted import PLANTED, histories_until_found
from tests.core.model.scenarios import SCENARIOS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.core.model", description=__doc__)
    parser.add_argument("--histories", type=int, default=20, help="of each scenario")
    parser.add_argument("--scenario", action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of the first history")
    parser.add_argument("--show", type=int, default=2, help="so many failures of each scenario")
    parser.add_argument("--exact", action="store_true", help="with a scan that is surely right")
    parser.add_argument("--trace", action="store_true", help="say what each tick does")
    parser.add_argument("--bug", default="", help="only those whose name holds this")
    parser.add_argument("--planted", action="store_true", help="plant bugs, and find them")
    arguments = parser.parse_args()
    if arguments.planted:
        return _plant(arguments.bug)
    engine = ExactEngine() if arguments.exact else RealEngine()
    bad = 0
    for name in arguments.scenario or SCENARIOS:
        kinds: Counter[str] = Counter()
        counts: Counter[str] = Counter()
        seeds = []
        for seed in range(arguments.seed, arguments.seed + arguments.histories):
            log = print if arguments.trace else None
            broken, counted = play(engine, SCENARIOS[name], seed, log=log)
            counts += counted
            if broken is not None:
                kinds[broken.kind] += 1
                seeds.append(seed)
                if len(seeds) <= arguments.show:
                    print(f"    seed {seed}: {broken}", flush=True)
        bad += len(seeds)
        shown = (
            "ends undecided", "decided by the digest", "decided by the ledger", "undecided",
        )
        told = ", ".join(f"{each} {counts[each]}" for each in shown)
        print(f"{name:22} bad {len(seeds):4} {dict(kinds) or ''} {told} {seeds[:4] or ''}", flush=True)
    return 1 if bad else 0


def _plant(name: str) -> int:
    missed = 0
    for bug in PLANTED:
        if name not in bug.name:
            continue
        count, broken = histories_until_found(bug)
        missed += broken is None
        how = f"{count:4}  {broken.kind:10}" if broken is not None else f"not in {count}"
        print(f"{bug.name:84} {how}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
