"""dagster_s3inc's sensor, from the cursor to the run requests."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import dagster as dg

from benchmarks.digest import digest_of
from benchmarks.measuring import Clock, Found, Task, Work
from benchmarks.ways.boto import boto_client
from benchmarks.ways.ours import count_fast_pages
from dagster_s3inc import build_s3_incremental_sensor

__all__ = ["tick"]


def tick(task: Task) -> Work:
    """A whole evaluation: the cursor read, a scan, run requests built, the cursor written."""
    client = boto_client(task)
    fast_pages = count_fast_pages(client)
    sensor = build_s3_incremental_sensor(
        name="benchmark", uri=f"s3://{task.bucket}/{task.prefix}", job_name="job"
    )

    # Both are there before a tick begins. That they are made here costs more than most ticks.
    instance = dg.DagsterInstance.ephemeral()
    resources = {"s3": client}
    context = dg.build_sensor_context(instance, cursor=task.cursor, resources=resources)
    assert context.resources.s3 is client

    def work(_: Clock) -> Callable[[], Found]:
        # In production it goes to Dagster's storage; here there is only a terminal to fill.
        logging.disable(logging.INFO)
        try:
            data: Any = sensor(context)
        finally:
            logging.disable(logging.NOTSET)
        return lambda: _requested(data, fast_pages=fast_pages())

    return work


def _requested(data: Any, *, fast_pages: int) -> Found:
    files = [
        file["key"]
        for request in data.run_requests
        for file in request.run_config["resources"]["batch"]["config"]["files"]
    ]
    return Found(
        new=len(files), new_digest=digest_of(files), fast_pages=fast_pages, cursor=data.cursor
    )
