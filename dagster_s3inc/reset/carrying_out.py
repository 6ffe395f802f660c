"""Carrying a reset out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import dagster as dg

from dagster_s3inc.batch import SKIPPED_TAG
from dagster_s3inc.batch_runs import requested_batch, runs_with, tags_of
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import encode_checkpoint
from dagster_s3inc.core.words import count
from dagster_s3inc.cursor import next_generation
from dagster_s3inc.instance import cancel_queued
from dagster_s3inc.markers import write_marker
from dagster_s3inc.reset.config import Order, What
from dagster_s3inc.reset.target import Target
from dagster_s3inc.reset.told import Told, batches_table

__all__ = ["carry_out", "queued_runs"]

_NO_CURSOR = "none: the sensor never ran, or its cursor is empty"

_AGAIN = {
    What.everything: "every file is processed again",
    What.failed: "the failed batches are requested again",
}


def carry_out(context: dg.OpExecutionContext, target: Target, order: Order) -> Told:
    """Resets the sensor, or marks failed batches as skipped.

    Raises:
        ResetError: It cannot be done; nothing was changed.
    """
    if order.what is What.skip_failed:
        return _skip_failed(context, target)
    if order.what is not What.everything:
        # Fails where it is not known what has been handed over.
        target.known  # noqa: B018
    cancelled = None
    if order.cancel_queued:
        # Before the marker: a tick that honours it may look for failed batches at once.
        runs = queued_runs(context.instance, target, order)
        cancelled = cancel_queued(context.instance, [run.run_id for run in runs])
        if order.what is What.matching:
            # Its files come again in other batches, so nobody is to wait for this one, nor to
            # request it a second time.
            _skip(context, cancelled)
    told = _start_generation(context, target, order)
    if cancelled is not None:
        told.metadata["queued runs cancelled"] = dg.MetadataValue.int(len(cancelled))
    return told


def queued_runs(
    instance: dg.DagsterInstance, target: Target, order: Order
) -> Iterator[dg.DagsterRun]:
    """The runs that `cancel_queued` is for: queued, and to be processed again."""
    tags = tags_of(target.tick.location.uri, target.state.address)
    meets = order.conditions.matcher(target.tick.location.key)
    for run in runs_with(instance, tags, [dg.DagsterRunStatus.QUEUED]):
        batch = requested_batch(run, target.tick.batch_resource_key)
        if batch is not None and all(map(meets, batch.objects)):
            yield run


def _start_generation(context: dg.OpExecutionContext, target: Target, order: Order) -> Told:
    state, before = target.state, target.checkpoint
    matching = order.what is What.matching
    marker = write_marker(
        context.instance,
        context.run_id,
        state.address,
        generation=next_generation(before, state.last_run_key),
        what=order.what.value,
        conditions=json.dumps(order.conditions.written()) if matching else "",
    )
    shown = False
    # A tick that runs now ends with a cursor of its own, which may even be of the new generation
    # already. That one must stand, or what it handed over would be handed over twice; and so must
    # that of a tick which has begun and ended since the cursor was read.
    if order.what is What.everything and (not state.is_ticking() or before is None):
        fresh = Checkpoint(generation=marker.generation, reset_seen=marker.at)
        shown = state.replace_cursor(encode_checkpoint(fresh), instead_of=target.text)
    again = _AGAIN.get(order.what, f"what was handed over and is {order.conditions} is, again")
    metadata = {
        "generation before": dg.MetadataValue.int(marker.generation - 1),
        "generation after": dg.MetadataValue.int(marker.generation),
        "cursor before": dg.MetadataValue.text(target.text or _NO_CURSOR),
        "takes effect": "now" if shown else "with the sensor's next tick",
    }
    if matching:
        metadata["conditions"] = dg.MetadataValue.text(str(order.conditions))
    return Told(
        f"Generation {marker.generation} of sensor {target.tick.name} begins"
        f"{'' if shown else ' with its next tick'}: {again}.",
        metadata,
    )


def _skip_failed(context: dg.OpExecutionContext, target: Target) -> Told:
    failed = target.failed(context.instance)
    for each in failed:
        _skip(context, each.run_ids)
    return Told(
        f"{count(len(failed), 'failed batch', 'failed batches')} of sensor {target.tick.name} "
        f"marked as skipped.",
        {
            "batches skipped": dg.MetadataValue.int(len(failed)),
            "batches": batches_table(failed),
        },
    )


def _skip(context: dg.OpExecutionContext, run_ids: Iterable[str]) -> None:
    for run_id in run_ids:
        context.instance.add_run_tags(run_id, {SKIPPED_TAG: context.run_id})
