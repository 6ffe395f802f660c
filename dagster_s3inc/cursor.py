"""Which checkpoint a tick, or a reset, starts from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

import dagster as dg

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint
from dagster_s3inc.core.redo import Conditions, Redo
from dagster_s3inc.decision import Decision, Stored, lost_decision
from dagster_s3inc.errors import ResetError
from dagster_s3inc.instance import SensorAddress
from dagster_s3inc.markers import EVERYTHING, FAILED, MATCHING, ResetMarker, resets

__all__ = ["Start", "make_run_key", "next_generation", "start_from", "start_of_tick"]


class Start(NamedTuple):
    """Where a tick starts.

    Attributes:
        checkpoint: What has been handed over, in which generation.
        is_first: Nothing is known of any earlier tick: no cursor, no run, no reset.
        retry: A reset by which failed batches are requested again before anything else; the
            checkpoint is still that before it.
        undone: What an earlier tick decided and did not carry out to its end. It comes before
            anything else; the checkpoint is that which it decided on.
    """

    checkpoint: Checkpoint
    is_first: bool = False
    retry: ResetMarker | None = None
    undone: Decision | None = None

    def after_retry(self) -> Start:
        """Where a tick starts once no failed batch is left to be requested again."""
        if self.retry is None:
            return self
        return Start(_continued(self.checkpoint, self.retry))


def make_run_key(generation: int, batch_id: str, job_name: str | None = None) -> str:
    """`GENERATION:BATCH_ID`, and `:JOB` where a batch goes to several jobs."""
    key = f"{generation}:{batch_id}"
    return key if job_name is None else f"{key}:{job_name}"


def start_of_tick(
    context: dg.SensorEvaluationContext, instance: dg.DagsterInstance | None, address: SensorAddress
) -> Start:
    """Reads the cursor of an evaluation, and honours resets. Has no side effects.

    Args:
        context: The evaluation's.
        instance: Knows the ticks and the resets; None in a unit test that has none.
        address: The sensor that is evaluated.

    Raises:
        CheckpointFormatError: The cursor cannot be read.
        ResetError: A reset is of a kind that this release does not know.
    """
    cursor, last_run_key = context.cursor, context.last_run_key
    if instance is None:
        return start_from(cursor, last_run_key, ())
    stored = Stored(cursor, last_run_key, context.last_tick_completion_time)
    lost = lost_decision(instance, address, stored)
    return start_from(cursor, last_run_key, resets(instance, address), lost)


def start_from(
    cursor: str | None,
    last_run_key: str | None,
    markers: Sequence[ResetMarker],
    lost: Decision | None = None,
) -> Start:
    """Tells where a tick starts that finds these. A pure function.

    A new generation starts if a reset is newer than the newest that the cursor knows of, or if
    the cursor was cleared by hand although a run has been requested. A reset of everything makes
    the others needless that wait with it. Others are honoured one after the other, each when the
    one before it has come to its end.

    Args:
        cursor: The stored one.
        last_run_key: That of the last run that the sensor requested.
        markers: The resets, oldest first.
        lost: What the sensor decided later than what is stored. It takes its place, unless
            somebody has cleared the cursor since: if it is of the generation of what is stored,
            it does not know of that.

    Raises:
        CheckpointFormatError: The cursor cannot be read.
        ResetError: A reset is of a kind that this release does not know.
    """
    if lost is not None:
        generation = _generation_of(lost.last_run_key)
        was_cleared = not cursor and generation == _generation_of(last_run_key)
        start = start_from(cursor if was_cleared else lost.cursor, lost.last_run_key, markers)
        is_due = generation in start.checkpoint.generations
        if lost.left and is_due and not was_cleared:
            return Start(decode_checkpoint(lost.cursor), undone=lost)
        return start
    _require_known(markers)
    if not cursor:
        return _without_cursor(_generation_of(last_run_key), markers)
    checkpoint = decode_checkpoint(cursor)
    waiting = [each for each in markers if each.at > (checkpoint.reset_seen or "")]
    if any(each.what == EVERYTHING for each in waiting):
        return Start(_restarted(checkpoint, waiting[-1]))
    if not waiting or checkpoint.redo is not None:
        return Start(checkpoint)
    if waiting[0].what == FAILED:
        return Start(checkpoint, retry=waiting[0])
    return Start(_continued(checkpoint, waiting[0]))


def _without_cursor(last: int | None, markers: Sequence[ResetMarker]) -> Start:
    newest = markers[-1] if markers else None
    if last is not None or any(each.what == EVERYTHING for each in markers):
        return Start(_restarted(Checkpoint(generation=last or 1), newest))
    if newest is None:
        return Start(Checkpoint(), is_first=True)
    # Nothing has been handed over that could be once more, so the others have nothing to do.
    return Start(_continued(Checkpoint(), newest), is_first=True)


def next_generation(checkpoint: Checkpoint | None, last_run_key: str | None) -> int:
    """The generation that a reset starts.

    Args:
        checkpoint: The stored one; None if there is none that can be read.
        last_run_key: The last run key, which then tells the generation.
    """
    if checkpoint is not None:
        return checkpoint.generation + 1
    return (_generation_of(last_run_key) or 1) + 1


def _restarted(checkpoint: Checkpoint, marker: ResetMarker | None) -> Checkpoint:
    if marker is None:
        return checkpoint.restarted()
    return checkpoint.restarted(generation=marker.generation, reset_seen=marker.at)


def _continued(checkpoint: Checkpoint, marker: ResetMarker) -> Checkpoint:
    redo = None
    if marker.what == MATCHING:
        redo = Redo(conditions=Conditions.read(json.loads(marker.conditions)))
    return checkpoint.continued(generation=marker.generation, reset_seen=marker.at, redo=redo)


def _require_known(markers: Sequence[ResetMarker]) -> None:
    for each in markers:
        if each.what not in (EVERYTHING, MATCHING, FAILED):
            raise ResetError(
                f"The reset of {each.at} is of a kind that this release of dagster_s3inc does "
                f"not know: {each.what!r}. Install the release that made it, or delete its run."
            )


def _generation_of(run_key: str | None) -> int | None:
    generation, colon, _ = (run_key or "").partition(":")
    return int(generation) if colon and generation.isdecimal() else None
