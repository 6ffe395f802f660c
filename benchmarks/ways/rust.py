"""obstore, the Python face of Rust's object_store: the fastest of the peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import obstore
from obstore.store import S3Store

from benchmarks.digest import Digest
from benchmarks.measuring import Clock, Found, Task, Work
from benchmarks.ways import ACCESS_KEY, REGION, SECRET_KEY

__all__ = ["obstore_list"]


def obstore_list(task: Task) -> Work:
    """Reads all of the listing in chunks of 1,000, as dictionaries, and keeps none."""
    store = S3Store(
        task.bucket,
        endpoint=task.endpoint,
        region=REGION,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        client_options={"allow_http": True},
    )

    def listing(prefix: str) -> Any:
        return obstore.list(store, prefix, chunk_size=1000)

    list(listing("nothing/"))

    def work(clock: Clock) -> Callable[[], Found]:
        digest = Digest()
        for chunk in listing(task.prefix):
            with clock.paused():
                digest.add(each["path"] for each in chunk)
        return lambda: Found(listed=digest.count, digest=str(digest))

    return work
