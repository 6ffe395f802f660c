"""Runs the bursts at full size and says what came of each: `python -m tests.bursts`.

Each scenario is a line: how many files came, in how many showings, ticks and runs; whether each
showing was emitted exactly once; how many were lost or emitted twice; how many files the
checkpoint called undecided in the end (and after how many ticks); the greatest cursor; how many
ticks the digest and the ledger decided; how long it took. What is wrong follows in lines of its
own, and the command ends with 1.

    python -m tests.bursts                                  all of it, SQLite, one process
    python -m tests.bursts --processes many --storage postgres
    python -m tests.bursts --scenario late-53000 --scale 0.1
    python -m tests.bursts --processor --processes many

With `--processes one` all ticks are of one process, and its index lives. With `many` each tick is
of a new one, so that the digest and the ledger carry it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.bursts.deployment import open_sensor
from tests.bursts.play import Play, scaled
from tests.bursts.processing import ProcessorEngine
from tests.bursts.scenarios import SCENARIOS
from tests.bursts.server import running_server
from tests.postgres import PostgresServer, postgres_server

# Dagster takes about a tenth of a second to launch a run.
LAUNCHED_FILES = 10_000


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bursts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scenario", action="append", choices=list(SCENARIOS), help="by default all"
    )
    parser.add_argument("--storage", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--processes", choices=["one", "many"], default="one")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of files")
    parser.add_argument("--batch", type=int, default=100, help="the most files of a run")
    parser.add_argument(
        "--runs",
        choices=["launched", "written", "auto"],
        default="auto",
        help="launched by Dagster's daemon, or written to the storage; by default written from "
        f"{LAUNCHED_FILES:,} files on",
    )
    parser.add_argument("--processor", action="store_true", help="instead of the sensor")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    with ExitStack() as stack:
        postgres = None
        if options.storage == "postgres" and not options.processor:
            postgres = stack.enter_context(_postgres())
        outcomes = [_play(name, options, postgres) for name in options.scenario or list(SCENARIOS)]
    return 0 if all(outcomes) else 1


def _play(name: str, options: Any, postgres: PostgresServer | None) -> bool:
    scenario = SCENARIOS[name]
    files = scaled(scenario, options.scale)
    keeps_process = options.processes == "one"
    with ExitStack() as stack:
        server = stack.enter_context(running_server())
        bucket = server.new_bucket()
        if options.processor:
            engine: Any = ProcessorEngine(server, bucket, keeps_process=keeps_process)
        else:
            launches = options.runs == "launched" or (
                options.runs == "auto" and files < LAUNCHED_FILES
            )
            engine = open_sensor(
                server,
                bucket,
                storage={} if postgres is None else postgres.new_storage(),
                keeps_process=keeps_process,
                launches=launches,
                max_files=options.batch,
            )
        play = Play(
            scenario,
            files,
            server,
            bucket,
            stack.enter_context(engine),
            bounded=not options.processor,
            may_overflow=options.processor and not keeps_process and scenario.overflows,
        )
        outcome = play.run()
    print(outcome, flush=True)  # noqa: T201 # a command
    for each in outcome.complaints():
        print(f"    {each}", flush=True)  # noqa: T201 # a command
    return outcome.is_right


@contextmanager
def _postgres() -> Iterator[PostgresServer]:
    with tempfile.TemporaryDirectory() as folder, postgres_server(Path(folder)) as server:
        yield server


if __name__ == "__main__":
    sys.exit(main())
