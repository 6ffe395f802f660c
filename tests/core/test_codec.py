from __future__ import annotations

import json
from datetime import timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.checkpoint import RECENT_LIMIT, Checkpoint, Pass
from dagster_s3inc.core.codec import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.objects import Position
from dagster_s3inc.core.redo import LONGEST_CONDITIONS, Conditions, Redo
from dagster_s3inc.core.sketch import Sketch
from dagster_s3inc.errors import CheckpointFormatError, CheckpointVersionError
from tests.core.making import KEYS, at

POSITIONS = st.builds(
    Position, st.datetimes(timezones=st.just(timezone.utc)), KEYS | st.just("") | st.text()
)

IDENTITIES = st.frozensets(st.integers(0, 2**64 - 1), max_size=20)

PASSES = st.builds(
    Pass,
    began=st.datetimes(timezones=st.just(timezone.utc)),
    horizon=st.datetimes(timezones=st.just(timezone.utc)),
    after=KEYS | st.just(""),
    objects=st.integers(0, 10**12),
    listed=st.none() | st.builds(Sketch.of, IDENTITIES, st.just(8)),
    met=IDENTITIES,
    adopts=st.booleans(),
)

REDOS = st.builds(
    Redo,
    conditions=st.builds(
        Conditions,
        since=st.none() | st.datetimes(timezones=st.just(timezone.utc)),
        prefix=KEYS | st.just(""),
        include=st.lists(st.sampled_from(["*", "**/é.csv", "{a,b}"]), max_size=3).map(tuple),
    ),
    after=KEYS | st.just(""),
    whole=st.booleans(),
)

CHECKPOINTS = st.builds(
    Checkpoint,
    generation=st.integers(1, 10**9),
    floor=st.none() | POSITIONS,
    recent=IDENTITIES,
    settled=st.none() | st.builds(Sketch.of, IDENTITIES, st.sampled_from([8, 600])),
    wanted=IDENTITIES,
    unfinished=st.none() | PASSES,
    redo=st.none() | REDOS,
    origin=st.none() | st.integers(1, 10**9),
    selection=st.none() | st.just("0123456789abcdef"),
    overflows=st.integers(0, 9),
    reset_seen=st.none() | st.just("2026-01-01T00:00:00Z"),
)

# Version 1 as it was written first. These texts stay as they are: users have stored them.
OLD_WITH_FLOOR = (
    '{"version":1,"generation":3,"floor":{"last_modified":"2026-01-01T00:00:07Z",'
    '"key":"landing/\\u00e9/\\ud83d\\ude00.csv"},"recent":"AAAAAAAAAAH//////////w==",'
    '"settled":"","wanted":"","pass":null,"reset_seen":"2025-12-31T23:59:59.500000Z"}'
)
OLD_WITHOUT_FLOOR = (
    '{"version":1,"generation":1,"floor":null,"recent":"","settled":"","wanted":"",'
    '"pass":null,"reset_seen":null}'
)

OLD_WITH_SKETCH = (
    '{"version":1,"generation":1,"floor":{"last_modified":"2026-01-01T00:00:07Z","key":"k"},"'
    'recent":"","settled":"eNpjZoAAZjSaCY1mJkAva83cyuSYfUN+npH67igDLxgfRjMCTULGAM6NDjg=","wan'
    'ted":"AAAAAAAAAAc=","pass":null,"selection":"0123456789abcdef","overflows":2,"reset_seen'
    '":null}'
)


OLD_WITH_REDO = (
    '{"version":1,"generation":3,"floor":{"last_modified":"2026-01-01T00:00:07Z","key":"k"},'
    '"recent":"","settled":"","wanted":"","pass":null,"redo":{"conditions":{'
    '"since":"2026-01-01T00:00:05Z","prefix":"in/","include":["**/*.csv"]},"after":"in/k",'
    '"whole":false},"selection":null,"overflows":0,"origin":2,"reset_seen":null}'
)


def changed(**fields: Any) -> str:
    """A good checkpoint's text with some of its fields changed; ... leaves a field out."""
    document = {**json.loads(OLD_WITH_FLOOR), **fields}
    return json.dumps({name: value for name, value in document.items() if value is not ...})


@given(CHECKPOINTS)
def test_checkpoints_survive_the_round_trip(checkpoint: Checkpoint) -> None:
    """Reading what was written gives an equal checkpoint, and writing that the same text."""
    text = encode_checkpoint(checkpoint)
    assert decode_checkpoint(text) == checkpoint
    assert encode_checkpoint(decode_checkpoint(text)) == text


