from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.cursor_format import encode_checkpoint
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.objects import Position
from dagster_s3inc.errors import CheckpointFormatError, CheckpointVersionError
from dagster_s3inc.processor.document import CheckpointDocument

MOMENT = datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc)
ONE = Checkpoint(generation=3, watermark=Position(MOMENT, "k"), recent=frozenset({1, 2**63}))
TWO = Checkpoint(sequence=7, emitted=Digest.of(range(9)), reset_seen="x")


def test_each_storage_class_has_an_account() -> None:
    """What is written for a class is read for it; a class that was never asked for has nothing."""
    document = CheckpointDocument().with_account("STANDARD", ONE).with_account(None, TWO)
    again = CheckpointDocument.read(document.encoded())
    assert again.account("STANDARD") == ONE
    assert again.account(None) == TWO
    assert again.account("GLACIER") is None
    assert json.loads(document.encoded()).keys() == {"version", "storage_classes"}


def test_account_is_written_as_it_was() -> None:
    """An account that is read and encoded again is the same text, as a scanner's index needs it."""
    document = CheckpointDocument().with_account("STANDARD", ONE).with_account("", TWO)
    for storage_class, checkpoint in (("STANDARD", ONE), (None, TWO)):
        read = CheckpointDocument.read(document.encoded()).account(storage_class)
        assert encode_checkpoint(read or Checkpoint()) == encode_checkpoint(checkpoint)


def test_other_accounts_stay_as_they_are() -> None:
    """An account that this release cannot read hinders no other, and is kept to the letter."""
    text = '{"version": 2, "storage_classes": {"GLACIER": {"version": 99, "later": [1]}}}'
    document = CheckpointDocument.read(text).with_account("STANDARD", ONE)
    again = CheckpointDocument.read(document.encoded())
    assert again.accounts["GLACIER"] == {"version": 99, "later": [1]}
    assert again.account("STANDARD") == ONE
    with pytest.raises(CheckpointVersionError, match="of version 99"):
        again.account("GLACIER")


def test_restart_starts_every_account_over() -> None:
    """A restart begins the next generation of each account, and of one at least."""
    document = CheckpointDocument().with_account("STANDARD", ONE).with_account(None, TWO)
    restarted = document.restarted()
    assert restarted.account("STANDARD") == Checkpoint(generation=4)
    assert restarted.account(None) == Checkpoint(generation=2, reset_seen="x")
    nothing = CheckpointDocument()
    texts = {each.encoded() for each in (nothing.restarted(), nothing.restarted().restarted())}
    assert len(texts | {nothing.encoded()}) == 3
    unreadable = CheckpointDocument({"": {"version": 99}})
    assert unreadable.restarted().account(None) == Checkpoint(generation=2)


@pytest.mark.parametrize("seconds", ["1714979289", "1714979289.0"])
@pytest.mark.parametrize("storage_class", ["STANDARD", None])
def test_old_format_becomes_a_watermark(seconds: str, storage_class: str | None) -> None:
    """The last object of the old form is the watermark of the class that is asked for."""
    old = f'{{"Key": "in/x", "LastModified": {seconds}, "last_ingestion_run": "2024-05-06"}}'
    document = CheckpointDocument.read(old, storage_class)
    expected = Checkpoint(watermark=Position(MOMENT, "in/x"), total=None)
    assert document.account(storage_class) == expected
    assert document.account("GLACIER") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is empty"),
        ("{", "it is not JSON"),
        ("[]", "no field 'version'"),
        ("{}", "no field 'version'"),
        ('{"Key": "a"}', "no field 'version'"),
        ('{"version": 2}', "no field 'storage_classes', so it may be a sensor's cursor"),
        ('{"version": 2, "storage_classes": []}', "no field 'storage_classes'"),
        ('{"Key": "a", "LastModified": "2024-05-06T07:08:09Z"}', "seconds since 1970, a number"),
        ('{"Key": "a", "LastModified": null}', "seconds since 1970, a number, not None"),
        ('{"Key": "a", "LastModified": 1e99}', "seconds since 1970, a number, not 1e"),
        ('{"Key": 1, "LastModified": 1}', "Key must be a string, not 1"),
    ],
)
def test_what_is_of_neither_form_is_refused(text: str, says: str) -> None:
    """What cannot be read is refused, and not taken for a first start; the message says why."""
    with pytest.raises(CheckpointFormatError, match="cannot be read") as raised:
        CheckpointDocument.read(text)
    assert says in str(raised.value)
    assert "call reset_checkpoint() on a processor" in str(raised.value)


@pytest.mark.parametrize("version", ["1", "3", "true", '"2"'])
def test_unknown_version_is_refused(version: str) -> None:
    """A document of another version is an error that names both versions."""
    with pytest.raises(CheckpointVersionError, match="reads version 2"):
        CheckpointDocument.read(f'{{"version": {version}, "storage_classes": {{}}}}')
