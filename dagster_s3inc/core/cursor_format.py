"""The serialized form of a checkpoint, which is the sensor's cursor.

A public contract: one line of ASCII JSON that starts with the fields which a person can read,
versioned, and bounded. Fingerprints are packed into 8 bytes each and written in base64.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn, TypeVar

import numpy as np

from dagster_s3inc.core.checkpoint import Checkpoint, PartialScan, Reprocess, Total
from dagster_s3inc.core.filters import Conditions
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.objects import Position, format_time, parse_time
from dagster_s3inc.errors import CheckpointFormatError, CheckpointVersionError

__all__ = ["VERSION", "decode_checkpoint", "encode_checkpoint"]

VERSION: Final = 2

_Value = TypeVar("_Value")
_START_OVER: Final = (
    "It was left as it is. To start over, with every file processed again: launch the sensor's "
    "reset job, or call reset_checkpoint() on a processor"
)


def encode_checkpoint(checkpoint: Checkpoint) -> str:
    """Writes a checkpoint as one line of ASCII JSON; equal checkpoints give equal text."""
    document = {
        "version": VERSION,
        "generation": checkpoint.generation,
        "sequence": checkpoint.sequence,
        "watermark": checkpoint.watermark and _write_position(checkpoint.watermark),
        "undecided": checkpoint.undecided,
        "total": checkpoint.total and _write_total(checkpoint.total),
        "reset_seen": checkpoint.reset_seen,
        "selection": checkpoint.selection,
        "reprocess": checkpoint.reprocess and _write_reprocess(checkpoint.reprocess),
        "partial_scan": checkpoint.partial_scan
        and _write_partial_scan(checkpoint.partial_scan, checkpoint.recent),
        "late": _pack(checkpoint.late),
        "recent": _pack(checkpoint.recent),
        "emitted": _write_digest(checkpoint.emitted),
    }
    return json.dumps(document, separators=(",", ":"))


def decode_checkpoint(text: str) -> Checkpoint:
    """Reads what `encode_checkpoint` wrote.

    Raises:
        CheckpointVersionError: It is of a version that this release does not know.
        CheckpointFormatError: It is not a checkpoint, or a damaged one. Both say how to start over.
    """
    if not text.strip():
        _refuse("it is empty")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        _refuse(f"it is not JSON: {text[:60]!r}")
    if not isinstance(document, dict) or "version" not in document:
        _refuse(f"it has no field 'version': {text[:60]!r}")
    if document["version"] is True or document["version"] != VERSION:
        raise CheckpointVersionError(
            f"The stored checkpoint is of version {document['version']!r}; this release of "
            f"dagster_s3inc reads version {VERSION}. {_START_OVER}, or install the release that "
            f"wrote it."
        )

    def read(field: str, reader: Callable[[Any], _Value]) -> _Value:
        value = document.get(field)
        try:
            return reader(value)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            _refuse(f"its {field} is {value!r:.200}")

    recent = read("recent", _unpack)
    return Checkpoint(
        generation=read("generation", lambda value: _whole(value, least=1)),
        sequence=read("sequence", _whole),
        watermark=read("watermark", _read_position),
        undecided=read("undecided", _whole),
        total=read("total", _read_total),
        reset_seen=read("reset_seen", _read_text),
        selection=read("selection", _read_text),
        reprocess=read("reprocess", _read_reprocess),
        partial_scan=read("partial_scan", lambda value: _read_partial_scan(value, recent)),
        late=read("late", _unpack),
        recent=recent,
        emitted=read("emitted", _read_digest),
    )


# A reader raises `KeyError`, `TypeError`, `ValueError`, `AttributeError` or `OverflowError` where a
# value is not what the writer beside it wrote.


def _write_total(total: Total) -> dict[str, Any]:
    # As text: readers of JSON elsewhere make floats of numbers that large.
    return {"files": total.files, "checksum": f"{total.checksum:016x}"}


def _read_total(value: Any) -> Total | None:
    if value is None:
        return None
    checksum = int(value["checksum"], 16)
    if not 0 <= checksum < 2**64:
        raise ValueError(checksum)
    return Total(_whole(value["files"]), checksum)


def _write_partial_scan(partial: PartialScan, recent: frozenset[int]) -> dict[str, Any]:
    return {
        "began": format_time(partial.began),
        "horizon": format_time(partial.horizon),
        **_write_key("after", partial.after),
        "objects": partial.objects,
        "adopts": partial.adopts,
        "changed": partial.changed,
        "met": _write_bitmap(partial.met, recent),
        "listed": _write_digest(partial.listed),
    }


def _read_partial_scan(value: Any, recent: frozenset[int]) -> PartialScan | None:
    if value is None:
        return None
    return PartialScan(
        began=parse_time(value["began"]),
        horizon=parse_time(value["horizon"]),
        after=_read_key("after", value),
        objects=_whole(value["objects"]),
        listed=_read_digest(value["listed"]),
        met=_read_bitmap(value["met"], recent),
        adopts=_flag(value["adopts"]),
        changed=_flag(value["changed"]),
    )


def _write_bitmap(members: frozenset[int], of: frozenset[int]) -> str:
    """Which of a set, in ascending order, are members: one bit for each."""
    bits = "".join("1" if each in members else "0" for each in sorted(of))
    return b64encode(int(f"1{bits}", 2).to_bytes(len(bits) // 8 + 1, "big")).decode("ascii")


def _read_bitmap(text: str, of: frozenset[int]) -> frozenset[int]:
    bits = f"{int.from_bytes(b64decode(text, validate=True), 'big'):b}"[1:]
    if len(bits) != len(of):
        raise ValueError(text)
    return frozenset(each for each, bit in zip(sorted(of), bits, strict=True) if bit == "1")


def _write_reprocess(reprocess: Reprocess) -> dict[str, Any]:
    return {
        "conditions": reprocess.conditions.written(),
        **_write_key("after", reprocess.after),
        "in_parts": reprocess.in_parts,
        "accepts": reprocess.accepts,
    }


def _read_reprocess(value: Any) -> Reprocess | None:
    if value is None:
        return None
    return Reprocess(
        conditions=Conditions.read(value["conditions"]),
        after=_read_key("after", value),
        in_parts=_flag(value["in_parts"]),
        accepts=_flag(value["accepts"]),
    )


def _write_position(position: Position) -> dict[str, str]:
    return {
        "last_modified": format_time(position.last_modified),
        **_write_key("key", position.key),
    }


def _read_position(value: Any) -> Position | None:
    if value is None:
        return None
    return Position(parse_time(value["last_modified"]), _read_key("key", value))


def _write_key(field: str, key: str) -> dict[str, str]:
    packed = b64encode(key.encode("utf-8")).decode("ascii")
    # A key of control characters takes six times its length in JSON; the cursor is bounded.
    return {field: key} if len(json.dumps(key)) <= len(packed) + 2 else {f"{field}_base64": packed}


def _read_key(field: str, document: dict[str, Any]) -> str:
    packed = document.get(f"{field}_base64")
    if packed is not None:
        return b64decode(packed, validate=True).decode("utf-8")
    key = document[field]
    if not isinstance(key, str):
        raise TypeError(key)
    # A lone surrogate could not be sent to the server.
    key.encode("utf-8")
    return key


def _whole(value: Any, *, least: int = 0) -> int:
    value = 0 if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(value)
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(value)
    return value


def _read_text(value: Any) -> str | None:
    if not isinstance(value, str | None):
        raise TypeError(value)
    return value


def _write_digest(digest: Digest | None) -> str:
    return "" if digest is None else b64encode(digest.to_bytes()).decode("ascii")


def _read_digest(value: Any) -> Digest | None:
    return Digest.from_bytes(b64decode(value, validate=True)) if value else None


def _pack(fingerprints: Iterable[int]) -> str:
    return b64encode(np.array(sorted(fingerprints), ">u8").tobytes()).decode("ascii")


def _unpack(value: Any) -> frozenset[int]:
    return frozenset(np.frombuffer(b64decode(value, validate=True), ">u8").tolist())


def _refuse(why: str) -> NoReturn:
    raise CheckpointFormatError(
        f"The stored checkpoint cannot be read: {why}. Was it edited by hand, cut short, or "
        f"written by something else? {_START_OVER}."
    )
