"""dagster_s3inc below Dagster: all that the benchmark calls of it, but for the sensor."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from benchmarks.digest import digest_of
from benchmarks.measuring import Clock, Found, Task, Work
from benchmarks.ways.boto import boto_client
from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.cursor_format import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import Position
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.page_reader import _TAKEN
from dagster_s3inc.s3.scanner import Scanner

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["adopt", "count_fast_pages", "first", "steady"]

# For a first scan that emits all that there is.
_ALL: Final = ScanLimits(policy=BatchPolicy(max_files=1000), max_batches=1_000_000)

# For a scan that leaves nothing but its index.
_NONE: Final = ScanLimits(max_batches=0)


def steady(task: Task, *, has_index: bool = True) -> Work:
    """The scan of every tick: many old objects, which the index knows, and a few new ones.

    Args:
        task: What is to be done.
        has_index: Whether its process has scanned before, which is not measured.
    """
    client = boto_client(task)
    scanner, text = _scanner(task), task.cursor
    if has_index:
        result = _scan(client, task, text, limits=_NONE, scanner=scanner)
        text = encode_checkpoint(result.checkpoint)
    # What waits is kept, too; a listing of its own is to be measured.
    scanner.carry(text, text)
    fast_pages = count_fast_pages(client)

    def work(_: Clock) -> Callable[[], Found]:
        result = _scan(client, task, text, limits=ScanLimits(), scanner=scanner)
        return lambda: _found(result, fast_pages=fast_pages())

    return work


def first(task: Task) -> Work:
    """The very first scan: every object is new, and is put into a batch."""
    client = boto_client(task)
    fast_pages = count_fast_pages(client)

    def work(_: Clock) -> Callable[[], Found]:
        result = _scan(client, task, None, limits=_ALL, scanner=_scanner(task))
        return lambda: Found(
            listed=result.statistics.files,
            digest=digest_of(each.key for each in result.objects),
            fast_pages=fast_pages(),
        )

    return work


def adopt(task: Task) -> Work:
    """The scan that leaves the cursor for the others: all that is there counts as emitted.

    That is what `adopt=True` does; with a watermark that is there already, only what is old counts.
    """
    client = boto_client(task)
    fast_pages = count_fast_pages(client)
    watermark = Position(datetime.fromisoformat(task.since), "")

    def work(_: Clock) -> Callable[[], Found]:
        text = encode_checkpoint(Checkpoint(watermark=watermark))
        result = _scan(client, task, text, limits=ScanLimits(), scanner=_scanner(task))
        return lambda: _found(result, fast_pages=fast_pages())

    return work


def _scanner(task: Task) -> Scanner:
    return Scanner(time_budget=None, max_concurrent_requests=task.lanes)


def _scan(
    client: S3Client, task: Task, text: str | None, *, limits: ScanLimits, scanner: Scanner
) -> ScanResult:
    objects, place = ObjectFilter(), S3Location(task.bucket, task.prefix)
    done = scanner.scan(
        client,
        place,
        Checkpoint() if text is None else decode_checkpoint(text),
        given=text,
        selection=objects.selection(place.key, bucket=place.bucket),
        limits=limits,
    )
    return done.result


def _found(result: ScanResult, *, fast_pages: int) -> Found:
    statistics = result.statistics
    # What is undecided, or reads as changes that there were not, is not a steady state.
    assert statistics.undecided is None
    assert not statistics.selection_changed
    assert statistics.found_late == statistics.gone == 0, statistics
    return Found(
        listed=statistics.objects_listed,
        new=statistics.files,
        new_digest=digest_of(each.key for each in result.objects),
        fast_pages=fast_pages,
        cursor=encode_checkpoint(result.checkpoint),
    )


def count_fast_pages(client: S3Client) -> Callable[[], int]:
    """From now on counts the answers whose entries did not go through botocore's parser."""
    seen: list[None] = []

    def count(parsed: dict[str, Any], **_: Any) -> None:
        if _TAKEN in parsed:
            seen.append(None)

    client.meta.events.register("after-call.s3.ListObjectsV2", count)
    return lambda: len(seen)
