"""s3fs, the file system on top of aiobotocore."""

from __future__ import annotations

from collections.abc import Callable

import s3fs

from benchmarks.digest import digest_of
from benchmarks.measuring import Clock, Found, Task, Work
from benchmarks.ways import ACCESS_KEY, REGION, SECRET_KEY

__all__ = ["s3fs_find"]


def s3fs_find(task: Task) -> Work:
    """Finds everything below the prefix, with its details."""
    files = s3fs.S3FileSystem(
        key=ACCESS_KEY,
        secret=SECRET_KEY,
        client_kwargs={"endpoint_url": task.endpoint, "region_name": REGION},
        use_listings_cache=False,
    )
    files.find(f"{task.bucket}/nothing/")

    def work(_: Clock) -> Callable[[], Found]:
        found = files.find(f"{task.bucket}/{task.prefix}", detail=True)
        keys = (path.removeprefix(f"{task.bucket}/") for path in found)
        return lambda: Found(listed=len(found), digest=digest_of(keys))

    return work
