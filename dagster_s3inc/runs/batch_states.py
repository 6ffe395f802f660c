"""What becomes of a sensor's batches: queued, running, failed, skipped or done; read once a tick.

Ids are read by status, which is fast, and the records of those runs alone that are not known yet:
10,000 queued runs are read once, and counted in each tick. Runs that failed are read anew, since
they may have been skipped. Runs that succeeded are known by when they were updated.

Example. The runs of generation 2, and what counts:

    batch   runs, oldest first                        state
    0b17…   success                                   done
    5d02…   failure, success (a re-execution)         done
    91c4…   failure, started                          running
    9a3e…   failure                                   failed
    c4d1…   failure, with the tag of a skipped batch  skipped
    e77a…   queued                                    queued

A batch that goes to several jobs counts once, by the first of these states that one of its jobs is
in: failed, running, queued, skipped, done.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from itertools import islice
from typing import Any, Final, NamedTuple

import dagster as dg
from dagster import DagsterRunStatus

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.objects import parse_time
from dagster_s3inc.dagster_internals import SensorAddress
from dagster_s3inc.runs.run_requests import (
    BATCH_ID_TAG,
    BYTES_TAG,
    FILES_TAG,
    GENERATION_TAG,
    RESET_TAG,
    SEQUENCE_TAG,
)
from dagster_s3inc.runs.states import (
    BatchOfJob,
    FailedBatch,
    Tags,
    batch_of,
    failed_batches,
    tags_of,
)

__all__ = ["Amount", "BatchStates", "State", "StatesReader", "UnfinishedRun"]

_QUEUED: Final = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.MANAGED,
)
_RUNNING: Final = (
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)
_SUCCESS: Final = (DagsterRunStatus.SUCCESS,)

_RECORDS: Final = 200

# The first reading of a long generation takes several ticks: 10,000 runs take some seconds.
_SECONDS: Final = 2.0

# Runs write when they ended by the clocks of their own machines.
_CLOCKS_DIFFER: Final = timedelta(minutes=2)


class State(str, Enum):
    """What has become of a batch; of its jobs the first in this order counts."""

    FAILED = "failed"
    RUNNING = "running"
    QUEUED = "queued"
    SKIPPED = "skipped"
    DONE = "done"


_RANK: Final = {state: rank for rank, state in enumerate(State)}


class Amount(NamedTuple):
    """So many batches, and the files in them."""

    batches: int = 0
    files: int = 0
    bytes: int = 0

    def plus(self, other: Amount) -> Amount:
        """Both together."""
        return Amount(*(mine + others for mine, others in zip(self, other, strict=True)))

    def minus(self, other: Amount) -> Amount:
        """These without the others."""
        return Amount(*(mine - others for mine, others in zip(self, other, strict=True)))


class UnfinishedRun(NamedTuple):
    """A run that is queued or running.

    Attributes:
        run_id: The run's id.
        batch: Its batch and job.
        place: Its generation, its sequence and its batch, which tell batches in flight apart.
        generation: Of the tick that requested it, as its tag has it.
        amount: Its files.
        oldest: The LastModified of the oldest of them, if its config tells it.
        created: When it was created.
        is_unlaunched: Whether it was created and not launched when it was read.
    """

    run_id: str
    batch: BatchOfJob
    place: tuple[str, ...]
    generation: str
    amount: Amount
    oldest: datetime | None
    created: datetime
    is_unlaunched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStates:
    """The batches of a sensor as one tick sees them.

    Attributes:
        queued: The runs that wait to be started, of any generation, newest first.
        running: The runs that are under way, likewise.
        failed: The batches of this generation that failed and that no run has processed since,
            the first to be requested first; those that were skipped are among them.
        amounts: How many batches of this generation are in each state.
        is_complete: Whether all that are done were counted; a long generation takes some ticks.
        oldest_queued: The LastModified of the oldest file in a batch that is queued.
    """

    queued: tuple[UnfinishedRun, ...] = ()
    running: tuple[UnfinishedRun, ...] = ()
    failed: tuple[FailedBatch, ...] = ()
    amounts: Mapping[State, Amount] = field(default_factory=dict)
    is_complete: bool = True
    oldest_queued: datetime | None = None

    def amount(self, state: State) -> Amount:
        """How many batches are in a state."""
        return self.amounts.get(state, Amount())

    def with_requested(self, batches: Sequence[Batch]) -> BatchStates:
        """The states once a tick has requested these batches, too."""
        if not batches:
            return self
        requested = Amount(
            len(batches), sum(map(len, batches)), sum(each.bytes for each in batches)
        )
        queued = self.amount(State.QUEUED).plus(requested)
        oldest = [each.objects[0].last_modified for each in batches]
        if self.oldest_queued is not None:
            oldest.append(self.oldest_queued)
        amounts = {**self.amounts, State.QUEUED: queued}
        return replace(self, amounts=amounts, oldest_queued=min(oldest))

    def repairing(self, failed: FailedBatch) -> str | None:
        """The run that is to process a failed batch after all; None if there is none."""
        for each in (*self.running, *self.queued):
            if each.batch == failed.batch:
                return each.run_id
        return None


class StatesReader:
    """Reads the states of a sensor's batches, and remembers the runs that it has read.

    Safe to be used from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._unfinished: dict[str, UnfinishedRun] = {}
        self._done = _Done("")

    def read(
        self,
        instance: dg.DagsterInstance,
        source: str,
        address: SensorAddress,
        generation: int,
        *,
        reset: str | None = None,
    ) -> BatchStates:
        """What the instance knows now.

        Args:
            instance: Knows the runs.
            source: The URI that is scanned.
            address: The sensor.
            generation: Batches of others count as in flight alone.
            reset: The moment of a reset of failed batches that is being honoured: of failures,
                only those of the runs that it asked for matter.
        """
        tags = tags_of(source, address, generation)
        of_failed = tags if reset is None else {**tags, RESET_TAG: reset}
        with self._lock:
            queued, running = self._read_unfinished(instance, tags_of(source, address))
            failed = tuple(failed_batches(instance, of_failed, unless=_SUCCESS))
            if self._done.place != f"{source} {generation}":
                self._done = _Done(f"{source} {generation}")
            self._done.read(instance, tags)
            found = _states(
                [each for each in queued if each.generation == str(generation)],
                [each for each in running if each.generation == str(generation)],
                failed,
            )
            amounts = _amounts(found, self._done)
        waiting = [each.oldest for each in queued if each.generation == str(generation)]
        return BatchStates(
            queued=queued,
            running=running,
            failed=failed,
            amounts=amounts,
            is_complete=self._done.is_complete,
            oldest_queued=min((each for each in waiting if each is not None), default=None),
        )

    def _read_unfinished(
        self, instance: dg.DagsterInstance, tags: Tags
    ) -> tuple[tuple[UnfinishedRun, ...], tuple[UnfinishedRun, ...]]:
        queued = instance.get_run_ids(dg.RunsFilter(tags=tags, statuses=_QUEUED))
        running = instance.get_run_ids(dg.RunsFilter(tags=tags, statuses=_RUNNING))
        known = self._unfinished
        # Read again until it is launched: only a run that never is counts for less.
        unread = iter(
            each for each in (*queued, *running) if each not in known or known[each].is_unlaunched
        )
        found = {each: known[each] for each in (*queued, *running) if each in known}
        while chunk := list(islice(unread, _RECORDS)):
            records = instance.get_run_records(dg.RunsFilter(run_ids=chunk))
            found.update((each.dagster_run.run_id, _unfinished(each)) for each in records)
        self._unfinished = found
        # A run may have started between the two queries.
        waits = [each for each in queued if each not in set(running)]
        return (
            tuple(found[each] for each in waits if each in found),
            tuple(found[each] for each in running if each in found),
        )


