"""The serialized form of a checkpoint, which is the sensor's cursor.

A public contract: one line of ASCII JSON that starts with the fields which a person can read,
versioned, and bounded. Identities are packed into 8 bytes each and written in base64.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from dagster_s3inc.core.checkpoint import Checkpoint, Pass
from dagster_s3inc.core.objects import Position, format_time, parse_time
from dagster_s3inc.core.redo import Conditions, Redo
from dagster_s3inc.core.sketch import Sketch
from dagster_s3inc.errors import CheckpointFormatError, CheckpointVersionError

__all__ = ["VERSION", "decode_checkpoint", "encode_checkpoint"]

VERSION: Final = 1

_IDENTITY_BYTES: Final = 8
_START_OVER: Final = (
    "It was left as it is. To start over, with every file processed again: launch the sensor's "
    "reset job, or call reset_checkpoint() on a processor"
)


def encode_checkpoint(checkpoint: Checkpoint) -> str:
    """Writes a checkpoint as one line of ASCII JSON; equal checkpoints give equal text."""
    document = {
        "version": VERSION,
        "generation": checkpoint.generation,
        "floor": checkpoint.floor and _write_position(checkpoint.floor),
        "recent": _pack(checkpoint.recent),
        "settled": _write_sketch(checkpoint.settled),
        "wanted": _pack(checkpoint.wanted),
        "pass": checkpoint.unfinished and _write_pass(checkpoint.unfinished),
        "redo": checkpoint.redo and _write_redo(checkpoint.redo),
        "selection": checkpoint.selection,
        "overflows": checkpoint.overflows,
        "origin": checkpoint.origin,
        "reset_seen": checkpoint.reset_seen,
    }
    return json.dumps(document, separators=(",", ":"))


def decode_checkpoint(text: str) -> Checkpoint:
    """Reads what `encode_checkpoint` wrote.

    Raises:
        CheckpointVersionError: It is of a version that this release does not know.
        CheckpointFormatError: It is no checkpoint, or a damaged one. Both say how to start over.
    """
    if not text.strip():
        _refuse("it is empty")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        _refuse(f"it is no JSON: {text[:60]!r}")
    if not isinstance(document, dict) or "version" not in document:
        _refuse(f"it has no field 'version': {text[:60]!r}")
    if document["version"] is True or document["version"] != VERSION:
        raise CheckpointVersionError(
            f"The stored checkpoint is of version {document['version']!r}; this release of "
            f"dagster_s3inc reads version {VERSION}. {_START_OVER}, or install the release that "
            f"wrote it."
        )
    return Checkpoint(
        generation=_read_count(document, "generation", least=1),
        floor=_read_position(document.get("floor")),
        recent=_unpack(document, "recent"),
        settled=_read_sketch(document, "settled"),
        wanted=_unpack(document, "wanted"),
        unfinished=_read_pass(document.get("pass")),
        redo=_read_redo(document.get("redo")),
        selection=_read_text(document, "selection"),
        overflows=_read_count(document, "overflows", least=0),
        origin=None if document.get("origin") is None else _read_count(document, "origin", least=1),
        reset_seen=_read_text(document, "reset_seen"),
    )


def _write_pass(unfinished: Pass) -> dict[str, Any]:
    return {
        "began": format_time(unfinished.began),
        "horizon": format_time(unfinished.horizon),
        **_write_key("after", unfinished.after),
        "objects": unfinished.objects,
        "listed": _write_sketch(unfinished.listed),
        "met": _pack(unfinished.met),
        "adopts": unfinished.adopts,
    }


def _read_pass(value: Any) -> Pass | None:
    if value is None:
        return None
    try:
        began, horizon = parse_time(value["began"]), parse_time(value["horizon"])
        after, adopts = _read_key("after", value), value["adopts"]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        _refuse(f"its pass is {str(value)[:200]!r}")
    if not isinstance(adopts, bool):
        _refuse(f"the adopts of its pass is {adopts!r}")
    listed, met = _read_sketch(value, "listed"), _unpack(value, "met")
    return Pass(
        began=began,
        horizon=horizon,
        after=after,
        objects=_read_count(value, "objects", least=0),
        listed=listed,
        met=met,
        adopts=adopts,
    )


def _write_redo(redo: Redo) -> dict[str, Any]:
    return {
        "conditions": redo.conditions.written(),
        **_write_key("after", redo.after),
        "whole": redo.whole,
    }


def _read_redo(value: Any) -> Redo | None:
    if value is None:
        return None
    try:
        conditions = Conditions.read(value["conditions"])
        after, whole = _read_key("after", value), value["whole"]
    except (KeyError, TypeError, ValueError, OverflowError):
        _refuse(f"its redo is {str(value)[:200]!r}")
    if not isinstance(whole, bool):
        _refuse(f"the whole of its redo is {whole!r}")
    return Redo(conditions=conditions, after=after, whole=whole)


def _write_position(position: Position) -> dict[str, str]:
    return {
        "last_modified": format_time(position.last_modified),
        **_write_key("key", position.key),
    }


def _read_position(value: Any) -> Position | None:
    if value is None:
        return None
    try:
        return Position(parse_time(value["last_modified"]), _read_key("key", value))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        _refuse(f"its floor is {value!r}")


def _write_key(field: str, key: str) -> dict[str, str]:
    packed = b64encode(key.encode("utf-8", "surrogatepass")).decode("ascii")
    # A key of control characters takes six times its length in JSON; the cursor is bounded.
    return {field: key} if len(json.dumps(key)) <= len(packed) else {f"{field}_base64": packed}


def _read_key(field: str, document: dict[str, Any]) -> str:
    """Reads what `_write_key` wrote, or raises `KeyError`, `TypeError` or `ValueError`."""
    packed = document.get(f"{field}_base64")
    if packed is not None:
        return b64decode(packed, validate=True).decode("utf-8", "surrogatepass")
    key = document[field]
    if not isinstance(key, str):
        raise TypeError(key)
    return key


def _read_count(document: dict[str, Any], field: str, *, least: int) -> int:
    value = document.get(field, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        _refuse(f"its {field} is {value!r}")
    return value


def _read_text(document: dict[str, Any], field: str) -> str | None:
    value = document.get(field)
    if not isinstance(value, str | None):
        _refuse(f"its {field} is {value!r}")
    return value


def _write_sketch(sketch: Sketch | None) -> str:
    return "" if sketch is None else b64encode(sketch.to_bytes()).decode("ascii")


def _read_sketch(document: dict[str, Any], field: str) -> Sketch | None:
    value = document.get(field)
    try:
        return Sketch.from_bytes(b64decode(value, validate=True)) if value else None
    except (TypeError, ValueError, binascii.Error):
        _refuse(f"its field {field!r} is damaged")


def _pack(identities: Iterable[int]) -> str:
    packed = b"".join(each.to_bytes(_IDENTITY_BYTES, "big") for each in sorted(identities))
    return b64encode(packed).decode("ascii")


def _unpack(document: dict[str, Any], field: str) -> frozenset[int]:
    try:
        packed = b64decode(document.get(field), validate=True)  # type: ignore[arg-type] # checked
    except (TypeError, ValueError, binascii.Error):
        _refuse(f"its field {field!r} is no base64")
    if len(packed) % _IDENTITY_BYTES:
        _refuse(f"its field {field!r} is cut short")
    return frozenset(
        int.from_bytes(packed[start : start + _IDENTITY_BYTES], "big")
        for start in range(0, len(packed), _IDENTITY_BYTES)
    )


def _refuse(why: str) -> NoReturn:
    raise CheckpointFormatError(
        f"The stored checkpoint cannot be read: {why}. Was it edited by hand, cut short, or "
        f"written by something else? {_START_OVER}."
    )
