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
from dagster_s3inc.core.codec import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import Position
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.s3.entries import _TAKEN
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanning import Scanner

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["adopt", "count_fast_pages", "first", "steady"]

# For a first scan that hands over all that there is.
_ALL: Final = ScanLimits(policy=BatchPolicy(max_files=1000), max_batches=1_000_000)


# For a look after which nothing waits in memory: what is to be done then is a look of its own.
_NONE: Final = ScanLimits(max_batches=0)


def steady(task: Task, *, looked_before: bool = False) -> Work:
    """The scan of every tick: many old objects, of which only the sketch is known, a few new.

    Args:
        task: What is to be done.
        looked_before: Whether its scanner has made another scan before, which is not measured.
    """
    client = boto_client(task)
    checkpoint = decode_checkpoint(task.cursor)
    scanner = _scanner(task)
    if looked_before:
        _scan(client, task, checkpoint, limits=_NONE, scanner=scanner)
    fast_pages = count_fast_pages(client)

    def work(_: Clock) -> Callable[[], Found]:
        result = _scan(client, task, checkpoint, limits=ScanLimits(), scanner=scanner)
        return lambda: _found(result, fast_pages=fast_pages())

    return work


def first(task: Task) -> Work:
    """The very first scan: every object is new, is made, sorted and put into a batch."""
    client = boto_client(task)
    fast_pages = count_fast_pages(client)

    def work(_: Clock) -> Callable[[], Found]:
        result = _scan(client, task, Checkpoint(), limits=_ALL, scanner=_scanner(task))
        return lambda: Found(
            listed=result.statistics.files,
            digest=digest_of(each.key for batch in result.batches for each in batch.objects),
            fast_pages=fast_pages(),
        )

    return work


def adopt(task: Task) -> Work:
    """The scan that leaves the cursor for the others: all that is there counts as handed over.

    That is what `adopt=True` does; a floor that is there already spares it a million objects.
    """
    client = boto_client(task)
    fast_pages = count_fast_pages(client)
    floor = Position(datetime.fromisoformat(task.since), "")

    def work(_: Clock) -> Callable[[], Found]:
        start = Checkpoint(floor=floor)
        result = _scan(client, task, start, limits=ScanLimits(), scanner=_scanner(task))
        return lambda: _found(result, fast_pages=fast_pages())

    return work


def _scanner(task: Task) -> Scanner:
    return Scanner(time_budget=None, lanes=task.lanes)


def _scan(
    client: S3Client,
    task: Task,
    checkpoint: Checkpoint,
    *,
    limits: ScanLimits,
    scanner: Scanner,
) -> ScanResult:
    objects, place = ObjectFilter(), S3Location(task.bucket, task.prefix)
    look = scanner.scan(
        client,
        place,
        checkpoint,
        selection=objects.selection(place.key, bucket=place.bucket),
        limits=limits,
    )
    return look.result


def _found(result: ScanResult, *, fast_pages: int) -> Found:
    statistics = result.statistics
    # A sketch that cannot be read, or reads as changes that there were not, is no steady state.
    assert result.checkpoint.settled is not None
    assert statistics.overflow is None
    assert not statistics.selection_changed
    assert statistics.revealed == statistics.gone == 0, statistics
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
