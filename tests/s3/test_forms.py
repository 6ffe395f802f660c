from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.s3.forms import form_of

USUAL = (
    b"<Contents><Key>a</Key><LastModified>m</LastModified><ETag>e</ETag>"
    b"<Size>1</Size><StorageClass>c</StorageClass></Contents>"
)


def test_a_form_is_the_entry_without_its_texts() -> None:
    """Seams and texts in turn make the entry, and each seam begins at its tag."""
    form = form_of(USUAL)
    assert form is not None
    assert form.seams[0] == b"<Contents><Key>"
    assert form.seams[-1] == b"</StorageClass></Contents>"
    assert (
        b"".join(
            seam + text
            for seam, text in zip(form.seams, (b"a", b"m", b"e", b"1", b"c", b""), strict=True)
        )
        == USUAL
    )
    assert form.tags == (0, 2, 4, 6, 8, 10)
    assert form.texts == {b"Key": 0, b"LastModified": 1, b"ETag": 2, b"Size": 3, b"StorageClass": 4}


def test_texts_make_no_difference() -> None:
    """Entries that differ in their texts alone are of one form, blanks at the edges included."""
    assert form_of(USUAL.replace(b">a<", b"> b c <").replace(b">m<", b">...<")) == form_of(USUAL)


@pytest.mark.parametrize(
    ("change", "to", "is_amazon"),
    [
        (b"<Size>", b"<ChecksumAlgorithm>x</ChecksumAlgorithm><Size>", True),
        (b"<Size>", b"<ChecksumAlgorithm>x</ChecksumAlgorithm>" * 2 + b"<Size>", True),
        (b"<StorageClass>c</StorageClass>", b"", True),
        (b"<Size>", b"<Owner><ID>i</ID>\n<DisplayName/></Owner><Size>", True),
        (b"<Size>", b"<Owner></Owner><Size>", True),
        (b"<Contents>", b"<Contents>\n  ", True),
        (b"</Key>", b"</Key>\n  ", False),
        (b"</Key>", b"</Key><ChecksumType>x</ChecksumType>", False),
    ],
)
def test_forms_of_servers_are_known(change: bytes, to: bytes, is_amazon: bool) -> None:
    """Some elements need not be there, and blanks may be between them."""
    form = form_of(USUAL.replace(change, to))
    assert form is not None
    assert form.is_amazon == is_amazon


@given(st.permutations(range(5)))
def test_elements_come_in_any_order(order: list[int]) -> None:
    """The order of the elements is part of the form."""
    elements = re.findall(rb"<(?!/?Contents)(\w+)>.</\1>", USUAL)
    elements = [elements[at] for at in order]
    entry = b"".join(b"<%b>x</%b>" % (name, name) for name in elements)
    form = form_of(b"<Contents>" + entry + b"</Contents>")
    assert form is not None
    assert form.texts == {name: index for index, name in enumerate(elements)}


@pytest.mark.parametrize(
    ("change", "to"),
    [
        (b"<Size>1</Size>", b""),
        (b"<Size>1</Size>", b"<Size></Size>"),
        (b"<Size>1</Size>", b"<Size/>"),
        (b"<Size>1</Size>", b"<Size>1</Size><Size>2</Size>"),
        (b"<Size>1</Size>", b"<Size>1</Key>"),
        (b"<Size>", b"<Size unit='B'>"),
        (b"<Size>", b"<Size ><Size>"),
        (b"<Size>", b"<New>x</New><Size>"),
        (b"<Size>", b"<New><Key>b</Key></New><Size>"),
        (b"<Size>", b"text<Size>"),
        (b"<Size>", b"<!-- x --><Size>"),
        (b"<Size>", b"<ChecksumType>x</ChecksumType><ChecksumType>y</ChecksumType><Size>"),
        (b"<Size>", b"<Owner><ID>i</ID><ID>j</ID></Owner><Size>"),
        (b">a<", b"><![CDATA[a]]><"),
        (b"</Contents>", b"</Contents></Contents>"),
        (b"</Contents>", b""),
    ],
)
def test_what_is_not_known_has_no_form(change: bytes, to: bytes) -> None:
    """An entry with an element missing, twice, unknown or damaged is for a parser."""
    assert form_of(USUAL.replace(change, to)) is None
