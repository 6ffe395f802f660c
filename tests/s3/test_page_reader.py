from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from itertools import pairwise
from typing import Any
from urllib.parse import quote_plus
from xml.sax.saxutils import escape

import pytest
from botocore.handlers import decode_list_object_v2
from botocore.parsers import ResponseParserError, create_parser
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import Page
from dagster_s3inc.errors import ListingError
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.page_reader import (
    BytesPage,
    _take_entries,
    entries_taken_out,
    page_of,
)
from tests.s3.canned import client_answering, entry, page
from tests.servers import S3Server

PLACE = S3Location("bucket")
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
    except (ResponseParserError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return parsed


def read(response: Any) -> list[S3Object]:
    """All objects of a response."""
    return page_of(response, PLACE).parsed().objects()


def assert_agreement(body: bytes) -> None:
    """What is taken out of the body is what botocore parses, or is refused; so is what is left."""
    left: dict[str, Any] = {"body": body, "status_code": 200}
    taken: dict[str, Any] = {}
    with entries_taken_out(CLIENT):
        _take_entries(left, taken)
    if not taken:
        assert left["body"] == body
        return
    expected, rest = parsed_by_botocore(body), parsed_by_botocore(left["body"])
    try:
        found = read({**(rest or {}), **taken})
    except ListingError:
        return
    # What is left must say that something is wrong, if botocore says so of the whole.
    if expected is None:
        assert rest is None
        return
    assert found == read(expected)
    expected.pop("Contents")
    assert rest == expected


def is_usual(body: bytes) -> bool:
    """Whether botocore, too, reads the page, and as what S3 would write."""
    expected = parsed_by_botocore(body)
    try:
        return expected is not None and bool(read(expected))
    except ListingError:
        return False


@given(pages())
def test_both_ways_agree(body: bytes) -> None:
    """Of any page, what is taken out of the body is what botocore parses, and so is the rest."""
    assert_agreement(body)


@given(pages())
def test_what_botocore_reads_is_read(body: bytes) -> None:
    """No page that is right is refused."""
    client = client_answering(body)
    with entries_taken_out(client):
        if is_usual(body):
            assert read(client.list_objects_v2(Bucket="bucket"))


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
    assert_agreement(damaged(body, data))


def damaged(body: bytes, data: st.DataObject) -> bytes:
    """The page with something else in one place or two."""
    for _ in range(data.draw(st.sampled_from([1, 1, 1, 2]))):
        # Anywhere, or where a text or a tag begins.
        edges = [each.start() for each in re.finditer(rb"(?<=>)[^<]|<", body)]
        start = data.draw(st.integers(0, len(body)) | st.sampled_from(edges))
        end = min(len(body), start + data.draw(st.sampled_from([0, 0, 1, 2, 6, 100])))
        piece = data.draw(st.sampled_from(["", *PIECES])).encode()
        body = body[:start] + piece + body[end:]
    return body


def page_from(*entries: str, place: S3Location = PLACE, encoding: str = "url") -> Page:
    """The page of a response with these entries."""
    client = client_answering(page(*entries, encoding=encoding))
    with entries_taken_out(client):
        return page_of(client.list_objects_v2(Bucket="bucket"), place)


def named(key: str, **others: str) -> str:
    """An entry with this key, as it is written."""
    texts = {"LastModified": TIME, "ETag": "&quot;e&quot;", "Size": "7", **others}
    return entry([("Key", key), *texts.items()])


@given(pages(), st.data())
def test_parts_make_the_page(body: bytes, data: st.DataObject) -> None:
    """Where every part of a page is certain to be read, a parser reads the page as its parts."""
    body = damaged(body, data)
    left: dict[str, Any] = {"body": body, "status_code": 200}
    taken: dict[str, Any] = {}
    with entries_taken_out(CLIENT):
        _take_entries(left, taken)
    rest = parsed_by_botocore(left["body"])
    if not taken or rest is None:
        return
    with contextlib.suppress(ListingError):
        some = page_of({**rest, **taken}, PLACE)
        if isinstance(some, BytesPage):
            starts = [each.start() for each in re.finditer(b"<Contents>", some.entries)]
            edges = [*sorted(data.draw(st.sets(st.sampled_from(starts))) | {0}), None]
            parts = [some.columns(start, end) for start, end in pairwise(edges)]
            objects = [one for part in parts if part is not None for one in part.objects()]
            assert None in parts or objects == read(parsed_by_botocore(body))


def test_usual_pages_are_taken_out() -> None:
    """A page as S3 writes it goes the fast way, entry for entry."""
    client = client_answering(page(named("a%2Bb+c/%C3%BC"), named("b", StorageClass="STANDARD")))
    with entries_taken_out(client):
        response = client.list_objects_v2(Bucket="bucket")
    assert "Contents" not in response
    some = page_of(response, PLACE)
    assert isinstance(some, BytesPage)
    assert (len(some), some.first_key, some.last_key) == (2, "a+b c/ü".encode(), b"b")
    columns = some.columns()
    assert columns is not None
    assert [each.key for each in columns.objects()] == ["a+b c/ü", "b"]


@pytest.mark.parametrize(
    "odd",
    [
        named("a&amp;b"),
        named("a", New="x"),
        named("a") + "<!-- a comment -->",
        named("a", LastModified="20261122T120000Z"),
        named("<![CDATA[a]]>"),
        named("a", Size="<!-- seven -->7"),
        named("a", RestoreStatus="<IsRestoreInProgress>false</IsRestoreInProgress>"),
    ],
)
def test_unusual_pages_are_read_by_a_parser(odd: str) -> None:
    """A page that is not known to the letter, wherever, comes as the same columns."""
    for entries in ([odd], [odd, named("b")], [named("A"), odd, named("b")], [named("A"), odd]):
        some = page_from(*entries, encoding="")
        expected = parsed_by_botocore(page(*entries, encoding=""))
        assert some.parsed().objects() == read(expected)
        if isinstance(some, BytesPage):
            assert some.columns() is None
            assert some.parsed() is some.parsed()


KEY_LISTS = st.lists(KEYS, min_size=1, max_size=8, unique=True)


@given(KEY_LISTS, st.booleans(), st.sampled_from(["", "/", "/*", "/~!'()"]), KEYS)
def test_keys_are_found_where_they_are(
    keys: list[str], url_encoded: bool, safe: str, other: str
) -> None:
    """A key is found at its entry and nowhere else, or is not found; parts are what they are."""
    if not url_encoded:
        keys = sorted({_xml_text(key).replace("\r", "") or "x" for key in keys})
    written = [named(quote_plus(key, safe=safe) if url_encoded else escape(key)) for key in keys]
    some = page_from(*written, encoding="url" if url_encoded else "")
    assert some.parsed().key_bytes() == [key.encode() for key in keys]
    if not isinstance(some, BytesPage):
        return
    places = [some.find(key.encode()) for key in keys]
    expected = [len("".join(written[:row]).encode()) for row in range(len(keys))]
    assert all(place in (None, right) for place, right in zip(places, expected, strict=True))
    if safe == "/" and url_encoded:
        assert places == expected
    assert other in keys or some.find(other.encode()) is None
    for row, (start, end) in enumerate(zip(expected, [*expected[1:], None], strict=True)):
        part = some.columns(start, end)
        assert part is None or part.key_bytes() == [keys[row].encode()]
        if row:
            assert some.before(start).parsed().key_bytes() == [key.encode() for key in keys[:row]]


def test_what_looks_like_an_entry_is_not_found() -> None:
    """A key is found only where an entry begins."""
    text = "<Contents><Key>x</Key></Contents>"
    odd = named("a", StorageClass=f"<![CDATA[{text}]]>")
    some = page_from(named("A"), odd, named("y"), encoding="")
    assert isinstance(some, BytesPage)
    # It may be taken for one as long as nobody has read the page. Then the part before it is not.
    place = some.find(b"x")
    assert place is None or some.columns(0, place) is None
    late = page_from(named("a"), named("b", Owner="<ID><Key>x</Key></ID>"), named("y"), encoding="")
    assert isinstance(late, BytesPage)
    assert late.find(b"x") is None


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (named("k1", LastModified="nonsense"), "the LastModified of k1 is not valid: nonsense"),
        (named("k1", LastModified="2026-02-30T12:00:00.000Z"), "the LastModified of k1 is not val"),
        (named("k1", LastModified="9" * 30), "the LastModified of k1 is not valid: 999"),
        (named("k1", LastModified="0001-01-01T00:00:00+14:00"), "the LastModified of k1 is not v"),
        (named("k1", Size="many"), "the Size of k1 is not valid: many"),
        (named("k1", Size="-1"), "the Size of k1 is not valid: -1"),
        (named("k1", Size="9" * 40), "the Size of k1 is not valid: 999"),
        (named("k1").replace("<Size>7</Size>", ""), "the Size of k1 is missing"),
        (named("k1").replace("<Size>", "<Size>1</Size><Size>"), "the Size of k1 is missing, or th"),
        (named("k1").replace("<ETag>", "<ETag>1</ETag><ETag>"), "the ETag of k1 is missing, or th"),
        (named(""), "an entry has no key"),
        (named("k1").replace("<Key>", "<Key>1</Key><Key>"), "an entry has no key, or several"),
        (
            named("k" * 1025),
            r"a key of 1,025 bytes, and S3 allows 1,024. It begins with kkk+\.\.\.",
        ),
        (named("k" + "%C3%BC" * 512), "a key of 1,025 bytes"),
        (named("other"), "the server listed another key, other"),
        (named("%0Aother"), r"the server listed another key, '\\nother'"),
        (named("k1").replace("<Size>", "<<Size>"), "not valid XML"),
        (named("k1") + "<IsTruncated>true</IsTruncated>", "an element among the entries"),
    ],
)
def test_wrong_values_are_the_servers_fault(bad: str, says: str) -> None:
    """A page with a value that is not valid is an error that names the key, wherever it is."""
    for entries in ([bad], [named("k0"), bad, named("k2")], [bad, named("k2")]):
        if says.startswith("an element") and len(entries) == 1:
            continue
        with pytest.raises(ListingError, match=says) as caught:
            page_from(*entries, place=S3Location("bucket", "k")).parsed()
        assert "Could not list s3://bucket/k: " in str(caught.value)
        assert "a fault of the server" in str(caught.value)
        assert len(str(caught.value)) < 500


