"""Other ways to list. Each prepares what is not measured, and returns what lists pages of keys.

They import what they need when they are used, since peers may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus, urlencode

from benchmarks.content import Digest
from benchmarks.measuring import Clock, Endpoints, Found, Work
from benchmarks.rows import Row

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["client_of", "prepare"]

Pages = Callable[[], Iterable[Iterable[str]]]

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


def prepare(row: Row, endpoints: Endpoints, clock: Clock) -> Work:
    """Prepares the way of a row. What the benchmark does with the keys does not count."""
    way: Callable[[Row, str], Pages] = globals()[f"_{row.way}"]
    pages = way(row, endpoints[row.at])
    clock.ready()

    def work(clock: Clock) -> Callable[[], Found]:
        digest = Digest()
        for page in pages():
            with clock.paused():
                digest.add(page)
        return lambda: Found(listed=digest.count, digest=str(digest))

    return work


def _wire(row: Row, endpoint: str) -> Pages:
    """The same bytes, read with urllib3 on one connection, in which only the token is found."""
    import urllib3

    pool = urllib3.PoolManager()

    def read(prefix: str, token: str) -> tuple[bytes, str]:
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        if token:
            query["continuation-token"] = token
        body = pool.request("GET", f"{endpoint}/{row.bucket}?{urlencode(query)}").data
        # It stands before the entries.
        found = _TOKEN.search(body, 0, 1000)
        return body, found[1].decode() if found else ""

    read("nothing/", "")
    return lambda: map(_keys_of, _bodies(row, read))


def _botocore(row: Row, endpoint: str) -> Pages:
    """Botocore sends the requests; its parser sees the pages without their entries."""
    client, taken = client_of(endpoint, row), [b""]

    def take(response_dict: dict[str, Any], **_: Any) -> None:
        head, _, taken[0] = response_dict["body"].partition(b"<Contents>")
        response_dict["body"] = head + b"</ListBucketResult>"

    def read(prefix: str, token: str) -> tuple[bytes, str]:
        more: Any = {"ContinuationToken": token} if token else {}
        page = client.list_objects_v2(Bucket=row.bucket, Prefix=prefix, **more)
        return taken[0], page.get("NextContinuationToken", "")

    client.meta.events.register("before-parse.*.ListObjectsV2", take)
    return lambda: map(_keys_of, _bodies(row, read))


def _paginator(row: Row, endpoint: str) -> Pages:
    """boto3's paginator, of whose pages none is kept."""
    pages = client_of(endpoint, row).get_paginator("list_objects_v2")
    return lambda: (
        (each["Key"] for each in page["Contents"])
        for page in pages.paginate(Bucket=row.bucket, Prefix=row.prefix)
    )


def _get_objects(row: Row, endpoint: str) -> Pages:
    """What dagster_aws offers a sensor: all that was modified since a moment, in a list."""
    from dagster_aws.s3.sensor import get_objects

    client, since = client_of(endpoint, row), datetime(2000, 1, 1, tzinfo=timezone.utc)
    return lambda: [
        (each["Key"] for each in found)
        for found in [get_objects(row.bucket, row.prefix, since_last_modified=since, client=client)]
    ]


def _s3fs(row: Row, endpoint: str) -> Pages:
    """Everything below the prefix, with its details."""
    import s3fs

    files = s3fs.S3FileSystem(
        key=_ANY,
        secret=_ANY,
        client_kwargs={"endpoint_url": endpoint, "region_name": _REGION},
        use_listings_cache=False,
    )
    # Where nothing is found, it would ask with HEAD whether the key itself is there.
    files.find(f"{row.bucket}/{row.prefix}0/")
    return lambda: [
        (path.removeprefix(f"{row.bucket}/") for path in found)
        for found in [files.find(f"{row.bucket}/{row.prefix}", detail=True)]
    ]


def _obstore(row: Row, endpoint: str) -> Pages:
    """It is written in Rust: chunks of 1,000 dictionaries, of which none is kept."""
    import obstore
    from obstore.store import S3Store

    store = S3Store(
        row.bucket,
        endpoint=endpoint,
        region=_REGION,
        access_key_id=_ANY,
        secret_access_key=_ANY,
        client_options={"allow_http": True},
    )
    list(obstore.list(store, "nothing/"))
    return lambda: (
        (each["path"] for each in chunk)
        for chunk in obstore.list(store, row.prefix, chunk_size=1000)
    )


def _bodies(row: Row, read: Callable[[str, str], tuple[bytes, str]]) -> Iterator[bytes]:
    """Reads page after page; `read` takes prefix and token, and gives the bytes and the next."""
    body, token = read(row.prefix, "")
    yield body
    while token:
        body, token = read(row.prefix, token)
        yield body


def _keys_of(body: bytes) -> Iterator[str]:
    # A generator, so that nothing of it is done before the clock is paused.
    for key in _KEY.findall(body):
        yield unquote_plus(key.decode())
