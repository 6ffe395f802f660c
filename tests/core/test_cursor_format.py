from __future__ import annotations

import json
from datetime import timezone
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.checkpoint import (
    CURSOR_RECENT_LIMIT,
    Checkpoint,
    PartialScan,
    Reprocess,
    Total,
)
from dagster_s3inc.core.cursor_format import VERSION, decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.filters import LONGEST_CONDITIONS, Conditions
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.objects import Position
from dagster_s3inc.errors import CheckpointFormatError, CheckpointVersionError
from tests.core.making import KEYS, at

TIMES = st.datetimes(timezones=st.just(timezone.utc))

KEYS_OR_NONE = KEYS | st.just("")

FINGERPRINTS = st.frozensets(st.integers(0, 2**64 - 1), max_size=20)

REPROCESSES = st.builds(
    Reprocess,
    conditions=st.builds(
        Conditions,
        since=st.none() | TIMES,
        prefix=KEYS_OR_NONE,
        include=st.lists(st.sampled_from(["*", "**/é.csv", "{a,b}"]), max_size=3).map(tuple),
    ),
    after=KEYS_OR_NONE,
    in_parts=st.booleans(),
    accepts=st.booleans(),
)


@st.composite
def partial_scans(draw: st.DrawFn, recent: frozenset[int]) -> PartialScan:
    """Partial scans that have met some of what is recent."""
    met = draw(st.frozensets(st.sampled_from(sorted(recent)))) if recent else frozenset()
    return PartialScan(
        began=draw(TIMES),
        horizon=draw(TIMES),
        after=draw(KEYS_OR_NONE),
        objects=draw(st.integers(0, 10**12)),
        listed=draw(st.none() | st.builds(Digest.of, FINGERPRINTS, st.just(8))),
        met=met,
        adopts=draw(st.booleans()),
        changed=draw(st.booleans()),
    )


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    """Checkpoints of every kind."""
    recent = draw(FINGERPRINTS)
    return Checkpoint(
        generation=draw(st.integers(1, 10**9)),
        sequence=draw(st.integers(0, 10**9)),
        watermark=draw(st.none() | st.builds(Position, TIMES, KEYS_OR_NONE)),
        late=draw(FINGERPRINTS),
        recent=recent,
        emitted=draw(
            st.none() | st.builds(Digest.of, FINGERPRINTS, st.sampled_from([8, 600])),
        ),
        total=draw(st.none() | st.builds(Total, st.integers(0, 10**12), st.integers(0, 2**64 - 1))),
        partial_scan=draw(st.none() | partial_scans(recent)),
        reprocess=draw(st.none() | REPROCESSES),
        selection=draw(st.none() | st.just("0123456789abcdef")),
        reset_seen=draw(st.none() | st.just("2026-01-01T00:00:00Z")),
        undecided=draw(st.integers(0, 10**9)),
    )


CHECKPOINTS = checkpoints()

# Written by an earlier release, and stored by its users.
VERSION_1 = (
    '{"version":1,"generation":3,"floor":{"last_modified":"2026-01-01T00:00:07Z",'
    '"key":"landing/a.csv"},"recent":"AAAAAAAAAAH//////////w==",'
    '"settled":"","wanted":"","pass":null,"reset_seen":"2025-12-31T23:59:59.500000Z"}'
)

# Version 2 as it was written first. These texts stay as they are: users have stored them.
FIRST_CHECKPOINT = (
    '{"version":2,"generation":1,"sequence":0,"watermark":null,"undecided":0,'
    '"total":{"files":0,"checksum":"0000000000000000"},"reset_seen":null,"selection":null,'
    '"reprocess":null,"partial_scan":null,"late":"","recent":"","emitted":""}'
)

USUAL = (
    '{"version":2,"generation":3,"sequence":41,"watermark":{"last_modified":'
    '"2026-01-01T00:00:07Z","key":"landing/\\u00e9.csv"},"undecided":2,'
    '"total":{"files":5,"checksum":"00000000000000ff"},'
    '"reset_seen":"2025-12-31T23:59:59.500000Z","selection":"0123456789abcdef",'
    '"reprocess":null,"partial_scan":null,"late":"AAAAAAAAAAc=",'
    '"recent":"AAAAAAAAAAH//////////w==","emitted":"eNpjZoAAZjSaCY1mJkAva83cyuSYfUN+np'
    'H67igDLxgfRjMCTULGAM6NDjg="}'
)