def test_keys_of_the_greatest_length_are_listed() -> None:
    """1,024 bytes are a key, however long they are when they are encoded."""
    for key in ("k" * 1024, "%C3%BC" * 512):
        assert len(page_from(named(key), named(key + "", Size="8")).parsed()) == 2


def test_prefixes_may_be_encoded_in_any_way() -> None:
    """Whether a key begins with the prefix is asked of the key, not of how it is written."""
    place = S3Location("bucket", "ü/a b")
    ways = ["%C3%BC/a+b1", "%c3%bc/a%20b2", "%C3%BC%2Fa+b3"]
    assert len(page_from(*map(named, ways), place=place).parsed()) == 3
    assert len(page_from(*map(named, [ways[0]] * 3), place=place).parsed()) == 3


def test_a_page_without_entries_is_empty() -> None:
    """Nothing is listed, and there is no first key and no last."""
    some = page_from()
    assert (len(some), some.first_key, some.last_key) == (0, None, None)
    assert len(some.parsed()) == 0


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
    moment = datetime(2026, 11, 22, tzinfo=timezone.utc)
    with Stubber(client) as stub:
        contents = [{"Key": "a", "Size": 1, "ETag": '"e"', "LastModified": moment}]
        stub.add_response("list_objects_v2", {"Contents": contents})
        with entries_taken_out(client):
            response = client.list_objects_v2(Bucket="bucket")
    assert read(response) == [S3Object(moment, "a", "e", 1)]


def test_servers_go_the_fast_way(
    s3_server: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """The pages of real servers are taken out of the body, and agree with botocore's."""
    bucket, client = new_bucket(s3_server), s3_server.client()
    place = S3Location(bucket)
    for key in ("plain", "sp ace+plus", "ü&<>"):
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    with entries_taken_out(client):
        some = page_of(client.list_objects_v2(Bucket=bucket), place)
    assert isinstance(some, BytesPage)
    columns = some.columns()
    assert isinstance(columns, Columns)
    assert columns.objects() == read(client.list_objects_v2(Bucket=bucket))
    assert None not in map(some.find, columns.key_bytes())
