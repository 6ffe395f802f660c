"""All that a scan needs to know about the past, and its serialized form.

Two sentences define it:

    Every object at or below `floor` has been handed over or passed by.
    Above `floor`, exactly the objects in `recent` have been handed over.

The serialized form is a public contract: JSON that starts with the fields which a person can
read, versioned, and bounded: at most `RECENT_LIMIT` identities of 8 bytes, and one key.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn

from dagster_s3inc.core.objects import Position, format_time, parse_time
from dagster_s3inc.errors import CheckpointFormatError, CheckpointVersionError

__all__ = ["RECENT_LIMIT", "VERSION", "Checkpoint", "decode_checkpoint", "encode_checkpoint"]

VERSION: Final = 1

RECENT_LIMIT: Final = 1200
"""The most identities kept above the floor: 12.8 KB of base64 in a cursor of at most 32 KB, the
rest of which is for the longest possible key and for the sketch of what lies below the floor."""

_IDENTITY_BYTES: Final = 8
_START_OVER: Final = (
    "It was left as it is. To start over, with every file processed again: launch the sensor's "
    "reset job, or call reset_checkpoint() on a processor"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What has been handed over. A value: every change makes a new one.

    Attributes:
        generation: Counts the beginnings, from 1. A reset adds one.
        floor: Everything at or below this position is done with. None before the first object.
        recent: The identities of the objects above the floor that have been handed over.
        reset_seen: The moment (ISO 8601, UTC) of the newest reset that this checkpoint knows of.
    """

    generation: int = 1
    floor: Position | None = None
    recent: frozenset[int] = frozenset()
    reset_seen: str | None = None

    def restarted(
        self, *, generation: int | None = None, reset_seen: str | None = None
    ) -> Checkpoint:
        """The checkpoint that begins a later generation: nothing in it has been handed over.

        Args:
            generation: At least this one; by default the next.
            reset_seen: The moment of the reset that is honoured; by default as it was.
        """
        following = self.generation + 1
        return Checkpoint(
            generation=max(following, generation or following),
            reset_seen=reset_seen or self.reset_seen,
        )

    def advanced(self, floor: Position | None, recent: Iterable[int]) -> Checkpoint:
        """The same generation, further on."""
        return replace(self, floor=floor, recent=frozenset(recent))


def encode_checkpoint(checkpoint: Checkpoint) -> str:
    """Writes a checkpoint as one line of ASCII JSON; equal checkpoints give equal text."""
    floor = checkpoint.floor
    document = {
        "version": VERSION,
        "generation": checkpoint.generation,
        "floor": floor and {"last_modified": format_time(floor.last_modified), "key": floor.key},
        "recent": _pack(checkpoint.recent),
        # Part of the format, and empty as long as no sketch and no pass is kept.
        "settled": "",
        "wanted": "",
        "pass": None,
        "reset_seen": checkpoint.reset_seen,
    }
    return json.dumps(document, separators=(",", ":"))


def decode_checkpoint(text: str) -> Checkpoint:
    """Reads what `encode_checkpoint` wrote.

    Raises:
        CheckpointVersionError: It is of a version that this release does not know.
        CheckpointFormatError: It is no checkpoint, or a damaged one. Both say how to start over.
    """
    try:
        document = json.loads(text)
    except ValueError:
        _refuse(f"it is no JSON: {text[:60]!r}")
    if not isinstance(document, dict) or "version" not in document:
        _refuse(f"it has no field 'version': {text[:60]!r}")
    if document["version"] != VERSION:
        raise CheckpointVersionError(
            f"The stored checkpoint is of version {document['version']!r}; this release of "
            f"dagster_s3inc reads version {VERSION}. {_START_OVER}, or install the release that "
            f"wrote it."
        )
    if document.get("settled") or document.get("wanted") or document.get("pass"):
        raise CheckpointVersionError(
            f"The stored checkpoint uses fields that a later release of dagster_s3inc wrote. "
            f"{_START_OVER}, or install that release."
        )
    generation = document.get("generation")
    if isinstance(generation, bool) or not isinstance(generation, int) or generation < 1:
        _refuse(f"its generation is {generation!r}")
    reset_seen = document.get("reset_seen")
    if not isinstance(reset_seen, str | None):
        _refuse(f"its reset_seen is {reset_seen!r}")
    return Checkpoint(
        generation=generation,
        floor=_read_floor(document.get("floor")),
        recent=_unpack(document.get("recent")),
        reset_seen=reset_seen,
    )


def _read_floor(value: Any) -> Position | None:
    if value is None:
        return None
    try:
        last_modified, key = parse_time(value["last_modified"]), value["key"]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        _refuse(f"its floor is {value!r}")
    if not isinstance(key, str):
        _refuse(f"the key of its floor is {key!r}")
    return Position(last_modified, key)


def _pack(identities: Iterable[int]) -> str:
    packed = b"".join(each.to_bytes(_IDENTITY_BYTES, "big") for each in sorted(identities))
    return b64encode(packed).decode("ascii")


def _unpack(value: Any) -> frozenset[int]:
    try:
        packed = b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        _refuse("its field 'recent' is no base64")
    if len(packed) % _IDENTITY_BYTES:
        _refuse("its field 'recent' is cut short")
    return frozenset(
        int.from_bytes(packed[start : start + _IDENTITY_BYTES], "big")
        for start in range(0, len(packed), _IDENTITY_BYTES)
    )


def _refuse(why: str) -> NoReturn:
    raise CheckpointFormatError(
        f"The stored checkpoint cannot be read: {why}. Was it edited by hand, cut short, or "
        f"written by something else? {_START_OVER}."
    )
