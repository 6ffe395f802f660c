"""boto3 alone: the paginator, whose pages are thrown away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from benchmarks.digest import Digest
from benchmarks.measuring import Clock, Found, Task, Work
from benchmarks.ways import ACCESS_KEY, REGION, SECRET_KEY

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["boto_client", "paginator"]

# boto3 reads its data files for the first client: before the workers fork, so that each fork need
# not. It opens no connection.
boto3.client("s3", region_name=REGION)


def boto_client(task: Task) -> S3Client:
    """A client that has sent one request: what boto3 loads for the first one is not measured."""
    client = boto3.client(
        "s3",
        endpoint_url=task.endpoint,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=Config(max_pool_connections=max(10, task.lanes)),
    )
    client.list_objects_v2(Bucket=task.bucket, Prefix="nothing/")
    return client


def paginator(task: Task) -> Work:
    """Reads all pages and keeps none."""
    client = boto_client(task)

    def work(clock: Clock) -> Callable[[], Found]:
        digest = Digest()
        pages = client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=task.bucket, Prefix=task.prefix):
            with clock.paused():
                digest.add(each["Key"] for each in page["Contents"])
        return lambda: Found(listed=digest.count, digest=str(digest))

    return work