LONG = (
    '{"version":2,"generation":1,"sequence":7,"watermark":{"last_modified":'
    '"2026-01-01T00:00:07Z","key":"k"},"undecided":0,"total":null,"reset_seen":null,'
    '"selection":null,"reprocess":{"conditions":{"since":"2026-01-01T00:00:05Z",'
    '"prefix":"in/","include":["**/*.csv"]},"after":"in/k","in_parts":true,"accepts":false},'
    '"partial_scan":{"began":"2026-01-01T01:00:00Z","horizon":"2026-01-01T00:00:00Z",'
    '"after_base64":"AQEBAQEB","objects":9,"adopts":false,"changed":false,"met":"Bg==",'
    '"listed":""},"late":"","recent":"AAAAAAAAAAEAAAAAAAAAAg==","emitted":""}'
)

PARTIAL = json.loads(LONG)["partial_scan"]
REPROCESS = json.loads(LONG)["reprocess"]
WATERMARK = {"last_modified": "2026-01-01T00:00:07Z", "key": "k"}
SURROGATE = "in/\ud800"


def changed(**fields: Any) -> str:
    """A good checkpoint's text with some of its fields changed; ... leaves a field out."""
    document = {**json.loads(USUAL), **fields}
    return json.dumps({name: value for name, value in document.items() if value is not ...})


@given(CHECKPOINTS)
def test_checkpoints_survive_the_round_trip(checkpoint: Checkpoint) -> None:
    """Reading what was written gives an equal checkpoint, and writing that the same text."""
    text = encode_checkpoint(checkpoint)
    assert decode_checkpoint(text) == checkpoint
    assert encode_checkpoint(decode_checkpoint(text)) == text


@given(CHECKPOINTS)
def test_text_is_one_line_that_begins_with_what_people_read(checkpoint: Checkpoint) -> None:
    """The text is one line of ASCII; version, generation, sequence and watermark come first."""
    text = encode_checkpoint(checkpoint)
    assert text.isascii()
    assert text.isprintable() or "\x7f" in text
    assert list(json.loads(text))[:4] == ["version", "generation", "sequence", "watermark"]


def test_stored_checkpoints_are_read() -> None:
    """A stored checkpoint means what it meant when it was written, byte for byte."""
    usual = Checkpoint(
        generation=3,
        sequence=41,
        watermark=Position(at(7), "landing/é.csv"),
        late=frozenset({7}),
        recent=frozenset({1, 2**64 - 1}),
        emitted=Digest.of([1, 2, 3], 8),
        total=Total(5, 255),
        selection="0123456789abcdef",
        reset_seen="2025-12-31T23:59:59.500000Z",
        undecided=2,
    )
    conditions = Conditions(since=at(5), prefix="in/", include=("**/*.csv",))
    long = Checkpoint(
        sequence=7,
        watermark=Position(at(7), "k"),
        recent=frozenset({1, 2}),
        total=None,
        partial_scan=PartialScan(
            began=at(3600),
            horizon=at(0),
            after="\x01" * 6,
            objects=9,
            listed=None,
            met=frozenset({1}),
        ),
        reprocess=Reprocess(conditions=conditions, after="in/k", in_parts=True),
    )
    for text, expected in ((FIRST_CHECKPOINT, Checkpoint()), (USUAL, usual), (LONG, long)):
        assert decode_checkpoint(text) == expected
        assert encode_checkpoint(expected) == text


