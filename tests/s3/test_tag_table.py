from __future__ import annotations

import re
from datetime import datetime, timezone
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.columns import Columns, microseconds
from dagster_s3inc.s3.tag_table import is_familiar, read_columns
from tests.s3.canned import entry

TIME = "2026-11-22T12:00:00.000Z"


def usual(key: str = "a", **others: str) -> str:
    """An entry as Amazon's S3 writes it."""
    texts = {"LastModified": TIME, "ETag": "&quot;e&quot;", "Size": "7", "StorageClass": "STANDARD"}
    return entry([("Key", key), *{**texts, **others}.items()])


def summed(key: str) -> str:
    """The same with a checksum."""
    return usual(key).replace("<Size>", "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><Size>")


def columns_of(*entries: str, url_encoded: bool = False) -> Columns | None:
    return read_columns("".join(entries).encode(), url_encoded=url_encoded)


def columns_read(*entries: str, url_encoded: bool = False) -> Columns:
    columns = columns_of(*entries, url_encoded=url_encoded)
    assert columns is not None
    return columns


def test_columns_hold_what_the_entries_hold() -> None:
    """Texts, times and sizes come entry for entry, whatever forms take turns in the page."""
    entries = [usual("a", Size="0"), summed("bb"), usual("c", Size="999999999999999999")]
    columns = columns_read(*entries)
    assert columns.key_bytes() == [b"a", b"bb", b"c"]
    assert columns.etags.to_list() == [b"e"] * 3
    moment = microseconds(datetime(2026, 11, 22, 12, tzinfo=timezone.utc))
    assert columns.last_modified.tolist() == [moment] * 3
    assert columns.sizes.tolist() == [0, 7, 10**18 - 1]
    assert columns.class_names == ("STANDARD",)
    part = columns.only(np.array([2, 0]))
    assert part.key_bytes() == [b"c", b"a"]
    assert part.sizes.tolist() == [10**18 - 1, 0]


@given(st.lists(st.datetimes(), min_size=1), st.sampled_from(["seconds", "milliseconds", "auto"]))
def test_times_are_read_to_the_microsecond(times: list[datetime], fraction: str) -> None:
    """Every time that has a date in the calendar is read, from the year 1 to 9999."""
    if fraction == "auto":
        times = [each.replace(microsecond=each.microsecond or 1) for each in times]
    texts = [each.isoformat(timespec=fraction) + "Z" for each in times]
    columns = columns_read(*(usual(LastModified=text) for text in texts))
    read = [microseconds(datetime.fromisoformat(text[:-1] + "+00:00")) for text in texts]
    assert columns.last_modified.tolist() == read


def test_storage_classes_are_told_apart() -> None:
    """Classes of equal length and none are each their own; none at all is STANDARD."""
    names = ["STANDARD", "GLACIER", "ONEZONE", "", "GLACIER", "STANDARD"]
    columns = columns_read(*(usual(StorageClass=name) for name in names))
    assert [columns.class_names[code] for code in columns.storage_classes.tolist()] == [
        name or "STANDARD" for name in names
    ]
    assert len(columns.class_names) == 3


def test_keys_are_encoded_only_where_it_shows() -> None:
    """Keys without a code are the same encoded or not."""
    assert not columns_read(usual("a"), url_encoded=True).encoded
    for key in ("%41", "+"):
        columns = columns_read(usual(key), url_encoded=True)
        assert columns.encoded
        assert columns.identities is None
        assert not columns_read(usual(key)).encoded


@pytest.mark.parametrize(
    ("etag", "text"), [("&quot;e&quot;", b"e"), ('"e"', b"e"), ("e", b"e"), ("&#34;&#34;", b"")]
)
def test_quotes_are_no_part_of_an_etag(etag: str, text: bytes) -> None:
    """ETags come without their quotes, in whichever form these are."""
    columns = columns_read(usual(ETag=etag), usual("b", ETag=etag))
    assert columns.etags.to_list() == [text] * 2
    assert (columns.identities is not None) == (etag == "&quot;e&quot;")


