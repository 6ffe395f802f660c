"""Where a tick starts: which checkpoint, made from which cursor, and what comes before a scan.

Example. The stored cursor is of generation 3 and sequence 8:

    last run key   resets since    the tick starts
    3:7:…          none            where the last one ended
    3:7:…          everything      generation 4, with nothing emitted
    3:7:…          matching        in generation 3, and reprocesses what the reset names
    3:9:…          none            in generation 3 at sequence 10: the cursor was set back by hand
    3:9:…, and a tick that emitted sequence 9 was lost: with what that tick decided

An empty cursor beside a last run key was cleared by hand, which starts everything over.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import dagster as dg

from dagster_s3inc.core.checkpoint import Checkpoint, Reprocess
from dagster_s3inc.core.cursor_format import decode_checkpoint
from dagster_s3inc.core.filters import Conditions
from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.errors import ResetError
from dagster_s3inc.runs.reset_requests import (
    ACCEPT_LISTED,
    EVERYTHING,
    FAILED,
    MATCHING,
    ResetRequest,
    reset_requests,
)
from dagster_s3inc.runs.run_requests import parse_run_key
from dagster_s3inc.sensor.recovery import Decision, Stored, lost_decision

__all__ = ["Start", "next_generation", "start_from", "start_of_tick"]


class Start(NamedTuple):
    """Where a tick starts.

    Attributes:
        checkpoint: What has been emitted.
        given: The text of the cursor that it was made from; None at the beginning of a generation.
        is_first: Nothing is known of any earlier tick: no cursor, no run, no reset.
        retry: A reset by which failed batches are requested again before anything else; the
            checkpoint has not seen it yet.
        lost: What an earlier tick decided and did not carry out to its end. It comes before
            anything else; the checkpoint is the one that it decided on.
        was_set_back: Somebody replaced the cursor by an older one.
    """

    checkpoint: Checkpoint
    given: str | None = None
    is_first: bool = False
    retry: ResetRequest | None = None
    lost: Decision | None = None
    was_set_back: bool = False

    def after_retry(self) -> Start:
        """Where a tick starts once no failed batch is left to be requested again."""
        if self.retry is None:
            return self
        checkpoint = replace(self.checkpoint, reset_seen=self.retry.at)
        return self._replace(checkpoint=checkpoint, retry=None)


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
    return start_from(cursor, last_run_key, reset_requests(instance, address), lost)


def start_from(
    cursor: str | None,
    last_run_key: str | None,
    resets: Sequence[ResetRequest],
    lost: Decision | None = None,
) -> Start:
    """Where a tick starts that finds these. A pure function.

    Args:
        cursor: The stored one.
        last_run_key: That of the last run that the sensor requested; None in a dry run.
        resets: Oldest first. Those that the cursor has not seen are honoured: one of everything
            at once, and it makes those before it needless; the others one after the other.
        lost: What the sensor decided later than what is stored. It takes the place of what is
            stored, unless somebody has cleared the cursor since: then it is of the generation of
            the last run that is stored.

    Raises:
        CheckpointFormatError: The cursor cannot be read.
        ResetError: A reset is of a kind that this release does not know.
    """
    for each in resets:
        if each.what not in (EVERYTHING, MATCHING, FAILED, ACCEPT_LISTED):
            raise ResetError(
                f"The reset of {each.at} is of a kind that this release of dagster_s3inc does "
                f"not know: {each.what!r}. Install the release that made it, or delete its run."
            )
    if lost is not None:
        generation = _generation_of(lost.last_run_key)
        was_cleared = not cursor and generation == _generation_of(last_run_key)
        last_run_key = lost.last_run_key
        if not was_cleared:
            start = start_from(lost.cursor, last_run_key, resets)
            if start.checkpoint.generation == generation:
                return Start(decode_checkpoint(lost.cursor), lost.cursor, lost=lost)
            return start
    if not cursor:
        return _without_cursor(_generation_of(last_run_key), resets)
    checkpoint, last = decode_checkpoint(cursor), parse_run_key(last_run_key)
    was_set_back = last is not None and last[:2] >= (checkpoint.generation, checkpoint.sequence)
    if last is not None and was_set_back:
        checkpoint = checkpoint.behind(generation=last.generation, sequence=last.sequence)
    start = Start(checkpoint, cursor, was_set_back=was_set_back)
    return _honoured(start, [each for each in resets if each.at > (checkpoint.reset_seen or "")])


def _honoured(start: Start, resets: Sequence[ResetRequest]) -> Start:
    """The start after as many of these resets, which wait, as can be honoured at once."""
    for index in range(len(resets) - 1, -1, -1):
        if resets[index].what == EVERYTHING:
            restarted = start.checkpoint.restarted(
                generation=resets[index].generation, reset_seen=resets[index].at
            )
            start, resets = Start(restarted), resets[index + 1 :]
            break
    for each in resets:
        if start.checkpoint.reprocess is not None:
            break
        if each.what == FAILED:
            return start._replace(retry=each)
        start = start._replace(checkpoint=_reprocessing(start.checkpoint, each))
    return start


def _reprocessing(checkpoint: Checkpoint, reset: ResetRequest) -> Checkpoint:
    if reset.what == ACCEPT_LISTED:
        # Also before anything was emitted: the beginning is adopted then.
        return replace(checkpoint, reset_seen=reset.at, reprocess=Reprocess(accepts=True))
    conditions = Conditions.read(json.loads(reset.conditions))
    return checkpoint.reprocessing(Reprocess(conditions=conditions), reset_seen=reset.at)


def _without_cursor(last: int | None, resets: Sequence[ResetRequest]) -> Start:
    begun = [each for each in resets if each.what == EVERYTHING]
    seen = resets[-1].at if resets else None
    if last is None and not begun:
        # Nothing has been emitted that could be emitted again, so other resets have nothing to do.
        return Start(Checkpoint(reset_seen=seen), is_first=True)
    generation = max((each.generation for each in begun), default=None)
    return Start(Checkpoint(generation=last or 1).restarted(generation=generation, reset_seen=seen))


def next_generation(checkpoint: Checkpoint | None, last_run_key: str | None) -> int:
    """The generation that a reset of everything starts.

    Args:
        checkpoint: The stored one; None if there is none that can be read.
        last_run_key: The last run key, which then gives the generation.
    """
    stored = 1 if checkpoint is None else checkpoint.generation
    return max(stored, _generation_of(last_run_key) or 1) + 1


def _generation_of(run_key: str | None) -> int | None:
    key = parse_run_key(run_key)
    return None if key is None else key.generation
