"""Where it is measured: the server, and a worker for each way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone

from benchmarks.cases import Case, Options, Results
from benchmarks.checks import check
from benchmarks.children import BenchmarkError, Worker, running_server, running_worker
from benchmarks.content import PREFIX, SHARE_PREFIX
from benchmarks.measuring import Measurement, Task
from benchmarks.server import bucket_name
from benchmarks.ways import ADOPT, LANES, LANES_FIRST, WAYS
from benchmarks.worker import ask

__all__ = ["Stage", "staged"]


class Stage:
    """The server and the workers, and what they are given.

    Args:
        endpoints: The server's.
        workers: By the names of their ways.
        options: What the command line says.
        say: Is told of each measurement.

    Raises:
        BenchmarkError: This package cannot be imported.
    """

    def __init__(
        self,
        endpoints: dict[str, str],
        workers: dict[str, Worker],
        *,
        options: Options,
        say: Callable[[str], None],
    ) -> None:
        self.results = Results()
        self._endpoints = endpoints
        self._workers = workers
        self._options = options
        self._say = say
        # Long before the new objects, long after the old ones.
        self._since = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
        self._cursors: dict[int, str] = {}
        self.results.missing = {
            name: worker.missing for name, worker in workers.items() if worker.missing
        }
        broken = {name for name in self.results.missing if name in WAYS and WAYS[name].is_ours}
        if broken or ADOPT.name in self.results.missing:
            raise BenchmarkError(f"What is to be measured is not there: {self.results.missing}")

    def has(self, way: str) -> bool:
        """Whether it can be measured here."""
        return way in self._workers and way not in self.results.missing

    def prepare(self, size: int) -> None:
        """Lets a scan leave the cursor from which the steady state starts."""
        task = replace(
            self._task(Case(way=ADOPT.name, size=size)), endpoint=self._endpoints["before"]
        )
        self._cursors[size] = self._workers[ADOPT.name].measure(task).found.cursor

    def measure(self, case: Case) -> None:
        """Measures, if what it needs is installed.

        Raises:
            BenchmarkError: Something was not done, or not found.
        """
        with self.meanwhile(case):
            pass

    @contextlib.contextmanager
    def meanwhile(self, case: Case) -> Iterator[None]:
        """Measures while the block does something else.

        Raises:
            BenchmarkError: Something was not done, or not found.
        """
        if not self.has(case.way):
            yield
            return
        worker = self._workers[case.way]
        worker.begin(self._task(case))
        yield
        measured = worker.end()
        place = f"bucket={measured.task.bucket}&prefix={measured.task.prefix}"
        check(measured, ask(self._endpoints["after"], f"expected?{place}"))
        self.results.of[case].append(measured)
        self._say(_line(case, measured))

    def _task(self, case: Case) -> Task:
        return Task(
            way=case.way,
            endpoint=self._endpoints["far" if case.is_far else "after"],
            bucket=bucket_name(case.size),
            prefix=SHARE_PREFIX if case.is_share else PREFIX,
            since=self._since,
            cursor=self._cursors.get(case.size, ""),
            lanes=self._options.lanes if case.way in (LANES.name, LANES_FIRST.name) else 1,
            is_warm=self._options.is_warm,
        )


@contextlib.contextmanager
def staged(ways: Sequence[str], options: Options, say: Callable[[str], None]) -> Iterator[Stage]:
    """Starts the server and a worker for each way, which end with the block."""
    with contextlib.ExitStack() as stack:
        # First, so that they import while the server writes its pages.
        workers = {way: stack.enter_context(running_worker(way)) for way in (ADOPT.name, *ways)}
        server = running_server(options.sizes, new=options.new, latency=options.latency)
        stage = Stage(stack.enter_context(server), workers, options=options, say=say)
        for size in options.sizes:
            stage.prepare(size)
        yield stage


def _line(case: Case, measured: Measurement) -> str:
    extent = f"{case.size:>9,}" + (" (a share)" if case.is_share else "") + (" (far)" * case.is_far)
    return (
        f"{extent}  {case.way}: {measured.cpu:.3f} s of CPU, {measured.wall:.3f} s, "
        f"{measured.peak:.0f} MB, {measured.requests} requests"
    )
