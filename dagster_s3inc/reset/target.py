"""The sensor that a reset run is for."""

from __future__ import annotations

from typing import NamedTuple

import dagster as dg

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.cursor_format import decode_checkpoint
from dagster_s3inc.dagster_internals import SensorAddress, SensorState, sensors_beside
from dagster_s3inc.errors import CheckpointFormatError, ResetError
from dagster_s3inc.runs.states import FailedBatch
from dagster_s3inc.sensor import IncrementalSensor, incremental_sensor_of

__all__ = ["Target", "find_sensor"]


def find_sensor(context: dg.OpExecutionContext, sensor_name: str) -> IncrementalSensor:
    """The sensor of a name in the run's code location.

    Raises:
        ResetError: There is no such sensor, or the run knows of no code location.
    """
    beside = sensors_beside(context)
    if beside is None:
        raise ResetError(
            f"This run belongs to no code location in which to look for sensor {sensor_name!r}. "
            f"Build the job with sensor= instead of sensor_name=, or launch it from the UI."
        )
    found = {
        name: sensor
        for name, each in beside.items()
        if (sensor := incremental_sensor_of(each)) is not None
    }
    if sensor_name not in found:
        raise ResetError(
            f"There is no S3 incremental sensor named {sensor_name!r} here. "
            f"There is: {', '.join(sorted(found)) or 'none'}. Fix sensor_name of this job."
        )
    return found[sensor_name]


class Target(NamedTuple):
    """The sensor that a reset run is for, and what is stored of it.

    Attributes:
        sensor: The sensor.
        state: Its stored state.
        text: The cursor as it was found.
        checkpoint: What the cursor says; None if there is none that can be read.
    """

    sensor: IncrementalSensor
    state: SensorState
    text: str | None
    checkpoint: Checkpoint | None

    @classmethod
    def find(cls, context: dg.OpExecutionContext, sensor: IncrementalSensor) -> Target:
        """Reads what is stored of the sensor.

        Raises:
            ResetError: The instance stores no sensors, or several sensors have that name.
        """
        state = SensorState(context.instance, SensorAddress.beside_run(context.run, sensor.name))
        text = state.cursor
        try:
            checkpoint = decode_checkpoint(text) if text else None
        except CheckpointFormatError as error:
            context.log.warning(f"The cursor cannot be read. {error}")
            checkpoint = None
        return cls(sensor, state, text, checkpoint)

    @property
    def known(self) -> Checkpoint:
        """What has been emitted.

        Raises:
            ResetError: That is not known, so that only a reset of everything is possible.
        """
        if self.checkpoint is None:
            why = "its cursor cannot be read" if self.text else "it has no cursor"
            raise ResetError(
                f"What sensor {self.sensor.name} has requested is not known, since {why}. "
                f"Nothing was reset. Only everything can be processed again: launch this job with "
                f"what: everything."
            )
        return self.checkpoint

    def failed(self, instance: dg.DagsterInstance) -> list[FailedBatch]:
        """The sensor's failed batches, the oldest first.

        Raises:
            ResetError: It is not known what has been emitted.
        """
        return self.sensor.retry(self.state.address).failed(instance, self.known.generation)
