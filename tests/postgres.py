"""A real Postgres on loopback as Dagster's instance storage, started and ended by the tests."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.servers import START_SECONDS, free_ports

USER = "tests"

# Postgres refuses to run as root, so that a container's tests run it as this one.
UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class PostgresServer:
    """A running server that anybody on loopback may log in to."""

    port: int
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_storage(self) -> dict[str, Any]:
        """The `storage` of a dagster.yaml, in an empty database."""
        name = f"dagster_{next(self.numbers)}"
        with _connected(self.port) as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        database = {
            "username": USER,
            "password": "any",
            "hostname": "127.0.0.1",
            "port": self.port,
            "db_name": name,
            # dagster-postgres installs psycopg2 and leaves the choice of the driver to
            # SQLAlchemy, which took psycopg2 by default up to 2.0 and takes psycopg from 2.1 on.
            "scheme": "postgresql+psycopg2",
        }
        return {"storage": {"postgres": {"postgres_db": database}}}


@contextmanager
def postgres_server(folder: Path) -> Iterator[PostgresServer]:
    """Starts a server whose data is in a folder of its own, and kills it in the end."""
    initdb, postgres = _program("initdb"), _program("postgres")
    [port] = free_ports(1)
    user = UNPRIVILEGED if os.geteuid() == 0 else None
    data = folder / "data"
    data.mkdir()
    if user is not None:
        shutil.chown(data, user)
        # pytest's folders are private to their owner; the server needs to pass through them.
        for parent in (folder, *folder.parents):
            if parent == Path(tempfile.gettempdir()):
                break
            parent.chmod(parent.stat().st_mode | 0o111)
    common: dict[str, Any] = {"cwd": "/", "user": user}
    if user is not None:
        common |= {"group": "nogroup", "extra_groups": []}
    subprocess.run(
        [initdb, "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        check=True,
        stdout=subprocess.DEVNULL,
        **common,
    )
    command = [postgres, "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", ""]
    command += ["-c", "fsync=off", "-c", "max_connections=200"]
    log = folder / "postgres.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, **common)
        try:
            _wait_until_it_answers(port, process, log)
            yield PostgresServer(port)
        finally:
            # An immediate shutdown, which ends its child processes as well.
            process.send_signal(signal.SIGQUIT)
            process.wait()


def _program(name: str) -> Path:
    """One of the server's programs, which Debian keeps off the PATH."""
    found = shutil.which(name)
    if found is None:
        versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        if not versions:
            pytest.skip(f"needs Postgres's {name} (Debian: apt-get install postgresql)")
        return versions[-1]
    return Path(found)


@contextmanager
def _connected(port: int) -> Iterator[Any]:
    import psycopg2

    connection = psycopg2.connect(host="127.0.0.1", port=port, user=USER, dbname="postgres")
    connection.autocommit = True
    try:
        yield connection.cursor()
    finally:
        connection.close()


def _wait_until_it_answers(port: int, process: Any, log: Path) -> None:
    import psycopg2

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with _connected(port):
                return
        except psycopg2.OperationalError:
            time.sleep(0.1)
    raise AssertionError(f"no Postgres within {START_SECONDS} s: {log.read_text()}")
