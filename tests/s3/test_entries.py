from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import pytest
from botocore.handlers import decode_list_object_v2
from botocore.parsers import ResponseParserError, create_parser
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.s3.entries import _TAKEN, _take_entries, entries_taken_out, page_of
from tests.s3.canned import client_answering, entry, page
from tests.s3.making import made
from tests.servers import S3Server

CLIENT = client_answering()
SHAPE = CLIENT.meta.service_model.operation_model("ListObjectsV2").output_shape

TIME = "2026-11-22T12:00:00.000Z"

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
            "</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e",
            "</ListBucketResult>",
            "<![CDATA[x]]>",
            "]]>",
            "folder/",
            " ",
            " led and followed by blanks ",
            "\ufffe\uffff\ufeff",
            "😀" * 256,
            "k" * 1024,
        ]
    ),
)

TIMES = [
    *(
        st.just(TIME),
        st.datetimes().map(lambda each: each.isoformat(timespec="milliseconds") + "Z"),
    ),
    st.datetimes().map(lambda each: each.isoformat(timespec="seconds") + "Z"),
    st.datetimes().map(lambda each: each.isoformat(timespec="microseconds") + "Z"),
    st.sampled_from(
        [TIME, "2026-11-22T12:00:00.5Z", "2026-11-22T12:00:00+02:00", "20261122T120000Z"]
    ),
]

CLASSES = ["STANDARD", "GLACIER", "INTELLIGENT_TIERING", None, ""]

QUOTES = ["&quot;{}&quot;", '"{}"', "&#34;{}&#34;", "{}", '""{}""', '"{}', "&quot;{}"]

OWNERS = [
    "<Owner><ID>1</ID><DisplayName>a&amp;b</DisplayName></Owner>",
    "<Owner><ID>1</ID><DisplayName>b</DisplayName></Owner>",
    "<Owner><ID>1</ID><DisplayName/></Owner>",
    "<Owner><ID>1</ID>\n<DisplayName></DisplayName></Owner>",
    "<Owner></Owner>",
]

CHECKSUMS = [
    "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumType>FULL_OBJECT</ChecksumType>",
    "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumAlgorithm>SHA1</ChecksumAlgorithm>",
]

# What no entry of a known form has; a parser reads it, or complains.
ODDITIES = [
    "<!-- <Contents> -->",
    "<?instruction <Contents>?>",
    "<New>x</New>",
    "<New><Key>y</Key></New>",
    "<Key>again</Key>",
    "<Size>1</Size>",
    "<Contents></Contents>",
    "<CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes>",
    "<![CDATA[x]]>",
    "\r\n",
    "text",
]


@st.composite
def pages(draw: st.DrawFn) -> bytes:
    """A page by some server, which writes its entries in its own way, and sometimes oddly."""

    def choose(usual: Any, *others: Any) -> Any:
        return draw(st.sampled_from([*[usual] * (1 + len(others)), *others]))

    order = ["Key", "LastModified", "ETag", "Checksum", "Size", "Owner", "StorageClass"]
    if draw(st.booleans()):
        order = draw(st.permutations(order))
    encoding, quotes = choose("url", ""), choose(*QUOTES)
    times, owner, between = choose(*TIMES), choose("", *OWNERS), choose("", "\n  ")
    classes = choose(["STANDARD"], CLASSES)
    written = []
    for _ in range(draw(st.integers(1, 6))):
        key = draw(KEYS)
        storage_class = draw(st.sampled_from(classes))
        etag = draw(st.sampled_from(["0cc175b9c0f1b6a831c399e269772661", "e-2"]))
        elements = {
            "Key": quote_plus(key, safe="/") if encoding else escape(_xml_text(key)),
            "LastModified": draw(times),
            "ETag": quotes.format(etag),
            "Size": str(draw(st.integers(0, 2**43))),
        }
        if storage_class is not None:
            elements["StorageClass"] = storage_class
        parts = {name: f"<{name}>{text}</{name}>" for name, text in elements.items()}
        parts["Owner"], parts["Checksum"] = owner, choose("", *CHECKSUMS)
        inside = [parts[name] for name in order if parts.get(name)]
        if draw(st.integers(0, 50)) == 50:
            inside.insert(draw(st.integers(0, len(inside))), draw(st.sampled_from(ODDITIES)))
        written.append("<Contents>" + between.join(inside) + "</Contents>" + between)
    return page(*written, truncated="true", token="t&t", encoding=encoding)


