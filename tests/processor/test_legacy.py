from __future__ import annotations

from datetime import datetime, timezone

import pytest

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import encode_checkpoint
from dagster_s3inc.core.objects import Position
from dagster_s3inc.errors import CheckpointFormatError
from dagster_s3inc.processor.legacy import decode_any_checkpoint

MOMENT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc)


@pytest.mark.parametrize("seconds", ["1714979289", "1714979289.0"])
def test_old_format_becomes_a_floor(seconds: str) -> None:
    """The last object of the old form is the floor of a first generation."""
    old = f'{{"Key": "in/x", "LastModified": {seconds}, "last_ingestion_run": "2024-05-06"}}'
    assert decode_any_checkpoint(old) == Checkpoint(floor=Position(MOMENT, "in/x"))


def test_own_format_is_read_as_ever() -> None:
    """A checkpoint of this package is read as such."""
    checkpoint = Checkpoint(generation=3, floor=Position(MOMENT, "k"), recent=frozenset({1, 2}))
    assert decode_any_checkpoint(encode_checkpoint(checkpoint)) == checkpoint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"Key": 1, "LastModified": 1}',
        '{"Key": "a"}',
        '{"Key":"a","LastModified":"x"}',
    ],
)
def test_neither_is_refused(text: str) -> None:
    """What is of neither form is refused, and not taken for a first start."""
    with pytest.raises(CheckpointFormatError, match="cannot be read"):
        decode_any_checkpoint(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"Key": "a", "LastModified": "2024-05-06T07:08:09Z"}', "seconds since 1970, a number"),
        ('{"Key": "a", "LastModified": null}', "seconds since 1970, a number, not None"),
        ('{"Key": "a", "LastModified": 1e99}', "seconds since 1970, a number, not 1e"),
        ('{"Key": 1, "LastModified": 1}', "Key must be a string, not 1"),
    ],
)
def test_near_miss_says_what_is_wrong(text: str, says: str) -> None:
    """What has the old form but for one field is refused, and the message names the field."""
    with pytest.raises(CheckpointFormatError, match=says):
        decode_any_checkpoint(text)
