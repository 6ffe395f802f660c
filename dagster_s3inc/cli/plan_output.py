"""A plan as a table for people, and as a document for programs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dagster_s3inc.cli.explanation import describe_checkpoint
from dagster_s3inc.cli.origin import Origin
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.objects import S3Object, format_time
from dagster_s3inc.core.report import ScanReport
from dagster_s3inc.core.words import format_bytes, readable
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanning import Look

__all__ = ["Planned", "as_document", "print_plan"]

# Wide enough for any key: what goes to a file or a pipe is neither folded nor cut.
_NO_TERMINAL_WIDTH: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What was found.

    Attributes:
        location: Where.
        start: What had been handed over.
        origin: Where that comes from; None if nothing was given.
        look: The look.
        seconds: How long it took.
        report: The look in words.
    """

    location: S3Location
    start: Checkpoint
    origin: Origin | None
    look: Look
    seconds: float
    report: ScanReport

    @property
    def something_waits(self) -> bool:
        """Whether this look, or the next, would hand over anything."""
        seen = self.look.result.statistics
        return bool(seen.files or seen.files_waiting or seen.revealed)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know."""
        return (*self._notes(), *self.report.warnings)

    def _notes(self) -> Iterator[str]:
        if self.origin is not None and self.look.result.statistics.selection_changed:
            yield (
                f"{self.origin.name[0].upper()}{self.origin.name[1:]} was made with another prefix "
                f"or filter than this command has. Give the same ones, or this plan is not what "
                f"comes next."
            )
        if self.start.unfinished is not None:
            yield (
                f"A pass is under way that has come as far as "
                f"{readable(self.start.unfinished.after)}: only keys after that one were looked at."
            )


def as_document(planned: Planned, *, with_files: bool) -> dict[str, Any]:
    """The plan as a JSON document; its fields are a public contract."""
    result = planned.look.result
    seen = result.statistics
    return {
        "uri": planned.location.uri,
        "generation": result.checkpoint.generation,
        "files": seen.files,
        "bytes": seen.bytes,
        "batches": [
            _batch(number, batch, with_files) for number, batch in enumerate(result.batches, 1)
        ],
        "waiting": {
            "files": seen.files_waiting,
            "bytes": seen.bytes_waiting,
            "oldest": seen.oldest_waiting and format_time(seen.oldest_waiting),
        },
        "late": seen.files_late,
        "revealed": seen.revealed,
        "gone": seen.gone,
        "left_out": seen.left_out,
        "listed": {"objects": seen.objects_listed, "bytes": seen.bytes_listed},
        "requests": planned.look.requests,
        "seconds": round(planned.seconds, 3),
        "whole": planned.start.unfinished is None and seen.unfinished is None,
        "checkpoint_after": describe_checkpoint(result.checkpoint),
        "something_waits": planned.something_waits,
        "summary": planned.report.summary,
        "warnings": list(planned.warnings),
    }


def _batch(number: int, batch: Batch, with_files: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "number": number,
        "id": batch.id,
        "files": len(batch),
        "bytes": batch.bytes,
        "oldest": format_time(batch.objects[0].last_modified),
        "first_key": batch.objects[0].key,
        "last_key": batch.objects[-1].key,
    }
    if with_files:
        document["objects"] = [_object(each) for each in batch.objects]
    return document


def _object(each: S3Object) -> dict[str, Any]:
    return {
        "key": each.key,
        "size": each.size,
        "last_modified": format_time(each.last_modified),
        "etag": each.etag,
        "storage_class": each.storage_class,
    }


def print_plan(planned: Planned, *, with_files: bool) -> None:
    """Prints the batches as a table, the files as lines, the summary, and warnings on stderr."""
    batches = planned.look.result.batches
    if batches:
        width = None if sys.stdout.isatty() else _NO_TERMINAL_WIDTH
        Console(width=width).print(_table(batches))
    if with_files:
        for number, batch in enumerate(batches, 1):
            for each in batch.objects:
                moment = format_time(each.last_modified)
                click.echo(f"{number:>5}  {moment}  {each.size:>15,}  {readable(each.key)}")
    click.echo(planned.report.summary)
    for warning in planned.warnings:
        click.echo(f"Warning: {warning}", err=True)


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
