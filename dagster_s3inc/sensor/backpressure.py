"""How many batches may be requested, given those that are in flight and those that failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final, Literal, NamedTuple

import dagster as dg
from dagster import DagsterRunStatus

from dagster_s3inc.core.words import count
from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.runs.run_requests import (
    BATCH_ID_TAG,
    GENERATION_TAG,
    RESET_TAG,
    SEQUENCE_TAG,
)
from dagster_s3inc.runs.states import UNFINISHED, failed_batches, records_with, tags_of

__all__ = ["Backpressure", "Gate", "OnFailure"]

OnFailure = Literal["continue", "halt"]

# A run is launched right after it was created. One that was not, because the daemon or the
# launcher failed in between, may never be.
_LAUNCHED_WITHIN: Final = timedelta(minutes=5)

_RUNS_NAMED: Final = 3


class Gate(NamedTuple):
    """What a tick may request.

    Attributes:
        max_batches: The most batches; None means no bound.
        messages: Why it may request less or nothing, and what to do about it.
    """

    max_batches: int | None = None
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backpressure:
    """Holds batches back, by the state of the runs in the instance.

    Attributes:
        source: The URI that is scanned.
        max_in_flight: The most batches requested and not finished; None means no bound.
        on_failure: Whether a batch that failed stops those that would follow.
    """

    source: str
    max_in_flight: int | None = None
    on_failure: OnFailure = "continue"

    def gate(
        self,
        instance: dg.DagsterInstance | None,
        address: SensorAddress,
        generation: int,
        *,
        reset: str | None = None,
    ) -> Gate:
        """How many batches may be requested now.

        Args:
            instance: Knows the runs; None in a unit test, in which nothing is held back.
            address: The sensor whose runs count.
            generation: Failures in others do not matter.
            reset: The moment of a reset of failed batches that is being honoured: of failures,
                only those of the runs that it asked for matter.
        """
        if instance is None:
            return Gate()
        if self.on_failure == "halt":
            tags = tags_of(self.source, address, generation)
            if reset is not None:
                tags = {**tags, RESET_TAG: reset}
            for failed in failed_batches(instance, tags, unless=[DagsterRunStatus.SUCCESS]):
                if not failed.is_skipped:
                    return Gate(0, (_describe_halt(failed.newest),))
        if self.max_in_flight is None:
            return Gate()
        return self._below_max_in_flight(instance, address, self.max_in_flight)

    def _below_max_in_flight(
        self, instance: dg.DagsterInstance, address: SensorAddress, most: int
    ) -> Gate:
        batches: dict[tuple[str | None, ...], str] = {}
        stranded: list[str] = []
        launched_by = datetime.now(timezone.utc) - _LAUNCHED_WITHIN
        filters = dg.RunsFilter(tags=tags_of(self.source, address), statuses=UNFINISHED)
        for record in records_with(instance, filters):
            run = record.dagster_run
            if run.status == DagsterRunStatus.NOT_STARTED and record.create_timestamp < launched_by:
                stranded.append(run.run_id)
                continue
            batch = tuple(map(run.tags.get, (GENERATION_TAG, SEQUENCE_TAG, BATCH_ID_TAG)))
            batches[batch if batch[-1] else (run.run_id,)] = run.run_id
        messages = []
        if stranded:
            messages.append(
                f"{count(len(stranded), 'run was', 'runs were')} created more than "
                f"{_LAUNCHED_WITHIN // timedelta(minutes=1)} minutes ago and never launched: "
                f"{_named(stranded)}. They do not count as in flight. Delete them, and launch the "
                f"reset job if their files are to be processed"
            )
        free = most - len(batches)
        if free > 0:
            return Gate(free, tuple(messages))
        messages.append(
            f"Nothing is requested now: {count(len(batches), 'batch is', 'batches are')} in "
            f"flight ({_named(list(batches.values()))}), and max_in_flight is {most}"
        )
        return Gate(0, tuple(messages))


def _named(run_ids: Sequence[str]) -> str:
    """The oldest of these runs, which are given newest first."""
    shown = ", ".join(run_ids[: -_RUNS_NAMED - 1 : -1])
    more = len(run_ids) - _RUNS_NAMED
    runs = "run" if len(run_ids) == 1 else "runs"
    return f"{runs} {shown}" + (f" and {more:,} more" if more > 0 else "")


def _describe_halt(run: dg.DagsterRun) -> str:
    what = "was cancelled" if run.status == DagsterRunStatus.CANCELED else "failed"
    return (
        f"Halted: batch {run.tags.get(BATCH_ID_TAG)} {what} in run {run.run_id} of job "
        f"{run.job_name}, and on_failure is 'halt'. Nothing is requested until a re-execution of "
        f"that run succeeds, or the failed batch is skipped with the reset job (skip_failed)"
    )
