"""What a Dagster sensor calls today: dagster_aws.s3.get_objects."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from dagster_aws.s3.sensor import get_objects as get_objects_of_dagster_aws

from benchmarks.digest import digest_of
from benchmarks.measuring import Clock, Found, Task, Work
from benchmarks.ways.boto import boto_client

__all__ = ["get_objects"]


def get_objects(task: Task) -> Work:
    """Gets what was modified since the last tick, as its documentation shows."""
    client = boto_client(task)
    since = datetime.fromisoformat(task.since)

    def work(_: Clock) -> Callable[[], Found]:
        new = get_objects_of_dagster_aws(
            bucket=task.bucket, prefix=task.prefix, since_last_modified=since, client=client
        )
        keys = (each["Key"] for each in new)
        return lambda: Found(new=len(new), new_digest=digest_of(keys))

    return work
