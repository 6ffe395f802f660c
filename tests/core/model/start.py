"""Where a tick starts; stands in for the sensor's own rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.reprocess import Conditions, Reprocess
from tests.core.model.engine import Start
from tests.core.model.requests import Lost, Reset

__all__ = ["start_from"]


def start_from(
    decode: Callable[[str], Checkpoint],
    cursor: str | None,
    last_run_key: str | None,
    resets: Sequence[Reset],
    lost: Lost | None,
) -> Start:
    """Tells where a tick starts that finds these."""
    if lost is not None:
        generation = int(lost.last_run_key.split(":")[0])
        cleared = cursor is None and _generation(last_run_key) == generation
        if not cleared:
            given = lost.row.cursor.text
            start = _start(decode, given, lost.last_run_key, resets)
            if start.checkpoint.generation == generation:
                return Start(decode(given), given, resumes=True)
            return start
    return _start(decode, cursor, last_run_key, resets)


def _start(
    decode: Callable[[str], Checkpoint],
    cursor: str | None,
    last_run_key: str | None,
    resets: Sequence[Reset],
) -> Start:
    if cursor is None:
        newest = resets[-1] if resets else None
        if last_run_key is None and not any(each.what == "everything" for each in resets):
            seen = None if newest is None else newest.at
            return Start(Checkpoint(reset_seen=seen), None, is_first=True)
        return Start(_restarted(Checkpoint(generation=_generation(last_run_key) or 1), newest), None)
    checkpoint = decode(cursor)
    if last_run_key is not None:
        last = tuple(map(int, last_run_key.split(":")[:2]))
        if last >= (checkpoint.generation, checkpoint.sequence):
            checkpoint = checkpoint.behind(generation=last[0], sequence=last[1])
    waiting = [each for each in resets if each.at > (checkpoint.reset_seen or "")]
    if any(each.what == "everything" for each in waiting):
        return Start(_restarted(checkpoint, waiting[-1]), cursor)
    if not waiting or checkpoint.reprocess is not None:
        return Start(checkpoint, cursor)
    if waiting[0].what == "failed":
        return Start(checkpoint, cursor, retries=waiting[0])
    if waiting[0].what == "accept_listed":
        reprocess = Reprocess(accepts=True)
    else:
        reprocess = Reprocess(conditions=Conditions(prefix=waiting[0].prefix))
    return Start(checkpoint.reprocessing(reprocess, reset_seen=waiting[0].at), cursor)


def _restarted(checkpoint: Checkpoint, reset: Reset | None) -> Checkpoint:
    if reset is None:
        return checkpoint.restarted()
    return checkpoint.restarted(generation=reset.generation, reset_seen=reset.at)


def _generation(run_key: str | None) -> int | None:
    return None if run_key is None else int(run_key.split(":")[0])
