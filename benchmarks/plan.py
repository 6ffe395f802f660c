"""What is measured, in which order, and where."""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Final

from benchmarks.checks import check
from benchmarks.children import Worker, running_server, running_worker
from benchmarks.content import PREFIX, SHARE_PREFIX
from benchmarks.measuring import Measurement, Task
from benchmarks.server import bucket_name
from benchmarks.ways import ADOPT, LANES, WAYS
from benchmarks.worker import ask

__all__ = ["NEW", "Case", "Options", "Results", "Stage", "measure_all", "staged", "turned"]

NEW: Final = 1000
"""How many objects appear between two scans."""

# Up to this size a slow way takes part in each round; above it once.
_SLOW_EACH_ROUND: Final = 20_000

# Above this size, a slow way is measured on a share of the objects. Except one: the paginator is
# what the others are compared with.
_SLOW_IN_FULL: Final = 200_000
_REFERENCE: Final = "paginator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says.

    Attributes:
        sizes: How many old objects there are, ascending.
        rounds: How often each way is measured; slow ones of large buckets once.
        lanes: How many are many.
        latency: Seconds that a far server takes.
        full: Whether slow ways, too, list the whole of the largest bucket.
    """

    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    rounds: int = 3
    lanes: int = 32
    latency: float = 0.08
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that is measured, perhaps several times.

    Attributes:
        way: The name of the way.
        size: How many old objects there are.
        is_share: Only a share of them is listed.
        is_far: The server has the latency.
    """

    way: str
    size: int
    is_share: bool = False
    is_far: bool = False


@dataclass(slots=True, kw_only=True)
class Results:
    """All that was measured.

    Attributes:
        of: The measurements of each case.
        missing: The ways that were not measured, and why.
        seconds: How long all of it took.
    """

    of: dict[Case, list[Measurement]] = field(default_factory=lambda: defaultdict(list))
    missing: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Stage:
    """The server and the workers, and what they are given.

    Args:
        endpoints: The server's.
        workers: By the names of their ways.
        lanes: How many are many.
        say: Is told of each measurement.
    """

    def __init__(
        self,
        endpoints: dict[str, str],
        workers: dict[str, Worker],
        *,
        lanes: int,
        say: Callable[[str], None],
    ) -> None:
        self.results = Results()
        self._endpoints = endpoints
        self._workers = workers
        self._lanes = lanes
        self._say = say
        # Long before the new objects, long after the old ones.
        self._since = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
        self._cursors: dict[int, str] = {}
        self.results.missing = {
            name: worker.missing for name, worker in workers.items() if worker.missing
        }

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
            lanes=self._lanes if case.way == LANES.name else 1,
        )


@contextlib.contextmanager
def staged(ways: Sequence[str], options: Options, say: Callable[[str], None]) -> Iterator[Stage]:
    """Starts the server and a worker for each way, which end with the block."""
    with contextlib.ExitStack() as stack:
        # First, so that they import while the server writes its pages.
        workers = {way: stack.enter_context(running_worker(way)) for way in (ADOPT.name, *ways)}
        server = running_server(options.sizes, new=NEW, latency=options.latency)
        stage = Stage(stack.enter_context(server), workers, lanes=options.lanes, say=say)
        for size in options.sizes:
            stage.prepare(size)
        yield stage


def measure_all(options: Options, say: Callable[[str], None]) -> Results:
    """Measures every way at every size; `say` is told of each measurement.

    Raises:
        BenchmarkError: A way did not find what is there.
    """
    began = time.monotonic()
    sizes, largest = options.sizes, options.sizes[-1]
    with staged([*WAYS, LANES.name], options, say) as stage:
        for number in range(options.rounds):
            for size in sizes:
                for case in turned(
                    [each for each in _cases(size, full=options.full) if not _is_once(each)], number
                ):
                    stage.measure(case)
            # Between the first round and the others. A single lane takes as long, but only waits.
            if number == 0:
                once = [
                    each
                    for size in sizes
                    for each in _cases(size, full=options.full)
                    if _is_once(each)
                ]
                with stage.meanwhile(Case(way="steady", size=largest, is_far=True)):
                    for case in once:
                        stage.measure(case)
            stage.measure(Case(way=LANES.name, size=largest, is_far=True))
    stage.results.seconds = time.monotonic() - began
    return stage.results


def _cases(size: int, *, full: bool) -> list[Case]:
    """All cases of a size, but for the far ones."""
    return [
        Case(
            way=way.name,
            size=size,
            is_share=way.is_slow and size > _SLOW_IN_FULL and way.name != _REFERENCE and not full,
        )
        for way in WAYS.values()
    ]


def _is_once(case: Case) -> bool:
    return WAYS[case.way].is_slow and case.size > _SLOW_EACH_ROUND


def turned(cases: Sequence[Case], number: int) -> list[Case]:
    """The cases, beginning with another one in each round."""
    first = number % len(cases)
    return [*cases[first:], *cases[:first]]


def _line(case: Case, measured: Measurement) -> str:
    extent = f"{case.size:>9,}" + (" (a share)" if case.is_share else "") + (" (far)" * case.is_far)
    return (
        f"{extent}  {case.way}: {measured.cpu:.3f} s of CPU, {measured.wall:.3f} s, "
        f"{measured.peak:.0f} MB, {measured.requests} requests"
    )
