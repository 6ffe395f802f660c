"""What a tick says about its scan, in words and numbers."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.scan import ScanResult

__all__ = ["ScanReport", "describe_scan", "format_bytes"]


class ScanReport(NamedTuple):
    """The words for one scan.

    Attributes:
        summary: One line with the numbers that matter.
        warnings: What the user should know, and what to do about it.
    """

    summary: str
    warnings: tuple[str, ...]


def describe_scan(
    result: ScanResult, *, source: str, seconds: float, asked_lookback: timedelta
) -> ScanReport:
    """Puts a scan into words.

    Args:
        result: The scan.
        source: The URI that was scanned.
        seconds: How long it took, from the start of the tick.
        asked_lookback: The lookback that the sensor was given.
    """
    seen = result.statistics
    if seen.files:
        found = (
            f"{_count(seen.files, 'file')} ({format_bytes(seen.bytes)}) in "
            f"{_count(len(result.batches), 'batch', 'batches')}"
        )
    else:
        found = "Nothing new"
    parts = [
        f"{found} in generation {result.checkpoint.generation}: looked at "
        f"{_count(seen.objects_listed, 'object')} ({format_bytes(seen.bytes_listed)}) under "
        f"{source} in {seconds:.2f} s"
    ]
    if seen.newest is not None:
        newest = format_time(seen.newest.last_modified)
        parts.append(f"the newest is {seen.newest.key} of {newest}")
    if seen.left_out:
        parts.append(f"the filter leaves out {seen.left_out:,} of the recent ones")
    if seen.oldest_waiting is not None:
        parts.append(
            f"{_count(seen.files_waiting, 'more file')} ({format_bytes(seen.bytes_waiting)}) "
            f"{'waits' if seen.files_waiting == 1 else 'wait'} for the next ticks, the oldest of "
            f"{format_time(seen.oldest_waiting)}"
        )
    warnings = []
    if seen.lookback < asked_lookback:
        warnings.append(
            f"More files came than the cursor can remember one by one, so files that appear late "
            f"are found only up to {seen.lookback} after their LastModified, not {asked_lookback}. "
            f"If files appear late here, split the prefix among several sensors."
        )
    return ScanReport("; ".join(parts) + ".", tuple(warnings))


def format_bytes(size: int) -> str:
    """A size in the largest binary unit of which there is at least one, as in `1.5 MiB`."""
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:
            return f"{size:,} bytes" if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} PiB"


def _count(number: int, noun: str, nouns: str | None = None) -> str:
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"
