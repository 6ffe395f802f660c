"""Everything for one prefix in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg
from dagster_aws.s3 import S3Resource

from dagster_s3inc.batch import s3_batch
from dagster_s3inc.reset import build_s3_reset_job
from dagster_s3inc.sensor import build_s3_incremental_sensor

__all__ = ["S3_FROM_ENVIRONMENT", "build_s3_incremental_definitions"]

# One object for all calls: Definitions.merge refuses two different ones under the same key.
S3_FROM_ENVIRONMENT: Final = S3Resource()


def build_s3_incremental_definitions(
    *,
    name: str,
    uri: str,
    s3: Any = S3_FROM_ENVIRONMENT,
    assets: Sequence[Any] = (),
    reset_job_name: str | None = None,
    reset_job_options: Mapping[str, Any] | None = None,
    s3_resource_key: str = "s3",
    batch_resource_key: str = "batch",
    **sensor_options: Any,
) -> dg.Definitions:
    """Builds the sensor, its reset job and the resources that both the sensor and the runs need.

    Put it beside the rest with `Definitions.merge`.

    Args:
        name: The sensor's name.
        uri: What to scan; see `build_s3_incremental_sensor`.
        s3: The S3 resource; by default an `S3Resource` that takes everything from the
            environment. None leaves it out, for definitions that have one under that key.
        assets: Assets (and anything else that `Definitions` takes as such) to include.
        reset_job_name: By default `reset_` and the sensor's name.
        reset_job_options: Everything else that `build_s3_reset_job` takes.
        s3_resource_key: The key of the S3 resource.
        batch_resource_key: The key of the `S3Batch` resource.
        **sensor_options: Everything else that `build_s3_incremental_sensor` takes, one of
            `target`, `job`, `jobs`, `job_name` and `asset_selection` among it.

    Raises:
        ConfigurationError: An argument is wrong, contradictory or missing.
    """
    sensor = build_s3_incremental_sensor(
        name=name,
        uri=uri,
        s3_resource_key=s3_resource_key,
        batch_resource_key=batch_resource_key,
        **sensor_options,
    )
    reset_job = build_s3_reset_job(sensor=sensor, name=reset_job_name, **(reset_job_options or {}))
    resources = {batch_resource_key: s3_batch}
    if s3 is not None:
        resources[s3_resource_key] = s3
    return dg.Definitions(
        assets=list(assets),
        sensors=[sensor],
        jobs=[reset_job],
        resources=resources,
    )
