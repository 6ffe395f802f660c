"""A checkpoint in words, and as a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagster_s3inc.core.checkpoint import Checkpoint, Pass
from dagster_s3inc.core.objects import Position, format_time
from dagster_s3inc.core.sketch import Sketch
from dagster_s3inc.core.words import count, readable

__all__ = ["describe_checkpoint", "explain"]


def describe_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint as a JSON document; its fields are a public contract."""
    floor, settled, unfinished = checkpoint.floor, checkpoint.settled, checkpoint.unfinished
    redo = checkpoint.redo
    return {
        "generation": checkpoint.generation,
        "floor": floor and {"last_modified": format_time(floor.last_modified), "key": floor.key},
        "recent": len(checkpoint.recent),
        "settled": settled
        and {
            "files": settled.size,
            "cells": settled.cells,
            "tells_apart": _tells_apart(settled),
        },
        "wanted": len(checkpoint.wanted),
        "pass": unfinished
        and {
            "began": format_time(unfinished.began),
            "horizon": format_time(unfinished.horizon),
            "after": unfinished.after,
            "objects": unfinished.objects,
            "met": len(unfinished.met),
            "adopts": unfinished.adopts,
        },
        "redo": redo
        and {
            "conditions": redo.conditions.written(),
            "after": redo.after,
        },
        "overflows": checkpoint.overflows,
        "reset_seen": checkpoint.reset_seen,
        "selection": checkpoint.selection,
    }


def explain(checkpoint: Checkpoint) -> Iterator[str]:
    """Says what a checkpoint says, a line each."""
    yield f"Generation: {checkpoint.generation}."
    yield f"Floor: {_floor(checkpoint.floor)}"
    recent = len(checkpoint.recent)
    yield f"Recent: {count(recent, 'file')} above the floor handed over, remembered one by one."
    yield f"Sketch: {_sketch(checkpoint)}"
    if checkpoint.wanted:
        yield (
            f"Wanted: {count(len(checkpoint.wanted), 'file')} that appeared late at or below the "
            f"floor, to be handed over by the next look."
        )
    else:
        yield "Wanted: no file that appeared late waits."
    yield f"Pass: {_pass(checkpoint.unfinished)}"
    if checkpoint.redo is not None:
        yield (
            f"Redo: what was handed over and is {checkpoint.redo.conditions} is handed over again, "
            f"so far up to {readable(checkpoint.redo.after) or 'its beginning'}; what is new waits."
        )
    yield f"Overflows: {_overflows(checkpoint.overflows)}"
    if checkpoint.reset_seen is None:
        yield "Reset: it knows of none."
    else:
        yield f"Reset: the newest that it knows of is of {checkpoint.reset_seen}."


def _tells_apart(sketch: Sketch) -> int:
    return sketch.cells * 2 // 3


def _floor(floor: Position | None) -> str:
    if floor is None:
        return "none yet; what was handed over is remembered one by one."
    moment = format_time(floor.last_modified)
    # A floor that has no key lies before every file of its time.
    place = f"before {moment}" if not floor.key else f"up to {moment}, {readable(floor.key)},"
    return f"everything {place} is done, but for the wanted."


def _sketch(checkpoint: Checkpoint) -> str:
    settled = checkpoint.settled
    if settled is None and checkpoint.floor is None:
        return "none yet; there is nothing at or below the floor."
    if settled is None:
        return (
            "none; the next look takes what is listed at or below the floor as handed over, and "
            "late files are found from then on."
        )
    return (
        f"{count(settled.size, 'file')} handed over at or below the floor, in {settled.cells:,} "
        f"cells; up to about {_tells_apart(settled):,} that appear late or go from one look to the "
        f"next can be told apart."
    )


def _pass(unfinished: Pass | None) -> str:
    if unfinished is None:
        return "none under way."
    place = readable(unfinished.after) or "its beginning"
    return (
        f"under way since {format_time(unfinished.began)}; it has looked at "
        f"{count(unfinished.objects, 'object')}, as far as {place}, and the next look goes on "
        f"from there. At its end the floor rises to {format_time(unfinished.horizon)}."
        + (" What it finds counts as handed over." if unfinished.adopts else "")
    )


def _overflows(overflows: int) -> str:
    if not overflows:
        return "none in this generation."
    return (
        f"{count(overflows, 'time')} in this generation more files changed at or below the floor "
        f"than the sketch can tell apart. Files that appeared late then were NOT handed over: "
        f"launch the reset job (or call reset_checkpoint() on the processor) to have them "
        f"processed. If it happens often, raise sketch_cells or split the prefix."
    )