@given(CHECKPOINTS)
def test_text_is_one_line_that_begins_with_what_people_read(checkpoint: Checkpoint) -> None:
    """The text is one line of ASCII, and starts with version, generation and floor."""
    text = encode_checkpoint(checkpoint)
    assert text.isascii()
    assert text.isprintable() or "\x7f" in text
    assert list(json.loads(text))[:3] == ["version", "generation", "floor"]


def test_checkpoint_of_version_1_with_a_floor_is_read() -> None:
    """A stored checkpoint of version 1 means what it meant when it was written, byte for byte."""
    checkpoint = Checkpoint(
        generation=3,
        floor=Position(at(7), "landing/é/😀.csv"),
        recent=frozenset({1, 2**64 - 1}),
        reset_seen="2025-12-31T23:59:59.500000Z",
    )
    assert decode_checkpoint(OLD_WITH_FLOOR) == checkpoint


def test_checkpoint_of_version_1_with_a_sketch_is_read() -> None:
    """A stored sketch means what it meant when it was written, byte for byte."""
    checkpoint = Checkpoint(
        floor=Position(at(7), "k"),
        settled=Sketch.of([1, 2, 3], 8),
        wanted=frozenset({7}),
        selection="0123456789abcdef",
        overflows=2,
    )
    assert decode_checkpoint(OLD_WITH_SKETCH) == checkpoint


def test_checkpoint_of_version_1_with_a_redo_is_read() -> None:
    """A stored redo means what it meant when it was written, byte for byte."""
    conditions = Conditions(since=at(5), prefix="in/", include=("**/*.csv",))
    checkpoint = Checkpoint(
        generation=3,
        floor=Position(at(7), "k"),
        redo=Redo(conditions=conditions, after="in/k"),
        origin=2,
    )
    assert decode_checkpoint(OLD_WITH_REDO) == checkpoint
    assert encode_checkpoint(checkpoint) == OLD_WITH_REDO


def test_checkpoint_of_version_1_without_a_floor_is_read() -> None:
    """A stored checkpoint of version 1 that has seen no object is the first checkpoint."""
    assert decode_checkpoint(OLD_WITHOUT_FLOOR) == Checkpoint()


@pytest.mark.parametrize(
    "fields",
    [
        {"version": 2},
        {"version": 0},
        {"version": "1"},
        {"version": None},
        {"version": 2, "generation": "in another form"},
    ],
)
def test_later_checkpoint_is_never_read_in_part(fields: dict[str, Any]) -> None:
    """A checkpoint of a later release is refused, and the message names both ways out."""
    with pytest.raises(CheckpointVersionError, match=r"reset job.*install") as caught:
        decode_checkpoint(changed(**fields))
    assert "It was left as it is" in str(caught.value)


PASS = {
    "began": "2026-01-01T00:00:07Z",
    "horizon": "2025-12-31T23:00:07Z",
    "after": "k",
    "objects": 7,
    "listed": "",
    "met": "",
    "adopts": False,
}

REDO = {"conditions": {}, "after": "k", "whole": False}

