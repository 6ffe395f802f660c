"""The code location of the bursts: one sensor of the bucket that is being played."""

import dagster as dg

from dagster_s3inc import BatchPolicy, S3Batch, build_s3_incremental_sensor, s3_batch
from tests.bursts.deployment import SENSOR, settings

_made_with = settings.get()


@dg.op
def read_files(batch: S3Batch) -> None:
    """Is never executed."""


@dg.job
def ingest() -> None:
    read_files()


landing = build_s3_incremental_sensor(
    name=SENSOR,
    uri=_made_with.uri,
    job=ingest,
    batch=BatchPolicy(max_files=_made_with.max_files),
    max_batches_per_tick=2_000,
    default_status=dg.DefaultSensorStatus.RUNNING,
)

defs = dg.Definitions(
    jobs=[ingest],
    sensors=[landing],
    resources={
        "s3": dg.ResourceDefinition.hardcoded_resource(_made_with.make_client()),
        "batch": s3_batch,
    },
)
