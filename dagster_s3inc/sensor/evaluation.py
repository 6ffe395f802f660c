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

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.cursor_format import encode_checkpoint
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.report import describe_cost, describe_scan
from dagster_s3inc.dagster_internals import SensorAddress, instance_of, run_size_limit
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.runs.ledger import InstanceLedger, LedgerCache
from dagster_s3inc.runs.run_requests import REPROCESS, RunRequests, requested_batch
from dagster_s3inc.s3.client import explained_endpoint
from dagster_s3inc.s3.scanner import Scan, Scanner
from dagster_s3inc.sensor.backpressure import Backpressure, Gate
from dagster_s3inc.sensor.recovery import Decision
from dagster_s3inc.sensor.retry_failed import Retry
from dagster_s3inc.sensor.start import Start, start_of_tick
from dagster_s3inc.sensor.targets import AssetsOfRun, Targets
from dagster_s3inc.source import Source
from dagster_s3inc.source_asset import SourceEvent, SourceReporter

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
        adopt_first: Whether what the very first tick finds counts as emitted.
        s3_resource_key: The key of the S3 resource.
        targets: What each batch is launched on.
        requests: Makes the run requests.
        reporter: Reports what a tick saw to the source asset; None if there is no such asset.
        ledger_cache: What has been read of the ledger.
    """

    name: str
    source: Source
    limits: ScanLimits
    max_request_bytes: int | None
    scanner: Scanner
    time_budget: timedelta | None
    interval_seconds: int
    backpressure: Backpressure
    adopt_first: bool
    s3_resource_key: str
    targets: Targets
    requests: RunRequests
    reporter: SourceReporter | None = None
    ledger_cache: LedgerCache = field(default_factory=LedgerCache, compare=False)

    def evaluate(self, context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """Does what one tick does. Has no side effects.

        Raises:
            ConfigurationError: There is nothing to launch, or the S3 resource is something else.
            CheckpointFormatError: The cursor cannot be read.
            S3RequestError: The prefix could not be listed.
        """
        began = time.monotonic()
        assets = self.targets.require_assets(context)
        instance = instance_of(context)
        address = SensorAddress.of_evaluation(context, self.name)
        start = start_of_tick(context, instance, address)
        if start.was_set_back:
            context.log.warning(_SET_BACK)
        if start.lost is not None:
            return self._carry_out(context, instance, start.lost)
        limits = self._limits(instance, address, assets)
        if start.retry is not None and instance is not None:
            retried = self._retry_failed(context, instance, address, start, limits)
            if retried is not None:
                return retried
            start = start.after_retry()
        gate = self.backpressure.gate(instance, address, start.checkpoint.generation)
        scan = self._scan(context, instance, address, start, _gated(limits, gate))
        return self._report(context, instance, start, gate, scan, time.monotonic() - began)

    def retry(self, address: SensorAddress) -> Retry:
        """What finds the failed batches of this sensor."""
        return Retry(address=address, requests=self.requests)

    def _limits(
        self, instance: dg.DagsterInstance | None, address: SensorAddress, assets: AssetsOfRun
    ) -> ScanLimits:
        largest_run = None if instance is None else run_size_limit(instance)
        if self.max_request_bytes is None and largest_run is None:
            return self.limits
        size = self.requests.size(
            self.limits,
            self.max_request_bytes or sys.maxsize,
            place=f"{address.name}{address.repository or ''}",
            assets=assets.assets,
            checks=assets.checks,
        )
        if largest_run is not None:
            # So no run of the tick is larger.
            size = size._replace(most=min(size.most, size.tick + largest_run))
        return replace(self.limits, request_size=size)

    def _scan(
        self,
        context: dg.SensorEvaluationContext,
        instance: dg.DagsterInstance | None,
        address: SensorAddress,
        start: Start,
        limits: ScanLimits,
    ) -> Scan:
        ledger: InstanceLedger | None = None
        if instance is not None:
            cache, budget = self.ledger_cache, self.time_budget
            ledger = InstanceLedger(instance, address, cache, time_budget=budget)
        scan = self.scanner.scan(
            client_of(getattr(context.resources, self.s3_resource_key)),
            self.source.listed_location,
            start.checkpoint,
            given=start.given,
            selection=self.source.selection(instance),
            limits=limits,
            adopt=self.adopt_first and start.is_first,
            ledger=ledger,
        )
        if ledger is not None and not ledger.was_read:
            self.ledger_cache.clear()
        return scan

    def _report(
        self,
        context: dg.SensorEvaluationContext,
        instance: dg.DagsterInstance | None,
        start: Start,
        gate: Gate,
        scan: Scan,
        seconds: float,
    ) -> dg.SensorResult:
        result, grouping = scan.result, self.source.grouping
        found = result.statistics
        report = describe_scan(result, source=self.source.uri, seconds=seconds)
        warnings = [*report.warnings, *(f"{each}." for each in gate.messages)]
        if grouping is not None and found.unpartitioned:
            warnings.append(
                grouping.describe_unpartitioned(found.unpartitioned, found.unpartitioned_keys)
            )
        context.log.info(report.summary)
        context.log.info(describe_cost(scan.requests, self.interval_seconds))
        for warning in warnings:
            context.log.warning(warning)
        lines = [_SET_BACK] if start.was_set_back else []
        words = " ".join([*lines, report.summary, *warnings])
        events: list[SourceEvent] = []
        if self.reporter is not None:
            events = self.reporter.events(
                instance,
                scan,
                words=words,
                seconds=seconds,
                unpartitioned=None if grouping is None else found.unpartitioned,
            )
        return self._result(
            [
                self.requests.request(
                    batch,
                    job_name,
                    generation=result.checkpoint.generation,
                    sequence=result.sequence,
                    repeats=REPROCESS if result.repeats else None,
                    reset=result.checkpoint.reset_seen if result.repeats else None,
                )
                for batch in result.batches
                for job_name in self.targets.job_names
            ],
            result.batches,
            instance,
            words=words,
            cursor=encode_checkpoint(result.checkpoint),
            asset_events=events,
        )

    def _retry_failed(
        self,
        context: dg.SensorEvaluationContext,
        instance: dg.DagsterInstance,
        address: SensorAddress,
        start: Start,
        limits: ScanLimits,
    ) -> dg.SensorResult | None:
        """Requests failed batches, as a reset asks for it; None if none of them is left."""
        checkpoint, reset = start.checkpoint, start.retry
        assert reset is not None  # noqa: S101 # the caller's condition
        generation, retry = checkpoint.generation, self.retry(address)
        # The failures that are to be repaired must not stop this; what fails again does.
        gate = self.backpressure.gate(instance, address, generation, reset=reset.at)
        retries = retry.retries(
            instance,
            retry.failed(instance, generation, reset=reset.at),
            _gated(limits, gate),
            generation=generation,
            sequence=checkpoint.sequence,
            reset=reset.at,
        )
        if not retries.batches and not retries.left:
            if retries.unreadable:
                context.log.warning(retries.warning)
            return None
        words = " ".join([retries.describe(), *(f"{each}." for each in gate.messages)])
        context.log.info(words)
        if retries.batches:
            checkpoint = replace(checkpoint, sequence=checkpoint.sequence + 1)
        cursor = encode_checkpoint(checkpoint)
        self.scanner.carry(start.given, cursor)
        return self._result(retries.requests, retries.batches, instance, words=words, cursor=cursor)

    def _carry_out(
        self,
        context: dg.SensorEvaluationContext,
        instance: dg.DagsterInstance | None,
        lost: Decision,
    ) -> dg.SensorResult:
        """Requests what an earlier tick requested, as this one would have requested it."""
        words = (
            f"An earlier tick could not submit {len(lost.left)} of the runs that it requested. "
            f"They are requested again, but not those of jobs that are no longer the sensor's."
            if lost.left
            else "The cursor of an earlier tick was not stored. Its last run is requested once "
            "more, which Dagster skips."
        )
        context.log.warning(words)
        requests: dict[str | None, dg.RunRequest] = {}
        batches: list[Batch] = []
        for each in lost.left or (lost.last,):
            batch = requested_batch(each, self.requests.batch_resource_key)
            if batch is None:
                # Dagster then says what is wrong with its config.
                requests[each.run_key] = each
                continue
            batches.append(batch)
            job_names: Sequence[str | None] = [each.job_name]
            if each.job_name not in self.targets.job_names:
                # The sensor has other jobs by now. They get the batch if no job has processed it.
                is_done = not lost.left or batch.id in lost.begun
                job_names = [] if is_done else self.targets.job_names
            for job_name in job_names:
                request = self.requests.again(each, job_name) or each
                requests[request.run_key] = request
        return self._result(
            list(requests.values()), batches, instance, words=words, cursor=lost.cursor
        )

    def _result(
        self,
        run_requests: Sequence[dg.RunRequest],
        batches: Sequence[Batch],
        instance: dg.DagsterInstance | None,
        *,
        words: str,
        cursor: str,
        asset_events: Sequence[SourceEvent] = (),
    ) -> dg.SensorResult:
        if not run_requests:
            return dg.SensorResult(
                skip_reason=words, cursor=cursor, asset_events=list(asset_events)
            )
        grouping = self.source.grouping
        return dg.SensorResult(
            run_requests=list(run_requests),
            cursor=cursor,
            asset_events=list(asset_events),
            dynamic_partitions_requests=None
            if grouping is None
            else grouping.new_partitions(batches, instance),
        )


def _gated(limits: ScanLimits, gate: Gate) -> ScanLimits:
    if gate.max_batches is None:
        return limits
    return replace(limits, max_batches=min(limits.max_batches, gate.max_batches))


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
