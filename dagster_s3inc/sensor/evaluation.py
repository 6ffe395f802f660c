"""One evaluation of the sensor: cursor in, run requests out.

An evaluation has no side effects. It does one of three things: it carries out what an earlier tick
decided and Dagster lost sight of; it requests failed batches again, where a reset asks for it; or
it scans.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_s3inc.core.batching import Batch, ScanLimits
from dagster_s3inc.core.cursor_format import encode_checkpoint
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.report import describe_cost, describe_scan
from dagster_s3inc.core.words import count
from dagster_s3inc.dagster_internals import (
    FailedTicks,
    SensorAddress,
    failed_ticks,
    instance_of,
    run_size_limit,
)
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.runs.batch_states import BatchStates, StatesReader
from dagster_s3inc.runs.ledger import InstanceLedger, LedgerCache
from dagster_s3inc.runs.reset_requests import ResetRequest
from dagster_s3inc.runs.run_requests import REPROCESS, RunRequests, requested_batch
from dagster_s3inc.s3.client import explained_endpoint, pool_warning
from dagster_s3inc.s3.listing import MAX_CONCURRENT_REQUESTS
from dagster_s3inc.s3.scanner import Scan, Scanner
from dagster_s3inc.sensor.backpressure import Backpressure, Gate
from dagster_s3inc.sensor.recovery import Decision
from dagster_s3inc.sensor.retry_failed import Retry
from dagster_s3inc.sensor.start import start_of_tick
from dagster_s3inc.sensor.targets import Targets
from dagster_s3inc.source import Source
from dagster_s3inc.source_asset import (
    SourceEvent,
    SourceReporter,
    TickReport,
    describe_states,
    kept_fresh_for,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["IncrementalSensor", "client_of"]

_SET_BACK = (
    "The cursor was set back by hand: what was requested after it is requested again, in the same "
    "generation."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncrementalSensor:
    """A sensor's options, and the evaluation of one tick.

    Attributes:
        name: The sensor's name.
        source: What is scanned.
        limits: What one tick may emit, and how much the cursor may remember.
        max_request_bytes: The most that one tick may take in Dagster's database; None means no
            bound.
        scanner: Scans, and keeps the index in memory.
        time_budget: How long one scan may take; None means no bound.
        interval_seconds: The least time between two ticks, by which costs are computed.
        backpressure: How many batches may be in flight, and what a failed one means.
        max_concurrent_requests: The most LIST requests at a time, if the client has room for them.
        adopt_first: Whether what the very first tick finds counts as emitted.
        s3_resource_key: The key of the S3 resource.
        targets: What each batch is launched on.
        requests: Makes the run requests.
        reporter: Reports what a tick saw to the source asset; None if there is no such asset.
        ledger_cache: What has been read of the ledger.
        states_reader: Reads what has become of the batches.
    """

    name: str
    source: Source
    limits: ScanLimits
    max_request_bytes: int | None
    scanner: Scanner
    time_budget: timedelta | None
    interval_seconds: int
    backpressure: Backpressure
    max_concurrent_requests: int
    adopt_first: bool
    s3_resource_key: str
    targets: Targets
    requests: RunRequests
    reporter: SourceReporter | None = None
    ledger_cache: LedgerCache = field(default_factory=LedgerCache, compare=False)
    states_reader: StatesReader = field(default_factory=StatesReader, compare=False)

    def evaluate(self, context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """Does what one tick does. Has no side effects.

        Raises:
            ConfigurationError: There is nothing to launch, or the S3 resource is something else.
            CheckpointFormatError: The cursor cannot be read.
            S3RequestError: The prefix could not be listed.
        """
        return _Tick(self, context).result()

    def retry(self, address: SensorAddress) -> Retry:
        """What finds the failed batches of this sensor."""
        return Retry(address=address, requests=self.requests)


class _Tick:
    """One evaluation."""

    def __init__(self, sensor: IncrementalSensor, context: dg.SensorEvaluationContext) -> None:
        self.began, self.notes = time.monotonic(), list[str]()
        self.sensor, self.context = sensor, context
        self.assets = sensor.targets.examine(context)
        self.instance = instance_of(context)
        self.address = SensorAddress.of_evaluation(context, sensor.name)
        self.start = start_of_tick(context, self.instance, self.address)

    def result(self) -> dg.SensorResult:
        if self.start.was_set_back:
            self.context.log.warning(_SET_BACK)
        if self.start.lost is not None:
            return self._carry_out(self.start.lost)
        if self.start.retry is not None and self.instance is not None:
            retried = self._retry_failed(self.instance, self.start.retry)
            if retried is not None:
                return retried
            self.start = self.start.after_retry()
        states = self._states()
        gate = self.sensor.backpressure.gate(states)
        return self._report(self._scan(self._limits(gate)), gate, states)

    def _states(self, reset: str | None = None) -> BatchStates:
        """What has become of the batches that were requested, where it makes a difference."""
        sensor = self.sensor
        is_asked_for = sensor.reporter is not None or sensor.backpressure.asks_for_states
        if self.instance is None or not is_asked_for:
            return BatchStates()
        generation, source = self.start.checkpoint.generation, sensor.source.uri
        return sensor.states_reader.read(
            self.instance, source, self.address, generation, reset=reset
        )

    def _limits(self, gate: Gate) -> ScanLimits:
        sensor, limits = self.sensor, self.sensor.limits
        if gate.max_batches is not None:
            limits = replace(limits, max_batches=min(limits.max_batches, gate.max_batches))
        largest_run = None if self.instance is None else run_size_limit(self.instance)
        if sensor.max_request_bytes is None and largest_run is None:
            return limits
        size = sensor.requests.size(
            limits,
            sensor.max_request_bytes or sys.maxsize,
            place=f"{sensor.name}{self.address.repository or ''}",
            assets=self.assets.assets,
            checks=self.assets.checks,
        )
        if largest_run is not None:
            # So no run of the tick is larger.
            size = size._replace(most=min(size.most, size.tick + largest_run))
        return replace(limits, request_size=size)

    def _scan(self, limits: ScanLimits) -> Scan:
        sensor, source, start = self.sensor, self.sensor.source, self.start
        cache, ledger = sensor.ledger_cache, None
        if self.instance is not None:
            ledger = InstanceLedger(
                self.instance, self.address, cache, time_budget=sensor.time_budget
            )
        client = client_of(getattr(self.context.resources, sensor.s3_resource_key))
        scan = sensor.scanner.scan(
            client,
            source.listed_location,
            start.checkpoint,
            given=start.given,
            selection=source.selection(self.instance),
            limits=limits,
            adopt=sensor.adopt_first and start.is_first,
            ledger=ledger,
        )
        if ledger is not None and not ledger.was_read:
            cache.clear()
        is_asked_for = sensor.max_concurrent_requests != MAX_CONCURRENT_REQUESTS
        if is_asked_for or scan.requests > MAX_CONCURRENT_REQUESTS:
            bounded = pool_warning(client, sensor.max_concurrent_requests)
            if bounded is not None:
                self.notes.append(
                    f"{bounded}; boto3.client('s3', config=...) can be the S3 resource."
                )
        return scan

    def _report(self, scan: Scan, gate: Gate, states: BatchStates) -> dg.SensorResult:
        sensor, result, log = self.sensor, scan.result, self.context.log
        grouping, found = sensor.source.grouping, scan.result.statistics
        seconds = time.monotonic() - self.began
        report = describe_scan(result, source=sensor.source.uri, seconds=seconds)
        # What holds everything up comes first: pages show the beginning of a text.
        urgent = [f"{each}." for each in gate.messages]
        failed = None if self.instance is None else failed_ticks(self.instance, self.address)
        if failed is not None:
            urgent.append(_describe_failed(failed))
        warnings = [*report.warnings, *self.notes]
        outside = None
        if grouping is not None and found.unpartitioned:
            outside = grouping.describe_unpartitioned(found.unpartitioned, found.unpartitioned_keys)
            warnings.append(outside)
        log.info(report.summary)
        log.info(describe_cost(scan.requests, sensor.interval_seconds))
        for warning in (*urgent, *warnings):
            log.warning(warning)
        if self.start.was_set_back:
            urgent.insert(0, _SET_BACK)
        words = " ".join(
            filter(None, [*urgent, report.summary, *warnings, describe_states(states)])
        )
        events: list[SourceEvent] = []
        if sensor.reporter is not None:
            is_part = self.start.checkpoint.partial_scan or result.checkpoint.partial_scan
            # A part in which every file has a partition says nothing of the others.
            is_known = outside or (scan.requests and not is_part)
            tick = TickReport(
                scan,
                states,
                words,
                seconds,
                failed_ticks=failed,
                unpartitioned=(outside or "") if grouping is not None and is_known else None,
                fresh_for=kept_fresh_for(self.context, sensor.reporter.key),
            )
            events = sensor.reporter.events(self.instance, tick)
        requests = [
            sensor.requests.request(
                batch,
                job_name,
                generation=result.checkpoint.generation,
                sequence=result.sequence,
                repeats=REPROCESS if result.repeats else None,
                reset=result.checkpoint.reset_seen if result.repeats else None,
            )
            for batch in result.batches
            for job_name in sensor.targets.job_names
        ]
        cursor = encode_checkpoint(result.checkpoint)
        return self._result(requests, result.batches, words=words, cursor=cursor, events=events)

    def _retry_failed(
        self, instance: dg.DagsterInstance, reset: ResetRequest
    ) -> dg.SensorResult | None:
        """Requests failed batches, as a reset asks for it; None if none of them is left."""
        checkpoint, retry = self.start.checkpoint, self.sensor.retry(self.address)
        generation = checkpoint.generation
        # The failures that are to be repaired must not stop this; what fails again does.
        gate = self.sensor.backpressure.gate(self._states(reset.at))
        retries = retry.retries(
            instance,
            retry.failed(instance, generation, reset=reset.at),
            self._limits(gate),
            generation=generation,
            sequence=checkpoint.sequence,
            reset=reset.at,
        )
        if not retries.batches and not retries.left:
            if retries.unreadable:
                self.context.log.warning(retries.warning)
            return None
        words = " ".join([retries.describe(), *(f"{each}." for each in gate.messages)])
        self.context.log.info(words)
        if retries.batches:
            checkpoint = replace(checkpoint, sequence=checkpoint.sequence + 1)
        cursor = encode_checkpoint(checkpoint)
        self.sensor.scanner.carry(self.start.given, cursor)
        return self._result(retries.requests, retries.batches, words=words, cursor=cursor)

    def _carry_out(self, lost: Decision) -> dg.SensorResult:
        """Requests what an earlier tick requested, as this one would have requested it."""
        words = (
            f"An earlier tick could not submit {len(lost.left)} of the runs that it requested. "
            f"They are requested again, but not those of jobs that are no longer the sensor's."
            if lost.left
            else "The cursor of an earlier tick was not stored. Its last run is requested once "
            "more, which Dagster skips."
        )
        self.context.log.warning(words)
        sensor_requests, all_jobs = self.sensor.requests, self.sensor.targets.job_names
        requests: dict[str | None, dg.RunRequest] = {}
        batches: list[Batch] = []
        for each in lost.left or (lost.last,):
            batch = requested_batch(each, sensor_requests.batch_resource_key)
            if batch is None:
                # Dagster then says what is wrong with its config.
                requests[each.run_key] = each
                continue
            batches.append(batch)
            job_names: Sequence[str | None] = [each.job_name]
            if each.job_name not in all_jobs:
                # The sensor has other jobs by now. They get the batch if no job has processed it.
                is_done = not lost.left or batch.id in lost.begun
                job_names = [] if is_done else all_jobs
            for job_name in job_names:
                request = sensor_requests.again(each, job_name) or each
                requests[request.run_key] = request
        return self._result(list(requests.values()), batches, words=words, cursor=lost.cursor)

    def _result(
        self,
        requests: Sequence[dg.RunRequest],
        batches: Sequence[Batch],
        *,
        words: str,
        cursor: str,
        events: Sequence[SourceEvent] = (),
    ) -> dg.SensorResult:
        if not requests:
            return dg.SensorResult(skip_reason=words, cursor=cursor, asset_events=list(events))
        grouping = self.sensor.source.grouping
        new = None if grouping is None else grouping.new_partitions(batches, self.instance)
        return dg.SensorResult(
            run_requests=list(requests),
            cursor=cursor,
            asset_events=list(events),
            dynamic_partitions_requests=new,
        )


def _describe_failed(failed: FailedTicks) -> str:
    return (
        f"{count(failed.ticks, 'tick')} failed before this one, since "
        f"{format_time(failed.since)}; the last of them with: {failed.message} Nothing is lost: "
        f"this tick has taken up what came in meanwhile."
    )


def client_of(resource: Any) -> S3Client:
    """The boto3 client of a resource, which may be one itself.

    Raises:
        ConfigurationError: It is neither a client nor something that has one, or its endpoint is
            not a URL.
        S3RequestError: No client can be made with its settings.
    """
    client = resource
    if hasattr(resource, "get_client"):
        with explained_endpoint("make an S3 client from the S3 resource"):
            client = resource.get_client()
    if not hasattr(client, "list_objects_v2"):
        raise ConfigurationError(
            f"The S3 resource is a {type(resource).__name__}, which is neither an S3Resource nor "
            f"a boto3 S3 client. Put one of these under the key that s3_resource_key names."
        )
    return client  # type: ignore[no-any-return]
