from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.columns import Columns, Texts
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import are_in_key_order

# Few different bytes, so that much is shared; one is less than what follows a key, and one is NUL.
TEXTS = st.lists(st.text("-<a\u00fc\0", max_size=20).map(str.encode))
LONG = st.lists(st.binary(min_size=7, max_size=10))


def among_others(texts: list[bytes]) -> Texts:
    """The texts as they lie in a page."""
    block, starts, ends = b"", [], []
    for text in texts:
        block += b"<Key>"
        starts.append(len(block))
        block += text
        ends.append(len(block))
        block += b"</Key></Contents>"
    return Texts(block, np.array(starts, np.intp), np.array(ends, np.intp))


@given(TEXTS | LONG, st.booleans(), st.binary(max_size=12))
def test_order_is_that_of_the_bytes(texts: list[bytes], in_order: bool, shared: bytes) -> None:
    """Each must be greater than the one before; a text is greater than its beginning."""
    if in_order:
        texts = sorted(texts)
    texts = [shared + text for text in texts]
    rising = all(one < other for one, other in pairwise(texts))
    for keys in (among_others(texts), Texts.of(texts)):
        assert are_in_key_order(replace(Columns.of(()), keys=keys)) == rising


def test_encoded_keys_are_compared_decoded() -> None:
    """The order is that of the keys, not that of their encoding."""
    moment = datetime(2026, 11, 22, tzinfo=timezone.utc)
    columns = Columns.of(S3Object(moment, key, "e", 1) for key in ("%7E", "A"))
    assert are_in_key_order(columns)
    encoded = Columns(
        **{name: getattr(columns, name) for name in columns.__slots__ if name != "encoded"},
        encoded=True,
    )
    assert not are_in_key_order(encoded)
