"""The reset job: everything that was handed over is handed over again.

Clearing the cursor would not do: a tick that is running writes its own cursor over it when it
ends, and Dagster skips run requests whose run keys it has seen. So a reset is, first of all, a
marker that lasts: tags on the reset run. A tick that meets a marker newer than the newest that its
cursor knows of starts a new generation, and the generation is part of every run key. The stored
cursor is then replaced by that of the new generation as well, so that the sensor's page shows it
at once.
"""

# No "from __future__ import annotations" here: Dagster reads the annotation of `context` as it is.
from collections.abc import Mapping
from typing import Any, Final

import dagster as dg

from dagster_s3inc.batch import SOURCE_TAG
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint, encode_checkpoint
from dagster_s3inc.cursor import next_generation
from dagster_s3inc.errors import CheckpointFormatError, ConfigurationError, ResetError
from dagster_s3inc.instance import SensorAddress, SensorState, sensors_beside, write_marker

__all__ = ["build_s3_reset_job"]

_NEVER_RAN: Final = "none: the sensor never ran, or its cursor is empty"


def build_s3_reset_job(
    *,
    sensor: dg.SensorDefinition | None = None,
    sensor_name: str | None = None,
    name: str | None = None,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    owners: Any = None,
) -> dg.JobDefinition:
    """Builds a job that makes a sensor process everything again, in a new generation.

    Safe while the sensor ticks: what a tick that is running has requested is in the old
    generation; the next tick starts the new one. Each run of the job starts a generation. Its run
    says which, and what the cursor was. Runs of the old generation that are queued or running
    are left alone.

    Args:
        sensor: What `build_s3_incremental_sensor` made; or else give `sensor_name`.
        sensor_name: The name of such a sensor in the same code location.
        name: The job's name; by default `reset_` and the sensor's.
        description: Shown in the UI.
        tags: As `dagster.job` takes them.
        metadata: As `dagster.job` takes it.
        owners: As `dagster.job` takes them.

    Raises:
        ConfigurationError: Not exactly one of the two is given, or the sensor is another's.
    """
    if (sensor is None) == (sensor_name is None):
        raise ConfigurationError("Give exactly one of sensor and sensor_name")
    if sensor is not None and SOURCE_TAG not in sensor.metadata:
        raise ConfigurationError(
            f"Sensor {sensor.name!r} was not made by build_s3_incremental_sensor, so there is no "
            f"checkpoint to reset"
        )
    target = sensor.name if sensor is not None else str(sensor_name)

    @dg.op(
        name=f"reset_{target}_checkpoint",
        description=f"Starts a new generation of sensor {target}.",
        out=dg.Out(dg.Nothing),
    )
    def reset(context: dg.OpExecutionContext) -> None:
        if sensor is None:
            _require_known(context, target)
        metadata, summary = _reset(context, target)
        context.log.info(summary)
        context.add_output_metadata(metadata)

    @dg.job(
        name=name or f"reset_{target}",
        description=description
        or f"Makes sensor {target} process every file again, in a new generation.",
        tags=tags,
        metadata=metadata,
        owners=owners,
        executor_def=dg.in_process_executor,
    )
    def reset_job() -> None:
        reset()

    return reset_job


def _require_known(context: dg.OpExecutionContext, sensor_name: str) -> None:
    names = sensors_beside(context, with_metadata=SOURCE_TAG)
    if names is not None and sensor_name not in names:
        raise ResetError(
            f"There is no S3 incremental sensor named {sensor_name!r} here. "
            f"There is: {', '.join(sorted(names)) or 'none'}. Mend sensor_name of this job."
        )


def _reset(context: dg.OpExecutionContext, sensor_name: str) -> tuple[dict[str, Any], str]:
    state = SensorState(context.instance, SensorAddress.beside_run(context.run, sensor_name))
    text = state.cursor
    before = _readable(context, text)
    following = next_generation(before, state.last_run_key)
    marker = write_marker(context.instance, context.run_id, state.address, generation=following)
    generation = marker.generation

    # A tick that runs now ends with a cursor of its own, which may even be of the new generation
    # already. That one must stand, or what it handed over would be handed over twice.
    shown = not state.is_ticking() or before is None
    if shown:
        fresh = Checkpoint(generation=generation, reset_seen=marker.at)
        shown = state.replace_cursor(encode_checkpoint(fresh))

    previous = generation - 1
    summary = (
        f"Generation {generation} of sensor {sensor_name} begins"
        f"{'' if shown else ' with its next tick'}: every file is processed again."
    )
    return {
        "sensor": sensor_name,
        "generation before": dg.MetadataValue.int(previous),
        "generation after": dg.MetadataValue.int(generation),
        "cursor before": dg.MetadataValue.text(text or _NEVER_RAN),
        "takes effect": "now" if shown else "with the sensor's next tick",
    }, summary


def _readable(context: dg.OpExecutionContext, text: str | None) -> Checkpoint | None:
    if not text:
        return None
    try:
        return decode_checkpoint(text)
    except CheckpointFormatError as error:
        context.log.warning(f"The cursor before could not be read; it is replaced. {error}")
        return None
