"""The sensor: its options, and how each of its ticks is evaluated."""

from dagster_s3inc.sensor.backpressure import OnFailure
from dagster_s3inc.sensor.definition import (
    StartFrom,
    build_s3_incremental_sensor,
    incremental_sensor_of,
)
from dagster_s3inc.sensor.evaluation import IncrementalSensor

__all__ = [
    "IncrementalSensor",
    "OnFailure",
    "StartFrom",
    "build_s3_incremental_sensor",
    "incremental_sensor_of",
]