class _Done:
    """The batches of one generation that a run has processed."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.batches: dict[str, Amount] = {}
        self.amount = Amount()
        self.is_complete = False
        self._cursor: str | None = None
        self._newest: datetime | None = None
        self._since: datetime | None = None

    def read(self, instance: dg.DagsterInstance, tags: Tags) -> None:
        """Reads what was done since the last reading; for some seconds, newest runs first."""
        until = time.monotonic() + _SECONDS
        if self._cursor is None and self._newest is not None:
            self._since = self._newest - _CLOCKS_DIFFER
        filters = dg.RunsFilter(tags=tags, statuses=_SUCCESS, updated_after=self._since)
        while True:
            records = instance.get_run_records(filters, limit=_RECORDS, cursor=self._cursor)
            for each in records:
                batch, amount = batch_of(each.dagster_run), _amount(each.dagster_run.tags)
                if batch.batch_id not in self.batches:
                    self.batches[batch.batch_id] = amount
                    self.amount = self.amount.plus(amount)
                newest = self._newest or each.update_timestamp
                self._newest = max(newest, each.update_timestamp)
            if len(records) < _RECORDS:
                self._cursor, self.is_complete = None, True
                return
            # If the time is over, the next tick goes on from here.
            self._cursor = records[-1].dagster_run.run_id
            if time.monotonic() >= until:
                return


def _states(
    queued: Sequence[UnfinishedRun],
    running: Sequence[UnfinishedRun],
    failed: Iterable[FailedBatch],
) -> dict[str, tuple[State, Amount]]:
    """The batches that are not done."""
    jobs: dict[BatchOfJob, tuple[State, Amount]] = {}
    for each in failed:
        state = State.SKIPPED if each.is_skipped else State.FAILED
        if each.newest.is_complete_and_waiting_to_retry:
            state = State.QUEUED
        jobs[each.batch] = state, _amount(each.newest.tags)
    jobs.update((each.batch, (State.QUEUED, each.amount)) for each in queued)
    jobs.update((each.batch, (State.RUNNING, each.amount)) for each in running)
    found: dict[str, tuple[State, Amount]] = {}
    for batch, (state, amount) in jobs.items():
        known = found.get(batch.batch_id)
        if known is None or _RANK[state] < _RANK[known[0]]:
            found[batch.batch_id] = state, amount
    return found


def _amounts(open_: Mapping[str, tuple[State, Amount]], done: _Done) -> dict[State, Amount]:
    amounts = {State.DONE: done.amount}
    for batch_id, (state, amount) in open_.items():
        amounts[state] = amounts.get(state, Amount()).plus(amount)
        if batch_id in done.batches:
            amounts[State.DONE] = amounts[State.DONE].minus(done.batches[batch_id])
    return amounts


def _unfinished(record: dg.RunRecord) -> UnfinishedRun:
    run = record.dagster_run
    batch = batch_of(run)
    place = tuple(run.tags.get(each, "") for each in (GENERATION_TAG, SEQUENCE_TAG, BATCH_ID_TAG))
    return UnfinishedRun(
        run_id=run.run_id,
        batch=batch,
        place=place if place[-1] else (run.run_id,),
        generation=place[0],
        amount=_amount(run.tags),
        oldest=min(_times(run.run_config), default=None),
        created=record.create_timestamp,
        is_unlaunched=run.status == DagsterRunStatus.NOT_STARTED,
    )


def _amount(tags: Mapping[str, str]) -> Amount:
    files, size = tags.get(FILES_TAG, ""), tags.get(BYTES_TAG, "")
    return Amount(1, int(files) if files.isdecimal() else 0, int(size) if size.isdecimal() else 0)


def _times(run_config: Mapping[str, Any]) -> Iterator[datetime]:
    """When the first, which is the oldest, file of a run's batches was modified."""
    for resource in (run_config.get("resources") or {}).values():
        try:
            yield parse_time(resource["config"]["files"][0]["last_modified"])
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            # Another resource, or a run that somebody launched by hand.
            continue
