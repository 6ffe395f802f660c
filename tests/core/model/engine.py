"""What the world drives: a scan, the memory of processes, and where a tick starts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, Protocol

import dagster as dg

from dagster_s3inc.core import index, late_files
from dagster_s3inc.core import scan as scan_module
from dagster_s3inc.core.batching import ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.cursor_format import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.filters import Conditions, Selection
from dagster_s3inc.core.late_files import LedgerReader
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import Page
from dagster_s3inc.runs.reset_requests import ResetRequest
from dagster_s3inc.runs.run_requests import RunKey
from dagster_s3inc.s3 import scanner
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanner import Scanner
from dagster_s3inc.sensor.recovery import Decision
from dagster_s3inc.sensor.start import start_from
from tests.core.model.requests import Lost, Reset

__all__ = ["Engine", "Pages", "Process", "RealEngine", "Start"]

_BUDGET_SECONDS: Final = 15
_LISTING_SECONDS: Final = 0.1
"""For a page; a backlog lives twenty times as long as its listing took."""


class Process:
    """A process that evaluates ticks.

    Attributes:
        scanner: Keeps what belongs to the cursors that it saw last.
        looks: What the world knows of the listings behind cursors.
        life: Stands for the process itself.
    """

    def __init__(self, *, max_index_bytes: int) -> None:
        self.scanner = Scanner(max_index_bytes=max_index_bytes)
        self.looks: dict[str | None, Any] = {}
        self.life = object()


class Pages(NamedTuple):
    """What a server would list.

    Attributes:
        pages: All pages.
        in_time: So many of them come within the time budget.
    """

    pages: Sequence[Page]
    in_time: int


class Start(NamedTuple):
    """Where a tick starts.

    Attributes:
        checkpoint: What it starts from.
        given: The cursor that it was made of; None if there is none.
        is_first: Whether nothing is known of any earlier tick.
        retries: A reset by which failed batches are requested again before anything else.
        resumes: Whether a lost tick is carried out to its end, and nothing else.
    """

    checkpoint: Checkpoint
    given: str | None
    is_first: bool = False
    retries: Reset | None = None
    resumes: bool = False


class Engine(Protocol):
    """What is under test.

    Attributes:
        is_bounded: Whether its cursors are.
        used_total: Whether the last scan took the ledger for whole by its total (rule b).
    """

    is_bounded: bool
    used_total: bool

    def encode(self, checkpoint: Checkpoint) -> str:
        """The cursor."""

    def decode(self, text: str) -> Checkpoint:
        """What a cursor says."""

    def run_key(self, generation: int, sequence: int, batch_id: str, job: str | None) -> str:
        """The run key of a batch."""

    def start(
        self,
        cursor: str | None,
        last_run_key: str | None,
        resets: Sequence[Reset],
        lost: Lost | None,
    ) -> Start:
        """Where a tick starts that finds these."""

    def carry(self, process: Process, given: str | None, following: str) -> None:
        """A process keeps what belongs to one cursor for another that says the same."""

    def scan(
        self,
        process: Process,
        given: str | None,
        checkpoint: Checkpoint,
        pages: Callable[[str, str], Pages],
        *,
        prefix: str,
        now: datetime,
        clock: float,
        selection: Selection,
        limits: ScanLimits,
        adopt: bool,
        ledger: LedgerReader,
    ) -> ScanResult:
        """One scan.

        Args:
            process: Remembers what belongs to cursors.
            given: The cursor.
            checkpoint: What it says.
            pages: Is told the prefix and the key behind which a listing begins. Not called where
                a backlog makes a listing needless.
            prefix: What is scanned.
            now: The server's time.
            clock: The machine's, in seconds.
            selection: What counts.
            limits: What may be emitted.
            adopt: Whether what is listed counts as emitted.
            ledger: Reads the runs.
        """


class RealEngine:
    """The package: where its sensor starts, and what its scanner finds and remembers."""

    is_bounded = True
    used_total = False

    def encode(self, checkpoint: Checkpoint) -> str:
        """The cursor."""
        return encode_checkpoint(checkpoint)

    def decode(self, text: str) -> Checkpoint:
        """What a cursor says."""
        return decode_checkpoint(text)

    def run_key(self, generation: int, sequence: int, batch_id: str, job: str | None) -> str:
        """The run key of a batch."""
        return str(RunKey(generation, sequence, batch_id, job))

    def start(
        self,
        cursor: str | None,
        last_run_key: str | None,
        resets: Sequence[Reset],
        lost: Lost | None,
    ) -> Start:
        """Where a tick starts that finds these."""
        decision = None
        if lost is not None:
            requested = [dg.RunRequest(run_key=each.key) for each in lost.row.requests]
            left = tuple(dg.RunRequest(run_key=each.key) for each in lost.left)
            decision = Decision(lost.row.cursor.text, requested[-1], left)
        found = start_from(cursor, last_run_key, [_request(each) for each in resets], decision)
        retries = None
        if found.retry is not None:
            [retries] = [each for each in resets if each.at == found.retry.at]
        return Start(
            found.checkpoint, found.given, found.is_first, retries, resumes=found.lost is not None
        )

    def carry(self, process: Process, given: str | None, following: str) -> None:
        """A process keeps what belongs to one cursor for another that says the same."""
        if given is not None:
            process.scanner.carry(given, following)

    def scan(
        self,
        process: Process,
        given: str | None,
        checkpoint: Checkpoint,
        pages: Callable[[str, str], Pages],
        *,
        prefix: str,
        now: datetime,
        clock: float,
        selection: Selection,
        limits: ScanLimits,
        adopt: bool,
        ledger: LedgerReader,
    ) -> ScanResult:
        """One scan, with few objects in a segment, and few candidates kept."""
        with _small(), _served(pages, now, clock), self._watched():
            done = process.scanner.scan(
                None,  # type: ignore[arg-type] # nobody asks it
                S3Location("bucket", prefix),
                checkpoint,
                given=given,
                selection=selection,
                limits=limits,
                adopt=adopt,
                ledger=ledger,
            )
        return done.result

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Finds out by which rule the ledger decides, which no result tells."""
        real = late_files._by_rule_a
        decoded = False

        def rule_a(*arguments: Any) -> Any:
            nonlocal decoded
            found = real(*arguments)
            decoded = found is not None
            return found

        def decided(*arguments: Any) -> Any:
            self.used_total = not decoded
            return real_decided(*arguments)

        real_decided = late_files._decided
        self.used_total = False
        late_files._by_rule_a, late_files._decided = rule_a, decided
        try:
            yield
        finally:
            late_files._by_rule_a, late_files._decided = real, real_decided