def _xml_text(key: str) -> str:
    """The key without what no XML 1.0 document can hold."""
    kept = (each for each in key if each in "\t\n\r" or (" " <= each < "\ufffe") or each > "\uffff")
    return "".join(kept) or "x"


def parsed_by_botocore(body: bytes) -> Any:
    """What botocore makes of a response with this body; None where it fails."""
    response = {"body": body, "status_code": 200, "headers": {}}
    try:
        parsed = create_parser("rest-xml").parse(response, SHAPE)
        decode_list_object_v2(parsed, {"encoding_type_auto_set": True})
    except (ResponseParserError, ValueError, KeyError, AttributeError):
        return None
    return parsed


def assert_agreement(body: bytes) -> None:
    """What is taken out of the body is what botocore parses, and so is what is left."""
    left: dict[str, Any] = {"body": body, "status_code": 200}
    taken: dict[str, Any] = {}
    with entries_taken_out(CLIENT):
        _take_entries(left, taken)
    if not taken:
        assert left["body"] == body
        return
    expected, rest = parsed_by_botocore(body), parsed_by_botocore(left["body"])
    if expected is None:
        # Then what is left says so as well.
        assert rest is None
        return
    assert made(page_of({**rest, **taken})) == made(page_of(expected))
    expected.pop("Contents")
    assert rest == expected


@given(pages())
def test_both_ways_agree(body: bytes) -> None:
    """Of any page, what is taken out of the body is what botocore parses, and so is the rest."""
    assert_agreement(body)


PIECES = [
    *("<", ">", "/", "&", "&amp;", "&quot;", "&#34;", '"', "]]>", " ", "\n", "\r", "\0", "\x01"),
    *("<Contents>", "</Contents>", "<Contents/>", "<Key>", "</Key>", "<Size>", "</ETag>", "<Foo/>"),
    *(
        "<!--",
        "-->",
        "<![CDATA[",
        "<?x?>",
        "0",
        "9",
        "-",
        "Z",
        "T",
        ".",
        "%41",
        "%",
        "+",
        "%2B",
        "x",
    ),
    *("\u00fc", "\ufffe", "</ListBucketResult>", "<Contents><Key>k</Key></Contents>"),
]


@given(pages(), st.data())
def test_damaged_pages_are_read_as_botocore_would_or_not_at_all(
    body: bytes, data: st.DataObject
) -> None:
    """Whatever is done to a page's bytes, what is taken out is what botocore would parse."""
    for _ in range(data.draw(st.sampled_from([1, 1, 1, 2]))):
        # Anywhere, or where a text or a tag begins.
        edges = [each.start() for each in re.finditer(rb"(?<=>)[^<]|<", body)]
        start = data.draw(st.integers(0, len(body)) | st.sampled_from(edges))
        end = min(len(body), start + data.draw(st.sampled_from([0, 0, 1, 2, 6, 100])))
        piece = data.draw(st.sampled_from(["", *PIECES])).encode()
        body = body[:start] + piece + body[end:]
    assert_agreement(body)


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


def test_threads_may_share_a_client() -> None:
    """Requests sent side by side all leave their entries, however they begin."""
    usual = entry([("Key", "a"), ("LastModified", TIME), ("ETag", "e"), ("Size", "1")])
    client = client_answering(*[page(usual)] * 64)

    def is_fast(_: int) -> bool:
        with entries_taken_out(client):
            return "Contents" not in client.list_objects_v2(Bucket="bucket")

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(is_fast, range(64)))


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
