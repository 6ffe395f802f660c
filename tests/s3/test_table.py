from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.s3.table import Span, are_rising, texts_of

# Few different bytes, so that much is shared, and one of them less than what follows a key.
TEXTS = st.lists(st.text("-<a\u00fc", max_size=20).map(str.encode), min_size=1)
LONG = st.binary(min_size=7, max_size=10).map(lambda text: text.replace(b"\0", b"\1"))


def laid_out(texts: list[bytes]) -> tuple[bytes, Span]:
    """The texts one after the other, and where they are."""
    entries, starts, ends = b"", [], []
    for text in texts:
        entries += b"<Key>"
        starts.append(len(entries))
        entries += text
        ends.append(len(entries))
        entries += b"</Key></Contents>"
    return entries, Span(np.array(starts, np.intp), np.array(ends, np.intp))


@given(TEXTS | st.lists(LONG, min_size=1))
def test_texts_are_found_again(texts: list[bytes]) -> None:
    """Whether they are equally long, nearly so or not at all."""
    assert texts_of(*laid_out(texts)) == texts


def test_no_texts() -> None:
    """Of nothing there is nothing."""
    assert texts_of(*laid_out([])) == []
    assert are_rising(*laid_out([]))


@given(TEXTS | st.lists(LONG, min_size=1), st.booleans(), st.binary(max_size=12))
def test_order_is_that_of_the_bytes(texts: list[bytes], in_order: bool, shared: bytes) -> None:
    """Each must be greater than the one before; being its beginning is being less."""
    if in_order:
        texts = sorted(texts)
    texts = [shared.replace(b"\0", b"\1") + text for text in texts]
    assert are_rising(*laid_out(texts)) == all(one < other for one, other in pairwise(texts))
