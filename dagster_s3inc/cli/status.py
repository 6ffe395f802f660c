"""A checkpoint, and the sensor that has it, in words and as a document."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from datetime import datetime
from typing import Any, Final

from dagster_s3inc.cli.origin import Origin
from dagster_s3inc.core.checkpoint import Checkpoint, PartialScan, Reprocess
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.objects import Position, format_time
from dagster_s3inc.core.words import count, readable

__all__ = ["checkpoint_document", "describe_status", "members_of", "status_document"]

# Dagster's names, as people say them.
_STATUSES: Final = {
    "RUNNING": "running",
    "STOPPED": "stopped",
    "DECLARED_IN_CODE": "running, as its definition says",
    "STARTED": "under way",
    "SKIPPED": "requested nothing",
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
}


def status_document(origin: Origin) -> dict[str, Any]:
    """The status as a JSON document; its fields are a public contract."""
    accounts, sensor = origin.accounts, origin.sensor
    of_sensor = accounts is None
    return {
        "origin": origin.name,
        "bytes": origin.bytes,
        "checkpoint": (of_sensor or None)
        and origin.checkpoint
        and checkpoint_document(origin.checkpoint),
        "storage_classes": accounts
        and {name: checkpoint_document(each) for name, each in accounts.items()},
        "next_generation": origin.following.generation if of_sensor else None,
        "sensor": sensor
        and {
            **members_of(sensor, "name location repository"),
            "status": "RUNNING" if sensor.status == "DECLARED_IN_CODE" else sensor.status,
            "last_tick": sensor.last_tick
            and members_of(sensor.last_tick, "at status runs message"),
            "newest_reset": origin.newest_reset
            and members_of(origin.newest_reset, "at generation what"),
        },
    }


def checkpoint_document(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as a JSON document; its fields are a public contract."""
    watermark, emitted = checkpoint.watermark, checkpoint.emitted
    partial, reprocess = checkpoint.partial_scan, checkpoint.reprocess
    return {
        **members_of(checkpoint, "generation sequence"),
        "watermark": watermark and members_of(watermark, "last_modified key"),
        **members_of(checkpoint, "recent late"),
        "emitted": emitted
        and {"files": emitted.size, "late_file_capacity": _late_file_capacity(emitted)},
        "total": checkpoint.total and checkpoint.total.files,
        "undecided": checkpoint.undecided,
        "partial_scan": partial and members_of(partial, "began horizon after objects met adopts"),
        "reprocess": reprocess
        and {
            "conditions": reprocess.conditions.written(),
            **members_of(reprocess, "after accepts"),
        },
        **members_of(checkpoint, "reset_seen selection"),
    }


def members_of(value: object, names: str) -> dict[str, Any]:
    """Some attributes for a document, by their names: times as text, of collections the length."""
    members = {name: getattr(value, name) for name in names.split()}
    for name, each in members.items():
        if isinstance(each, datetime):
            members[name] = format_time(each)
        elif isinstance(each, Sized) and not isinstance(each, str):
            members[name] = len(each)
    return members


def describe_status(origin: Origin) -> Iterator[str]:
    """Says what a checkpoint says, and its sensor, in a line each."""
    yield f"{origin.title}: {count(origin.bytes, 'byte')}."
    if origin.sensor is not None:
        yield from _describe_sensor(origin)
    if origin.accounts is not None:
        for name, account in origin.accounts.items():
            yield f"Storage class: {name or 'any that the filter lets through'}."
            yield from _describe(account)
    elif origin.checkpoint is not None:
        yield from _describe(origin.checkpoint)


