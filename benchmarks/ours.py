"""This package: whole ticks of its sensor, from the cursor to the run requests."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from benchmarks.content import FILTERS, Digest
from benchmarks.measuring import Clock, Endpoints, Found, Work
from benchmarks.others import client_of
from benchmarks.rows import Row
from dagster_s3inc import BatchPolicy, ObjectFilter, build_s3_incremental_sensor

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["SENSORS", "prepare", "refuse_parsed"]

_NAME: Final = "benchmark"
_GROUPS: Final = r"(?P<folder>landing/./.)/"

SENSORS: Final[Mapping[str, Mapping[str, Any]]] = {
    "": {},
    "globs": {"objects": ObjectFilter(**FILTERS["globs"])},
    "sizes and classes": {"objects": ObjectFilter(**FILTERS["sizes and classes"])},
    "groups": {"group_by": _GROUPS},
    "all filters": {"objects": ObjectFilter(**FILTERS["all filters"]), "group_by": _GROUPS},
    "in flight": {"max_in_flight": 10},
    "in parts": {"time_budget": timedelta(seconds=0.25)},
    "one request": {"max_concurrent_requests": 1},
    "all at once": {
        "batch": BatchPolicy(max_files=1000),
        "max_batches_per_tick": 1_000_000,
        "max_request_bytes": None,
    },
}
"""The options of the sensors that are measured; what is not named is the default."""


def prepare(row: Row, endpoints: Endpoints, clock: Clock) -> Work:
    """A tick that lists everything; as many of them as a listing in parts takes."""
    client = client_of(endpoints[row.at], row)
    instance = dg.DagsterInstance.ephemeral()
    # In production logs go to Dagster's storage; here there is only a terminal to fill.
    logging.disable(logging.INFO)
    sensor, cursor = _sensor(row), ""

    def evaluate(client: S3Client, cursor: str, clock: Clock) -> dg.SensorResult:
        with clock.paused():
            # What Dagster has at hand before a tick; making it costs more than most ticks.
            resources = {"s3": client}
            context = dg.build_sensor_context(instance, cursor=cursor or None, resources=resources)
            assert context.resources.s3 is client
        data: Any = sensor(context)
        assert isinstance(data, dg.SensorResult)
        return data

    clock.ready()
    if row.before:
        # All that is there counts as requested.
        before = client_of(endpoints[row.at_before], row)
        while not cursor or not _is_whole(cursor):
            cursor = evaluate(before, cursor, Clock()).cursor or ""
    for number in range(row.in_flight):
        tags = {
            "dagster/sensor_name": _NAME,
            "dagster/s3inc/source": f"s3://{row.bucket}/{row.prefix}",
            "dagster/s3inc/batch_id": f"{number:024}",
        }
        run = dg.DagsterRun(job_name="job", status=dg.DagsterRunStatus.STARTED, tags=tags)
        instance.add_run(run)
    client.meta.events.register("after-call.s3.ListObjectsV2", refuse_parsed)

    def work(clock: Clock) -> Callable[[], Found]:
        ticks: list[dg.SensorResult] = []
        following: str | None = cursor
        nonlocal sensor
        with clock.paused():
            # A process that begins has no index.
            sensor = sensor if row.before == "index" else _sensor(row)
        while following is not None and not (ticks and _is_whole(following)):
            ticks.append(evaluate(client, following, clock))
            following = ticks[-1].cursor
        return lambda: _found(ticks)

    return work


def _sensor(row: Row) -> dg.SensorDefinition:
    options = dict(SENSORS[row.sensor])
    if row.in_flight or not row.before:
        # One tick, however slow the machine is. Each part of a first scan would request files, and
        # a scan that is held does not go on.
        options["time_budget"] = None
    return build_s3_incremental_sensor(
        name=_NAME,
        uri=f"s3://{row.bucket}/{row.prefix}",
        job_name="job",
        start_from="now" if row.before else "beginning",
        **options,
    )


def _is_whole(cursor: str) -> bool:
    return json.loads(cursor)["partial_scan"] is None


def _found(ticks: list[dg.SensorResult]) -> Found:
    files = [
        file["key"]
        for data in ticks
        for request in data.run_requests or ()
        for file in request.run_config["resources"]["batch"]["config"]["files"]
    ]
    return Found(new=len(files), new_digest=str(Digest(files)))


def refuse_parsed(parsed: dict[str, Any], **_: Any) -> None:
    """Refuses an answer whose entries went through botocore's parser."""
    assert "Contents" not in parsed, "The fast reader of dagster_s3inc.s3.page_reader was not used"
