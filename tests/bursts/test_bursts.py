"""Every burst is got over: each showing of a version is emitted once, by runs in an instance.

The same scenarios as `python -m tests.bursts`, with fewer files, but always more than a cursor
remembers one by one and, among old files, than its digest tells apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.bursts.bucket import Bucket
from tests.bursts.deployment import open_sensor
from tests.bursts.engine import Engine
from tests.bursts.play import Outcome, Play
from tests.bursts.processing import ProcessorEngine
from tests.bursts.scenarios import SCENARIOS
from tests.bursts.server import Server, running_server
from tests.postgres import PostgresServer, postgres_server

FILES = {
    "second-100000": 2_400,
    "multipart-20000": 2_400,
    "steady-300000": 3_000,
    "late-53000": 5_300,
    "replicas-100000": 1_500,
    "deleted-100000": 5_000,
    "future-4500": 2_700,
    "rolled-back-100": 30,
}

ALIKE = ("multipart-20000", "steady-300000", "future-4500")

# Whether one process makes all ticks: both ways for all, but those that are much like another wait
# for the slow tests, since a new process takes about as long as a tick.
CASES = [
    *(pytest.param(name, True, id=f"{name}-one") for name in FILES),
    *(
        pytest.param(
            name,
            False,
            id=f"{name}-many",
            marks=[pytest.mark.slow] if name in ALIKE else [],
        )
        for name in FILES
    ),
]
both = pytest.mark.parametrize("keeps_process", [True, False], ids=["one", "many"])

LAUNCHED = ("second-100000", "replicas-100000")

LARGE = ("second-10000", "multipart-20000", "late-53000", "replicas-100000", "deleted-100000")


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def bucket(server: Server) -> Bucket:
    return server.new_bucket()


def play(
    name: str,
    files: int,
    server: Server,
    bucket: Bucket,
    engine: AbstractContextManager[Engine],
    **options: Any,
) -> Outcome:
    with engine as entered:
        outcome = Play(SCENARIOS[name], files, server, bucket, entered, **options).run()
    assert outcome.is_right, "\n".join([str(outcome), *outcome.complaints()])
    return outcome


@pytest.mark.parametrize(("name", "keeps_process"), CASES)
def test_sensor(server: Server, bucket: Bucket, name: str, keeps_process: bool) -> None:
    """A sensor emits each showing once, whether or not its process lives, and decides all."""
    engine = open_sensor(
        server,
        bucket,
        keeps_process=keeps_process,
        # Dagster takes a tenth of a second to launch a run.
        launches=name in LAUNCHED,
        max_files=500,
    )
    outcome = play(name, FILES[name], server, bucket, engine)
    assert not outcome.undecided
    if keeps_process:
        # With the index nothing is decoded, and no run is read.
        assert not outcome.digest_ticks
        assert not outcome.ledger_ticks
    else:
        assert outcome.digest_ticks
        assert outcome.ledger_ticks or not SCENARIOS[name].overflows


@pytest.mark.parametrize(("name", "keeps_process"), CASES)
def test_processor(server: Server, bucket: Bucket, name: str, keeps_process: bool) -> None:
    """So does a processor, but where a new one finds too much: it says so, and a reset ends it."""
    overflows = SCENARIOS[name].overflows and not keeps_process
    engine = ProcessorEngine(
        server,
        bucket,
        keeps_process=keeps_process,
        # A tenth of the default, as the scenarios are a tenth of theirs, or less.
        late_file_capacity=400,
    )
    outcome = play(
        name,
        FILES[name],
        server,
        bucket,
        engine,
        bounded=False,
        may_overflow=overflows,
    )
    assert bool(outcome.undecided) == overflows


@pytest.mark.slow
@both
@pytest.mark.parametrize("name", LARGE)
def test_postgres(
    server: Server, bucket: Bucket, name: str, keeps_process: bool, postgres: PostgresServer
) -> None:
    """A tenth of the largest scenarios, with runs in PostgreSQL."""
    engine = open_sensor(
        server,
        bucket,
        keeps_process=keeps_process,
        launches=False,
        storage=postgres.new_storage(),
    )
    play(name, SCENARIOS[name].files // 10, server, bucket, engine)


@pytest.mark.slow
@both
@pytest.mark.parametrize("name", SCENARIOS)
def test_large(server: Server, bucket: Bucket, name: str, keeps_process: bool) -> None:
    """A fifth of every scenario, with runs in SQLite."""
    files = max(100, SCENARIOS[name].files // 5)
    engine = open_sensor(server, bucket, keeps_process=keeps_process, launches=False)
    play(name, files, server, bucket, engine)
