"""The code location that the tests of the sensor load into a code server.

What it scans is named by the environment, as in a deployment.
"""

import os
import time
from datetime import timedelta
from pathlib import Path

import dagster as dg
from dagster_aws.s3 import S3Resource

from dagster_s3inc import (
    BatchPolicy,
    S3Batch,
    build_s3_incremental_sensor,
    build_s3_reset_job,
    s3_batch,
)


class HoldableS3Resource(S3Resource):
    """An S3 client that, while a file exists, waits before it lists (another: before it reads)."""

    def get_client(self):
        client = super().get_client()
        hold = Path(os.environ["TEST_HOLD_FILE"])
        _wait_before(client, "ListObjectsV2", hold)
        _wait_before(client, "GetObject", hold.with_name("hold_reading"))
        return client


def _wait_before(client, operation: str, hold: Path) -> None:
    def wait(**_: object) -> None:
        if hold.exists():
            hold.with_suffix(".held").touch()
        while hold.exists():
            time.sleep(0.02)

    client.meta.events.register(f"before-call.s3.{operation}", wait)


@dg.op
def read_files(context: dg.OpExecutionContext, batch: S3Batch, s3: S3Resource) -> None:
    """Reads every file of the batch, pinned; while a file named `fail` exists, it fails."""
    if Path(os.environ["TEST_HOLD_FILE"]).with_name("fail").exists():
        raise dg.Failure("told to fail", allow_retries=False)
    client = s3.get_client()
    sizes = {}
    for file in batch:
        with batch.open(file, client) as stream:
            sizes[file.key] = len(stream.read())
    context.log.info(f"read {sizes}")


@dg.job
def ingest() -> None:
    read_files()


@dg.sensor(job=ingest)
def somebody_elses() -> dg.SkipReason:
    """A sensor without a checkpoint."""
    return dg.SkipReason("nothing to do")


landing = build_s3_incremental_sensor(
    name="landing",
    uri=os.environ["TEST_URI"],
    job=ingest,
    batch=BatchPolicy(max_files=int(os.environ.get("TEST_MAX_FILES", "5"))),
    max_batches_per_tick=int(os.environ.get("TEST_MAX_BATCHES", "20")),
    max_request_bytes=int(os.environ.get("TEST_MAX_REQUEST_BYTES", "1000000")),
    run_tags={"team": "x" * 500},
    max_in_flight=int(os.environ["TEST_MAX_IN_FLIGHT"])
    if "TEST_MAX_IN_FLIGHT" in os.environ
    else None,
    on_failure=os.environ.get("TEST_ON_FAILURE", "continue"),
    lookback=timedelta(hours=1),
    late_file_capacity=int(os.environ.get("TEST_LATE_FILE_CAPACITY", "400")),
    default_status=dg.DefaultSensorStatus.RUNNING,
)

defs = dg.Definitions(
    executor=dg.in_process_executor,
    jobs=[
        ingest,
        build_s3_reset_job(sensor=landing),
        build_s3_reset_job(sensor_name="landing", name="reset_by_name"),
        build_s3_reset_job(sensor_name="landng", name="reset_misspelt"),
    ],
    sensors=[landing, somebody_elses],
    resources={
        "s3": HoldableS3Resource(
            endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"],
            region_name=os.environ["AWS_DEFAULT_REGION"],
            max_attempts=2,
        ),
        "batch": s3_batch,
    },
)
