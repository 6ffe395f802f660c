"""Which checkpoint a tick, or a reset, starts from."""

from __future__ import annotations

from typing import NamedTuple

import dagster as dg

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint
from dagster_s3inc.instance import ResetMarker, SensorAddress, instance_of, newest_reset

__all__ = ["Start", "make_run_key", "next_generation", "start_from", "start_of_tick"]


class Start(NamedTuple):
    """Where a tick starts.

    Attributes:
        checkpoint: What has been handed over, in which generation.
        is_first: Nothing is known of any earlier tick: no cursor, no run, no reset.
    """

    checkpoint: Checkpoint
    is_first: bool = False


def make_run_key(generation: int, batch_id: str, job_name: str | None = None) -> str:
    """`GENERATION:BATCH_ID`, and `:JOB` where a batch goes to several jobs."""
    key = f"{generation}:{batch_id}"
    return key if job_name is None else f"{key}:{job_name}"


def start_of_tick(context: dg.SensorEvaluationContext, sensor_name: str) -> Start:
    """Reads the cursor of an evaluation, and honours a reset. Has no side effects.

    Raises:
        CheckpointFormatError: The cursor cannot be read.
    """
    instance = instance_of(context)
    address = SensorAddress.of_evaluation(context, sensor_name)
    marker = None if instance is None else newest_reset(instance, address)
    return start_from(context.cursor, context.last_run_key, marker)


def start_from(cursor: str | None, last_run_key: str | None, marker: ResetMarker | None) -> Start:
    """Tells where a tick starts that finds these. A pure function.

    A new generation starts if a reset is newer than the newest that the cursor knows of, or if
    the cursor was cleared by hand although a run has been requested.

    Raises:
        CheckpointFormatError: The cursor cannot be read.
    """
    if cursor:
        checkpoint = decode_checkpoint(cursor)
        if marker is None or marker.at <= (checkpoint.reset_seen or ""):
            return Start(checkpoint)
        return Start(_after(checkpoint, marker))
    last = _generation_of(last_run_key)
    if last is None and marker is None:
        return Start(Checkpoint(), is_first=True)
    return Start(_after(Checkpoint(generation=last or 1), marker))


def next_generation(checkpoint: Checkpoint | None, last_run_key: str | None) -> int:
    """The generation that a reset starts.

    Args:
        checkpoint: The stored one; None if there is none that can be read.
        last_run_key: The last run key, which then tells the generation.
    """
    if checkpoint is not None:
        return checkpoint.generation + 1
    return (_generation_of(last_run_key) or 1) + 1


def _after(checkpoint: Checkpoint, marker: ResetMarker | None) -> Checkpoint:
    if marker is None:
        return checkpoint.restarted()
    return checkpoint.restarted(generation=marker.generation, reset_seen=marker.at)


def _generation_of(run_key: str | None) -> int | None:
    generation, colon, _ = (run_key or "").partition(":")
    return int(generation) if colon and generation.isdecimal() else None
