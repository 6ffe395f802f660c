"""A scan of a place in S3."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.scan import scan
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.s3.listing import open_listing
from dagster_s3inc.s3.location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["scan_location"]


def scan_location(
    client: S3Client,
    location: S3Location,
    checkpoint: Checkpoint,
    *,
    objects: ObjectFilter,
    limits: ScanLimits,
    adopt: bool = False,
    leave_out: str | None = None,
) -> ScanResult:
    """Lists a prefix, as far as the filter needs it, and finds what is new there.

    Args:
        client: The boto3 client.
        location: The prefix.
        checkpoint: What has been handed over so far.
        objects: Which objects count.
        limits: What may be handed over.
        adopt: See `core.scan.scan`.
        leave_out: A key that is never data.

    Raises:
        S3RequestError: The listing could not be had as a whole.
    """
    listing = open_listing(client, replace(location, key=objects.list_prefix(location.key)))
    selection = objects.selection(location.key, bucket=location.bucket)
    return scan(
        checkpoint,
        listing.pages,
        now=listing.server_time,
        selection=selection if leave_out is None else _without(leave_out, selection),
        limits=limits,
        adopt=adopt,
    )


def _without(key: str, selection: Selection) -> Selection:
    def other(matches: Callable[[S3Object], bool]) -> Callable[[S3Object], bool]:
        return lambda each: each.key != key and matches(each)

    return Selection(
        matches=other(selection.matches),
        may_match=other(selection.may_match),
        digest=selection.digest,
    )
