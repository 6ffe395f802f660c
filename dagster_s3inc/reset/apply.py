"""What a reset does.

It writes its request first, so that nothing is lost where it is killed after that: the next tick
honours the request. With `matching`, queued runs are then marked as skipped and cancelled, since
their files come again in other batches. With `failed` queued runs are cancelled before the request
is written: a tick that honours it looks for failed batches at once, and they are to be among them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import dagster as dg

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.cursor_format import encode_checkpoint
from dagster_s3inc.core.words import count
from dagster_s3inc.dagster_internals import cancel_queued
from dagster_s3inc.reset.config import Order
from dagster_s3inc.reset.summary import Summary, batches_table
from dagster_s3inc.reset.target import Target
from dagster_s3inc.runs.reset_requests import ResetRequest, write_reset_request
from dagster_s3inc.runs.run_requests import SKIPPED_TAG, requested_batch
from dagster_s3inc.runs.states import runs_with, tags_of
from dagster_s3inc.sensor.start import next_generation

__all__ = ["apply", "queued_runs"]


def apply(context: dg.OpExecutionContext, target: Target, order: Order) -> Summary:
    """Resets the sensor, or marks failed batches as skipped.

    Raises:
        ResetError: It cannot be done; nothing was changed.
    """
    if order.what == "skip_failed":
        return _skip_failed(context, target)
    runs = []
    if order.cancel_queued:
        runs = [run.run_id for run in queued_runs(context.instance, target, order)]
    cancelled: list[str] = []
    if order.what == "failed":
        target.known  # noqa: B018 # fails before anything is changed
        cancelled = cancel_queued(context.instance, runs)
    request = _write_request(context, target, order)
    if order.what == "matching":
        # Nobody is to wait for these runs, nor to request their batches once more.
        _skip(context, runs)
    if order.what != "failed":
        cancelled = cancel_queued(context.instance, runs)
    shown = order.what == "everything" and _show_at_once(target, request)
    summary = _summary(target, order, request, shown=shown)
    if order.cancel_queued:
        summary.metadata["queued runs cancelled"] = len(cancelled)
    return summary


def queued_runs(
    instance: dg.DagsterInstance, target: Target, order: Order
) -> Iterator[dg.DagsterRun]:
    """The runs that `cancel_queued` is for: queued, and to be processed again."""
    requests = target.sensor.requests
    tags = tags_of(requests.source.uri, target.state.address)
    rules = order.conditions.rules(requests.source.location.key)
    for run in runs_with(instance, tags, [dg.DagsterRunStatus.QUEUED]):
        batch = requested_batch(run, requests.batch_resource_key)
        if batch is not None and rules.may_count(Columns.of(batch.objects)).all():
            yield run


def _write_request(context: dg.OpExecutionContext, target: Target, order: Order) -> ResetRequest:
    if order.what == "everything":
        generation = next_generation(target.checkpoint, target.state.last_run_key)
    else:
        # Fails where it is not known what has been emitted.
        generation = target.known.generation
    conditions = order.conditions.written() if order.what == "matching" else None
    return write_reset_request(
        context.instance,
        context.run_id,
        target.state.address,
        generation=generation,
        what=order.what,
        conditions=json.dumps(conditions) if conditions else "",
    )


def _show_at_once(target: Target, request: ResetRequest) -> bool:
    """Replaces the stored cursor, if that is safe."""
    # A tick that runs now ends with a cursor of its own, which may even be of the new generation
    # already. That one must stand, or what it requested would be requested twice; and so must
    # that of a tick which has begun and ended since the cursor was read.
    if target.checkpoint is not None and target.state.is_ticking():
        return False
    fresh = Checkpoint(generation=request.generation, reset_seen=request.at)
    return target.state.replace_cursor(encode_checkpoint(fresh), instead_of=target.text)


def _summary(target: Target, order: Order, request: ResetRequest, *, shown: bool) -> Summary:
    undecided = 0 if target.checkpoint is None else target.checkpoint.undecided
    text = f"Sensor {target.sensor.name}, {'from now on' if shown else 'with its next tick'}: "
    if order.what == "everything":
        text += f"generation {request.generation} begins; every file is processed again."
    elif order.what == "failed":
        text += "the failed batches are requested again."
    elif order.what == "accept_listed":
        text += "every file that is listed at or below the watermark counts as requested."
    elif undecided:
        text += (
            f"every listed file that is {order.conditions} is requested, whether it was before or "
            f"not, since that is undecided. Files that do not meet the conditions stay undecided."
        )
    else:
        text += f"what was requested and is {order.conditions} is requested again."
    metadata = {
        "generation before": request.generation - (order.what == "everything"),
        "generation after": request.generation,
        "cursor before": target.text or "none: the sensor never ran, or its cursor is empty",
        "takes effect": "now" if shown else "with the sensor's next tick",
    }
    if order.what == "matching":
        metadata["conditions"] = str(order.conditions)
    if undecided:
        metadata["files undecided, at most"] = undecided
    return Summary(text, metadata)


def _skip_failed(context: dg.OpExecutionContext, target: Target) -> Summary:
    failed = target.failed(context.instance)
    for each in failed:
        _skip(context, each.run_ids)
    number = count(len(failed), "failed batch", "failed batches")
    return Summary(
        f"{number} of sensor {target.sensor.name} marked as skipped.",
        {"batches skipped": len(failed), "batches": batches_table(failed)},
    )


def _skip(context: dg.OpExecutionContext, run_ids: Iterable[str]) -> None:
    for run_id in run_ids:
        context.instance.add_run_tags(run_id, {SKIPPED_TAG: context.run_id})
