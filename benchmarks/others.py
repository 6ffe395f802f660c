"""Other ways to list. Each imports what it needs when it is used, since peers may be missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus, urlencode

from benchmarks.content import Digest
from benchmarks.measuring import Clock, Found, Task, Work
from benchmarks.rows import Row

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["botocore", "client_of", "get_objects", "obstore_list", "paginator", "s3fs_find", "wire"]

# The server takes any; the clients insist on having some.
_ANY: Final = "benchmark"
_REGION: Final = "us-east-1"

_TOKEN: Final = re.compile(b"<NextContinuationToken>([^<]*)<")
_KEY: Final = re.compile(b"<Key>([^<]*)</Key>")


def client_of(endpoint: str, row: Row) -> S3Client:
    """A boto3 client that has sent one request: what boto3 loads for it is not measured."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=_REGION,
        config=Config(max_pool_connections=row.connections),
        aws_access_key_id=_ANY,
        aws_secret_access_key=_ANY,
    )
    client.list_objects_v2(Bucket=row.bucket, Prefix="nothing/")
    return client


def wire(task: Task, clock: Clock) -> Work:
    """The same bytes, read with urllib3 on one connection, in which only the token is found."""
    import urllib3

    pool = urllib3.PoolManager()

    def read(prefix: str, token: str) -> tuple[bytes, str]:
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        if token:
            query["continuation-token"] = token
        body = pool.request("GET", f"{task.endpoint}/{task.row.bucket}?{urlencode(query)}").data
        # It stands before the entries.
        found = _TOKEN.search(body, 0, 1000)
        return body, found[1].decode() if found else ""

    read("nothing/", "")
    clock.ready()
    return _of_bytes(task, read)


def botocore(task: Task, clock: Clock) -> Work:
    """Botocore sends the requests; its parser sees the pages without their entries."""
    client, taken = client_of(task.endpoint, task.row), [b""]

    def take(response_dict: dict[str, Any], **_: Any) -> None:
        head, _, taken[0] = response_dict["body"].partition(b"<Contents>")
        response_dict["body"] = head + b"</ListBucketResult>"

    def read(prefix: str, token: str) -> tuple[bytes, str]:
        more: Any = {"ContinuationToken": token} if token else {}
        page = client.list_objects_v2(Bucket=task.row.bucket, Prefix=prefix, **more)
        return taken[0], page.get("NextContinuationToken", "")

    client.meta.events.register("before-parse.*.ListObjectsV2", take)
    clock.ready()
    return _of_bytes(task, read)


def paginator(task: Task, clock: Clock) -> Work:
    """boto3's paginator; keeps none of its pages."""
    client = client_of(task.endpoint, task.row)
    clock.ready()

    def work(clock: Clock) -> Callable[[], Found]:
        pages = client.get_paginator("list_objects_v2")
        listed = pages.paginate(Bucket=task.row.bucket, Prefix=task.row.prefix)
        return _of_pages(clock, ((each["Key"] for each in page["Contents"]) for page in listed))

    return work


def get_objects(task: Task, clock: Clock) -> Work:
    """What dagster_aws offers a sensor: what was modified since yesterday, say."""
    from dagster_aws.s3.sensor import get_objects as get

    client, row = client_of(task.endpoint, task.row), task.row
    since = datetime.now(timezone.utc) - timedelta(days=1)
    clock.ready()

    def work(_: Clock) -> Callable[[], Found]:
        new = get(row.bucket, row.prefix, since_last_modified=since, client=client)
        keys = [each["Key"] for each in new]
        return lambda: Found(new=len(keys), new_digest=str(Digest(keys)))

    return work


def s3fs_find(task: Task, clock: Clock) -> Work:
    """s3fs: everything below the prefix, with its details."""
    import s3fs

    bucket = task.row.bucket
    files = s3fs.S3FileSystem(
        key=_ANY,
        secret=_ANY,
        client_kwargs={"endpoint_url": task.endpoint, "region_name": _REGION},
        use_listings_cache=False,
    )
    # Where nothing is found, it would ask with HEAD whether the key itself is there.
    files.find(f"{bucket}/{task.row.prefix}0/")
    clock.ready()

    def work(clock: Clock) -> Callable[[], Found]:
        found = files.find(f"{bucket}/{task.row.prefix}", detail=True)
        return _of_pages(clock, [(path.removeprefix(f"{bucket}/") for path in found)])

    return work


def obstore_list(task: Task, clock: Clock) -> Work:
    """obstore, which is written in Rust: chunks of 1,000 dictionaries, of which it keeps none."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        task.row.bucket,
        endpoint=task.endpoint,
        region=_REGION,
        access_key_id=_ANY,
        secret_access_key=_ANY,
        client_options={"allow_http": True},
    )

    list(obstore.list(store, "nothing/"))
    clock.ready()

    def work(clock: Clock) -> Callable[[], Found]:
        chunks = obstore.list(store, task.row.prefix, chunk_size=1000)
        return _of_pages(clock, ((each["path"] for each in chunk) for chunk in chunks))

    return work


def _of_bytes(task: Task, read: Callable[[str, str], tuple[bytes, str]]) -> Work:
    """Reads page after page; `read` takes prefix and token, and gives the bytes and the next."""

    def bodies() -> Iterator[bytes]:
        body, token = read(task.row.prefix, "")
        yield body
        while token:
            body, token = read(task.row.prefix, token)
            yield body

    return lambda clock: _of_pages(clock, map(_keys_of, bodies()))


def _keys_of(body: bytes) -> Iterator[str]:
    # A generator, so that nothing of it is done before the clock is paused.
    for key in _KEY.findall(body):
        yield unquote_plus(key.decode())


def _of_pages(clock: Clock, pages: Iterable[Iterable[str]]) -> Callable[[], Found]:
    """Takes all pages; what it does with their keys does not count."""
    digest = Digest()
    for page in pages:
        with clock.paused():
            digest.add(page)
    return lambda: Found(listed=digest.count, digest=str(digest))
