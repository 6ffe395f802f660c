"""What would be emitted now: found by a scan that nobody commits, as a table or a document."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from dagster_s3inc.cli.origin import Origin
from dagster_s3inc.cli.status import checkpoint_document, members_of
from dagster_s3inc.core.batching import Batch, ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.objects import S3Object, format_time
from dagster_s3inc.core.report import ScanReport, describe_scan
from dagster_s3inc.core.words import format_bytes, readable
from dagster_s3inc.processor.processor import RECENT_LIMIT
from dagster_s3inc.s3.client import make_client
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanner import Scan, Scanner

__all__ = ["Plan", "make_plan", "print_plan"]

# Wide enough for any key: what goes to a file or a pipe is neither folded nor cut.
_NO_TERMINAL_WIDTH: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be emitted.

    Attributes:
        location: Where.
        start: What had been emitted.
        origin: Where that comes from; None if nothing was given.
        scan: The scan.
        seconds: How long it took.
        report: The scan in words.
    """

    location: S3Location
    start: Checkpoint
    origin: Origin | None
    scan: Scan
    seconds: float
    report: ScanReport

    @property
    def something_waits(self) -> bool:
        """Whether this scan, or the next, would emit anything."""
        found = self.scan.result.statistics
        return bool(found.files or found.files_waiting or found.found_late)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know."""
        return (*self._notes(), *self.report.warnings)

    def _notes(self) -> Iterator[str]:
        origin = self.origin
        if origin is not None and self.scan.result.statistics.selection_changed:
            yield (
                f"{origin.title} was made with another prefix or filter than this command has. "
                f"Give the same ones, or this plan is not what comes next."
            )
        if origin is not None and origin.accounts is not None and origin.is_first:
            classes = ", ".join(name or "any (None)" for name in origin.accounts) or "none"
            yield (
                f"{origin.title} has no account of this storage class, so every file of it is "
                f"new. It has: {classes}."
            )
        if self.start.partial_scan is not None:
            yield (
                f"A partial scan is under way that has come as far as "
                f"{readable(self.start.partial_scan.after)}: only keys after that one were listed."
            )

    def document(self, *, with_files: bool) -> dict[str, Any]:
        """The plan as a JSON document; its fields are a public contract."""
        result = self.scan.result
        found = result.statistics
        batches = enumerate(result.batches, 1)
        return {
            "uri": self.location.uri,
            "generation": result.checkpoint.generation,
            "sequence": result.sequence,
            **members_of(found, "files bytes"),
            "batches": [_batch(number, batch, with_files) for number, batch in batches],
            "waiting": {
                "files": found.files_waiting,
                "bytes": found.bytes_waiting,
                "oldest": found.oldest_waiting and format_time(found.oldest_waiting),
            },
            "late": found.files_late,
            **members_of(found, "found_late gone left_out"),
            "undecided": result.checkpoint.undecided,
            "listed": {"objects": found.objects_listed, "bytes": found.bytes_listed},
            "requests": self.scan.requests,
            "seconds": round(self.seconds, 3),
            "complete": self.start.partial_scan is None and found.partial_scan is None,
            "checkpoint_after": checkpoint_document(result.checkpoint),
            "something_waits": self.something_waits,
            "summary": self.report.summary,
            "warnings": list(self.warnings),
        }


def make_plan(
    location: S3Location,
    origin: Origin | None,
    objects: ObjectFilter,
    limits: ScanLimits,
    *,
    starts_now: bool,
    endpoint_url: str | None,
) -> Plan:
    """Scans a prefix as the next tick or call would.

    Args:
        location: The prefix.
        origin: What was emitted; None means nothing.
        objects: Which objects count.
        limits: What may be emitted. How much the checkpoint remembers is as in the origin.
        starts_now: Whether a first scan takes what is there as emitted.
        endpoint_url: The S3 server; None means that of the environment, or AWS.

    Raises:
        S3RequestError: The listing could not be had.
    """
    start = Checkpoint() if origin is None else origin.following
    digest = start.emitted or (start.partial_scan and start.partial_scan.listed)
    if digest:
        limits = replace(limits, late_file_capacity=digest.cells * 2 // 3)
    selection = objects.selection(location.key, bucket=location.bucket)
    if origin is not None and origin.accounts is not None:
        limits = replace(limits, recent_limit=RECENT_LIMIT)
        if origin.place is not None and location.covers(origin.place):
            own_key = origin.place.key.encode("utf-8", "surrogatepass")
            selection = replace(selection, own_key=own_key)
    client = make_client(endpoint_url=endpoint_url)
    began = time.monotonic()
    with _progress(location.uri) as on_page:
        # Nobody waits for this as the daemon waits for a tick: it lists everything.
        scan = Scanner(time_budget=None).scan(
            client,
            replace(location, key=objects.list_prefix(location.key)),
            start,
            given=None,
            selection=selection,
            limits=limits,
            adopt=starts_now and (origin is None or origin.is_first),
            on_page=on_page,
        )
    seconds = time.monotonic() - began
    return Plan(
        location=location,
        start=start,
        origin=origin,
        scan=scan,
        seconds=seconds,
        report=describe_scan(scan.result, source=location.uri, seconds=seconds),
    )


def print_plan(plan: Plan, *, with_files: bool) -> None:
    """Prints the batches as a table, the files as lines, the summary, and warnings on stderr."""
    batches = plan.scan.result.batches
    if batches:
        width = None if sys.stdout.isatty() else _NO_TERMINAL_WIDTH
        Console(width=width).print(_table(batches))
    if with_files:
        for number, batch in enumerate(batches, 1):
            for each in batch.objects:
                moment = format_time(each.last_modified)
                click.echo(f"{number:>5}  {moment}  {each.size:>15,}  {readable(each.key)}")
    click.echo(plan.report.summary)
    for warning in plan.warnings:
        click.echo(f"Warning: {warning}", err=True)


def _batch(number: int, batch: Batch, with_files: bool) -> dict[str, Any]:
    first, last = batch.objects[0], batch.objects[-1]
    document: dict[str, Any] = {
        "number": number,
        "id": batch.id,
        "files": len(batch),
        "bytes": batch.bytes,
        "oldest": format_time(first.last_modified),
        "first_key": first.key,
        "last_key": last.key,
    }
    if with_files:
        names = " ".join(S3Object._fields)
        document["objects"] = [members_of(each, names) for each in batch.objects]
    return document


def _table(batches: tuple[Batch, ...]) -> Table:
    table = Table(box=box.ROUNDED)
    for heading in ("Batch", "Files", "Bytes"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Oldest", no_wrap=True)
    for heading in ("First key", "Last key"):
        table.add_column(heading, overflow="fold")
    for number, batch in enumerate(batches, 1):
        first, last = batch.objects[0], batch.objects[-1]
        cells = (
            str(number),
            f"{len(batch):,}",
            format_bytes(batch.bytes),
            format_time(first.last_modified),
            readable(first.key),
            readable(last.key),
        )
        # As text: a key may look like rich's markup.
        table.add_row(*map(Text, cells))
    return table


@contextmanager
def _progress(source: str) -> Iterator[Callable[[int, int], None]]:
    """Shows on standard error how far a listing has come, if that is a terminal.

    How many objects there are is known only at the end, so the bar has no end either.
    """
    progress = Progress(
        TextColumn("Listing {task.fields[source]}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.completed:,} objects, {task.fields[requests]:,} requests", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        task = progress.add_task("listing", total=None, source=source, requests=0)

        def on_page(objects: int, requests: int) -> None:
            progress.update(task, advance=objects, requests=requests)

        yield on_page
