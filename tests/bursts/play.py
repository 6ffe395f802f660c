"""Plays a scenario to an engine, and says what came of it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from tests.bursts.bucket import Bucket
from tests.bursts.engine import Engine, Tick, TickFailedError
from tests.bursts.judge import Judge, Wrong
from tests.bursts.scenarios import DRAIN, INTERVAL, Scenario, Stage, timedelta
from tests.bursts.server import Server

CURSOR_BYTES = 32_768

# What is found late is emitted by the next tick, and what is returned by the one after that.
_QUIET_TICKS = 3
# Where the ledger is being read or files are undecided, a few more.
_QUIET_TICKS_UNDECIDED = 6

# Without an index, a tick emits no more late files than the cursor has room for.
_FILES_A_TICK = 100
_TICKS_AT_LEAST = 60

_EXAMPLES = 3


@dataclass
class Outcome:
    """What came of a scenario.

    Attributes:
        files: How many files came.
        showings: How many showings of versions there were.
        ticks: How many ticks there were.
        runs: How many runs were started.
        lost: What was not emitted.
        twice: What was emitted more often than it showed.
        undecided: How many files were undecided in the end, at most.
        undecided_ticks: After how many ticks there were undecided files.
        cursor: The greatest checkpoint, in bytes.
        digest_ticks: In how many ticks the digest told what was new.
        ledger_ticks: In how many the ledger did.
        seconds: How long all of it took.
        problems: Whatever else went wrong.
    """

    name: str
    files: int
    showings: int = 0
    ticks: int = 0
    runs: int = 0
    lost: list[Wrong] = field(default_factory=list)
    twice: list[Wrong] = field(default_factory=list)
    undecided: int = 0
    undecided_ticks: int = 0
    cursor: int = 0
    digest_ticks: int = 0
    ledger_ticks: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether each showing was emitted exactly once, and nothing else is wrong."""
        return not (self.lost or self.twice or self.problems)

    def __str__(self) -> str:
        once = "yes" if not (self.lost or self.twice) else "NO"
        return (
            f"{self.name:<18} {self.files:>7,} files {self.showings:>7,} showings "
            f"{self.ticks:>4} ticks {self.runs:>5,} runs  once: {once:<3} "
            f"lost {len(self.lost):,} twice {len(self.twice):,} undecided {self.undecided:,} "
            f"(in {self.undecided_ticks} ticks)  cursor {self.cursor:>6,} B  "
            f"digest {self.digest_ticks} ledger {self.ledger_ticks}  {self.seconds:.1f} s"
        )

    def complaints(self) -> list[str]:
        """All that is wrong, with a few examples of each kind."""
        found = list(self.problems)
        for wrong in (self.lost, self.twice):
            found += [str(each) for each in wrong[:_EXAMPLES]]
            if len(wrong) > _EXAMPLES:
                found.append(f"... and {len(wrong) - _EXAMPLES:,} more")
        return found


class Play:
    """One scenario, one engine.

    Args:
        scenario: What happens.
        files: How many files come.
        server: Lists the bucket; its clock is the scenario's.
        bucket: Is empty.
        engine: Is being judged.
        bounded: Whether the checkpoint has to fit into a cursor.
        may_overflow: Whether files may end undecided, if the engine says so; they are then reset,
            and nothing may be lost after that.
    """

    def __init__(
        self,
        scenario: Scenario,
        files: int,
        server: Server,
        bucket: Bucket,
        engine: Engine,
        *,
        bounded: bool = True,
        may_overflow: bool = False,
    ) -> None:
        self._scenario, self._engine, self._bucket = scenario, engine, bucket
        self._files = files
        self._bounded, self._may_overflow = bounded, may_overflow
        self._stage = Stage(server, bucket, scenario.name)
        self._server = server
        self._judge = Judge(bucket)
        self.outcome = Outcome(scenario.name, files)

    def run(self) -> Outcome:
        """Plays it to its end."""
        outcome, began = self.outcome, time.monotonic()
        try:
            for wait in self._scenario.script(self._stage, self._files):
                if wait is DRAIN:
                    self._drain()
                else:
                    self._tick()
            self._drain()
            # Everything falls below the watermark.
            self._stage.pass_time(timedelta(hours=2))
            last = self._drain()
            outcome.undecided = last.undecided
            if outcome.undecided:
                self._end_undecided(last)
        except TickFailedError as error:
            outcome.problems.append(f"tick {outcome.ticks} failed: {error}")
        outcome.lost += self._judge.lost()
        outcome.twice += self._judge.twice()
        outcome.showings = self._judge.count
        outcome.problems += (f"the server refused {each}" for each in self._server.refused)
        if self._bounded and outcome.cursor > CURSOR_BYTES:
            outcome.problems.append(f"the cursor grew to {outcome.cursor:,} bytes")
        outcome.seconds = time.monotonic() - began
        return outcome

    def _tick(self) -> Tick:
        outcome = self.outcome
        outcome.ticks += 1
        self._bucket.served.clear()
        tick = self._engine.tick()
        self._judge.tick(outcome.ticks, self._bucket.served, tick.emitted)
        outcome.runs += tick.runs
        outcome.cursor = max(outcome.cursor, len(tick.checkpoint.encode()))
        outcome.undecided_ticks += tick.undecided > 0
        outcome.digest_ticks += tick.decided_by == "digest"
        outcome.ledger_ticks += tick.decided_by == "ledger"
        if tick.undecided and "undecided" not in tick.said:
            outcome.problems.append(
                f"tick {outcome.ticks} leaves {tick.undecided:,} files undecided, and says nothing"
            )
        return tick

    def _drain(self) -> Tick:
        """Ticks until nothing more is emitted."""
        quiet = 0
        most = _TICKS_AT_LEAST + len(self._bucket) // _FILES_A_TICK
        for _ in range(most):
            tick = self._tick()
            self._stage.pass_time(INTERVAL)
            quiet = 0 if tick.emitted else quiet + 1
            if quiet >= (_QUIET_TICKS_UNDECIDED if tick.undecided else _QUIET_TICKS):
                return tick
        raise TickFailedError(f"it still emits files after {most} ticks in which nothing came")

    def _end_undecided(self, last: Tick) -> None:
        """What is undecided in the end is a fault, or ends with a reset."""
        if not self._may_overflow:
            self.outcome.problems.append(
                f"{last.undecided:,} files are undecided in the end: {last.said}"
            )
            return
        self.outcome.twice += self._judge.twice()
        self._engine.start_over()
        self._judge.start_over()
        if self._drain().undecided:
            self.outcome.problems.append("files are still undecided after a reset")


def scaled(scenario: Scenario, scale: float) -> int:
    """How many files come at this scale."""
    return max(1, round(scenario.files * scale))