@pytest.mark.parametrize(
    "text",
    [
        VERSION_1,
        *(changed(version=other) for other in (1, 3, 0, "2", None, True, [2])),
        changed(version=VERSION + 1, generation="in another form"),
    ],
)
def test_checkpoint_of_another_version_is_never_read_in_part(text: str) -> None:
    """A checkpoint of another version is refused, and the message names both ways out."""
    with pytest.raises(CheckpointVersionError, match=r"reset job.*install") as caught:
        decode_checkpoint(text)
    assert "It was left as it is" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("2026-01-01", "not JSON"),
        (USUAL[:-1], "not JSON"),
        ("[" * 10**5, "not JSON"),
        ('{"version":2,"generation":' + "9" * 5000, "not JSON"),
        ("[1]", "no field 'version'"),
        ("null", "no field 'version'"),
        ('"version"', "no field 'version'"),
        (changed(version=...), "no field 'version'"),
        (changed(recent="AAAAAAAAAAH/////////w=="), "recent is"),
        (changed(recent="AAAAAAAAAAE"), "recent is"),
        (changed(recent="AAAAAAA*AAE="), "recent is"),
        (changed(recent="é"), "recent is"),
        (changed(recent=None), "recent is"),
        (changed(recent=...), "recent is"),
        (changed(recent=[1]), "recent is"),
        (changed(late="AAAA"), "late is"),
        (changed(late=...), "late is"),
        (changed(generation=0), "generation is 0"),
        (changed(generation=True), "generation is True"),
        (changed(generation="1"), "generation is '1'"),
        (changed(generation=1.0), "generation is 1.0"),
        (changed(generation=...), "generation is"),
        (changed(sequence=-1), "sequence is -1"),
        (changed(undecided=-1), "undecided is -1"),
        (changed(undecided="some"), "undecided is 'some'"),
        (changed(watermark="2026-01-01T00:00:07Z"), "watermark is '2026-01-01T00:00:07Z'"),
        (changed(watermark=[]), "watermark is"),
        (changed(watermark={}), "watermark is {}"),
        (changed(watermark={"last_modified": WATERMARK["last_modified"]}), "watermark is"),
        (changed(watermark={**WATERMARK, "last_modified": "2026-01-01T00:00:07"}), "watermark is"),
        (
            changed(watermark={**WATERMARK, "last_modified": "0001-01-01T00:00:00+01:00"}),
            "watermark is",
        ),
        (changed(watermark={**WATERMARK, "last_modified": "soon"}), "watermark is"),
        (changed(watermark={**WATERMARK, "last_modified": 1767225607}), "watermark is"),
        (changed(watermark={**WATERMARK, "key": None}), "watermark is"),
        (changed(watermark={**WATERMARK, "key": 7}), "watermark is"),
        (changed(watermark={**WATERMARK, "key": SURROGATE}), "watermark is"),
        (changed(watermark={**WATERMARK, "key_base64": "A"}), "watermark is"),
        (changed(watermark={**WATERMARK, "key_base64": "/w=="}), "watermark is"),
        (changed(total={}), "total is"),
        (changed(total=7), "total is"),
        (changed(total={"files": -1, "checksum": "0"}), "total is"),
        (changed(total={"files": 1, "checksum": "f" * 17}), "total is"),
        (changed(total={"files": 1, "checksum": "-1"}), "total is"),
        (changed(total={"files": 1, "checksum": 7}), "total is"),
        (changed(partial_scan={}), "partial_scan is"),
        (changed(partial_scan=[1]), "partial_scan is"),
        (changed(partial_scan={**PARTIAL, "began": "soon"}), "partial_scan is"),
        (changed(partial_scan={**PARTIAL, "adopts": 1}), "partial_scan is"),
        (changed(partial_scan={**PARTIAL, "changed": None}), "partial_scan is"),
        (changed(partial_scan={**PARTIAL, "objects": -1}), "partial_scan is"),
        (changed(partial_scan={**PARTIAL, "listed": "AAAA"}), "partial_scan is"),
        (changed(partial_scan={**PARTIAL, "met": "AAAA"}), "partial_scan is"),
        (changed(partial_scan={**PARTIAL, "met": 7}), "partial_scan is"),
        (changed(partial_scan={**PARTIAL, "after_base64": None}), "partial_scan is"),
        (
            changed(partial_scan={**PARTIAL, "after_base64": None, "after": SURROGATE}),
            "partial_scan is",
        ),
        (changed(reprocess={}), "reprocess is"),
        (changed(reprocess={**REPROCESS, "conditions": {"since": "soon"}}), "reprocess is"),
        (changed(reprocess={**REPROCESS, "conditions": {"later": 1}}), "reprocess is"),
        (changed(reprocess={**REPROCESS, "conditions": {"include": [7]}}), "reprocess is"),
        (changed(reprocess={**REPROCESS, "conditions": {"include": ["x" * 800]}}), "reprocess is"),
        (changed(reprocess={**REPROCESS, "after": None}), "reprocess is"),
        (changed(reprocess={**REPROCESS, "after": SURROGATE}), "reprocess is"),
        (changed(reprocess={**REPROCESS, "in_parts": 0}), "reprocess is"),
        (changed(reprocess={**REPROCESS, "accepts": "no"}), "reprocess is"),
        (changed(reset_seen=7), "reset_seen is 7"),
        (changed(selection=7), "selection is 7"),
        (changed(emitted="AAAA"), "emitted is"),
        (changed(emitted=7), "emitted is"),
    ],
)
def test_damaged_checkpoint_is_refused(text: str, why: str) -> None:
    """A damaged checkpoint is an error that says what is wrong and names the reset job."""
    with pytest.raises(CheckpointFormatError, match=why) as caught:
        decode_checkpoint(text)
    assert not isinstance(caught.value, CheckpointVersionError)
    message = str(caught.value)
    assert "reset job" in message
    assert "reset_checkpoint()" in message
    assert message.encode(), "It can be written to a log."


