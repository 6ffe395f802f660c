"""Requesting failed batches once more, in a new generation.

Nothing is remembered on the way: what is still to be requested is what failed in the generations
before and has no run in the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import dagster as dg
from dagster import DagsterRunStatus

from dagster_s3inc.batch_runs import (
    UNFINISHED,
    BatchOfJob,
    FailedBatch,
    batch_of,
    failed_batches,
    requested_batch,
    runs_with,
    tags_of,
)
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.words import count
from dagster_s3inc.instance import SensorAddress

__all__ = ["Again", "Retry", "Turn"]

# A batch with such a run has not failed, or not yet.
_HOPEFUL = [DagsterRunStatus.SUCCESS, *UNFINISHED]


class Again(NamedTuple):
    """A batch that is requested once more.

    Attributes:
        batch: The same files as before.
        job_names: The jobs that failed on it; None stands for the only target.
    """

    batch: Batch
    job_names: tuple[str | None, ...]


class Turn(NamedTuple):
    """What one tick requests once more.

    Attributes:
        chosen: In the order in which they were requested before.
        left: How many batches wait for the next ticks.
        unreadable: Runs that failed, but from whose config their batch cannot be told.
    """

    chosen: tuple[Again, ...]
    left: int
    unreadable: tuple[str, ...]

    def describe(self, generation: int) -> str:
        """What a tick says of it, in one line."""
        then = (
            f"{self.left:,} more to come. New files wait until then."
            if self.left
            else "that was all; the next tick looks for new files."
        )
        said = (
            f"Requested again in generation {generation}: "
            f"{count(len(self.chosen), 'failed batch', 'failed batches')}; {then}"
        )
        return f"{said} {self.warning}" if self.unreadable else said

    @property
    def warning(self) -> str:
        """What is to be said of the runs that cannot be read."""
        return (
            f"Not requested again, since their run config is not as the sensor wrote it: runs "
            f"{', '.join(self.unreadable)}. Re-execute these by hand."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Finds the failed batches of a sensor, and what they were made of.

    Attributes:
        source: The URI that is scanned.
        address: The sensor.
        job_names: The jobs that each batch is launched on; None stands for the only target.
        batch_resource_key: The key under which a run finds its batch.
    """

    source: str
    address: SensorAddress
    job_names: Sequence[str | None]
    batch_resource_key: str

    def failed(
        self,
        instance: dg.DagsterInstance,
        generations: Iterable[int],
        *,
        into: int | None = None,
    ) -> list[FailedBatch]:
        """The batches of which all runs failed or were cancelled, the oldest first.

        Those are left out that were skipped on purpose, whose job is none of the sensor's any
        more, and that Dagster itself is about to retry.

        Args:
            instance: Knows the runs.
            generations: Those in which the batches were requested.
            into: Leave out what has been requested in this generation.
        """
        tags = tags_of(self.source, self.address, generations)
        done: set[BatchOfJob] = set()
        if into is not None:
            runs = runs_with(instance, tags_of(self.source, self.address, [into]))
            done = {self._batch_of(run) for run in runs}
        return [
            each
            for each in failed_batches(instance, tags, unless=_HOPEFUL, of=self._batch_of)
            if not (
                each.is_skipped
                or each.newest.is_complete_and_waiting_to_retry
                or each.batch in done
                or each.batch.job_name not in (name or "" for name in self.job_names)
            )
        ]

    def turn(
        self, instance: dg.DagsterInstance, failed: Iterable[FailedBatch], limits: ScanLimits
    ) -> Turn:
        """What of these one tick may request."""
        by_batch: dict[str, list[FailedBatch]] = {}
        for each in failed:
            by_batch.setdefault(each.batch.batch_id, []).append(each)
        chosen: list[Again] = []
        unreadable: list[str] = []
        written, longest = 0, limits.max_request_bytes
        for jobs in by_batch.values():
            batch = self._requested(instance, jobs[0].run_ids[0])
            if batch is None:
                unreadable.append(jobs[0].run_ids[0])
                continue
            written += batch.request_bytes
            too_long = longest is not None and chosen and written > longest
            if len(chosen) == limits.max_batches or too_long:
                break
            chosen.append(Again(batch, tuple(each.batch.job_name or None for each in jobs)))
        left = len(by_batch) - len(chosen) - len(unreadable)
        return Turn(tuple(chosen), left, tuple(unreadable))

    def _requested(self, instance: dg.DagsterInstance, run_id: str) -> Batch | None:
        run = instance.get_run_by_id(run_id)
        return None if run is None else requested_batch(run, self.batch_resource_key)

    def _batch_of(self, run: dg.DagsterRun) -> BatchOfJob:
        batch = batch_of(run)
        # The only target may have had another name.
        return batch._replace(job_name="") if self.job_names == (None,) else batch
