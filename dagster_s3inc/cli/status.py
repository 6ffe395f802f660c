"""`dagster-s3inc status`: what a cursor says."""

from __future__ import annotations

import json
from typing import Any

import click

from dagster_s3inc.cli.explanation import describe_checkpoint, explain
from dagster_s3inc.cli.origin import Origin, origin_options, read_origin
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.words import count
from dagster_s3inc.stored_sensors import StoredSensor

__all__ = ["status"]


@click.command()
@origin_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def status(as_json: bool, **origin_of: Any) -> None:
    """Explains a cursor: --cursor, --checkpoint or --sensor. Changes nothing."""
    origin = read_origin(**origin_of)
    if origin is None:
        raise click.UsageError("Give one of --cursor, --checkpoint and --sensor.")
    if as_json:
        click.echo(json.dumps(_document(origin), indent=2))
        return
    click.echo(f"{origin.name[0].upper()}{origin.name[1:]}: {count(origin.bytes, 'byte')}.")
    if origin.sensor is not None:
        for line in _describe_sensor(origin.sensor, origin):
            click.echo(line)
    if origin.checkpoint is not None:
        for line in explain(origin.checkpoint):
            click.echo(line)


def _document(origin: Origin) -> dict[str, Any]:
    """The status as a JSON document; its fields are a public contract."""
    return {
        "source": origin.name,
        "bytes": origin.bytes,
        "checkpoint": origin.checkpoint and describe_checkpoint(origin.checkpoint),
        "next_generation": origin.following.generation,
        "sensor": origin.sensor and _sensor(origin.sensor),
    }


def _sensor(sensor: StoredSensor) -> dict[str, Any]:
    tick, reset = sensor.last_tick, sensor.resets[-1] if sensor.resets else None
    return {
        "name": sensor.name,
        "location": sensor.location,
        "repository": sensor.repository,
        "status": sensor.status,
        "last_tick": tick
        and {
            "at": format_time(tick.at),
            "status": tick.status,
            "runs": tick.runs,
            "message": tick.said,
        },
        "newest_reset": reset
        and {"at": reset.at, "generation": reset.generation, "what": reset.what},
    }


def _describe_sensor(sensor: StoredSensor, origin: Origin) -> list[str]:
    lines = [f"Sensor: {sensor.status}."]
    tick = sensor.last_tick
    if tick is None:
        lines.append("Last tick: none yet.")
    else:
        outcome = tick.said or f"{count(tick.runs, 'run')} requested."
        lines.append(f"Last tick: {format_time(tick.at)}, {tick.status}: {outcome}")
    before, after = origin.checkpoint, origin.following
    if before is None and origin.is_first:
        lines.append("No cursor yet: the next tick is the first.")
    elif before is None:
        lines.append(
            f"No cursor: it was cleared. The next tick starts generation {after.generation}."
        )
    elif before.generation != after.generation:
        lines.append(
            f"A reset waits to be honoured: the next tick starts generation {after.generation}."
        )
    return lines
