"""Reading a whole listing, page by page, and never taking a part for the whole."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from dagster_s3inc.core.page import Page
from dagster_s3inc.errors import ListingError
from dagster_s3inc.s3.entries import entries_taken_out, page_of
from dagster_s3inc.s3.failures import translated_failures
from dagster_s3inc.s3.location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["LANES", "Listing", "ListingMemory", "open_listing"]

LANES = 1


class ListingMemory:
    """Nothing yet."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A listing whose first page has come.

    Attributes:
        server_time: When the server answered, by its own clock, in whole seconds.
        pages: All pages, the first included; to be read once. Reading on may raise any
            `S3RequestError`; what came before is then no listing.
    """

    server_time: datetime
    pages: Generator[Page, None, None]
    may_be_cut: bool = True
    requests: int = 0


def open_listing(
    client: S3Client,
    location: S3Location,
    *,
    after: str | None = None,
    lanes: int = LANES,
    memory: ListingMemory | None = None,
) -> Listing:
    """Begins to list everything whose key starts with the location's key.

    One request is sent; the others follow as the pages are read, one for each page of up to
    1,000 objects.

    Raises:
        S3RequestError: The listing could not be had; the kind and the message say why.
    """
    first = _request(client, location, token=None, after=after)
    return Listing(_server_time(first, location), _pages(client, location, first))


def _pages(client: S3Client, location: S3Location, response: Any) -> Generator[Page, None, None]:
    token: str | None = None
    while True:
        yield page_of(response)
        if not _is_truncated(response, location):
            return
        following = response.get("NextContinuationToken")
        if not following or following == token:
            raise ListingError(
                f"Could not list {location}: the server says that there is more, but not where to "
                f"go on ({'the same token came twice' if following else 'no token came'}). That "
                f"is a fault of the server; nothing was handed over"
            )
        token = following
        response = _request(client, location, token)


def _request(
    client: S3Client, location: S3Location, token: str | None, after: str | None = None
) -> Any:
    more: dict[str, Any] = {} if token is None else {"ContinuationToken": token}
    if after:
        more["StartAfter"] = after
    with translated_failures(f"list {location}"), entries_taken_out(client):
        return client.list_objects_v2(Bucket=location.bucket, Prefix=location.key, **more)


def _is_truncated(response: Any, location: S3Location) -> bool:
    # An empty body of status 200 reads as an empty listing in boto3. A real one always says
    # whether it is truncated.
    truncated = response.get("IsTruncated")
    if truncated is None:
        raise ListingError(
            f"Could not list {location}: the answer has no IsTruncated, so it is not a whole "
            f"listing. Check whether endpoint_url names an S3 server, and what lies between"
        )
    return bool(truncated)


def _server_time(response: Any, location: S3Location) -> datetime:
    text = response["ResponseMetadata"].get("HTTPHeaders", {}).get("date")
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        raise ListingError(
            f"Could not list {location}: the answer has no valid Date header ({text!r}), so the "
            f"server's time is not known. Check what lies between this machine and the server"
        ) from None
    # "-0000" is UTC in RFC 5322, but comes without a time zone.
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(
        timezone.utc
    )