FLOOR = {"last_modified": "2026-01-01T00:00:07Z", "key": "k"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("2026-01-01", "no JSON"),
        (OLD_WITH_FLOOR[:-1], "no JSON"),
        ("[1]", "no field 'version'"),
        ("null", "no field 'version'"),
        ('"version"', "no field 'version'"),
        (changed(version=...), "no field 'version'"),
        (changed(recent="AAAAAAAAAAH/////////w=="), "cut short"),
        (changed(recent="AAAAAAAAAAE"), "no base64"),
        (changed(recent="AAAAAAA*AAE="), "no base64"),
        (changed(recent="é"), "no base64"),
        (changed(recent=None), "no base64"),
        (changed(recent=...), "no base64"),
        (changed(recent=[1]), "no base64"),
        (changed(generation=0), "generation is 0"),
        (changed(generation=True), "generation is True"),
        (changed(generation="1"), "generation is '1'"),
        (changed(generation=1.0), "generation is 1.0"),
        (changed(generation=...), "generation is 0"),
        (changed(floor="2026-01-01T00:00:07Z"), "floor is '2026-01-01T00:00:07Z'"),
        (changed(floor=[]), "floor is"),
        (changed(floor={}), "floor is {}"),
        (changed(floor={"last_modified": FLOOR["last_modified"]}), "floor is"),
        (changed(floor={**FLOOR, "last_modified": "2026-01-01T00:00:07"}), "floor is"),
        (changed(floor={**FLOOR, "last_modified": "0001-01-01T00:00:00+01:00"}), "floor is"),
        (changed(floor={**FLOOR, "last_modified": "soon"}), "floor is"),
        (changed(floor={**FLOOR, "last_modified": 1767225607}), "floor is"),
        (changed(floor={**FLOOR, "key": None}), "floor is"),
        (changed(floor={**FLOOR, "key": 7}), "floor is"),
        (changed(floor={**FLOOR, "key_base64": "A"}), "floor is"),
        (changed(**{"pass": {}}), "pass is"),
        (changed(**{"pass": {**PASS, "after": 7}}), "pass is"),
        (changed(**{"pass": {**PASS, "began": "soon"}}), "pass is"),
        (changed(**{"pass": {**PASS, "adopts": 1}}), "adopts of its pass is 1"),
        (changed(**{"pass": {**PASS, "objects": -1}}), "objects is -1"),
        (changed(**{"pass": {**PASS, "listed": "AAAA"}}), "'listed' is damaged"),
        (changed(**{"pass": {**PASS, "met": "AAAA"}}), "'met' is cut short"),
        (changed(redo={}), "redo is"),
        (changed(redo={**REDO, "conditions": {"since": "soon"}}), "redo is"),
        (changed(redo={**REDO, "conditions": {"later": 1}}), "redo is"),
        (changed(redo={**REDO, "after": None}), "redo is"),
        (changed(redo={**REDO, "whole": 0}), "whole of its redo is 0"),
        (changed(origin=0), "origin is 0"),
        (changed(reset_seen=7), "reset_seen is 7"),
        (changed(selection=7), "selection is 7"),
        (changed(overflows=-1), "overflows is -1"),
        (changed(wanted="AAAA"), "'wanted' is cut short"),
        (changed(settled="AAAA"), "'settled' is damaged"),
        (changed(settled=7), "'settled' is damaged"),
    ],
)
def test_damaged_checkpoint_is_refused(text: str, why: str) -> None:
    """A damaged checkpoint is an error that says what is wrong and names the reset job."""
    with pytest.raises(CheckpointFormatError, match=why) as caught:
        decode_checkpoint(text)
    assert not isinstance(caught.value, CheckpointVersionError)
    assert "reset job" in str(caught.value)
    assert "reset_checkpoint()" in str(caught.value)


@given(CHECKPOINTS, st.data())
def test_text_cut_anywhere_is_refused(checkpoint: Checkpoint, data: st.DataObject) -> None:
    """No beginning of a checkpoint's text is taken for a checkpoint."""
    text = encode_checkpoint(checkpoint)
    with pytest.raises(CheckpointFormatError):
        decode_checkpoint(text[: data.draw(st.integers(0, len(text) - 1))])


@pytest.mark.parametrize("character", ["a", "\x01", "\x7f", "é", "漢", "😀", '"', "\\"])
def test_largest_checkpoint_fits_a_cursor(character: str) -> None:
    """With all identities that are kept, the longest keys, both sketches and a redo: 32 KiB."""
    longest = Conditions(include=("x" * 680,))
    assert LONGEST_CONDITIONS - len(json.dumps(longest.written())) < 10
    key = character * (1024 // len(character.encode()))
    third = RECENT_LIMIT // 3
    full = Checkpoint(
        generation=10**9,
        floor=Position(at(0.123456), key),
        recent=frozenset(range(2**64 - third, 2**64)),
        settled=Sketch.of(range(10**5)),
        wanted=frozenset(range(third)),
        unfinished=Pass(
            began=at(0.123456),
            horizon=at(0.123456),
            after=key,
            objects=10**12,
            listed=Sketch.of(range(10**5)),
            met=frozenset(range(RECENT_LIMIT - 2 * third)),
        ),
        redo=Redo(conditions=longest, after=key, whole=False),
        selection="f" * 16,
        overflows=10**9,
        origin=10**9,
        reset_seen="2026-01-01T00:00:00.123456Z",
    )
    text = encode_checkpoint(full)
    assert 8 * RECENT_LIMIT < len(text) < 32 * 1024
    assert decode_checkpoint(text) == full
