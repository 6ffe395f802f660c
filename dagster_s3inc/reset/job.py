"""The reset job and its options."""

# No "from __future__ import annotations" here: Dagster reads the annotation of `context` as it is.
from collections.abc import Mapping
from typing import Any

import dagster as dg

from dagster_s3inc.core.validation import require_name
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.reset.carrying_out import carry_out
from dagster_s3inc.reset.config import ResetConfig
from dagster_s3inc.reset.dry_run import foresee
from dagster_s3inc.reset.target import Target, find_tick
from dagster_s3inc.sensor import tick_of

__all__ = ["build_s3_reset_job"]


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
    """Builds a job that makes a sensor process files again, in a new generation.

    Launched as it is, the job starts everything over. Its config (see `ResetConfig`) offers less:
    files by key and time, or failed batches; and a dry run. Safe while the sensor ticks: what a
    tick that is running has requested is in the old generation; the next tick starts the new one.
    Each run of the job starts a generation, and says which, and what the cursor was. Runs of the
    old generation that are running are left alone, and so are queued ones by default.

    Args:
        sensor: What `build_s3_incremental_sensor` made; or else give `sensor_name`. The job then
            needs the sensor's S3 resource too, with which dry runs look at the prefix.
        sensor_name: The name of such a sensor in the same code location. Dry runs can then tell
            of failed batches, and of nothing else.
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
    if sensor_name is not None:
        require_name("sensor_name", sensor_name)
    if sensor is not None and not isinstance(sensor, dg.SensorDefinition):
        hint = f". Give a name as sensor_name={sensor!r}" if isinstance(sensor, str) else ""
        raise ConfigurationError(
            f"sensor must be what build_s3_incremental_sensor made, not {sensor!r}{hint}"
        )
    own = None if sensor is None else tick_of(sensor)
    if sensor is not None and own is None:
        raise ConfigurationError(
            f"Sensor {sensor.name!r} was not made by build_s3_incremental_sensor, so there is no "
            f"checkpoint to reset"
        )
    target_name = str(sensor_name) if own is None else own.name
    job_name = name or f"reset_{target_name}"
    resource_key = None if own is None else own.s3_resource_key

    @dg.op(
        name=f"{job_name}_checkpoint",
        description=f"Makes sensor {target_name} process files again, in a new generation.",
        required_resource_keys=set() if resource_key is None else {resource_key},
        out=dg.Out(dg.Nothing),
    )
    def reset(context: dg.OpExecutionContext, config: ResetConfig) -> None:
        tick = own or find_tick(context, target_name)
        order = config.order(tick.location)
        target = Target.find(context, tick)
        if not order.dry_run:
            told = carry_out(context, target, order)
        else:
            resource = None if resource_key is None else getattr(context.resources, resource_key)
            told = foresee(context.instance, target, order, resource)
        context.log.info(told.summary)
        context.add_output_metadata({"sensor": tick.name, "what": order.what.name, **told.metadata})

    @dg.job(
        name=job_name,
        description=description
        or f"Makes sensor {target_name} process files again, in a new generation: by default "
        f"every file, or those that its config names.",
        tags=tags,
        metadata=metadata,
        owners=owners,
        executor_def=dg.in_process_executor,
    )
    def reset_job() -> None:
        reset()

    return reset_job