@given(CHECKPOINTS, st.data())
def test_text_cut_anywhere_is_refused(checkpoint: Checkpoint, data: st.DataObject) -> None:
    """No beginning of a checkpoint's text is taken for a checkpoint."""
    text = encode_checkpoint(checkpoint)
    with pytest.raises(CheckpointFormatError):
        decode_checkpoint(text[: data.draw(st.integers(0, len(text) - 1))])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(SURROGATE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(json.loads(LONG).keys())), JSON, st.data())
def test_any_other_field_is_read_or_refused(field: str, value: Any, data: st.DataObject) -> None:
    """Whatever stands in a field, the text is a checkpoint or refused, and nothing else happens."""
    document = json.loads(LONG)
    inner = document[field]
    if isinstance(inner, dict) and data.draw(st.booleans()):
        inner[data.draw(st.sampled_from(sorted(inner)))] = value
    else:
        document[field] = value
    try:
        checkpoint = decode_checkpoint(json.dumps(document))
    except CheckpointFormatError:
        return
    assert decode_checkpoint(encode_checkpoint(checkpoint)) == checkpoint


@pytest.mark.parametrize("character", ["a", "\x01", "\x7f", "é", "漢", "😀", '"', "\\"])
def test_largest_checkpoint_fits_a_cursor(character: str) -> None:
    """The longest keys, all fingerprints, both digests and a reset that waits: 32 KB."""
    longest = Conditions(include=("x" * 680,))
    assert LONGEST_CONDITIONS - len(json.dumps(longest.written())) < 10
    key = character * (1024 // len(character.encode()))
    random = Random(1)  # noqa: S311 # not a secret
    prints = [random.getrandbits(64) for _ in range(CURSOR_RECENT_LIMIT)]
    recent = frozenset(prints[: CURSOR_RECENT_LIMIT // 2])
    digest = Digest.of({random.getrandbits(64) for _ in range(10**4)})
    full = Checkpoint(
        generation=10**9,
        sequence=10**9,
        watermark=Position(at(0.123456), key),
        late=frozenset(prints) - recent,
        recent=recent,
        emitted=digest,
        total=Total(10**12, 2**64 - 1),
        partial_scan=PartialScan(
            began=at(0.123456),
            horizon=at(0.123456),
            after=key,
            objects=10**12,
            listed=digest,
            met=recent,
        ),
        # While a partial scan goes on, files are not reprocessed: the key is still empty.
        reprocess=Reprocess(conditions=longest),
        selection="f" * 16,
        reset_seen="2026-01-01T00:00:00.123456Z",
        undecided=10**9,
    )
    text = encode_checkpoint(full)
    assert 28_000 < len(text) <= 32 * 1000
    assert decode_checkpoint(text) == full
