"""What a tick says about its scan, in words and numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import nsmallest
from itertools import islice
from typing import Final, NamedTuple

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.checkpoint import Reprocess
from dagster_s3inc.core.late_files import Undecided
from dagster_s3inc.core.objects import S3Object, format_time
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.words import count, format_bytes, readable

__all__ = [
    "LIST_DOLLARS",
    "Forecast",
    "ScanReport",
    "describe_cost",
    "describe_scan",
    "describe_undecided",
    "forecast",
]

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
    if seen.reprocess is not None:
        summary = _describe_reprocess(result, seen.reprocess, source, seconds)
        return ScanReport(summary, tuple(_warnings(result)))
    if seen.files:
        found = f"{_files(result)} requested"
    elif seen.files_waiting:
        found = "Nothing requested"
    else:
        found = "Nothing new"
    listed = (
        f"{count(seen.objects_listed, 'object')} ({format_bytes(seen.bytes_listed)}) listed under "
        f"{source}"
        if seen.newest or not (seen.files or seen.files_waiting)
        else f"found under {source} by an earlier listing"
    )
    parts = [f"{found} in generation {result.checkpoint.generation}: {listed} in {seconds:.2f} s"]
    partial = seen.partial_scan
    if partial is not None:
        parts.append(
            f"the listing goes on in the next tick after {readable(partial.after)}; this scan "
            f"began at {format_time(partial.began)} and has seen "
            f"{count(partial.objects, 'object')}"
        )
    if seen.newest is not None:
        newest = format_time(seen.newest.last_modified)
        parts.append(f"the newest is {readable(seen.newest.key)} of {newest}")
    if seen.files_late:
        parts.append(f"{count(seen.files_late, 'file')} of these came late")
    if seen.found_late:
        parts.append(
            f"{count(seen.found_late, 'late file')} found, to be requested by the next tick"
        )
    if seen.gone:
        parts.append(f"{count(seen.gone, 'file')} requested before, now deleted or overwritten")
    if seen.left_out:
        parts.append(f"{seen.left_out:,} of the recent ones left out by the filter")
    if seen.files_waiting:
        oldest = seen.oldest_waiting
        since = "" if oldest is None else f", the oldest of {format_time(oldest)}"
        parts.append(
            f"{count(seen.files_waiting, 'file')} ({format_bytes(seen.bytes_waiting)}) "
            f"{'waits' if seen.files_waiting == 1 else 'wait'} for the next ticks{since}"
        )
    if seen.decided_by == "ledger":
        parts.append("the ledger (the sensor's runs) shows what was requested before")
    return ScanReport("; ".join(parts) + ".", tuple(_warnings(result)))


def _files(result: ScanResult) -> str:
    seen = result.statistics
    return (
        f"{count(seen.files, 'file')} ({format_bytes(seen.bytes)}) in "
        f"{count(len(result.batches), 'batch', 'batches')}"
    )


def _describe_reprocess(
    result: ScanResult, reprocess: Reprocess, source: str, seconds: float
) -> str:
    seen, going_on = result.statistics, result.checkpoint.reprocess
    then = (
        "that was all; the next tick looks for new files"
        if going_on is None
        else f"this goes on in the next tick after {readable(going_on.after)}; new files wait "
        f"until then"
        if going_on.after
        else "the next tick tries again; new files wait until then"
    )
    return (
        f"Requested again in generation {result.checkpoint.generation}: {_files(result)}, of what "
        f"is {reprocess.conditions}; {count(seen.objects_listed, 'object')} listed under {source} "
        f"in {seconds:.2f} s; {then}."
    )


def _warnings(result: ScanResult) -> Iterator[str]:
    seen = result.statistics
    if seen.selection_changed and seen.undecided is None and seen.partial_scan is None:
        yield (
            "The filter or the prefix changed since the last tick. Files that only the new one "
            "matches are requested as new files are; files that were requested before are not "
            "requested again."
        )
    if seen.returned:
        yield (
            f"About {count(seen.returned, 'version')} that had gone came back while too much else "
            f"changed to tell which. They count as requested. To have them processed again, launch "
            f"the reset job with what: matching."
        )
    if seen.undecided is not None:
        yield describe_undecided(seen.undecided)


def describe_undecided(undecided: Undecided) -> str:
    """Says which files are undecided, why, and the two resets that end it."""
    if undecided.selection_changed:
        what = (
            f"The filter or the prefix changed, and it is undecided which of "
            f"{count(undecided.listed, 'file')} at or below the watermark were requested before"
        )
    else:
        what = (
            f"It is undecided which of {count(undecided.listed, 'file')} at or below the watermark "
            f"were requested before: about {undecided.appeared:,} appeared and {undecided.gone:,} "
            f"are gone (give or take {undecided.margin:,}), more than the digest in the cursor "
            f"tells apart"
        )
    if undecided.why == "reading":
        progress = undecided.progress
        far = (
            ""
            if progress is None
            else f" ({progress.runs_read:,} of {count(progress.runs, 'run')} so far)"
        )
        return f"{what}. The sensor's runs are being read to decide it{far}; the next ticks go on."
    why = {
        "not whole": "the sensor's runs do not decide it: some were deleted, or the beginning was "
        "adopted",
        "no ledger": "there are no runs that could decide it",
        "too large": "the bucket is larger than the index may be (max_index_bytes)",
        "part of a listing": "no process has seen the whole of this listing",
    }[undecided.why]
    return (
        f"{what}, and {why}. None of these files is requested, and none is given up; newer files "
        f"are requested as ever. To end this, launch the reset job with what: accept_listed (all "
        f"of them count as requested) or what: matching (those that meet the conditions are "
        f"requested, whether they were before or not)."
    )


def describe_cost(requests: int, interval_seconds: int) -> str:
    """Says what the LIST requests of a tick cost, and would in a month of such ticks."""
    if not requests:
        return "No LIST request was needed: an earlier tick found these files."
    month = requests * _MONTH_SECONDS / interval_seconds * LIST_DOLLARS
    return (
        f"{count(requests, 'LIST request')}. At one such tick in {interval_seconds} s, and at "
        f"${LIST_DOLLARS * 1000} for 1,000 requests, that is ${month:,.2f} a month."
    )


_CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What would be emitted.

    Attributes:
        files: How many objects.
        bytes: The sum of their sizes.
        batches: In how many batches at least; ticks that cut them make a few more.
        oldest: The least LastModified; None if there is no object.
        newest: The greatest.
        first: The first of them in position order.
    """

    files: int
    bytes: int
    batches: int
    oldest: datetime | None
    newest: datetime | None
    first: tuple[S3Object, ...]


