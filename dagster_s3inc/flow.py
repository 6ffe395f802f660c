"""How many batches may go out, given those that are on their way and those that failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import dagster as dg
from dagster import DagsterRunStatus

from dagster_s3inc.batch import BATCH_ID_TAG, GENERATION_TAG
from dagster_s3inc.batch_runs import UNFINISHED, batch_of, failed_batches, runs_with, tags_of
from dagster_s3inc.instance import SensorAddress

__all__ = ["Flow", "Gate", "OnFailure"]

OnFailure = Literal["continue", "halt"]


class Gate(NamedTuple):
    """What a tick may request.

    Attributes:
        max_batches: The most batches; None means as many as ever.
        reason: Why nothing may go out, and what to do about it; None if something may.
    """

    max_batches: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Backpressure and strict order, both read from the runs in the instance.

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
        generations: Iterable[int],
    ) -> Gate:
        """How many batches may go out now.

        Args:
            instance: Knows the runs; None in a unit test, in which everything may go out.
            address: The sensor whose runs count.
            generations: Failures in others do not matter.
        """
        if instance is None:
            return Gate()
        if self.on_failure == "halt":
            tags = tags_of(self.source, address, generations)
            for failed in failed_batches(instance, tags, unless=[DagsterRunStatus.SUCCESS]):
                if not failed.is_skipped:
                    return Gate(0, _halted(failed.newest))
        if self.max_in_flight is None:
            return Gate()
        runs = runs_with(instance, tags_of(self.source, address), UNFINISHED)
        unfinished = {(run.tags.get(GENERATION_TAG), batch_of(run).batch_id) for run in runs}
        free = self.max_in_flight - len(unfinished)
        if free > 0:
            return Gate(free)
        return Gate(0, f"Nothing is requested now: {_in_flight(len(unfinished))} in flight")


def _in_flight(count: int) -> str:
    return "1 batch is" if count == 1 else f"{count} batches are"


def _halted(run: dg.DagsterRun) -> str:
    what = "was cancelled" if run.status == DagsterRunStatus.CANCELED else "failed"
    return (
        f"Halted: batch {run.tags.get(BATCH_ID_TAG)} {what} in run {run.run_id} of job "
        f"{run.job_name}, and on_failure is 'halt'. Nothing is requested until a re-execution of "
        f"that run succeeds, or the failed batch is skipped with the reset job (skip_failed)"
    )
