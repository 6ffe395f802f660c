"""The sensor and its options."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal, get_args

import dagster as dg

from dagster_s3inc.core.batching import LATE_FILE_CAPACITY, BatchPolicy, ScanLimits
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.validation import (
    require_at_least,
    require_aware,
    require_name,
    require_positive,
    require_tags,
    require_type,
)
from dagster_s3inc.dagster_internals import DAGSTERS_TAGS, QuietSensor, evaluation_of
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.runs.run_requests import OWN_TAGS, SOURCE_METADATA, RunRequests
from dagster_s3inc.s3.listing import MAX_CONCURRENT_REQUESTS
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanner import MAX_INDEX_BYTES, TIME_BUDGET, Scanner
from dagster_s3inc.sensor.backpressure import Backpressure, OnFailure
from dagster_s3inc.sensor.evaluation import IncrementalSensor
from dagster_s3inc.sensor.targets import Targets
from dagster_s3inc.source import GroupBy, Grouping, Source
from dagster_s3inc.source_asset import SourceAsset, SourceReporter, key_of

__all__ = ["StartFrom", "build_s3_incremental_sensor", "incremental_sensor_of"]

StartFrom = Literal["beginning", "now"] | datetime

# Dagster's own, for sensors that say nothing.
_USUAL_INTERVAL_SECONDS: Final = 30

# Ten files with keys of a hundred characters, or one with the longest key.
_ROOM_FOR_FILES: Final = 3_000

# By these, runs of a sensor without partitions are runs of one partition, or of a range.
_PARTITION_TAGS: Final = re.compile(r"dagster/(partition|asset_partition_range)")


def build_s3_incremental_sensor(
    *,
    name: str,
    uri: str,
    target: Any = None,
    job: Any = None,
    jobs: Sequence[Any] | None = None,
    job_name: str | None = None,
    asset_selection: Any = None,
    batch: BatchPolicy | None = None,
    objects: ObjectFilter | None = None,
    lookback: timedelta = timedelta(hours=1),
    start_from: StartFrom = "beginning",
    group_by: GroupBy | None = None,
    partitions_def: dg.PartitionsDefinition[Any] | None = None,
    max_in_flight: int | None = None,
    on_failure: OnFailure = "continue",
    max_batches_per_tick: int = 20,
    max_request_bytes: int | None = 1_000_000,
    time_budget: timedelta | None = TIME_BUDGET,
    max_concurrent_requests: int = MAX_CONCURRENT_REQUESTS,
    max_index_bytes: int = MAX_INDEX_BYTES,
    late_file_capacity: int = LATE_FILE_CAPACITY,
    source_asset: SourceAsset | None = None,
    max_backlog_age: timedelta | None = None,
    s3_resource_key: str = "s3",
    batch_resource_key: str = "batch",
    allow_unread_batches: bool = False,
    minimum_interval_seconds: int | None = None,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    run_tags: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    owners: Sequence[str] | None = None,
    required_resource_keys: set[str] | None = None,
) -> dg.SensorDefinition:
    """Builds a sensor that requests one run for each batch of new or modified objects.

    Its cursor is the serialized checkpoint and nothing else. Within a generation, each version of
    an object is in exactly one batch. The batches of a tick are in position order; Dagster may
    run them side by side. An evaluation has no side effects.

    Args:
        name: The sensor's name.
        uri: What to scan, as `s3://BUCKET/PREFIX`, taken literally: `s3://lake/logs` also covers
            `s3://lake/logs-old/`.
        target: What each batch is launched on, as `dagster.SensorDefinition` takes it. Exactly
            one of `target`, `job`, `jobs`, `job_name` and `asset_selection` must be given.
        job: See `target`.
        jobs: Several jobs; each batch is launched on every one of them.
        job_name: See `target`.
        asset_selection: See `target`.
        batch: How objects are cut into batches; by default up to 100 files.
        objects: Which objects count; by default every file that can be read at once.
        lookback: How far the watermark stays behind the server's clock. Files above it are
            remembered one by one; those that appear below it are late, and are requested too, by
            the tick that finds them, or by the next if their process has just started. See
            `late_file_capacity`.
        start_from: Where the first tick begins: with everything that is there, with what appears
            from now on, or with what was modified at or after a moment (with a time zone). After
            a reset, `"now"` no longer counts: everything is processed; a moment still does.
        group_by: Which files may be in one batch: those for which it gives the same. A regular
            expression with a named group, searched for in the key, or a function of the key that
            returns text, or None. Batches still go out in the order of their oldest files.
        partitions_def: The partitions that `group_by` gives: each run request then has a
            partition key. Several named groups (or a function that returns a dict) are the
            dimensions of a multi-partition. New keys of dynamic partitions are added. A file
            whose key is in no partition is reported in the tick and holds nothing back; it is
            requested once there is a partition for it.
        max_in_flight: The most batches requested and not finished, by the runs in the instance;
            the others wait. None means no bound. Runs that were created and not launched within
            five minutes do not count; the tick names them.
        on_failure: With `"halt"`, a batch of which a run failed or was cancelled stops those
            that would follow, until a re-execution succeeds, or it is skipped with the reset
            job, or a reset starts a new generation. With `max_in_flight=1` files are then
            processed strictly in order.
        max_batches_per_tick: The most batches requested in one tick; the rest waits for the next.
        max_request_bytes: The most bytes that one tick may take in Dagster's database: it is one
            row, with the cursor and all run requests, their tags included. What is beyond waits
            for the next tick. Use 60,000 for MySQL, whose columns hold 65,535. None means no
            bound.
        time_budget: A tick whose listing takes longer requests what it has found, and the next
            tick goes on from there; the tick itself takes a little longer. None means that a tick
            always lists everything. Dagster ends an evaluation after 60 seconds.
        max_concurrent_requests: The most LIST requests under way at a time. Large prefixes are
            listed in several key ranges side by side where waiting for the server takes most of
            the time; never more than the client's `max_pool_connections`.
        max_index_bytes: The most memory of the index, in which the code server remembers what was
            requested: 8 bytes for each file under the prefix. Beyond it, each tick rebuilds what
            it needs from the cursor and from the sensor's runs.
        late_file_capacity: In files: how many that appear late, or are deleted, from one tick to
            the next can be told apart without the index, as after a restart, and without reading
            the sensor's runs. 100 more take 2.8 KB more of the cursor.
        source_asset: The asset that stands for the prefix, as `build_s3_source_asset` makes it, or
            its key. Each tick that requests something reports to it. None means that ticks
            report to no asset.
        max_backlog_age: The check `backlog_age` of the source asset warns while a file waits that
            was modified so long ago; see `build_s3_source_checks`.
        s3_resource_key: The key of the S3 resource: an `S3Resource`, or a boto3 S3 client.
        batch_resource_key: The key under which the run finds its `S3Batch`.
        allow_unread_batches: Whether the target may leave its batch unread. By default a target
            is refused of which no asset or op has the batch as a resource, or another resource
            that needs it: its runs would succeed, and the files count as processed. Where
            nothing but the default IO manager reads the batch, it is to be set as well.
        minimum_interval_seconds: As `dagster.SensorDefinition` takes it.
        default_status: As `dagster.SensorDefinition` takes it.
        description: As `dagster.SensorDefinition` takes it; by default it names the URI.
        tags: The sensor's own tags, as `dagster.SensorDefinition` takes them.
        run_tags: Tags for every run, beside those that describe the batch.
        metadata: As `dagster.SensorDefinition` takes it.
        owners: As `dagster.SensorDefinition` takes it.
        required_resource_keys: Further resources to be there during an evaluation.

    Raises:
        ConfigurationError: An argument is wrong, contradictory or missing.
    """
    require_name("name", name)
    targets = {
        "target": target,
        "job": job,
        "jobs": jobs,
        "job_name": job_name,
        "asset_selection": asset_selection,
    }
    optional = {**targets, "owners": owners}
    require_at_least("max_batches_per_tick", max_batches_per_tick, 1, unit="batches")
    if max_in_flight is not None:
        require_at_least("max_in_flight", max_in_flight, 1, unit="batches")
    if on_failure not in get_args(OnFailure):
        raise ConfigurationError(f"on_failure must be 'continue' or 'halt', not {on_failure!r}")
    require_at_least("max_concurrent_requests", max_concurrent_requests, 1, unit="requests")
    require_at_least("max_index_bytes", max_index_bytes, 0, unit="bytes")
    policy = BatchPolicy() if batch is None else batch
    require_type("batch", policy, BatchPolicy)
    objects = ObjectFilter() if objects is None else objects
    require_type("objects", objects, ObjectFilter)
    if time_budget is not None:
        require_positive("time_budget", time_budget)
    location = S3Location.parse_prefix(uri)
    source = Source(
        location=location,
        objects=_bounded(objects, start_from),
        grouping=_grouping(group_by, partitions_def),
    )
    all_run_tags = _run_tags(run_tags)
    launched = Targets(
        name,
        targets,
        batch_resource_key=None if allow_unread_batches else batch_resource_key,
        s3_resource_key=s3_resource_key,
        partitions_def=partitions_def,
        names_partition=any(map(_PARTITION_TAGS.match, all_run_tags)),
    )
    limits = ScanLimits(
        policy=policy,
        max_batches=max_batches_per_tick,
        lookback=lookback,
        late_file_capacity=late_file_capacity,
    )
    requests = RunRequests(
        source=source,
        job_names=launched.job_names,
        batch_resource_key=batch_resource_key,
        run_tags=all_run_tags,
    )
    _require_room(max_request_bytes, requests, limits)
    sensor = IncrementalSensor(
        name=name,
        source=source,
        limits=limits,
        max_request_bytes=max_request_bytes,
        scanner=Scanner(
            time_budget=time_budget,
            max_concurrent_requests=max_concurrent_requests,
            max_index_bytes=max_index_bytes,
        ),
        time_budget=time_budget,
        interval_seconds=minimum_interval_seconds or _USUAL_INTERVAL_SECONDS,
        backpressure=Backpressure(max_in_flight=max_in_flight, on_failure=on_failure),
        max_concurrent_requests=max_concurrent_requests,
        adopt_first=start_from == "now",
        s3_resource_key=s3_resource_key,
        targets=launched,
        requests=requests,
        reporter=_reporter(source_asset, location, max_backlog_age, halts=on_failure == "halt"),
    )

    # Resources come as keyword arguments where the sensor is called directly, as in a test.
    def evaluate(context: dg.SensorEvaluationContext, **_: Any) -> dg.SensorResult:
        return sensor.evaluate(context)

    # The function is all that Dagster's copies of a sensor share, so it carries the rest.
    evaluate.sensor = sensor  # type: ignore[attr-defined] # a function may have attributes

    return QuietSensor(
        name=name,
        evaluation_fn=evaluate,
        minimum_interval_seconds=minimum_interval_seconds,
        description=description or f"Requests a run for each batch of new files in {uri}",
        default_status=default_status,
        required_resource_keys={s3_resource_key, *(required_resource_keys or ())},
        tags=tags,
        metadata={SOURCE_METADATA: dg.MetadataValue.text(location.uri), **(metadata or {})},
        # Only what was given: Dagster warns of options that are new to it, even if they are None.
        **{option: value for option, value in optional.items() if value is not None},
    )


def incremental_sensor_of(sensor: dg.SensorDefinition) -> IncrementalSensor | None:
    """What a sensor was built with; None if `build_s3_incremental_sensor` did not build it."""
    built = getattr(evaluation_of(sensor), "sensor", None)
    return built if isinstance(built, IncrementalSensor) else None


def _grouping(
    group_by: GroupBy | None, partitions_def: dg.PartitionsDefinition[Any] | None
) -> Grouping | None:
    if partitions_def is not None:
        require_type("partitions_def", partitions_def, dg.PartitionsDefinition)
    if group_by is not None:
        return Grouping(group_by, partitions_def)
    if partitions_def is not None:
        raise ConfigurationError(
            "partitions_def needs group_by, which gives the partition of a key, for example "
            "r'dt=(?P<partition>\\d{4}-\\d\\d-\\d\\d)/'"
        )
    return None


def _reporter(
    source_asset: SourceAsset | None,
    location: S3Location,
    max_backlog_age: timedelta | None,
    *,
    halts: bool,
) -> SourceReporter | None:
    if max_backlog_age is not None:
        require_positive("max_backlog_age", max_backlog_age)
        if source_asset is None:
            raise ConfigurationError(
                "max_backlog_age is the bound of a check of the source asset, but there is no "
                "source_asset. Give both or none."
            )
    if source_asset is None:
        return None
    key = key_of(source_asset)
    if isinstance(source_asset, dg.AssetSpec):
        stands_for = source_asset.metadata.get(SOURCE_METADATA, location.uri)
        if stands_for != location.uri:
            raise ConfigurationError(
                f"source_asset {key.to_user_string()} stands for {stands_for}, but the sensor "
                f"scans {location.uri}. Give each prefix an asset of its own"
            )
    return SourceReporter(key=key, max_backlog_age=max_backlog_age, halts=halts)


def _require_room(max_request_bytes: int | None, requests: RunRequests, limits: ScanLimits) -> None:
    if max_request_bytes is None:
        return
    require_at_least("max_request_bytes", max_request_bytes, 1, unit="bytes")
    size = requests.size(limits, max_request_bytes)
    # Beside the cursor there must be room for the requests of a batch of some files.
    beside = size.tick + size.partial_scan
    least = beside + size.batch + size.jobs * _ROOM_FOR_FILES
    if max_request_bytes < least:
        raise ConfigurationError(
            f"max_request_bytes must be at least {least:,} for this sensor, not "
            f"{max_request_bytes:,}: the cursor alone may take {beside:,} bytes of the row. "
            f"Give more, or lower late_file_capacity"
        )


def _bounded(objects: ObjectFilter, start_from: StartFrom) -> ObjectFilter:
    if start_from in ("beginning", "now"):
        return objects
    if not isinstance(start_from, datetime):
        raise ConfigurationError(
            f"start_from must be 'beginning', 'now' or a datetime, not {start_from!r}"
        )
    require_aware("start_from", start_from)
    earliest = max(start_from, objects.modified_after or start_from)
    return replace(objects, modified_after=earliest)


def _run_tags(run_tags: Mapping[str, str] | None) -> dict[str, str]:
    if run_tags is None:
        return {}
    require_tags("run_tags", run_tags)
    own = [key for key in run_tags if key in DAGSTERS_TAGS or key.startswith(OWN_TAGS)]
    if own:
        raise ConfigurationError(
            f"run_tags has {', '.join(own)}, which every run gets by itself, from this package or "
            f"from Dagster. Leave it out, or name it otherwise"
        )
    return dict(run_tags)
