"""What a reset would have processed again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dagster as dg

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.forecast import forecast
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.redo import Redo
from dagster_s3inc.core.words import count, format_bytes
from dagster_s3inc.errors import ResetError
from dagster_s3inc.reset.carrying_out import queued_runs
from dagster_s3inc.reset.config import Order, What
from dagster_s3inc.reset.target import Target
from dagster_s3inc.reset.told import SHOWN, Told, batches_table, files_table
from dagster_s3inc.tick import client_of

__all__ = ["foresee"]


def foresee(
    instance: dg.DagsterInstance, target: Target, order: Order, resource: Any | None
) -> Told:
    """Tells what a reset would do, and does nothing.

    Args:
        instance: Knows the runs.
        target: The sensor.
        order: The reset.
        resource: The sensor's S3 resource; None if the job does not have it.

    Raises:
        ResetError: It cannot be told.
        S3RequestError: The listing could not be had.
    """
    if order.what in (What.failed, What.skip_failed):
        told = _foresee_batches(instance, target, order)
    else:
        told = _foresee_files(instance, target, order, resource)
    if order.cancel_queued:
        queued = sum(1 for _ in queued_runs(instance, target, order))
        told.metadata["queued runs that would be cancelled"] = dg.MetadataValue.int(queued)
    return told


def _foresee_batches(instance: dg.DagsterInstance, target: Target, order: Order) -> Told:
    failed = target.failed(instance)
    would = "marked as skipped" if order.what is What.skip_failed else "requested again"
    return Told(
        f"Dry run: {count(len(failed), 'failed batch', 'failed batches')} of sensor "
        f"{target.tick.name} would be {would}.",
        {
            "dry run": dg.MetadataValue.bool(True),
            "batches": dg.MetadataValue.int(len(failed)),
            "failed batches": batches_table(failed),
        },
    )


def _foresee_files(
    instance: dg.DagsterInstance, target: Target, order: Order, resource: Any | None
) -> Told:
    tick = target.tick
    if resource is None:
        raise ResetError(
            f"A dry run has to look at {tick.location}, but this job has no S3 resource, since it "
            f"knows its sensor by name alone. Build it with sensor= instead of sensor_name=. "
            f"Nothing was reset."
        )
    placement = None if tick.grouping is None else tick.grouping.placement(instance)
    selection = tick.selection(placement)
    begin = Checkpoint()
    if order.what is What.matching:
        begin = replace(target.known, redo=Redo(conditions=order.conditions))
    objects = tick.scanner.foresee(
        client_of(resource), tick.listed_location, begin, selection=selection
    )
    found = forecast(objects, tick.limits.policy, group_of=selection.group_of, shown=SHOWN)
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
        f"{tick.location} would be processed again."
    )
    if not found.files and order.conditions.include:
        hint = (
            f"The globs of include are matched against what follows {tick.location} in a key, and "
            f"so do not repeat it."
        )
        metadata["hint"] = dg.MetadataValue.text(hint)
        summary += f" {hint}"
    return Told(summary, metadata)