def _describe_sensor(origin: Origin) -> Iterator[str]:
    sensor, before, after = origin.sensor, origin.checkpoint, origin.following
    assert sensor is not None  # noqa: S101 # the caller has seen it
    yield f"Sensor: {_STATUSES.get(sensor.status, sensor.status)}."
    tick = sensor.last_tick
    if tick is None:
        yield "Last tick: none yet."
    else:
        outcome = tick.message or f"{count(tick.runs, 'run')} requested."
        ended = _STATUSES.get(tick.status, tick.status)
        yield f"Last tick: {format_time(tick.at)}, {ended}: {outcome}"
    if before is None and origin.is_first:
        yield "No cursor yet: the next tick is the first."
    elif before is None:
        yield f"No cursor: it was cleared. The next tick starts generation {after.generation}."
    elif before.generation < after.generation:
        yield f"A reset waits to be honoured: the next tick starts generation {after.generation}."
    elif before.reset_seen != after.reset_seen:
        yield f"A reset of {after.reset_seen} waits to be honoured by the next tick."
    elif before != after:
        yield "The cursor was set back: what came after it is requested again by the next ticks."


def _describe(checkpoint: Checkpoint) -> Iterator[str]:
    yield f"Generation: {checkpoint.generation}, sequence {checkpoint.sequence}."
    yield f"Watermark: {_watermark(checkpoint.watermark)}"
    recent = len(checkpoint.recent)
    yield f"Recent: {count(recent, 'file')} requested above the watermark, remembered one by one."
    if checkpoint.late:
        late = count(len(checkpoint.late), "file")
        yield f"Late: {late} found late at or below the watermark, for the next scan to request."
    else:
        yield "Late: no file that was found late waits."
    yield f"Digest: {_digest(checkpoint)}"
    if checkpoint.total is None:
        yield "Total: not known, since the beginning was adopted or the cursor was set back."
    else:
        yield f"Total: {count(checkpoint.total.files, 'file')} requested in this generation."
    yield f"Partial scan: {_partial_scan(checkpoint.partial_scan)}"
    yield f"Reprocess: {_reprocess(checkpoint.reprocess)}"
    yield f"Undecided: {_undecided(checkpoint.undecided)}"
    seen = checkpoint.reset_seen
    yield "Reset: none honoured yet." if seen is None else f"Reset: the newest honoured is {seen}."


def _watermark(watermark: Position | None) -> str:
    if watermark is None:
        return "none yet; what was requested is remembered one by one."
    moment = format_time(watermark.last_modified)
    # A watermark that has no key lies before every file of its time.
    place = f"up to {moment}, {readable(watermark.key)}," if watermark.key else f"before {moment}"
    return f"every file {place} was requested, but for late and undecided ones."


def _late_file_capacity(digest: Digest) -> int:
    return digest.cells * 2 // 3


def _digest(checkpoint: Checkpoint) -> str:
    emitted = checkpoint.emitted
    if emitted is not None:
        return (
            f"{count(emitted.size, 'file')} requested at or below the watermark; a new process "
            f"tells up to {_late_file_capacity(emitted):,} changes among them apart."
        )
    if checkpoint.watermark is None:
        return "none yet; there is nothing at or below the watermark."
    return "none; the next scan takes what is listed at or below the watermark as requested."


def _partial_scan(partial: PartialScan | None) -> str:
    if partial is None:
        return "none under way."
    place = readable(partial.after) or "the beginning"
    return (
        f"under way since {format_time(partial.began)}; it has listed "
        f"{count(partial.objects, 'object')} up to {place}, and the next tick goes on from there. "
        f"At its end the watermark rises to {format_time(partial.horizon)}."
        + (" What it lists counts as requested." if partial.adopts else "")
    )


def _reprocess(reprocess: Reprocess | None) -> str:
    if reprocess is None:
        return "nothing is requested again."
    if reprocess.accepts:
        return "what is listed at or below the watermark counts as requested after the next scan."
    return (
        f"what was requested and is {reprocess.conditions} is requested again, so far up to "
        f"{readable(reprocess.after) or 'the beginning'}; what is new waits."
    )


def _undecided(files: int) -> str:
    if not files:
        return "none."
    return (
        f"of at most {count(files, 'file')} at or below the watermark it is not known whether they "
        f"were requested, so they wait. To end this, launch the reset job with `matching` (they "
        f"are requested) or `accept_listed` (they count as requested), or call reset_checkpoint() "
        f"on a processor."
    )
