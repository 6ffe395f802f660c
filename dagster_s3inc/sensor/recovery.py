"""What an earlier tick decided, where its cursor was not stored.

Dagster writes down what a tick requests, and the cursor that goes with it, before it submits the
first run. The cursor that the next tick is given is stored last. Where the daemon is killed between
the end of a tick and that moment, or could not submit all runs and gave up, the next tick is given
the cursor before. It would find the same batches, whose run keys Dagster knows and skips; but not
the one in which a file has been overwritten or deleted since. That batch has another key, and its
other files would be emitted twice. So what was decided and carried out, even in part, stands. It is
read back from where it was written down.

Example. A tick requested the batches a, b and c, and the daemon was killed:

    runs that exist   the next tick requests
    none              whatever it finds: nothing of the decision was carried out
    a                 b and c, with the cursor that belongs to them
    a, b and c        c once more: Dagster skips it, and stores its key as the last run key

What failed although all its runs exist had more to request than Dagster takes; it is decided anew.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import dagster as dg

from dagster_s3inc.dagster_internals import SensorAddress, TickStatus, earlier_ticks
from dagster_s3inc.runs.run_requests import BATCH_ID_TAG
from dagster_s3inc.runs.states import runs_by_key

__all__ = ["Decision", "Stored", "lost_decision"]

# The error of a tick whose run requests Dagster dropped in part, because they were too large.
_TOO_LARGE: Final = "DagsterRunTooLargeError"


class Decision(NamedTuple):
    """What a tick decided.

    Attributes:
        cursor: What was to be stored.
        last: The last run that it requested.
        left: What it requested and Dagster did not launch.
        begun: The ids of the batches of which another run was launched, that of another job.
    """

    cursor: str
    last: dg.RunRequest
    left: tuple[dg.RunRequest, ...] = ()
    begun: frozenset[str] = frozenset()

    @property
    def last_run_key(self) -> str | None:
        """Of the last run that it requested."""
        return self.last.run_key


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
        last = requests[-1]
        if last.run_key is None or last.run_key == stored.last_run_key or not cursor:
            return None
        if tick.status == TickStatus.SUCCESS:
            return Decision(cursor, last)
        keys = [each.run_key for each in requests if each.run_key is not None]
        runs = runs_by_key(instance, address, keys)
        # Asked for once more, a run that was created and not launched is launched.
        left = [each for each in requests if not _is_launched(runs.get(each.run_key or ""))]
        error = tick.error.cls_name if tick.error is not None else None
        if not runs or (not left and error == _TOO_LARGE):
            continue
        begun = (run.tags.get(BATCH_ID_TAG, "") for run in runs.values() if _is_launched(run))
        return Decision(cursor, last, tuple(left), frozenset(begun))
    return None


def _is_launched(run: dg.DagsterRun | None) -> bool:
    return run is not None and run.status != dg.DagsterRunStatus.NOT_STARTED