def forecast(
    objects: Iterable[S3Object],
    policy: BatchPolicy,
    *,
    group_of: Callable[[str], str | None] | None = None,
    shown: int,
) -> Forecast:
    """Counts objects, and keeps no more than the first of them.

    Args:
        objects: In any order.
        policy: How they are cut into batches.
        group_of: Keys for which it differs are in different batches.
        shown: How many to keep.
    """
    files: dict[str | None, int] = defaultdict(int)
    weights: dict[str | None, int] = defaultdict(int)
    oldest: datetime | None = None
    newest: datetime | None = None
    total = 0
    first: list[S3Object] = []
    rest = iter(objects)
    while chunk := list(islice(rest, _CHUNK)):
        first = nsmallest(shown, [*first, *chunk])
        times = [each.last_modified for each in chunk]
        oldest = min([*times, *([oldest] if oldest else [])])
        newest = max([*times, *([newest] if newest else [])])
        for each in chunk:
            group = group_of(each.key) if group_of else None
            files[group] += 1
            total += each.size
            # A larger object is a batch of its own.
            weights[group] += min(each.size, policy.max_bytes or 0)
    batches = 0
    for group, number in files.items():
        by_bytes = -(-weights[group] // policy.max_bytes) if policy.max_bytes else 1
        batches += max(-(-number // policy.max_files), by_bytes)
    return Forecast(
        files=sum(files.values()),
        bytes=total,
        batches=batches,
        oldest=oldest,
        newest=newest,
        first=tuple(first),
    )
