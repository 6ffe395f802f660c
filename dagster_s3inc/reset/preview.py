"""What a reset would do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dagster as dg

from dagster_s3inc.core.checkpoint import Checkpoint, Reprocess
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.report import forecast
from dagster_s3inc.core.words import count, format_bytes
from dagster_s3inc.errors import ResetError
from dagster_s3inc.reset.apply import queued_runs
from dagster_s3inc.reset.config import Order
from dagster_s3inc.reset.summary import SHOWN, Summary, batches_table, files_table
from dagster_s3inc.reset.target import Target
from dagster_s3inc.runs.states import FailedBatch
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
    if order.what in ("failed", "skip_failed"):
        text, metadata = _batches(target.failed(instance), target.sensor.name, order)
    elif order.what == "accept_listed":
        text, metadata = _acceptance(target.known.undecided)
    else:
        text, metadata = _files(instance, target, order, resource)
    if order.cancel_queued:
        queued = sum(1 for _ in queued_runs(instance, target, order))
        metadata["queued runs that would be cancelled"] = queued
    return Summary(f"Dry run: {text}", {"dry run": True, **metadata})


def _acceptance(undecided: int) -> tuple[str, dict[str, Any]]:
    text = (
        "with the sensor's next scan, every file that is listed at or below the watermark would "
        f"count as requested; {undecided:,} at most are undecided."
    )
    return text, {"files undecided, at most": undecided}


def _batches(
    failed: list[FailedBatch], sensor_name: str, order: Order
) -> tuple[str, dict[str, Any]]:
    would = "marked as skipped" if order.what == "skip_failed" else "requested again"
    number = count(len(failed), "failed batch", "failed batches")
    text = f"{number} of sensor {sensor_name} would be {would}."
    return text, {"batches": len(failed), "failed batches": batches_table(failed)}


def _files(
    instance: dg.DagsterInstance, target: Target, order: Order, resource: Any | None
) -> tuple[str, dict[str, Any]]:
    sensor, source = target.sensor, target.sensor.source
    if resource is None:
        raise ResetError(
            f"A dry run has to list {source.uri}, but this job has no S3 resource, since it "
            f"knows its sensor by name alone. Build it with sensor= instead of sensor_name=. "
            f"Nothing was reset."
        )
    selection, begin = source.selection(instance), Checkpoint()
    if order.what == "matching":
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
        "files": found.files,
        "bytes": found.bytes,
        "batches, at least": found.batches,
        "first files": files_table(found.first),
    }
    if order.what == "matching":
        metadata["conditions"] = str(order.conditions)
    if found.oldest is not None and found.newest is not None:
        metadata["oldest"] = format_time(found.oldest)
        metadata["newest"] = format_time(found.newest)
    text = (
        f"{count(found.files, 'file')} ({format_bytes(found.bytes)}) under {source.uri} would be "
        f"processed again."
    )
    if not found.files and order.conditions.include:
        metadata["hint"] = (
            f"The globs of include are matched against what follows {source.uri} in a key, and "
            f"so do not repeat it."
        )
        text += f" {metadata['hint']}"
    return text, metadata
