from __future__ import annotations

import asyncio
import hashlib
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
import urllib3
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.content import PREFIX, SHARE_PREFIX, make_content
from benchmarks.measuring import Clock, Task, Work
from benchmarks.pages import Bucket, Entry
from benchmarks.server import Service, serve
from benchmarks.ways.boto import paginator
from benchmarks.ways.ours import adopt, first, steady
from benchmarks.ways.plain import floor
from benchmarks.ways.sensor import tick
from benchmarks.worker import ask
from tests.servers import S3Server, moto_server

KEYS = [
    "a",
    "a/",
    "a/b",
    "a/b/c",
    "a-b",
    "a0",
    "a%2Fb",
    "b/&<>'\"",
    "b/\r\t\x01",  # moto's routes do not take a newline
    "b/c+d e",
    "b//c",
    "dt=2026/1",
    "dt=2026/2",
    "é/ü",
    "é/漢",
    "\ue000/x",
    "😀/x",
    "😀/y",
]

# moto cannot echo control characters.
TEXTS = st.one_of(
    st.sampled_from([key for key in KEYS if "\x01" not in key]), st.text("ab/é😀", max_size=3)
)


@contextmanager
def served(**services: Service) -> Iterator[dict[str, str]]:
    """Listens in a thread of this process."""
    loop = asyncio.new_event_loop()
    endpoints, stack = loop.run_until_complete(serve(services))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield endpoints
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        stack.close()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


@pytest.fixture(scope="module")
def clients() -> Iterator[tuple[Any, Any]]:
    """A client of moto and one of ours, whose buckets hold the same."""
    entries = [
        Entry(key, "2026-01-31T23:59:59", hashlib.md5(key.encode()).hexdigest(), len(key.encode()))  # noqa: S324
        for key in KEYS
    ]
    with moto_server() as moto, served(one=Service({"bucket": Bucket.of(entries)})) as endpoints:
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
    moto, ours = clients
    assert walk(ours, query) == walk(moto, query)


@pytest.mark.parametrize("key", [key for key in KEYS if "\x01" not in key])
def test_plain_encoding_is_escaped(clients: tuple[Any, Any], key: str) -> None:
    """Without EncodingType, keys come as XML text, and mean the same."""
    endpoint = clients[1].meta.endpoint_url
    query = urlencode({"list-type": "2", "prefix": key, "max-keys": "1"})
    body = urllib3.request("GET", f"{endpoint}/bucket?{query}").data
    page = ElementTree.fromstring(body)  # noqa: S314 - from our own server
    space = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    assert page.findtext(f"{space}Contents/{space}Key") == key
    assert page.findtext(f"{space}Prefix") == key
    assert page.find(f"{space}EncodingType") is None


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


def test_only_listings_have_the_latency() -> None:
    """What the benchmark asks for itself is answered at once."""
    service = Service({"bucket": Bucket.of([])}, latency=0.25)
    assert service.answer("GET", "/bucket?list-type=2")[0] == 0.25
    assert service.answer("GET", "/-/statistics")[0] == 0.0


@pytest.fixture(scope="module")
def content_endpoints() -> Iterator[dict[str, str]]:
    """2,500 old objects and 40 new ones, before and after these came."""
    content = make_content(2500, 40, now=datetime.now(timezone.utc))
    before = Service({"bucket": content.before})
    after = Service({"bucket": content.after}, contents={"bucket": content})
    with served(before=before, after=after) as endpoints:
        yield endpoints


def task(endpoint: str, *, prefix: str = PREFIX, cursor: str = "") -> Task:
    since = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
    return Task(
        way="", endpoint=endpoint, bucket="bucket", prefix=prefix, since=since, cursor=cursor
    )


@pytest.mark.parametrize("prefix", [PREFIX, SHARE_PREFIX])
@pytest.mark.parametrize("way", [floor, paginator, first])
def test_ways_find_what_the_server_expects(
    content_endpoints: dict[str, str], way: Callable[[Task], Work], prefix: str
) -> None:
    """What the server says is there is what is found, in as many requests as there are pages."""
    endpoint = content_endpoints["after"]
    expected = ask(endpoint, f"expected?bucket=bucket&prefix={prefix}")
    work = way(task(endpoint, prefix=prefix))
    before = ask(endpoint, "statistics")["requests"]
    found = work(Clock())()
    assert (found.listed, found.digest) == (expected["listed"], expected["digest"])
    pages = math.ceil(expected["listed"] / 1000)
    assert ask(endpoint, "statistics")["requests"] - before == pages
    assert found.fast_pages in (None, pages)


@pytest.mark.parametrize("way", [steady, tick])
def test_steady_state_finds_what_is_new(
    content_endpoints: dict[str, str], way: Callable[[Task], Work]
) -> None:
    """After a scan of the old objects, the next finds the new ones and no others."""
    cursor = adopt(task(content_endpoints["before"]))(Clock())().cursor
    found = way(task(content_endpoints["after"], cursor=cursor))(Clock())()
    expected = ask(content_endpoints["after"], f"expected?bucket=bucket&prefix={PREFIX}")
    assert expected["new"] == 40
    assert (found.new, found.new_digest) == (expected["new"], expected["new_digest"])
    assert found.fast_pages == 3