def _request(reset: Reset) -> ResetRequest:
    conditions = ""
    if reset.what == "matching":
        conditions = json.dumps(Conditions(prefix=reset.prefix).written())
    return ResetRequest(reset.at, reset.generation, reset.what, conditions)


@contextmanager
def _small() -> Iterator[None]:
    """What is large in the package is small, so that the rare is common."""
    before = index._OBJECTS, scan_module.KEPT
    index._OBJECTS, scan_module.KEPT = 7, 5  # type: ignore[misc]
    try:
        yield
    finally:
        index._OBJECTS, scan_module.KEPT = before  # type: ignore[misc]


@contextmanager
def _served(pages: Callable[[str, str], Pages], now: datetime, clock: float) -> Iterator[None]:
    """Lists what the world says; pages beyond the time budget come too late."""
    moment = clock

    def listed(served: Pages) -> Iterator[Page]:
        nonlocal moment
        for number, page in enumerate(served.pages):
            moment += _LISTING_SECONDS if number < served.in_time else 2 * _BUDGET_SECONDS
            yield page

    def open_listing(_: Any, place: S3Location, *, after: bytes | None, **__: Any) -> Any:
        served = pages(place.key, (after or b"").decode("utf-8"))
        return SimpleNamespace(
            server_time=now, pages=listed(served), requests=len(served.pages), may_be_cut=True
        )

    before = scanner.open_listing, scanner.time
    scanner.open_listing = open_listing  # type: ignore[assignment]
    scanner.time = SimpleNamespace(monotonic=lambda: moment)  # type: ignore[assignment]
    try:
        yield
    finally:
        scanner.open_listing, scanner.time = before
