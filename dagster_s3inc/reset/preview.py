"""What a reset would do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dagster as dg

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.forecast import forecast
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.reprocess import Reprocess
from dagster_s3inc.core.words import count, format_bytes
from dagster_s3inc.errors import ResetError
from dagster_s3inc.reset.apply import queued_runs
from dagster_s3inc.reset.config import Order, What
from dagster_s3inc.reset.summary import SHOWN, Summary, batches_table, files_table
from dagster_s3inc.reset.target import Target
from dagster_s3inc.sensor.evaluation import client_of

__all__ = ["preview"]


def preview(
    instance: dg.DagsterInstance, target: Target, order: Order, resource: Any | None
) -> Summary:
    """Shows what a reset would do, and changes nothing.

    Args:
        instance: Knows the runs.
        target: The sensor.
        order: The reset.
        resource: The sensor's S3 resource; None if the job does not have it.

    Raises:
        ResetError: It cannot be shown.
        S3RequestError: The prefix could not be listed.
    """
    if order.what in (What.failed, What.skip_failed):
        summary = _preview_batches(instance, target, order)
    elif order.what is What.accept_listed:
        summary = _preview_acceptance(target)
    else:
        summary = _preview_files(instance, target, order, resource)
    if order.cancel_queued:
        queued = sum(1 for _ in queued_runs(instance, target, order))
        summary.metadata["queued runs that would be cancelled"] = dg.MetadataValue.int(queued)
    return summary


def _preview_acceptance(target: Target) -> Summary:
    undecided = target.known.undecided
    return Summary(
        f"Dry run: with the next scan of sensor {target.sensor.name}, every file that is listed at "
        f"or below the watermark would count as requested. "
        + (
            f"{count(undecided, 'file')} at most are undecided."
            if undecided
            else "No file is undecided, so that nothing would change."
        ),
        {
            "dry run": dg.MetadataValue.bool(True),
            "files undecided, at most": dg.MetadataValue.int(undecided),
        },
    )


def _preview_batches(instance: dg.DagsterInstance, target: Target, order: Order) -> Summary:
    failed = target.failed(instance)
    would = "marked as skipped" if order.what is What.skip_failed else "requested again"
    return Summary(
        f"Dry run: {count(len(failed), 'failed batch', 'failed batches')} of sensor "
        f"{target.sensor.name} would be {would}.",
        {
            "dry run": dg.MetadataValue.bool(True),
            "batches": dg.MetadataValue.int(len(failed)),
            "failed batches": batches_table(failed),
        },
    )


def _preview_files(
    instance: dg.DagsterInstance, target: Target, order: Order, resource: Any | None
) -> Summary:
    sensor, source = target.sensor, target.sensor.source
    if resource is None:
        raise ResetError(
            f"A dry run has to list {source.uri}, but this job has no S3 resource, since it "
            f"knows its sensor by name alone. Build it with sensor= instead of sensor_name=. "
            f"Nothing was reset."
        )
    selection = source.selection(instance)
    begin = Checkpoint()
    if order.what is What.matching:
        begin = replace(target.known, reprocess=Reprocess(conditions=order.conditions))
    objects = sensor.scanner.preview(
        client_of(resource),
        source.listed_location,
        begin,
        selection=selection,
        given=target.text,
    )
    found = forecast(objects, sensor.limits.policy, group_of=selection.group_of, shown=SHOWN)
    metadata: dict[str, Any] = {
        "dry run": dg.MetadataValue.bool(True),
        "files": dg.MetadataValue.int(found.files),
        "bytes": dg.MetadataValue.int(found.bytes),
        "batches, at least": dg.MetadataValue.int(found.batches),
        "first files": files_table(found.first),
    }
    if order.what is What.matching:
        metadata["conditions"] = dg.MetadataValue.text(str(order.conditions))
    if found.oldest is not None and found.newest is not None:
        metadata["oldest"] = dg.MetadataValue.text(format_time(found.oldest))
        metadata["newest"] = dg.MetadataValue.text(format_time(found.newest))
    summary = (
        f"Dry run: {count(found.files, 'file')} ({format_bytes(found.bytes)}) under "
        f"{source.uri} would be processed again."
    )
    if not found.files and order.conditions.include:
        hint = (
            f"The globs of include are matched against what follows {source.uri} in a key, and "
            f"so do not repeat it."
        )
        metadata["hint"] = dg.MetadataValue.text(hint)
        summary += f" {hint}"
    return Summary(summary, metadata)
