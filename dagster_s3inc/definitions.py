"""Everything for one prefix in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from inspect import signature
from typing import Any, Final

import dagster as dg
from dagster_aws.s3 import S3Resource

from dagster_s3inc.core.validation import require_name
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.reset import build_s3_reset_job
from dagster_s3inc.runs import s3_batch
from dagster_s3inc.s3.client import require_endpoint
from dagster_s3inc.sensor import build_s3_incremental_sensor
from dagster_s3inc.source_asset import (
    SourceAsset,
    build_s3_source_asset,
    build_s3_source_checks,
    key_of,
    with_interval,
)

__all__ = [
    "NAMED_AFTER_SENSOR",
    "S3_FROM_ENVIRONMENT",
    "build_s3_incremental_definitions",
    "reset_job_defaults",
]

NAMED_AFTER_SENSOR: Final = "{name}_files"
"""The key of a source asset by default: of sensor `landing` it is `landing_files`."""

# One object for all calls: Definitions.merge refuses two different ones under the same key.
S3_FROM_ENVIRONMENT: Final = S3Resource()

# A resource may be of any type, so only what cannot be one is refused: values, and a class that
# was not called.
_NO_RESOURCE: Final = (str, bytes, int, float, Mapping, Sequence, type)


def build_s3_incremental_definitions(
    *,
    name: str,
    uri: str,
    s3: Any = S3_FROM_ENVIRONMENT,
    assets: Sequence[Any] = (),
    source_asset: SourceAsset | None = NAMED_AFTER_SENSOR,
    max_backlog_age: timedelta | None = None,
    reset_job_name: str | None = None,
    reset_job_options: Mapping[str, Any] | None = None,
    s3_resource_key: str = "s3",
    batch_resource_key: str = "batch",
    **sensor_options: Any,
) -> dg.Definitions:
    """Builds the sensor, its reset job, its source asset, and the resources that all need.

    Put it beside the rest with `Definitions.merge`.

    Args:
        name: The sensor's name.
        uri: What to scan; see `build_s3_incremental_sensor`.
        s3: The S3 resource; by default an `S3Resource` that takes everything from the
            environment. None leaves it out, for definitions that have one under that key.
        assets: Assets (and anything else that `Definitions` takes as such) to include.
        source_asset: The asset that stands for the prefix, upstream of those that read it: its
            key, in which `{name}` stands for the sensor's name, or what `build_s3_source_asset`
            made. None leaves it out, and its checks.
        max_backlog_age: See `build_s3_incremental_sensor`.
        reset_job_name: By default `reset_` and the sensor's name.
        reset_job_options: Everything else that `build_s3_reset_job` takes.
        s3_resource_key: The key of the S3 resource.
        batch_resource_key: The key of the `S3Batch` resource.
        **sensor_options: Everything else that `build_s3_incremental_sensor` takes, one of
            `target`, `job`, `jobs`, `job_name` and `asset_selection` among it.

    Raises:
        ConfigurationError: An argument is wrong, contradictory or missing.
    """
    require_name("name", name)
    if isinstance(s3, _NO_RESOURCE):
        raise ConfigurationError(
            f"s3 must be an S3Resource, another resource that gives a boto3 S3 client, or None, "
            f"not {s3!r}"
        )
    # Dagster makes the client before it evaluates a sensor, so that a tick could explain nothing.
    if (
        isinstance(s3, S3Resource)
        and s3.endpoint_url
        and not isinstance(s3.endpoint_url, dg.EnvVar)
    ):
        require_endpoint(s3.endpoint_url)
    source = _source(source_asset, name, uri)
    if source is not None:
        source = with_interval(source, sensor_options.get("minimum_interval_seconds") or 0)
    sensor = build_s3_incremental_sensor(
        name=name,
        uri=uri,
        source_asset=source,
        max_backlog_age=max_backlog_age,
        s3_resource_key=s3_resource_key,
        batch_resource_key=batch_resource_key,
        **sensor_options,
    )
    reset_job = build_s3_reset_job(
        sensor=sensor, name=reset_job_name, **_reset_job_options(reset_job_options)
    )
    resources = {batch_resource_key: s3_batch}
    if s3 is not None:
        resources[s3_resource_key] = s3
    checks = []
    if source is not None:
        has_partitions = sensor_options.get("group_by") is not None
        checks = [
            build_s3_source_checks(
                source_asset=source,
                max_backlog_age=max_backlog_age,
                has_partitions=has_partitions,
            )
        ]
    return dg.Definitions(
        assets=[*assets, *([] if source is None else [source])],
        asset_checks=checks,
        sensors=[sensor],
        jobs=[reset_job],
        resources=resources,
    )


def reset_job_defaults() -> dict[str, Any]:
    """The options of the reset job that `reset_job_options` may have, and their defaults."""
    parameters = signature(build_s3_reset_job).parameters
    given_here = ("sensor", "sensor_name", "name")
    return {name: each.default for name, each in parameters.items() if name not in given_here}


def _reset_job_options(options: Mapping[str, Any] | None) -> Mapping[str, Any]:
    if options is None:
        return {}
    known = reset_job_defaults()
    if not isinstance(options, Mapping) or not options.keys() <= known.keys():
        raise ConfigurationError(
            f"reset_job_options must be a mapping with any of {', '.join(known)}, not {options!r}. "
            f"The job's name is reset_job_name, and its sensor is the one that is built here"
        )
    return options


def _source(source_asset: SourceAsset | None, name: str, uri: str) -> dg.AssetSpec | None:
    if source_asset is None or isinstance(source_asset, dg.AssetSpec):
        return source_asset
    if isinstance(source_asset, str):
        source_asset = source_asset.replace("{name}", name)
    return build_s3_source_asset(key=key_of(source_asset), uri=uri)
