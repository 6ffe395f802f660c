"""The floor: the same bytes, read with urllib3 on one connection; only the token is looked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_plus, urlencode

import urllib3

from benchmarks.digest import Digest
from benchmarks.measuring import Clock, Found, Task, Work

__all__ = ["floor"]

_TOKEN: Final = (b"<NextContinuationToken>", b"</NextContinuationToken>")
_KEY: Final = re.compile(rb"<Key>([^<]*)</Key>")


def floor(task: Task) -> Work:
    """Reads all pages, and does nothing with them."""
    pool = urllib3.PoolManager()

    def read(**more: str) -> bytes:
        query = {"list-type": "2", "prefix": task.prefix, "encoding-type": "url", **more}
        return pool.request("GET", f"{task.endpoint}/{task.bucket}?{urlencode(query)}").data

    read(prefix="nothing/")

    def work(clock: Clock) -> Callable[[], Found]:
        digest = Digest()
        body = read()
        while True:
            with clock.paused():
                digest.add(unquote_plus(key.decode()) for key in _KEY.findall(body))
            _, found, rest = body.partition(_TOKEN[0])
            if not found:
                return lambda: Found(listed=digest.count, digest=str(digest))
            token = rest[: rest.index(_TOKEN[1])].decode()
            body = read(**{"continuation-token": token})

    return work
