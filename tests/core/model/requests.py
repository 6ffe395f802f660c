"""What Dagster does with what a tick requests.

It writes the requests and the new cursor to the tick's row, submits the runs one after the other
(none whose run key a run has already), and stores the cursor and the last run key. It can be killed
before, between and after.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from dagster_s3inc.core.columns import microseconds
from dagster_s3inc.core.late_files import Ledger, LedgerEntry
from tests.core.model.bucket import at
from tests.core.model.knowledge import Decided, Knowledge

__all__ = ["Crash", "Dagster", "Lost", "Request", "Reset", "Row", "Run", "Stored"]


class Request(NamedTuple):
    """A run that a tick requests.

    Attributes:
        key: The run key.
        generation: Part of it.
        sequence: Part of it.
        batch_id: Part of it.
        job: Part of it where there are several.
        files: The fingerprints.
        repeats: Why it may repeat something: `reprocess`, `while undecided` or `retry`; or an
            empty text.
    """

    key: str
    generation: int
    sequence: int
    batch_id: str
    job: str
    files: tuple[int, ...]
    repeats: str = ""

    @property
    def decided(self) -> Decided:
        """What it is, whatever its key."""
        return Decided(self.key, self.generation, self.sequence)


class Run(NamedTuple):
    """A run, and when it was created, in seconds."""

    request: Request
    created: int


class Reset(NamedTuple):
    """A reset that was asked for.

    Attributes:
        at: Which in order, as text that compares.
        generation: The generation that it asks for.
        what: `everything`, `matching`, `failed` or `accept_listed`.
        prefix: What the keys begin with, where it is `matching`.
    """

    at: str
    generation: int
    what: str
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class Stored:
    """A cursor, and what the world knows of it.

    Attributes:
        text: The cursor.
        knowledge: Of which versions it says that they were emitted.
    """

    text: str
    knowledge: Knowledge


@dataclass(slots=True)
class Row:
    """A tick's row: what it requests, and the cursor that goes with it.

    Attributes:
        requests: The runs.
        cursor: The cursor.
        seen: What its scan had listed when it completed; None if it did not.
        prefix: All keys that the scan asked for begin with this.
        marked: Whether the world took note of what it did not list.
    """

    requests: tuple[Request, ...]
    cursor: Stored
    seen: frozenset[int] | None = None
    prefix: str = ""
    marked: bool = False


class Lost(NamedTuple):
    """A tick whose cursor was not stored, though some of its runs exist.

    Attributes:
        row: Of the tick.
        left: The requests without a run.
    """

    row: Row
    left: tuple[Request, ...]

    @property
    def last_run_key(self) -> str:
        """That of the tick's last request."""
        return self.row.requests[-1].key


class Crash(NamedTuple):
    """Where Dagster is killed in a tick.

    Attributes:
        row: Whether it writes the tick's row.
        submits: The share of the requests that it submits.
        stores: Whether it stores the cursor.
    """

    row: bool = True
    submits: float = 1.0
    stores: bool = True


@dataclass(slots=True)
class Dagster:
    """The state of one sensor."""

    cursor: Stored | None = None
    last_run_key: str | None = None
    runs: list[Run] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    resets: list[Reset] = field(default_factory=list)
    stored_rows: int = 0
    """So many rows there were when a cursor was stored last."""
    keys: set[str] = field(default_factory=set)
    """Of all runs that exist."""

    def submit(self, request: Request, now: int) -> bool:
        """Starts a run, unless there is one of this key."""
        if request.key in self.keys:
            return False
        self.keys.add(request.key)
        self.runs.append(Run(request, now))
        return True

    def delete_runs(self, start: int, end: int) -> None:
        """Someone deletes runs, counted from the oldest."""
        self.keys -= {run.request.key for run in self.runs[start:end]}
        del self.runs[start:end]

    def store(self, cursor: Stored, requests: tuple[Request, ...]) -> None:
        """The end of a tick."""
        self.cursor = cursor
        if requests:
            self.last_run_key = requests[-1].key
        self.stored_rows = len(self.rows)

    def lost(self) -> Lost | None:
        """The newest tick that requested runs, if its cursor was lost though runs of it exist."""
        for number in range(len(self.rows), 0, -1):
            row = self.rows[number - 1]
            if not row.requests:
                if number == self.stored_rows:
                    return None
                continue
            if row.requests[-1].key == self.last_run_key:
                return None
            left = tuple(each for each in row.requests if each.key not in self.keys)
            if len(left) < len(row.requests):
                return Lost(row, left)
        return None

    def ledger(self, generation: int, sequence: int) -> Ledger:
        """What the runs of this generation with a lower sequence record."""
        return Ledger.of(
            (
                LedgerEntry(
                    run.request.sequence,
                    run.request.batch_id,
                    np.array(run.request.files, np.uint64),
                    microseconds(at(run.created)),
                )
                for run in self.runs
                if not run.request.repeats
                and run.request.generation == generation
                and run.request.sequence < sequence
            ),
            generation,
        )
