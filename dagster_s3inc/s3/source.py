"""The requests of a listing, and what counts as an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dagster_s3inc.core.page import Page
from dagster_s3inc.errors import ListingError
from dagster_s3inc.s3.entries import entries_taken_out, page_of
from dagster_s3inc.s3.failures import translated_failures
from dagster_s3inc.s3.location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["Answer", "Source"]


class Answer(NamedTuple):
    """One page, and what came with it.

    Attributes:
        page: The page.
        token: What the server goes on by; None at the end of the listing.
        headers: The HTTP headers, by lower-case names.
        seconds: How long the request took.
        cpu: How long this thread worked on it.
    """

    page: Page
    token: str | None
    headers: Mapping[str, str]
    seconds: float
    cpu: float


class Source:
    """Everything whose key starts with the location's key; may be asked from any thread.

    Args:
        client: The boto3 client.
        location: The prefix.
        page_size: The most objects of a page; None leaves it to the server.
    """

    def __init__(
        self, client: S3Client, location: S3Location, *, page_size: int | None = None
    ) -> None:
        self.location = location
        self._client = client
        self._limit: Any = {} if page_size is None else {"MaxKeys": page_size}
        self._lock = threading.Lock()
        self._requests = 0

    @property
    def requests(self) -> int:
        """How many requests have been sent, retries of botocore not counted."""
        return self._requests

    def ask(self, *, after: str | None = None, token: str | None = None) -> Answer:
        """Asks for one page.

        Args:
            after: The page begins behind this key; None means at the beginning.
            token: The page goes on where the one with this token ended; `after` is not heeded.

        Raises:
            S3RequestError: The page could not be had; the kind and the message say why.
        """
        where: dict[str, Any] = {}
        if token is not None:
            where["ContinuationToken"] = token
        elif after is not None:
            where["StartAfter"] = after
        began, worked = time.monotonic(), time.thread_time()
        response = self._list(Prefix=self.location.key, **where)
        return Answer(
            page=page_of(response),
            token=self._following(response, token),
            headers=response["ResponseMetadata"].get("HTTPHeaders", {}),
            seconds=time.monotonic() - began,
            cpu=time.thread_time() - worked,
        )

    def folders(self, prefix: str) -> list[str]:
        """Names the first folders within a prefix, each with the `/` at its end; one request.

        Raises:
            S3RequestError: They could not be had.
        """
        response = self._list(Prefix=prefix, Delimiter="/")
        return [each["Prefix"] for each in response.get("CommonPrefixes", ())]

    def _list(self, **what: Any) -> Any:
        with self._lock:
            self._requests += 1
        with translated_failures(f"list {self.location}"), entries_taken_out(self._client):
            return self._client.list_objects_v2(Bucket=self.location.bucket, **self._limit, **what)

    def _following(self, response: Any, token: str | None) -> str | None:
        # An empty body of status 200 reads as an empty listing in boto3. A real one always says
        # whether it is truncated.
        truncated = response.get("IsTruncated")
        if truncated is None:
            raise ListingError(
                f"Could not list {self.location}: the answer has no IsTruncated, so it is not a "
                f"whole listing. Check whether endpoint_url names an S3 server, and what lies "
                f"between"
            )
        if not truncated:
            return None
        following: str | None = response.get("NextContinuationToken")
        if not following or following == token:
            raise ListingError(
                f"Could not list {self.location}: the server says that there is more, but not "
                f"where to go on "
                f"({'the same token came twice' if following else 'no token came'}). That is a "
                f"fault of the server; nothing was handed over"
            )
        return following
