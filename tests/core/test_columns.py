from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from urllib.parse import quote_plus

import numpy as np
from botocore.compat import unquote_str
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.columns import Columns, Texts, decoded_keys, microseconds, moment
from dagster_s3inc.core.objects import S3Object, format_time, identity_text
from tests.core.making import KEYS, RANDOMS, Random, listings, make_object

OBJECTS = st.lists(
    st.builds(
        S3Object,
        st.datetimes(datetime(1, 1, 2), timezones=st.just(timezone.utc)),  # noqa: DTZ001
        KEYS,
        st.text("0123456789abcdef-", min_size=1, max_size=8),
        st.integers(0, 2**62),
        st.sampled_from(["STANDARD", "GLACIER", "STANDARD_IA"]),
    ),
    max_size=12,
)


def encoded(objects: Sequence[S3Object]) -> Columns:
    """The same columns as a listing with EncodingType=url has them."""
    columns = Columns.of(objects)
    keys = Texts.of(quote_plus(each.key, safe="/").encode() for each in objects)
    return replace(columns, keys=keys, encoded=True)


def with_identities(objects: Sequence[S3Object]) -> Columns:
    """The same columns, with the bytes of which fingerprints are the hashes."""
    return replace(
        Columns.of(objects),
        identities=Texts.of(
            identity_text(
                each.key.encode(),
                format_time(each.last_modified)[:19].encode(),
                each.etag.encode(),
            )
            for each in objects
        ),
    )


@given(OBJECTS)
def test_objects_survive_the_columns(objects: list[S3Object]) -> None:
    """Rows become the very objects of which the columns were made, encoded or not."""
    for columns in (Columns.of(objects), encoded(objects), encoded(objects).packed()):
        assert columns.objects() == objects
        assert len(columns) == len(objects)
        assert columns.key_bytes() == [each.key.encode() for each in objects]


@given(OBJECTS, RANDOMS)
def test_fingerprints_are_those_of_the_objects(objects: list[S3Object], random: Random) -> None:
    """A row's fingerprint is its object's, however the columns were made."""
    rows = [row for row in range(len(objects)) if random.random() < 0.5]
    random.shuffle(rows)
    expected = [each.fingerprint for each in objects]
    for columns in (Columns.of(objects), encoded(objects), with_identities(objects)):
        assert columns.fingerprints().tolist() == expected
        chosen = columns.fingerprints(np.array(rows, np.intp))
        assert chosen.tolist() == [expected[row] for row in rows]
        assert chosen.dtype == np.uint64


@given(st.lists(OBJECTS, max_size=4))
def test_parts_are_put_together(parts: list[list[S3Object]]) -> None:
    """The columns of several pages hold the rows of all, whatever their storage classes."""
    made = [make(part) for part, make in zip(parts, [Columns.of, encoded] * 2, strict=False)]
    assert Columns.concatenated(made).objects() == [each for part in parts for each in part]


@given(OBJECTS, RANDOMS)
def test_rows_are_chosen(objects: list[S3Object], random: Random) -> None:
    """Rows come in the order asked for; packed, their block holds nothing else."""
    rows = [row for row in range(len(objects)) if random.random() < 0.5]
    random.shuffle(rows)
    chosen = encoded(objects).only(np.array(rows, np.intp))
    expected = [objects[row] for row in rows]
    assert chosen.objects() == expected
    packed = chosen.packed()
    assert packed.objects() == expected
    assert packed.keys.block == b"".join(each.key.encode() for each in expected)
    assert [chosen.key(row) for row in range(len(rows))] == chosen.key_bytes()


@given(listings(max_seconds=2), RANDOMS)
def test_rows_are_ordered_by_position(objects: list[S3Object], random: Random) -> None:
    """The order is that of plain `sorted`, also where many objects share a time."""
    random.shuffle(objects)
    for columns in (Columns.of(objects), encoded(objects)):
        assert columns.only(columns.in_position_order()).objects() == sorted(objects)


@given(st.datetimes(timezones=st.just(timezone.utc)))
def test_times_survive_as_numbers(time: datetime) -> None:
    """Every moment that Python knows is a whole number of microseconds, to the last one."""
    assert moment(microseconds(time)) == time


@given(st.lists(st.binary(max_size=5)))
def test_texts_survive_their_block(texts: list[bytes]) -> None:
    """Texts come out of a block as they went in, empty ones among them."""
    made = Texts.of(texts)
    assert made.to_list() == texts == [made[row] for row in range(len(made))]
    assert made.packed().to_list() == texts


def test_nothing_has_columns() -> None:
    """No objects are columns of no rows."""
    for nothing in (Columns.of(()), Columns.concatenated(())):
        assert nothing.objects() == []
        assert len(nothing.fingerprints()) == 0
        assert len(nothing.in_position_order()) == 0


def test_each_storage_class_keeps_its_name() -> None:
    """Parts that number the same classes differently are told by their names."""
    one = Columns.of([make_object("a"), make_object("b", storage_class="GLACIER")])
    other = Columns.of([make_object("c", storage_class="GLACIER"), make_object("d")])
    joined = Columns.concatenated([one, other])
    assert [each.storage_class for each in joined.objects()] == [
        "STANDARD",
        "GLACIER",
        "GLACIER",
        "STANDARD",
    ]


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)

# Codes whole and broken, of characters and of parts of them.
CODES = ["%41", "%3d", "%3D", "%25", "%2541", "%0A", "%00", "%2B", "%C3%BC", "%C3", "%ED%A0%80"]
PIECES = st.sampled_from([*CODES, "%", "%%", "%4", "%zz", "+", "\n", "ü", "4", "1", "a", "/"])


@given(st.lists(TEXTS, min_size=1))
def test_keys_survive_the_round_trip(keys: list[str]) -> None:
    """Keys that are encoded as servers do it come back as they were."""
    for safe in ("", "/"):
        encoded = [quote_plus(key, safe=safe).encode() for key in keys]
        assert decoded_keys(encoded) == [key.encode() for key in keys]


@given(st.lists(st.lists(PIECES, min_size=1).map("".join), min_size=1))
def test_broken_codes_are_read_as_botocore_reads_them(keys: list[str]) -> None:
    """Whatever the keys are, all at once become what botocore makes of each."""
    encoded = [key.encode() for key in keys]
    assert decoded_keys(encoded) == [unquote_str(key).encode() for key in keys]
