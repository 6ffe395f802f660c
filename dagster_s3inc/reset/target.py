"""The sensor that a reset run is for."""

from __future__ import annotations

from typing import NamedTuple

import dagster as dg

from dagster_s3inc.batch_runs import FailedBatch
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint
from dagster_s3inc.cursor import start_from
from dagster_s3inc.errors import CheckpointFormatError, ResetError
from dagster_s3inc.instance import SensorAddress, SensorState, sensors_beside
from dagster_s3inc.markers import resets
from dagster_s3inc.sensor import tick_of
from dagster_s3inc.tick import Tick

__all__ = ["Target", "find_tick"]


def find_tick(context: dg.OpExecutionContext, sensor_name: str) -> Tick:
    """What the evaluations of a sensor in the run's code location have in common.

    Raises:
        ResetError: There is no such sensor, or the run knows of no code location.
    """
    sensors = sensors_beside(context)
    if sensors is None:
        raise ResetError(
            f"This run belongs to no code location in which to look for sensor {sensor_name!r}. "
            f"Build the job with sensor= instead of sensor_name=, or launch it from the UI."
        )
    ticks = {name: tick for name, each in sensors.items() if (tick := tick_of(each)) is not None}
    if sensor_name not in ticks:
        raise ResetError(
            f"There is no S3 incremental sensor named {sensor_name!r} here. "
            f"There is: {', '.join(sorted(ticks)) or 'none'}. Mend sensor_name of this job."
        )
    return ticks[sensor_name]


class Target(NamedTuple):
    """The sensor that a reset run is for, and what is stored of it.

    Attributes:
        tick: What its evaluations have in common.
        state: Its stored cursor.
        text: The cursor as it was found.
        checkpoint: What it says; None if there is none that can be read.
    """

    tick: Tick
    state: SensorState
    text: str | None
    checkpoint: Checkpoint | None

    @classmethod
    def find(cls, context: dg.OpExecutionContext, tick: Tick) -> Target:
        """Reads what is stored of the sensor.

        Raises:
            ResetError: The instance stores no sensors, or several sensors have that name.
        """
        state = SensorState(context.instance, SensorAddress.beside_run(context.run, tick.name))
        text = state.cursor
        try:
            checkpoint = decode_checkpoint(text) if text else None
        except CheckpointFormatError as error:
            context.log.warning(f"The cursor cannot be read. {error}")
            checkpoint = None
        return cls(tick, state, text, checkpoint)

    @property
    def known(self) -> Checkpoint:
        """What has been handed over.

        Raises:
            ResetError: That is not known, so that only everything can be handed over again.
        """
        if self.checkpoint is None:
            why = "its cursor cannot be read" if self.text else "it has no cursor"
            raise ResetError(
                f"What sensor {self.tick.name} has handed over is not known, since {why}. "
                f"Nothing was reset. Only everything can be processed again: launch this job with "
                f"what: everything."
            )
        return self.checkpoint

    def failed(self, instance: dg.DagsterInstance) -> list[FailedBatch]:
        """The sensor's failed batches, the oldest first.

        Raises:
            ResetError: It is not known what has been handed over.
        """
        generations = self.known.generations
        markers = resets(instance, self.state.address)
        retry = start_from(self.text, self.state.last_run_key, markers).retry
        if retry is not None:
            # A reset is about to request some again, and the cursor does not show it yet.
            generations = range(generations.start, retry.generation + 1)
        return self.tick.retry(self.state.address).failed(instance, generations)
