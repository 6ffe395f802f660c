"""The component: each of its fields is the option of the factories that has the same name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Final

import dagster as dg
from pydantic import BaseModel, Field, field_validator, model_validator

from dagster_s3inc.component.options import (
    DURATION,
    START,
    TAGS,
    TEXTS,
    Environment,
    Kind,
    batch_option,
    filter_option,
    option,
    partitions_option,
    reset_job_option,
    s3_option,
)
from dagster_s3inc.core.batching import LATE_FILE_CAPACITY
from dagster_s3inc.core.words import descriptions
from dagster_s3inc.definitions import (
    NAMED_AFTER_SENSOR,
    S3_FROM_ENVIRONMENT,
    build_s3_incremental_definitions,
)
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.s3.listing import MAX_CONCURRENT_REQUESTS
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanner import MAX_INDEX_BYTES, TIME_BUDGET
from dagster_s3inc.sensor import build_s3_incremental_sensor
from dagster_s3inc.sensor.backpressure import OnFailure

__all__ = ["S3IncrementalComponent"]

# What Dagster does not take in the name of a sensor.
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_]")

# What is written in another way than in Python.
_IN_YAML: Final = {
    "asset_selection": "The assets to run for each batch, in Dagster's selection syntax, as in "
    "`key:orders`.",
    "job_name": "The job to run for each batch.",
    "target": "Assets or a job, as a template that gives the Python object.",
    "job": "A job, as a template that gives the Python object.",
    "jobs": "Several jobs, likewise; each batch is launched on every one.",
    "partitions_def": "The partitions that `group_by` gives, by their `type`; or a template that "
    "gives a `PartitionsDefinition`. Each run then has a partition key.",
    "source_asset": "The key of the asset that stands for the prefix, in which `{name}` is the "
    "sensor's name; or a template that gives what `build_s3_source_asset` makes. `null` leaves "
    "it out.",
    "s3": "Settings of the S3 resource; by default all come from the environment. `project` "
    "where the project has a resource of its own under `s3_resource_key`.",
    "default_status": "`RUNNING`: the sensor ticks as soon as it is loaded.",
    "minimum_interval_seconds": "The least seconds between two ticks; 30 by default.",
    "owners": "The sensor's owners: email addresses, and teams as in `team:data`.",
}

_MEANS: Final[Mapping[str, str]] = {
    **descriptions(build_s3_incremental_definitions),
    **descriptions(build_s3_incremental_sensor),
    **_IN_YAML,
}


def _means(name: str) -> str:
    # Python keeps no docstrings with -OO.
    return _MEANS.get(name, "")


def _option(name: str, kind: Any = None) -> dg.Resolver:
    return option(_means(name), kind)


def _one_uri(written: str | Sequence[str]) -> str:
    if isinstance(written, str):
        return written
    raise ConfigurationError(
        f"uri is several prefixes: {', '.join(written)}. One component scans one: write one for "
        f"each, with a name of its own, in documents that a line of --- separates"
    )


_PREFIX: Final = Kind(str | Sequence[str], _one_uri)


class _Params(BaseModel):
    """What `dg scaffold defs` may be given."""

    uri: str = Field(
        default="s3://my-bucket/landing/", description="What to scan, as s3://BUCKET/PREFIX."
    )
    name: str | None = Field(
        default=None,
        description="The sensor's name; by default that of the folder, with _ for what Dagster "
        "does not take in names.",
    )
    asset_selection: str | None = Field(
        default=None,
        description="The assets to run for each batch, as in key:orders. Either this or job_name "
        "is needed.",
    )
    job_name: str | None = Field(
        default=None, description="The job to run for each batch, instead of assets."
    )

    # Refused here and not while writing: dg shows what pydantic finds without a traceback.
    @field_validator("uri")
    @classmethod
    def _is_an_s3_uri(cls, uri: str) -> str:
        # A template is known only where the file is loaded.
        if "{{" not in uri:
            S3Location.parse_prefix(uri)
        return uri

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and (not name or _NOT_IN_NAMES.search(name)):
            raise ValueError(
                f"{name!r} is not a name that Dagster takes. Write it with letters, digits and _ "
                f"alone"
            )
        return name

    @model_validator(mode="after")
    def _has_one_target(self) -> _Params:
        if not self.asset_selection and not self.job_name:
            raise ValueError(
                "Nothing says what to run for each batch. Give --asset-selection, as in "
                "key:orders, or --job-name"
            )
        if self.asset_selection and self.job_name:
            raise ValueError(
                "Both --asset-selection and --job-name are given. Give the one of them that is to "
                "run for each batch"
            )
        return self


class Scaffolding(dg.Scaffolder[_Params]):
    """Writes a `defs.yaml` that loads as it is; the sensor is stopped until someone starts it."""

    @classmethod
    def get_scaffold_params(cls) -> type[_Params]:
        """What may be given on the command line."""
        return _Params

    def scaffold(self, request: dg.ScaffoldRequest[_Params]) -> None:
        """Writes the file into the folder, or adds to a file that is there."""
        given = request.params
        folder = request.target_path.parent if request.append else request.target_path
        name = given.name or _NOT_IN_NAMES.sub("_", folder.name)
        attributes: dict[str, Any] = {"name": name, "uri": given.uri}
        if given.job_name:
            attributes["job_name"] = given.job_name
        else:
            attributes["asset_selection"] = given.asset_selection
        attributes["batch"] = {"max_files": 100}
        dg.scaffold_component(request, attributes)


@dg.scaffold_with(Scaffolding)
class S3IncrementalComponent(dg.Component, dg.Model, dg.Resolvable):
    """A sensor that requests one run for each batch of new or modified S3 files, and its reset job.

    Exactly one of asset_selection, job_name, target, job and jobs says what each batch is
    launched on: assets or jobs of the project that take an S3Batch.
    """

    name: Annotated[str, _option("name")]
    uri: Annotated[str, _option("uri", _PREFIX)]
    asset_selection: Annotated[Any, _option("asset_selection", str)] = None
    job_name: Annotated[str | None, _option("job_name")] = None
    target: Annotated[Any, _option("target", str)] = None
    job: Annotated[Any, _option("job", str)] = None
    jobs: Annotated[Sequence[Any] | None, _option("jobs", Sequence[str])] = None
    batch: Annotated[Any, batch_option(_means("batch"))] = None
    objects: Annotated[Any, filter_option(_means("objects"))] = None
    lookback: Annotated[timedelta, _option("lookback", DURATION)] = timedelta(hours=1)
    start_from: Annotated[Any, _option("start_from", START)] = "beginning"
    group_by: Annotated[Any, _option("group_by", str)] = None
    partitions_def: Annotated[Any, partitions_option(_means("partitions_def"))] = None
    max_in_flight: Annotated[int | None, _option("max_in_flight")] = None
    on_failure: Annotated[OnFailure, _option("on_failure")] = "continue"
    max_batches_per_tick: Annotated[int, _option("max_batches_per_tick")] = 20
    max_request_bytes: Annotated[int | None, _option("max_request_bytes")] = 1_000_000
    time_budget: Annotated[timedelta | None, _option("time_budget", DURATION)] = TIME_BUDGET
    max_concurrent_requests: Annotated[int, _option("max_concurrent_requests")] = (
        MAX_CONCURRENT_REQUESTS
    )
    max_index_bytes: Annotated[int, _option("max_index_bytes")] = MAX_INDEX_BYTES
    late_file_capacity: Annotated[int, _option("late_file_capacity")] = LATE_FILE_CAPACITY
    source_asset: Annotated[Any, _option("source_asset", str | Sequence[str] | None)] = (
        NAMED_AFTER_SENSOR
    )
    max_backlog_age: Annotated[timedelta | None, _option("max_backlog_age", DURATION)] = None
    s3: Annotated[Any, s3_option(_means("s3"))] = Field(
        default_factory=lambda: S3_FROM_ENVIRONMENT  # a resource would act as a descriptor
    )
    s3_resource_key: Annotated[str, _option("s3_resource_key")] = "s3"
    batch_resource_key: Annotated[str, _option("batch_resource_key")] = "batch"
    allow_unread_batches: Annotated[bool, _option("allow_unread_batches")] = False
    minimum_interval_seconds: Annotated[int | None, _option("minimum_interval_seconds")] = None
    default_status: Annotated[dg.DefaultSensorStatus, _option("default_status")] = (
        dg.DefaultSensorStatus.STOPPED
    )
    description: Annotated[str | None, _option("description")] = None
    tags: Annotated[Mapping[str, str] | None, _option("tags", TAGS)] = None
    run_tags: Annotated[Mapping[str, str] | None, _option("run_tags", TAGS)] = None
    metadata: Annotated[Mapping[str, Any] | None, _option("metadata")] = None
    owners: Annotated[Sequence[str] | None, _option("owners", TEXTS)] = None
    required_resource_keys: Annotated[
        Sequence[str] | None, _option("required_resource_keys", TEXTS)
    ] = None
    reset_job_name: Annotated[str | None, _option("reset_job_name")] = None
    reset_job_options: Annotated[
        Mapping[str, Any] | None, reset_job_option(_means("reset_job_options"))
    ] = None

    @classmethod
    def resolve_from_model(cls, context: dg.ResolutionContext, model: BaseModel) -> Any:
        """Fills in the templates; an environment variable that is not set is an error."""
        env = Environment(context.scope["env"])
        return super().resolve_from_model(context.with_scope(env=env), model)

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The sensor, its reset job and the resources, as the factories make them."""
        # Not those of a subclass, whose own fields are its own affair.
        options = S3IncrementalComponent.model_fields
        return build_s3_incremental_definitions(**{each: getattr(self, each) for each in options})
