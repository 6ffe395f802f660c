from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlencode

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import others, ours
from benchmarks.content import Content
from benchmarks.measuring import Clock
from benchmarks.pages import Entry, write_bucket
from benchmarks.rows import PAGINATOR, WIRE, Row
from benchmarks.run import check
from benchmarks.server import FAR, Service, listen, services_of
from benchmarks.worker import ask
from tests.benchmarks.making import measurement
from tests.servers import S3Server, moto_server

KEYS = ["a", "a/", "a/b", "a/b/c", "a-b", "a0", "b//c", "b/+ %2F", "dt=2026/1", "é/ü", "😀/x"]
TEXTS = st.one_of(st.sampled_from(KEYS), st.text("ab/é😀", max_size=3))


@contextmanager
def served(services: dict[str, Service]) -> Iterator[dict[str, str]]:
    """Listens in a thread of this process."""
    loop = asyncio.new_event_loop()
    listening = {name: loop.run_until_complete(listen(each)) for name, each in services.items()}
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield {name: endpoint for name, (endpoint, _) in listening.items()}
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for _, server in listening.values():
            server.close()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.close()


@pytest.fixture(scope="module")
def clients() -> Iterator[tuple[Any, Any]]:
    """A client of moto and one of ours, whose buckets hold the same."""
    entries = [
        Entry(key, "2026-01-31T23:59:59", hashlib.md5(key.encode()).hexdigest(), len(key.encode()))  # noqa: S324
        for key in KEYS
    ]
    made = Mock(Content, **{"at.return_value": write_bucket(entries)})
    with (
        moto_server() as moto,
        served({"one": Service({"bucket": made}, "nothing")}) as endpoints,
    ):
        client = moto.client()
        client.create_bucket(Bucket="bucket")
        for key in KEYS:
            client.put_object(Bucket="bucket", Key=key, Body=key.encode())
        yield client, S3Server("ours", endpoints["one"]).client()


def walk(client: Any, query: dict[str, Any]) -> list[Any]:
    """All pages of a query, each reduced to what two servers have in common."""
    pages: list[Any] = []
    more: dict[str, Any] = {}
    while True:
        page = client.list_objects_v2(Bucket="bucket", **query, **more)
        entries = [
            (e["Key"], e["ETag"], e["Size"], e["StorageClass"]) for e in page.get("Contents", ())
        ]
        folders = [each["Prefix"] for each in page.get("CommonPrefixes", ())]
        pages.append((entries, folders, page["KeyCount"], page["IsTruncated"]))
        if not page["IsTruncated"]:
            return pages
        more = {"ContinuationToken": page["NextContinuationToken"]}


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "Prefix": TEXTS,
            "Delimiter": st.sampled_from(["/", "b", "/b"]),
            "StartAfter": TEXTS,
            "MaxKeys": st.integers(1, 5),
        },
    )
)
def test_it_answers_as_moto_does(clients: tuple[Any, Any], query: dict[str, Any]) -> None:
    """Prefix, delimiter, StartAfter, MaxKeys and tokens mean what they mean on another server."""
    moto, mine = clients
    assert walk(mine, query) == walk(moto, query)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"Bucket": "other"}, "NoSuchBucket"),
        ({"Bucket": "bucket", "ContinuationToken": "no token"}, "InvalidArgument"),
        ({"Bucket": "bucket", "FetchOwner": True}, "NotImplemented"),
    ],
)
def test_what_it_cannot_answer_is_an_error(
    clients: tuple[Any, Any], query: dict[str, Any], code: str
) -> None:
    """A question that it does not know is refused, and never answered as another."""
    with pytest.raises(ClientError, match=code):
        clients[1].list_objects_v2(**query)


def test_pages_of_the_parser_are_refused(clients: tuple[Any, Any]) -> None:
    """A tick whose pages went through botocore's parser ends the benchmark."""
    client = clients[1]
    client.meta.events.register("after-call.s3.ListObjectsV2", ours.refuse_parsed)
    try:
        with pytest.raises(AssertionError, match="fast reader"):
            client.list_objects_v2(Bucket="bucket")
    finally:
        client.meta.events.unregister("after-call.s3.ListObjectsV2", ours.refuse_parsed)


def test_only_listings_have_the_latency() -> None:
    """What the benchmark asks for itself is answered at once."""
    service = Service({"bucket": Content(10, datetime.now(timezone.utc))}, "nothing", latency=0.25)
    assert service.answer("/bucket?list-type=2")[0] == 0.25
    assert service.answer("/-/requests")[0] == 0.0


@pytest.fixture(scope="module")
def endpoints() -> Iterator[dict[str, str]]:
    """4,000 objects at all moments."""
    content = Content(4000, datetime.now(timezone.utc))
    with served(services_of({"million": content}, 0.001)) as found:
        yield found


@pytest.mark.parametrize(
    "row",
    [
        WIRE,
        PAGINATOR,
        replace(WIRE, title="botocore", way="botocore"),
        replace(PAGINATOR, way="get_objects", at="tenth"),
        Row(title="steady", before="index", at="everywhere"),
        Row(title="globs", before="index", at="everywhere", sensor="globs"),
        Row(title="sizes", before="index", at="everywhere", sensor="sizes and classes"),
        Row(title="filters", before="index", at="everywhere", sensor="all filters"),
        Row(title="first, globs", oldest=2000, sensor="globs"),
        Row(title="held", before="index", at="everywhere", sensor="in flight", in_flight=10),
        Row(title="parts", before="index", at="everywhere", sensor="in parts"),
        Row(title="restart", before="cursor"),
        Row(title="first", oldest=2000),
        Row(title="all", oldest=4000, sensor="all at once"),
        Row(title="far", before="index", at=FAR, at_before=FAR),
    ],
    ids=lambda row: row.title,
)
def test_ways_find_what_is_there(endpoints: dict[str, str], row: Row) -> None:
    """Each way finds what the server knows to be there, in as many requests as there are pages."""
    endpoint = endpoints[row.at]
    work = (ours if row.module == "ours" else others).prepare(row, endpoints, Clock())
    place = {"bucket": row.bucket, "prefix": row.prefix, "sensor": row.sensor}
    expected = ask(endpoint, f"expected?{urlencode({**place, 'oldest': row.oldest})}")
    for _ in range(2):
        before = ask(endpoint, "requests")
        found = work(Clock())()
        check(row, measurement(found=found, requests=ask(endpoint, "requests") - before), expected)
