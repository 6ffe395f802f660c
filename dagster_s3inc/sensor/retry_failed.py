"""Requesting failed batches once more, as a reset asks for it.

Nothing is remembered on the way: what is still to be requested is what failed and has no run that
carries the moment of the reset.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import dagster as dg
from dagster import DagsterRunStatus

from dagster_s3inc.core.batching import Batch, ScanLimits
from dagster_s3inc.core.words import count
from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.runs.run_requests import RESET_TAG, RETRY, RunRequests, requested_batch
from dagster_s3inc.runs.states import (
    UNFINISHED,
    BatchOfJob,
    FailedBatch,
    batch_of,
    failed_batches,
    runs_with,
    tags_of,
)

__all__ = ["Retries", "Retry"]

# A batch with such a run has not failed, or not yet.
_HOPEFUL = [DagsterRunStatus.SUCCESS, *UNFINISHED]


class Retries(NamedTuple):
    """What one tick requests once more.

    Attributes:
        batches: In the order in which they were requested before.
        requests: Of these batches, one for each job that failed on a batch.
        left: How many batches wait for the next ticks.
        unreadable: Failed runs whose config does not show their batch.
    """

    batches: tuple[Batch, ...]
    requests: tuple[dg.RunRequest, ...]
    left: int
    unreadable: tuple[str, ...]

    def describe(self) -> str:
        """What a tick says of it, in one line."""
        then = (
            f"{self.left:,} more to come. New files wait until then."
            if self.left
            else "that was all; the next tick looks for new files."
        )
        text = (
            f"Requested again: {count(len(self.batches), 'failed batch', 'failed batches')}; {then}"
        )
        return f"{text} {self.warning}" if self.unreadable else text

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
        address: The sensor.
        requests: Makes its run requests.
    """

    address: SensorAddress
    requests: RunRequests

    def failed(
        self, instance: dg.DagsterInstance, generation: int, *, reset: str | None = None
    ) -> list[FailedBatch]:
        """The batches of which all runs failed or were cancelled, the oldest first.

        Those are left out that were skipped on purpose, whose job is no longer the sensor's, and
        that Dagster itself is about to retry.

        Args:
            instance: Knows the runs.
            generation: That in which the batches were requested.
            reset: Leave out what the reset of this moment has requested already.
        """
        tags = tags_of(self.requests.source.uri, self.address, generation)
        done: set[BatchOfJob] = set()
        if reset is not None:
            done = set(map(self._batch_of, runs_with(instance, {**tags, RESET_TAG: reset})))
        job_names = [name or "" for name in self.requests.job_names]
        return [
            each
            for each in failed_batches(instance, tags, unless=_HOPEFUL, of=self._batch_of)
            if not (
                each.is_skipped
                or each.newest.is_complete_and_waiting_to_retry
                or each.batch in done
                or each.batch.job_name not in job_names
            )
        ]

    def retries(
        self,
        instance: dg.DagsterInstance,
        failed: Iterable[FailedBatch],
        limits: ScanLimits,
        *,
        generation: int,
        sequence: int,
        reset: str,
    ) -> Retries:
        """What of these one tick may request.

        Args:
            instance: Knows the runs.
            failed: The batches, in the order in which they are requested.
            limits: Of the tick.
            generation: Of the tick's checkpoint.
            sequence: Of the tick's checkpoint.
            reset: The moment of the reset that asks for it.
        """
        by_batch: dict[str, list[FailedBatch]] = {}
        for each in failed:
            by_batch.setdefault(each.batch.batch_id, []).append(each)
        batches: list[Batch] = []
        requests: list[dg.RunRequest] = []
        unreadable: list[str] = []
        size = limits.request_size
        written = 0 if size is None else size.tick
        for of_jobs in by_batch.values():
            batch = self._requested(instance, of_jobs[0].run_ids[0])
            if batch is None:
                unreadable.append(of_jobs[0].run_ids[0])
                continue
            of_batch = [
                self.requests.request(
                    batch,
                    each.batch.job_name or None,
                    generation=generation,
                    sequence=sequence,
                    repeats=RETRY,
                    reset=reset,
                )
                for each in of_jobs
            ]
            written += self.requests.stored_bytes(of_batch)
            too_large = size is not None and batches and written > size.most
            if len(batches) == limits.max_batches or too_large:
                break
            batches.append(batch)
            requests += of_batch
        left = len(by_batch) - len(batches) - len(unreadable)
        return Retries(tuple(batches), tuple(requests), left, tuple(unreadable))

    def _requested(self, instance: dg.DagsterInstance, run_id: str) -> Batch | None:
        run = instance.get_run_by_id(run_id)
        return None if run is None else requested_batch(run, self.requests.batch_resource_key)

    def _batch_of(self, run: dg.DagsterRun) -> BatchOfJob:
        batch = batch_of(run)
        # The only target may have had another name.
        return batch._replace(job_name="") if self.requests.job_names == (None,) else batch
