"""What a tick says about its scan, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.redo import Redo
from dagster_s3inc.core.sketch import Estimate
from dagster_s3inc.core.words import count, format_bytes, readable

__all__ = ["LIST_DOLLARS", "ScanReport", "describe_cost", "describe_overflow", "describe_scan"]

LIST_DOLLARS: Final = 0.005 / 1000
"""What AWS takes for a LIST request of S3 Standard in us-east-1; it differs between regions."""

_MONTH_SECONDS: Final = 30 * 86_400


class ScanReport(NamedTuple):
    """The words for one scan.

    Attributes:
        summary: One line with the numbers that matter.
        warnings: What the user should know, and what to do about it.
    """

    summary: str
    warnings: tuple[str, ...]


def describe_scan(result: ScanResult, *, source: str, seconds: float) -> ScanReport:
    """Puts a scan into words.

    Args:
        result: The scan.
        source: The URI that was scanned.
        seconds: How long it took, from the start of the tick.
    """
    seen = result.statistics
    if seen.redo is not None:
        return ScanReport(_describe_redo(result, seen.redo, source, seconds), ())
    if seen.files:
        found = (
            f"{count(seen.files, 'file')} ({format_bytes(seen.bytes)}) in "
            f"{count(len(result.batches), 'batch', 'batches')}"
        )
    else:
        found = "Nothing new"
    looked = (
        f"looked at {count(seen.objects_listed, 'object')} ({format_bytes(seen.bytes_listed)})"
        if seen.newest or not seen.files
        else "found by an earlier look"
    )
    parts = [
        f"{found} in generation {result.checkpoint.generation}: {looked} under {source} in "
        f"{seconds:.2f} s"
    ]
    if seen.unfinished is not None:
        parts.append(
            f"there is more: this pass began at {format_time(seen.unfinished.began)}, has looked "
            f"at {count(seen.unfinished.objects, 'object')}, and goes on in the next tick after "
            f"{readable(seen.unfinished.after)}"
        )
    if seen.newest is not None:
        newest = format_time(seen.newest.last_modified)
        parts.append(f"the newest is {readable(seen.newest.key)} of {newest}")
    if seen.files_late:
        parts.append(f"{count(seen.files_late, 'file')} had appeared late")
    if seen.revealed:
        parts.append(
            f"{count(seen.revealed, 'older file')} appeared since the last tick, to be handed "
            f"over by the next"
        )
    if seen.gone:
        parts.append(f"{count(seen.gone, 'file')} handed over before, now deleted or overwritten")
    if seen.left_out:
        parts.append(f"{seen.left_out:,} of the recent ones left out by the filter or group_by")
    if seen.oldest_waiting is not None:
        parts.append(
            f"{count(seen.files_waiting, 'more file')} ({format_bytes(seen.bytes_waiting)}) "
            f"{'waits' if seen.files_waiting == 1 else 'wait'} for the next ticks, the oldest of "
            f"{format_time(seen.oldest_waiting)}"
        )
    return ScanReport("; ".join(parts) + ".", tuple(_warnings(result)))


def _describe_redo(result: ScanResult, redo: Redo, source: str, seconds: float) -> str:
    seen, going_on = result.statistics, result.checkpoint.redo
    found = (
        f"{count(seen.files, 'file')} ({format_bytes(seen.bytes)}) in "
        f"{count(len(result.batches), 'batch', 'batches')}"
    )
    then = (
        "that was all; the next tick looks for new files"
        if going_on is None
        else f"this goes on in the next tick after {readable(going_on.after)}; new files wait "
        f"until then"
        if going_on.after
        else "the next tick tries again; new files wait until then"
    )
    return (
        f"Handed over again in generation {result.checkpoint.generation}: {found}, of what is "
        f"{redo.conditions}; looked at {count(seen.objects_listed, 'object')} under {source} in "
        f"{seconds:.2f} s; {then}."
    )


def _warnings(result: ScanResult) -> Iterator[str]:
    seen, floor = result.statistics, result.checkpoint.floor
    if seen.selection_changed:
        said = "The filter or the prefix is another than at the last tick."
        if floor is not None:
            said = (
                f"{said} Files up to {format_time(floor.last_modified)} that only the new one "
                f"matches count as handed over. To have them processed, launch the reset job."
            )
        yield said
    if seen.overflow is not None:
        yield describe_overflow(seen.overflow)


def describe_overflow(seen: Estimate) -> str:
    """Says how much changed below the floor, what of it is given up, and what to do."""
    net, most = seen.added - seen.removed, seen.added + seen.margin
    told = (
        f"More old files changed since the last tick than the sketch in the cursor can tell apart: "
        f"{net:+,} in all (exactly), about {seen.removed:,} gone and {seen.added:,} that appeared "
        f"late (give or take {seen.margin:,}). "
    )
    if seen.looks_like_removal:
        return (
            f"{told}Many gone and few that came look like a lifecycle rule or a clean-up: "
            f"nothing is lost. But if files with an old LastModified came too (at most "
            f"{most:,}), they are NOT handed over; launch the reset job to have them processed."
        )
    return (
        f"{told}The files that appeared late are NOT handed over. Launch the reset job to have "
        f"them processed. If this happens often, raise sketch_cells or split the prefix."
    )


def describe_cost(requests: int, interval_seconds: int) -> str:
    """Says what the LIST requests of a tick cost, and would in a month of such ticks."""
    if not requests:
        return "No LIST request was needed: these files were found by an earlier tick."
    month = requests * _MONTH_SECONDS / interval_seconds * LIST_DOLLARS
    return (
        f"{count(requests, 'LIST request')}. At one such tick in {interval_seconds} s, and at "
        f"${LIST_DOLLARS * 1000} for 1,000 requests, that is ${month:,.2f} a month."
    )
