from __future__ import annotations

import numpy as np
import pytest

from dagster_s3inc.s3.table_reader import read_table
from tests.s3.canned import entry

TIME = "2026-11-22T12:00:00.000Z"


def usual(key: str = "a", **others: str) -> str:
    """An entry as Amazon's S3 writes it."""
    texts = {"LastModified": TIME, "ETag": "&quot;e&quot;", "Size": "7", "StorageClass": "STANDARD"}
    return entry([("Key", key), *{**texts, **others}.items()])


def summed(key: str) -> str:
    """The same with a checksum."""
    return usual(key).replace("<Size>", "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><Size>")


def test_a_table_tells_what_the_entries_hold() -> None:
    """Texts, times and sizes come entry for entry, whatever forms take turns in the page."""
    entries = [usual("a", Size="0"), summed("bb"), usual("c", Size="999999999999999999")]
    table = read_table("".join(entries).encode())
    assert table is not None
    assert table.texts(table.key) == [b"a", b"bb", b"c"]
    assert table.texts(table.etag) == [b"e"] * 3
    assert table.texts(table.modified) == [TIME.encode()] * 3
    assert table.texts(table.storage_class) == [b"STANDARD"] * 3
    assert table.sizes.tolist() == [0, 7, 10**18 - 1]
    assert table.seconds.tolist() == [20261122120000] * 3
    assert table.storage_classes == {b"STANDARD"}
    part = table.only(np.array([2, 0]))
    assert part.texts(part.key) == [b"c", b"a"]
    assert part.sizes.tolist() == [10**18 - 1, 0]


@pytest.mark.parametrize(
    ("etag", "text"), [("&quot;e&quot;", b"e"), ('"e"', b"e"), ("e", b"e"), ("&#34;&#34;", b"")]
)
def test_quotes_are_no_part_of_an_etag(etag: str, text: bytes) -> None:
    """ETags are told without their quotes, in whichever form these are."""
    table = read_table((usual(ETag=etag) + usual("b", ETag=etag)).encode())
    assert table is not None
    assert table.texts(table.etag) == [text] * 2
    assert table.is_amazon == (etag == "&quot;e&quot;")


def test_only_what_amazon_writes_can_be_hashed_where_it_lies() -> None:
    """Fractions, and another order of the elements, are not Amazon's."""
    for others in ("12:00:00Z", "12:00:00.001Z", "12:00:00.000000Z"):
        table = read_table(usual(LastModified=f"2026-11-22T{others}").encode())
        assert table is not None
        assert not table.is_amazon
    turned = entry([("ETag", "&quot;e&quot;"), ("Key", "a"), ("LastModified", TIME), ("Size", "7")])
    tables = [read_table(each.encode()) for each in (usual(), turned, usual() + turned)]
    assert [table and table.is_amazon for table in tables] == [True, False, False]


@pytest.mark.parametrize(
    "bad",
    [
        usual(""),
        usual("a&amp;b"),
        usual("a\rb"),
        usual("a\x01b"),
        usual("a\ufffeb"),
        usual("a]]>b"),
        usual(ETag="&quot;e"),
        usual(ETag='"e'),
        usual(ETag='""e""'),
        usual(ETag='"'),
        usual(ETag="&quot;"),
        usual(Size=""),
        usual(Size="-1"),
        usual(Size="1_0"),
        usual(Size=" 1"),
        usual(Size="1" * 19),
        usual(LastModified="2026-11-22T12:00:00.0Z"),
        usual(LastModified="2026-11-22T12:00:00+00:00"),
        usual(LastModified="2026-02-30T12:00:00.000Z"),
        usual(LastModified="2026-13-01T12:00:00.000Z"),
        usual(LastModified="0000-01-01T12:00:00.000Z"),
        usual(LastModified="2026-11-22T24:00:00.000Z"),
        usual(LastModified="2026-11-22T12:00:60.000Z"),
        usual(StorageClass="other"),
        usual() + "<!-- -->",
        usual() + "<junk",
        usual() + "<",
        "text" + usual(),
        usual().replace("Size", "Sice"),
        usual().replace("</ETag>", "</eTag>"),
        usual().replace("</Size>", "</Size >"),
    ],
)
def test_what_is_not_certain_makes_no_table(bad: str) -> None:
    """One entry that is not known to the letter, wherever it is, leaves the page to a parser."""
    for page in (bad, bad + usual("b"), usual("b") + bad + usual("c"), usual("b") + bad):
        assert read_table(page.encode()) is None


def test_bytes_that_are_no_utf8_make_no_table() -> None:
    """A page in another encoding is for a parser."""
    assert read_table(usual("ü").encode()) is not None
    assert read_table(usual("ü").encode("latin-1")) is None
