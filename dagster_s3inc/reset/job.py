"""The reset job and its options."""

# No "from __future__ import annotations" here: Dagster reads the annotation of `context` as it is.
from collections.abc import Mapping
from typing import Any

import dagster as dg

from dagster_s3inc.core.validation import require_name
from dagster_s3inc.errors import ConfigurationError, S3IncError
from dagster_s3inc.reset.apply import apply
from dagster_s3inc.reset.config import Order, ResetConfig
from dagster_s3inc.reset.preview import preview
from dagster_s3inc.reset.summary import Summary
from dagster_s3inc.reset.target import Target, find_sensor
from dagster_s3inc.sensor import incremental_sensor_of

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
    """Builds a job that makes a sensor process files again.

    Launched with its defaults, the job starts everything over, in a new generation. Its config
    (see `ResetConfig`) offers less: files by key and time, or failed batches; and a dry run. It is
    safe while the sensor ticks: the next tick honours the reset. Each run of the job shows what it
    did, and what the cursor was before. Runs that are running are left alone, and so are queued
    ones by default.

    Args:
        sensor: What `build_s3_incremental_sensor` made; or else give `sensor_name`. The job then
            needs the sensor's S3 resource too, with which dry runs list the prefix.
        sensor_name: The name of such a sensor in the same code location. Dry runs can then show
            failed batches, and no files.
        name: The job's name; by default `reset_` and the sensor's.
        description: Shown in the UI.
        tags: As `dagster.job` takes them.
        metadata: As `dagster.job` takes it.
        owners: As `dagster.job` takes them.

    Raises:
        ConfigurationError: Not exactly one of the two is given, or the sensor is another one.
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
    own = None if sensor is None else incremental_sensor_of(sensor)
    if sensor is not None and own is None:
        raise ConfigurationError(
            f"Sensor {sensor.name!r} was not made by build_s3_incremental_sensor, so there is no "
            f"checkpoint to reset"
        )
    target_name = str(sensor_name) if own is None else own.name
    job_name = name or f"reset_{target_name}"
    resource_key = None if own is None else own.s3_resource_key
    effect = f"Makes sensor {target_name} process files again"
    counted = "A dry run counts the files."
    if own is not None and own.reporter is not None:
        counted = (
            f"The page of asset {own.reporter.key.to_user_string()} says how many files failed, "
            f"are undecided and are listed; a dry run counts those of any reset."
        )

    def carry_out(context: dg.OpExecutionContext, config: ResetConfig) -> tuple[Summary, Order]:
        target_sensor = own or find_sensor(context, target_name)
        order = config.order(target_sensor.source.location)
        target = Target.find(context, target_sensor)
        if not order.dry_run:
            return apply(context, target, order), order
        resource = None if resource_key is None else getattr(context.resources, resource_key)
        return preview(context.instance, target, order, resource), order

    @dg.op(
        name=f"{job_name}_checkpoint",
        description=f"{effect}. The field `what` says which. {counted}",
        required_resource_keys=set() if resource_key is None else {resource_key},
        out=dg.Out(dg.Nothing),
    )
    def reset(context: dg.OpExecutionContext, config: ResetConfig) -> None:
        try:
            summary, order = carry_out(context, config)
        except S3IncError as error:
            # Of another exception, the run's page shows a traceback first.
            raise dg.Failure(str(error), allow_retries=False) from error
        context.log.info(summary.text)
        context.add_output_metadata({"sensor": target_name, "what": order.what, **summary.metadata})

    @dg.job(
        name=job_name,
        description=description
        or f"{effect}: by default every file, in a new generation; or those that its config "
        f"names. {counted}",
        tags=tags,
        metadata=metadata,
        owners=owners,
        executor_def=dg.in_process_executor,
    )
    def reset_job() -> None:
        reset()

    return reset_job
