"""A listing that exists only as keys, for the tests of how it is read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import Any

from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import ObjectsPage
from dagster_s3inc.s3.source import Answer

MOMENT = datetime(2026, 11, 22, tzinfo=timezone.utc)


def page_with(keys: Iterable[str]) -> ObjectsPage:
    return ObjectsPage(S3Object(MOMENT, key, "e", 1) for key in keys)


def keys_of(page: Any) -> list[str]:
    return [page.key_at(index) for index in range(len(page))]


def by_path(key: str) -> Any:
    """The order of a server that keeps keys as paths."""
    return key.split("/")


class KeyServer:
    """Answers as S3 does, in any order of the keys; they may change between two answers."""

    def __init__(
        self, keys: Iterable[str], *, page_size: int, order: Callable[[str], Any] = str
    ) -> None:
        self.keys = set(keys)
        self.page_size = page_size
        self.order = order
        self.requests = 0

    def answer(self, after: str | None, token: str | None) -> Answer:
        self.requests += 1
        keys = sorted(self.keys, key=self.order)
        last = token if token is not None else after
        at = 0 if last is None else bisect_right(keys, self.order(last), key=self.order)
        some = keys[at : at + self.page_size]
        more = some[-1] if at + self.page_size < len(keys) else None
        return Answer(page_with(some), more, {}, 0.0, 0.0)


class DeafServer(KeyServer):
    """Does not know StartAfter."""

    def answer(self, after: str | None, token: str | None) -> Answer:
        return super().answer(None, token)
