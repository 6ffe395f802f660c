"""One evaluation of the sensor: cursor in, run requests out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_s3inc.batch import batch_config, batch_tags
from dagster_s3inc.batch_runs import requested_batch
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import encode_checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.report import describe_cost, describe_scan
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.cursor import Start, make_run_key, start_of_tick
from dagster_s3inc.decision import Decision
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.flow import Flow, Gate
from dagster_s3inc.instance import SensorAddress, instance_of
from dagster_s3inc.partitions import Grouping, Placement
from dagster_s3inc.retry import Retry
from dagster_s3inc.s3.client import explained_endpoint
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanning import Look, Scanner
from dagster_s3inc.source import SourceEvent, SourceReporter
from dagster_s3inc.targets import Targets

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["Tick", "client_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """What the evaluations of one sensor have in common.

    Attributes:
        name: The sensor's name.
        location: The prefix that is scanned.
        objects: Which objects count.
        limits: What one tick may hand over, and how much the cursor may remember.
        scanner: Looks, and keeps in memory what makes the next look cheaper.
        interval_seconds: The least time between two ticks, by which costs are reckoned.
        flow: How many batches may go out at a time, and what a failed one means.
        grouping: Which objects may be in one batch, and their partition; None where any may.
        adopt_first: Whether the very first tick takes what is there as handed over.
        s3_resource_key: The key of the S3 resource.
        batch_resource_key: The key under which the run finds its batch.
        targets: What each batch is launched on.
        run_tags: Tags for every run, beside those that tell the batch.
        reporter: Tells the source asset what a tick saw; None if there is no such asset.
    """

    name: str
    location: S3Location
    objects: ObjectFilter
    limits: ScanLimits
    scanner: Scanner
    interval_seconds: int
    flow: Flow
    grouping: Grouping | None
    adopt_first: bool
    s3_resource_key: str
    batch_resource_key: str
    targets: Targets
    run_tags: Mapping[str, str]
    reporter: SourceReporter | None = None

    def evaluate(self, context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """Looks once, and requests a run for each batch. Has no side effects.

        Raises:
            ConfigurationError: There is nothing to launch, or the S3 resource is none.
            CheckpointFormatError: The cursor cannot be read.
            S3RequestError: The listing could not be had.
        """
        began = time.monotonic()
        self.targets.require_assets(context)
        instance = instance_of(context)
        address = SensorAddress.of_evaluation(context, self.name)
        start = start_of_tick(context, instance, address)
        if start.undone is not None:
            return self._carry_out(context, instance, start.undone, start.checkpoint)
        if start.retry is not None and instance is not None:
            again = self._request_again(context, instance, address, start)
            if again is not None:
                return again
            start = start.after_retry()
        gate = self.flow.gate(instance, address, start.checkpoint.generations)
        placement = None if self.grouping is None else self.grouping.placement(instance)
        look = self._look(context, start, gate, placement)
        seconds = time.monotonic() - began
        report = describe_scan(look.result, source=self.location.uri, seconds=seconds)
        warnings = [*report.warnings]
        if placement is not None and (unplaced := placement.describe()):
            warnings.append(unplaced)
        if gate.reason is not None:
            warnings.append(f"{gate.reason}.")
        context.log.info(report.summary)
        context.log.info(describe_cost(look.requests, self.interval_seconds))
        for warning in warnings:
            context.log.warning(warning)
        said = [report.summary, *warnings]
        events: list[SourceEvent] = []
        if self.reporter is not None:
            events = self.reporter.events(
                instance,
                look,
                words=" ".join(said),
                seconds=seconds,
                unplaced=None if placement is None else placement.unplaced,
            )
        return self._result(look.result, instance, said, events)

    def _look(
        self,
        context: dg.SensorEvaluationContext,
        start: Start,
        gate: Gate,
        placement: Placement | None,
    ) -> Look:
        return self.scanner.scan(
            client_of(getattr(context.resources, self.s3_resource_key)),
            self.listed_location,
            start.checkpoint,
            selection=self.selection(placement),
            limits=self._limits(gate),
            adopt=self.adopt_first and start.is_first,
        )

    @property
    def listed_location(self) -> S3Location:
        """What is listed: the prefix, or as much of it as the filter needs."""
        return replace(self.location, key=self.objects.list_prefix(self.location.key))

    def selection(self, placement: Placement | None) -> Selection:
        """What counts of it."""
        selection = self.objects.selection(self.location.key, bucket=self.location.bucket)
        return selection if placement is None else placement.applied_to(selection)

    def retry(self, address: SensorAddress) -> Retry:
        """What finds the failed batches of this sensor."""
        return Retry(
            source=self.location.uri,
            address=address,
            job_names=self.targets.job_names,
            batch_resource_key=self.batch_resource_key,
        )

    def _limits(self, gate: Gate) -> ScanLimits:
        if gate.max_batches is None:
            return self.limits
        return replace(self.limits, max_batches=min(self.limits.max_batches, gate.max_batches))

    def _request_again(
        self,
        context: dg.SensorEvaluationContext,
        instance: dg.DagsterInstance,
        address: SensorAddress,
        start: Start,
    ) -> dg.SensorResult | None:
        """The failed batches that a reset wants requested again; None if none is left."""
        following, retry = start.after_retry().checkpoint, self.retry(address)
        # What failed before must not stop what mends it; what fails again does.
        gate = self.flow.gate(instance, address, [following.generation])
        generations = start.checkpoint.generations
        failed = retry.failed(instance, generations, into=following.generation)
        turn = retry.turn(instance, failed, self._limits(gate))
        if not turn.chosen and not turn.left:
            if turn.unreadable:
                context.log.warning(turn.warning)
            return None
        said = [turn.describe(following.generation), *([gate.reason] if gate.reason else [])]
        for each in said:
            context.log.info(each)
        cursor = encode_checkpoint(start.checkpoint)
        if not turn.chosen:
            return dg.SensorResult(skip_reason=" ".join(said), cursor=cursor)
        return dg.SensorResult(
            run_requests=[
                self._request(again.batch, following, job_name)
                for again in turn.chosen
                for job_name in again.job_names
            ],
            cursor=cursor,
            dynamic_partitions_requests=self._new_partitions(
                [again.batch for again in turn.chosen], instance
            ),
        )

    def _carry_out(
        self,
        context: dg.SensorEvaluationContext,
        instance: dg.DagsterInstance | None,
        undone: Decision,
        checkpoint: Checkpoint,
    ) -> dg.SensorResult:
        """What an earlier tick requested, as this one would have requested it."""
        said = (
            f"An earlier tick could not submit {len(undone.left)} of the runs that it requested. "
            f"They are requested again, but for those of jobs that are none of the sensor's any "
            f"more."
        )
        context.log.warning(said)
        requests: dict[str | None, dg.RunRequest] = {}
        batches: list[Batch] = []
        for each in undone.left:
            batch = requested_batch(each, self.batch_resource_key)
            if batch is None:
                # Dagster then says what is wrong with its config.
                requests[each.run_key] = each
                continue
            batches.append(batch)
            job_names: Sequence[str | None] = [each.job_name]
            if each.job_name not in self.targets.job_names:
                # The sensor has other jobs by now, and none has processed this batch.
                job_names = [] if batch.id in undone.begun else self.targets.job_names
            for job_name in job_names:
                request = self._request(batch, checkpoint, job_name)
                requests[request.run_key] = request
        if not requests:
            return dg.SensorResult(skip_reason=said, cursor=undone.cursor)
        return dg.SensorResult(
            run_requests=list(requests.values()),
            cursor=undone.cursor,
            dynamic_partitions_requests=self._new_partitions(batches, instance),
        )

    def _result(
        self,
        result: ScanResult,
        instance: dg.DagsterInstance | None,
        said: list[str],
        asset_events: list[SourceEvent],
    ) -> dg.SensorResult:
        cursor = encode_checkpoint(result.checkpoint)
        if not result.batches:
            return dg.SensorResult(
                skip_reason=" ".join(said), cursor=cursor, asset_events=asset_events
            )
        return dg.SensorResult(
            run_requests=list(self._requests(result)),
            cursor=cursor,
            asset_events=asset_events,
            dynamic_partitions_requests=self._new_partitions(result.batches, instance),
        )

    def _new_partitions(
        self, batches: Sequence[Batch], instance: dg.DagsterInstance | None
    ) -> list[Any] | None:
        return None if self.grouping is None else self.grouping.new_partitions(batches, instance)

    def _requests(self, result: ScanResult) -> Iterator[dg.RunRequest]:
        for batch in result.batches:
            for job_name in self.targets.job_names:
                yield self._request(batch, result.checkpoint, job_name)

    def _request(self, batch: Batch, checkpoint: Checkpoint, job_name: str | None) -> dg.RunRequest:
        config = batch_config(self.location.bucket, batch, checkpoint.generation)
        return dg.RunRequest(
            run_key=make_run_key(checkpoint.generation, batch.id, job_name),
            run_config={"resources": {self.batch_resource_key: {"config": config}}},
            tags={**self.run_tags, **batch_tags(self.location.uri, checkpoint, batch)},
            job_name=job_name,
            partition_key=None if self.grouping is None else self.grouping.partition_key(batch),
        )


def client_of(resource: Any) -> S3Client:
    """The boto3 client of a resource, which may be one itself.

    Raises:
        ConfigurationError: It is neither a client nor something that has one, or its endpoint is
            no URL.
        S3RequestError: Its settings make no client.
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
