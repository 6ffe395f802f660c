"""What an earlier tick decided, where its cursor was not stored.

Dagster writes down what a tick requests, and the cursor that goes with it, before it submits the
first run. What the next tick is given as cursor is stored last. Where the daemon is killed between
the end of a tick and that moment, or where it could not submit all runs and gave up, the next tick
is given the cursor before. It would find the same batches, whose run keys Dagster knows and skips,
but for one in which a file has been overwritten or deleted since: that one has another key, and
its other files would be handed over twice. So what was decided and carried out, even in part,
stands. It is read back from where it was written ahead.
"""

from __future__ import annotations

from typing import NamedTuple

import dagster as dg

from dagster_s3inc.batch import BATCH_ID_TAG
from dagster_s3inc.batch_runs import runs_by_key
from dagster_s3inc.instance import SensorAddress, TickStatus, earlier_ticks

__all__ = ["Decision", "Stored", "lost_decision"]


class Decision(NamedTuple):
    """What a tick decided.

    Attributes:
        cursor: What was to be stored.
        last_run_key: Of the last run that it requested.
        left: What it requested and Dagster did not launch.
        begun: The ids of the batches of which another run was launched, that of another job.
    """

    cursor: str
    last_run_key: str
    left: tuple[dg.RunRequest, ...] = ()
    begun: frozenset[str] = frozenset()


class Stored(NamedTuple):
    """What Dagster stored when a tick had ended.

    Attributes:
        cursor: The cursor; somebody may have changed it since.
        last_run_key: Of the last run that the sensor requested.
        last_tick: When the last tick began after which this was stored, seconds since the epoch.
    """

    cursor: str | None
    last_run_key: str | None
    last_tick: float | None


def lost_decision(
    instance: dg.DagsterInstance, address: SensorAddress, stored: Stored
) -> Decision | None:
    """What the newest tick that requested runs decided, if Dagster has lost sight of it.

    None in a dry run, which belongs to no tick: it starts from the cursor that the person gives.

    Args:
        instance: Knows the ticks and the runs.
        address: The sensor that is being evaluated.
        stored: What its evaluation is given.
    """
    for tick in earlier_ticks(instance, address):
        requests, cursor = tick.run_requests or (), tick.cursor
        if not requests:
            # A tick that requested nothing began with whatever had been lost before it.
            is_stored = cursor == stored.cursor or tick.timestamp == stored.last_tick
            if tick.status == TickStatus.SKIPPED and cursor and is_stored:
                return None
            continue
        newest = requests[-1].run_key
        if newest is None or newest == stored.last_run_key or not cursor:
            return None
        if tick.status == TickStatus.SUCCESS:
            return Decision(cursor, newest)
        keys = [each.run_key for each in requests if each.run_key is not None]
        runs = runs_by_key(instance, address, keys)
        # Asked for once more, a run that was made and not launched is launched.
        left = [each for each in requests if not _is_launched(runs.get(each.run_key or ""))]
        # What was not begun may be decided anew. So must be what failed although every run is
        # there: it had more to request than Dagster takes.
        if not runs or (not left and tick.status == TickStatus.FAILURE):
            continue
        begun = (run.tags.get(BATCH_ID_TAG, "") for run in runs.values() if _is_launched(run))
        return Decision(cursor, newest, tuple(left), frozenset(begun))
    return None


def _is_launched(run: dg.DagsterRun | None) -> bool:
    return run is not None and run.status != dg.DagsterRunStatus.NOT_STARTED
