"""The serialized form of a checkpoint, which is the sensor's cursor.

A public contract: one line of ASCII JSON that starts with the fields which a person can read,
versioned, and bounded. Fingerprints are packed into 8 bytes each and written in base64.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Any, Final, NoReturn

from dagster_s3inc.core.checkpoint import Checkpoint, PartialScan, Reprocess, Total
from dagster_s3inc.core.filters import Conditions
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.objects import Position, format_time, parse_time
from dagster_s3inc.errors import CheckpointFormatError, CheckpointVersionError

__all__ = ["VERSION", "decode_checkpoint", "encode_checkpoint"]

VERSION: Final = 2

_FINGERPRINT_BYTES: Final = 8
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
    recent = _unpack(document, "recent")
    return Checkpoint(
        generation=_read_count(document, "generation", least=1),
        sequence=_read_count(document, "sequence", least=0),
        watermark=_read_position(document.get("watermark")),
        undecided=_read_count(document, "undecided", least=0),
        total=_read_total(document.get("total")),
        reset_seen=_read_text(document, "reset_seen"),
        selection=_read_text(document, "selection"),
        reprocess=_read_reprocess(document.get("reprocess")),
        partial_scan=_read_partial_scan(document.get("partial_scan"), recent),
        late=_unpack(document, "late"),
        recent=recent,
        emitted=_read_digest(document, "emitted"),
    )


def _write_total(total: Total) -> dict[str, Any]:
    # As text: readers of JSON elsewhere make floats of numbers that large.
    return {"files": total.files, "checksum": f"{total.checksum:016x}"}


def _read_total(value: Any) -> Total | None:
    if value is None:
        return None
    try:
        checksum = int(value["checksum"], 16)
        if not 0 <= checksum < 2**64:
            raise ValueError(checksum)
        return Total(_read_count(value, "files", least=0), checksum)
    except (KeyError, TypeError, ValueError, AttributeError):
        _refuse(f"its total is {str(value)[:200]!r}")


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
    try:
        began, horizon = parse_time(value["began"]), parse_time(value["horizon"])
        after, adopts, changed = _read_key("after", value), value["adopts"], value["changed"]
        met = _read_bitmap(value["met"], recent)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        _refuse(f"its partial_scan is {str(value)[:200]!r}")
    if not isinstance(adopts, bool) or not isinstance(changed, bool):
        _refuse(f"its partial_scan is {str(value)[:200]!r}")
    return PartialScan(
        began=began,
        horizon=horizon,
        after=after,
        objects=_read_count(value, "objects", least=0),
        listed=_read_digest(value, "listed"),
        met=met,
        adopts=adopts,
        changed=changed,
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
    try:
        conditions = Conditions.read(value["conditions"])
        after = _read_key("after", value)
        in_parts, accepts = value["in_parts"], value["accepts"]
    except (KeyError, TypeError, ValueError, OverflowError):
        _refuse(f"its reprocess is {str(value)[:200]!r}")
    if not isinstance(accepts, bool) or not isinstance(in_parts, bool):
        _refuse(f"its reprocess is {str(value)[:200]!r}")
    return Reprocess(conditions=conditions, after=after, in_parts=in_parts, accepts=accepts)


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
        _refuse(f"its watermark is {value!r}")


def _write_key(field: str, key: str) -> dict[str, str]:
    packed = b64encode(key.encode("utf-8")).decode("ascii")
    # A key of control characters takes six times its length in JSON; the cursor is bounded.
    return {field: key} if len(json.dumps(key)) <= len(packed) + 2 else {f"{field}_base64": packed}


def _read_key(field: str, document: dict[str, Any]) -> str:
    """Reads what `_write_key` wrote, or raises `KeyError`, `TypeError` or `ValueError`."""
    packed = document.get(f"{field}_base64")
    if packed is not None:
        return b64decode(packed, validate=True).decode("utf-8")
    key = document[field]
    if not isinstance(key, str):
        raise TypeError(key)
    # A lone surrogate could not be sent to the server.
    key.encode("utf-8")
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


def _write_digest(digest: Digest | None) -> str:
    return "" if digest is None else b64encode(digest.to_bytes()).decode("ascii")


def _read_digest(document: dict[str, Any], field: str) -> Digest | None:
    value = document.get(field)
    try:
        return Digest.from_bytes(b64decode(value, validate=True)) if value else None
    except (TypeError, ValueError, binascii.Error):
        _refuse(f"its field {field!r} is damaged")


def _pack(fingerprints: Iterable[int]) -> str:
    packed = b"".join(each.to_bytes(_FINGERPRINT_BYTES, "big") for each in sorted(fingerprints))
    return b64encode(packed).decode("ascii")


def _unpack(document: dict[str, Any], field: str) -> frozenset[int]:
    try:
        packed = b64decode(document.get(field), validate=True)  # type: ignore[arg-type] # checked
    except (TypeError, ValueError, binascii.Error):
        _refuse(f"its field {field!r} is not base64")
    if len(packed) % _FINGERPRINT_BYTES:
        _refuse(f"its field {field!r} is cut short")
    return frozenset(
        int.from_bytes(packed[start : start + _FINGERPRINT_BYTES], "big")
        for start in range(0, len(packed), _FINGERPRINT_BYTES)
    )


def _refuse(why: str) -> NoReturn:
    raise CheckpointFormatError(
        f"The stored checkpoint cannot be read: {why}. Was it edited by hand, cut short, or "
        f"written by something else? {_START_OVER}."
    )
