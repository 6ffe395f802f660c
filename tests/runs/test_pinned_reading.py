"""Between listing and reading: what is read is what was listed, or nothing."""

# No "from __future__ import annotations" here: Dagster reads the annotations of ops as they are.
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from dagster_s3inc import S3Batch, build_s3_incremental_sensor, s3_batch
from dagster_s3inc.errors import ObjectChangedError, ObjectNotFoundError
from tests.servers import S3Server


@dg.op
def read(batch: S3Batch, s3: S3Resource) -> dict[str, bytes]:
    client, contents = s3.get_client(), {}
    for file in batch:
        with batch.open(file, client) as stream:
            contents[file.key] = stream.read()
    return contents


@dg.graph
def reading() -> None:
    read()


@pytest.fixture
def tick(s3_server: S3Server, bucket: str) -> Callable[[], list[dg.RunRequest]]:
    """Evaluates a sensor, each time from the cursor of the time before."""
    sensor = build_s3_incremental_sensor(
        name="landing", uri=f"s3://{bucket}/in/", job_name="reading"
    )
    cursors: list[str | None] = [None]

    def evaluate() -> list[dg.RunRequest]:
        resources = {"s3": s3_server.resource()}
        result = sensor.evaluate_tick(
            dg.build_sensor_context(cursor=cursors[-1], resources=resources)
        )
        cursors.append(result.cursor)
        return list(result.run_requests or ())

    return evaluate


@pytest.fixture
def launch(s3_server: S3Server) -> Callable[[dg.RunRequest], dict[str, bytes]]:
    """Executes what a sensor has requested, and returns what the run read."""

    def execute(request: dg.RunRequest) -> dict[str, bytes]:
        job = reading.to_job(resource_defs={"batch": s3_batch, "s3": s3_server.resource()})
        result = job.execute_in_process(run_config=request.run_config, tags=request.tags)
        contents: dict[str, bytes] = result.output_for_node("read")
        return contents

    return execute


def test_overwritten_file(client: Any, bucket: str, tick: Any, launch: Any) -> None:
    """A file overwritten before its run reads it fails that run; the next batch has the new one."""
    client.put_object(Bucket=bucket, Key="in/a", Body=b"old")
    [request] = tick()
    client.put_object(Bucket=bucket, Key="in/a", Body=b"new")
    with pytest.raises(ObjectChangedError, match=r"in/a: .*emitted in a later batch"):
        launch(request)
    [following] = tick()
    assert launch(following) == {"in/a": b"new"}
    assert tick() == []


def test_deleted_file(client: Any, bucket: str, tick: Any, launch: Any) -> None:
    """A file deleted before its run reads it fails that run; if it comes again, so does a batch."""
    client.put_object(Bucket=bucket, Key="in/a", Body=b"old")
    [request] = tick()
    client.delete_object(Bucket=bucket, Key="in/a")
    with pytest.raises(ObjectNotFoundError, match=r"in/a: .*deleted since it was listed"):
        launch(request)
    assert tick() == []
    client.put_object(Bucket=bucket, Key="in/a", Body=b"new")
    with pytest.raises(ObjectChangedError):
        launch(request)
    [following] = tick()
    assert launch(following) == {"in/a": b"new"}