def test_only_what_amazon_writes_can_be_hashed_where_it_lies() -> None:
    """Fractions, and another order of the elements, are not Amazon's."""
    for others in ("12:00:00Z", "12:00:00.001Z", "12:00:00.000000Z"):
        assert columns_read(usual(LastModified=f"2026-11-22T{others}")).identities is None
    turned = entry([("ETag", "&quot;e&quot;"), ("Key", "a"), ("LastModified", TIME), ("Size", "7")])
    pages = [columns_read(each) for each in (usual(), turned, usual() + turned)]
    assert [each.identities is not None for each in pages] == [True, False, False]


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b+", "c%C3%BC", "\u00fc", "&"]), st.datetimes())),
    st.sampled_from(["seconds", "milliseconds"]),
    st.sampled_from(["&quot;e&quot;", '"e"', "e"]),
    st.booleans(),
)
def test_fingerprints_are_those_of_the_objects(
    entries: list[tuple[str, datetime]], fraction: str, etag: str, url_encoded: bool
) -> None:
    """Hashed where they lie or put together, fingerprints are those of the same objects."""
    texts = [(key, time.isoformat(timespec=fraction) + "Z") for key, time in entries]
    columns = columns_of(
        *(usual(key, LastModified=time, ETag=etag) for key, time in texts), url_encoded=url_encoded
    )
    if columns is None:
        assert not texts or any(key == "&" for key, _ in texts)
        return
    objects = columns.objects()
    expected = [each.fingerprint for each in objects]
    assert columns.fingerprints().tolist() == expected
    assert Columns.of(objects).fingerprints().tolist() == expected
    assert columns.fingerprints(np.arange(1)).tolist() == expected[:1]


def test_forms_of_servers_are_known() -> None:
    """Some elements need not be there, blanks may be between them, in any order."""
    for change, to in (
        ("<Size>", "<ChecksumAlgorithm>x</ChecksumAlgorithm>" * 2 + "<Size>"),
        ("<StorageClass>STANDARD</StorageClass>", ""),
        ("<Size>", "<Owner><ID>i</ID>\n<DisplayName/></Owner><Size>"),
        ("<Size>", "<Owner></Owner><Size>"),
        ("<Contents>", "<Contents>\n  "),
        ("</Key>", "</Key>\n  "),
        ("</Key>", "</Key><ChecksumType>x</ChecksumType>"),
    ):
        changed = usual().replace(change, to)
        assert is_familiar(changed.encode())
        assert columns_read(changed, changed).sizes.tolist() == [7] * 2
    elements = re.findall(r"<(?!/?Contents)(\w+)>.*?</\1>", usual())
    assert len(elements) == 5
    for order in permutations(re.findall(r"<(?!/?Contents)\w+>.*?</\w+>", usual())):
        columns = columns_read(f"<Contents>{''.join(order)}</Contents>")
        assert columns.objects() == columns_read(usual()).objects()


@pytest.mark.parametrize(
    "bad",
    [
        usual(""),
        usual("a&amp;b"),
        usual().replace("<Size>7</Size>", ""),
        usual().replace("<Size>", "<Size>1</Size><Size>"),
        usual().replace("<Size>", "<Size unit='B'>"),
        usual().replace("<Size>", "<New>x</New><Size>"),
        usual().replace("<Size>", "<New><Key>b</Key></New><Size>"),
        usual().replace("<Size>", "text<Size>"),
        usual().replace("<Size>", "<!-- x --><Size>"),
        usual().replace("<Size>", "<Owner><ID>i</ID><ID>j</ID></Owner><Size>"),
        usual().replace(">a<", "><![CDATA[a]]><"),
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
def test_what_is_not_certain_makes_no_columns(bad: str) -> None:
    """One entry that is not known to the letter, wherever it is, leaves the page to a parser."""
    for page in (bad, bad + usual("b"), usual("b") + bad + usual("c"), usual("b") + bad):
        assert columns_of(page) is None


def test_bytes_that_are_not_utf8_make_no_columns() -> None:
    """A page in another encoding is for a parser."""
    assert read_columns(usual("ü").encode(), url_encoded=False) is not None
    assert read_columns(usual("ü").encode("latin-1"), url_encoded=False) is None
