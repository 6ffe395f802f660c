"""A listing that exists only as keys, for the tests of how it is read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import ColumnsPage, Page
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.page_reader import BytesPage
from dagster_s3inc.s3.page_requests import Answer
from tests.s3.canned import entry

MOMENT = datetime(2026, 11, 22, tzinfo=timezone.utc)
PLACE = S3Location("bucket")


def columns_with(keys: Iterable[str]) -> ColumnsPage:
    return ColumnsPage(Columns.of(S3Object(MOMENT, key, "e", 1) for key in keys))


def bytes_with(keys: Iterable[str]) -> Page:
    """The same as a server writes it; a page without entries has no bytes."""
    written = [
        entry([("Key", key), ("LastModified", f"{MOMENT:%FT%TZ}"), ("ETag", "e"), ("Size", "1")])
        for key in keys
    ]
    if not written:
        return columns_with(())
    head, tail = b"<ListBucketResult>", b"</ListBucketResult>"
    return BytesPage(head, "".join(written).encode(), tail, PLACE, url_encoded=False)


def with_small_pages(client: Any, size: int) -> Any:
    """The client, whose listings come in pages of so many objects."""

    def limit(params: dict[str, Any], **_: Any) -> dict[str, Any]:
        return {**params, "MaxKeys": size}

    client.meta.events.register("provide-client-params.s3.ListObjectsV2", limit)
    return client


def keys_of(page: Page) -> list[str]:
    return [key.decode() for key in page.parsed().key_bytes()]


def by_path(key: str) -> Any:
    """The order of a server that keeps keys as paths."""
    return key.split("/")


class KeyServer:
    """Answers as S3 does, in any order of the keys; they may change between two answers."""

    def __init__(
        self,
        keys: Iterable[str],
        *,
        page_size: int,
        order: Callable[[str], Any] = str,
        page_with: Callable[[Iterable[str]], Page] = columns_with,
    ) -> None:
        self.keys = set(keys)
        self.page_size = page_size
        self.order = order
        self.page_with = page_with
        self.requests = 0

    def answer(self, after: bytes | None, token: str | None) -> Answer:
        self.requests += 1
        keys = sorted(self.keys, key=self.order)
        last = token if token is not None or after is None else after.decode()
        at = 0 if last is None else bisect_right(keys, self.order(last), key=self.order)
        some = keys[at : at + self.page_size]
        more = some[-1] if at + self.page_size < len(keys) else None
        return Answer(self.page_with(some), more)


class DeafServer(KeyServer):
    """Does not know StartAfter."""

    def answer(self, after: bytes | None, token: str | None) -> Answer:
        return super().answer(None, token)
