"""One evaluation of the sensor: cursor in, run requests out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_s3inc.batch import batch_config, batch_tags
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import encode_checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.report import describe_cost, describe_scan
from dagster_s3inc.cursor import Start, make_run_key, start_of_tick
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.flow import Flow, Gate
from dagster_s3inc.instance import SensorAddress, instance_of
from dagster_s3inc.partitions import Grouping, Placement
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanning import Look, Scanner
from dagster_s3inc.source import SourceEvent, SourceReporter

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["Tick"]


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
        job_names: The jobs that each batch is launched on; None stands for the only target.
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
    job_names: tuple[str | None, ...]
    run_tags: Mapping[str, str]
    reporter: SourceReporter | None = None

    def evaluate(self, context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """Looks once, and requests a run for each batch. Has no side effects.

        Raises:
            CheckpointFormatError: The cursor cannot be read.
            S3RequestError: The listing could not be had.
        """
        began = time.monotonic()
        instance = instance_of(context)
        address = SensorAddress.of_evaluation(context, self.name)
        start = start_of_tick(context, self.name)
        gate = self.flow.gate(instance, address, start.checkpoint.generation)
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
        selection = self.objects.selection(self.location.key, bucket=self.location.bucket)
        if placement is not None:
            selection = placement.applied_to(selection)
        limits = self.limits
        if gate.max_batches is not None:
            limits = replace(limits, max_batches=min(limits.max_batches, gate.max_batches))
        return self.scanner.scan(
            _client_of(getattr(context.resources, self.s3_resource_key)),
            replace(self.location, key=self.objects.list_prefix(self.location.key)),
            start.checkpoint,
            selection=selection,
            limits=limits,
            adopt=self.adopt_first and start.is_first,
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
            dynamic_partitions_requests=(
                None
                if self.grouping is None
                else self.grouping.new_partitions(result.batches, instance)
            ),
        )

    def _requests(self, result: ScanResult) -> Iterator[dg.RunRequest]:
        for batch in result.batches:
            for job_name in self.job_names:
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


def _client_of(resource: Any) -> S3Client:
    client = resource.get_client() if hasattr(resource, "get_client") else resource
    if not hasattr(client, "list_objects_v2"):
        raise ConfigurationError(
            f"The S3 resource is a {type(resource).__name__}, which is neither an S3Resource nor "
            f"a boto3 S3 client. Put one of these under the key that s3_resource_key names."
        )
    return client  # type: ignore[no-any-return]
