from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.s3.entries import _TAKEN, entries_taken_out, page_of
from tests.s3.canned import client_answering, entry, page
from tests.s3.making import made
from tests.servers import S3Server

TIME = "2026-11-22T12:00:00.000Z"
USUAL = ["Key", "LastModified", "ETag", "Size", "StorageClass"]

KEYS = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    st.sampled_from(
        [
            "a&b<c>d\"e'f",
            "line\nline\ttab",
            "carriage\rreturn",
            "\x01\x02\x7f",
            "100%25 %0A +plus+ &amp;",
            "<Contents><Key>x</Key></Contents>",
            "</ListBucketResult>",
            "<![CDATA[x]]>",
            "😀" * 256,
            "k" * 1024,
        ]
    ),
)

TIMES = st.datetimes().map(lambda moment: moment.isoformat(timespec="milliseconds") + "Z")

CLASSES = st.sampled_from([None, "STANDARD", "GLACIER", "INTELLIGENT_TIERING"])

OWNERS = [
    "<Owner><ID>1</ID><DisplayName>a&amp;b</DisplayName></Owner>",
    "<Owner><ID>1</ID><DisplayName/></Owner>",
    "<Owner></Owner>",
]


@st.composite
def entries(draw: st.DrawFn) -> str:
    """An entry with any key, in any order of its elements, with any that may be there."""
    key = draw(KEYS)
    elements = {
        "Key": quote_plus(key, safe="/") if draw(st.booleans()) else escape(_xml_text(key)),
        "LastModified": draw(TIMES),
        "ETag": draw(st.sampled_from(["&quot;{}&quot;", '"{}"', "&#34;{}&#34;", "{}"])).format(
            "e-2"
        ),
        "Size": str(draw(st.integers(0, 2**43))),
    }
    if (storage_class := draw(CLASSES)) is not None:
        elements["StorageClass"] = storage_class
    if draw(st.booleans()):
        elements["ChecksumAlgorithm"] = "CRC64NVME"
        elements["ChecksumType"] = "FULL_OBJECT"
    written = [f"<{name}>{text}</{name}>" for name, text in elements.items()]
    if draw(st.integers(0, 3)) == 0:
        written.insert(draw(st.integers(0, len(written))), draw(st.sampled_from(OWNERS)))
    if draw(st.integers(0, 3)) == 0:
        written = draw(st.permutations(written))
    return "<Contents>" + draw(st.sampled_from(["", "\n  "])).join(written) + "</Contents>"


def _xml_text(key: str) -> str:
    """The key without what no XML 1.0 document can hold."""
    kept = (each for each in key if each in "\t\n\r" or (" " <= each < "\ufffe") or each > "\uffff")
    return "".join(kept) or "x"


def read(client: Any, *, fast: bool) -> tuple[list[S3Object], dict[str, Any]]:
    """The objects of one request, and the rest of the response."""
    if fast:
        with entries_taken_out(client):
            response = client.list_objects_v2(Bucket="bucket")
    else:
        response = client.list_objects_v2(Bucket="bucket")
    objects = made(page_of(response))
    rest = {name: value for name, value in response.items() if name not in ("Contents", _TAKEN)}
    return objects, rest


@given(st.lists(entries(), max_size=5), st.sampled_from(["url", ""]))
def test_both_ways_agree(written: list[str], encoding: str) -> None:
    """For any page, what is taken out of the body is what botocore parses, and so is the rest."""
    body = page(*written, truncated="true", token="t&t", encoding=encoding)
    assert read(client_answering(body), fast=True) == read(client_answering(body), fast=False)


def test_usual_pages_are_taken_out() -> None:
    """A page as S3 writes it goes the fast way, entry for entry."""
    values = [("Key", "a%2Bb+c/%C3%BC"), ("LastModified", TIME), ("ETag", "&quot;e&quot;")]
    plain = entry([*values, ("Size", "7"), ("StorageClass", "STANDARD")])
    summed = entry([*values, ("ChecksumAlgorithm", "CRC32"), ("ChecksumType", "x"), ("Size", "7")])
    client = client_answering(page(plain, summed))
    with entries_taken_out(client):
        response = client.list_objects_v2(Bucket="bucket")
    assert len(response[_TAKEN].sizes) == 2
    assert "Contents" not in response
    assert {each.key for each in made(page_of(response))} == {"a+b c/ü"}


@pytest.mark.parametrize(
    "body",
    [
        page(entry([("Key", "a&amp;b"), ("LastModified", TIME), ("ETag", "e"), ("Size", "1")])),
        page(entry([("LastModified", TIME), ("Key", "a"), ("ETag", "e"), ("Size", "1")])),
        page(
            entry(
                [("Key", "a"), ("LastModified", TIME), ("ETag", "e"), ("Size", "1"), ("New", "x")]
            )
        ),
        page("<!-- a comment -->"),
        page(),
    ],
)
def test_unusual_pages_are_left_to_botocore(body: bytes) -> None:
    """A page that is not known to the letter is parsed as ever."""
    client = client_answering(body)
    with entries_taken_out(client):
        assert _TAKEN not in client.list_objects_v2(Bucket="bucket")


def test_other_users_of_the_client_notice_nothing() -> None:
    """Outside the block, and in other threads, the client's responses have their Contents."""
    usual = entry([("Key", "a"), ("LastModified", TIME), ("ETag", "e"), ("Size", "1")])
    client = client_answering(*[page(usual)] * 2)
    with entries_taken_out(client):
        assert "Contents" not in client.list_objects_v2(Bucket="bucket")
    assert len(client.list_objects_v2(Bucket="bucket")["Contents"]) == 1


def test_client_without_the_event_works() -> None:
    """Where botocore does not emit the event, the objects come from the parsed response."""
    client = S3Server("none", "http://127.0.0.1:9").client()
    with Stubber(client) as stub:
        contents = [{"Key": "a", "Size": 1, "ETag": '"e"'}]
        stub.add_response("list_objects_v2", {"Contents": contents})
        with entries_taken_out(client):
            response = client.list_objects_v2(Bucket="bucket")
    assert _TAKEN not in response


def test_servers_go_the_fast_way(
    s3_server: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """The pages of real servers are taken out of the body, and agree with botocore's."""
    bucket, client = new_bucket(s3_server), s3_server.client()
    for key in ("plain", "sp ace+plus", "ü&<>"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    with entries_taken_out(client):
        response = client.list_objects_v2(Bucket=bucket)
    assert len(response[_TAKEN].sizes) == 3
    assert made(page_of(response)) == made(page_of(client.list_objects_v2(Bucket=bucket)))
