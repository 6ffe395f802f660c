"""The component: each of its fields is the option of the factories that has the same name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

import dagster as dg
from pydantic import BaseModel, Field

from dagster_s3inc.component.groups import (
    batch_option,
    filter_option,
    reset_job_option,
)
from dagster_s3inc.component.partitions import partitions_option
from dagster_s3inc.component.s3_settings import s3_option
from dagster_s3inc.component.scaffolding import Scaffolding
from dagster_s3inc.component.values import (
    Environment,
    duration_option,
    option,
    python_option,
    start_option,
    tags_option,
    texts_option,
)
from dagster_s3inc.core.sketch import CELLS
from dagster_s3inc.definitions import (
    NAMED_AFTER_SENSOR,
    S3_FROM_ENVIRONMENT,
    build_s3_incremental_definitions,
)
from dagster_s3inc.flow import OnFailure
from dagster_s3inc.s3.listing import LANES
from dagster_s3inc.s3.scanning import TIME_BUDGET

__all__ = ["S3IncrementalComponent"]


@dg.scaffold_with(Scaffolding)
class S3IncrementalComponent(dg.Component, dg.Model, dg.Resolvable):
    """A sensor that requests one run for each batch of new or modified S3 files, and its reset job.

    Exactly one of asset_selection, job_name, target, job and jobs says what each batch is
    launched on: assets or jobs of the project that take an S3Batch.
    """

    name: Annotated[str, option("The sensor's name.")]
    uri: Annotated[str, option("What to scan, as `s3://BUCKET/PREFIX`, taken literally.")]
    asset_selection: Annotated[
        Any,
        python_option(
            "The assets to run for each batch, in Dagster's selection syntax, as in `key:orders`."
        ),
    ] = None
    job_name: Annotated[str | None, option("The job to run for each batch.")] = None
    target: Annotated[
        Any, python_option("Assets or a job, as a template that gives the Python object.")
    ] = None
    job: Annotated[Any, python_option("A job, as a template that gives the Python object.")] = None
    jobs: Annotated[
        Sequence[Any] | None,
        option("Several jobs, likewise; each batch is launched on every one.", Sequence[str]),
    ] = None
    batch: Annotated[Any, batch_option("How files are cut into batches.")] = None
    objects: Annotated[Any, filter_option("Which files count.")] = None
    lookback: Annotated[
        timedelta,
        duration_option(
            "For how long files are remembered one by one: seconds, or as in `90s`, `15m`, "
            "`1h30m`, `7d`; 1 hour by default. What shows up later comes one tick later."
        ),
    ] = timedelta(hours=1)
    start_from: Annotated[
        Any,
        start_option(
            "Where the first tick begins: with everything (`beginning`), with what appears from "
            "now on (`now`), or with what was modified at or after a moment in ISO 8601 with a "
            "time zone, as in `2026-01-31T00:00:00Z`."
        ),
    ] = "beginning"
    group_by: Annotated[
        Any,
        python_option(
            "Which files may be in one batch: a regular expression with a named group that is "
            "searched for in the key, as in `dt=(?P<day>[^/]+)/`; or a function of the key, by a "
            "template."
        ),
    ] = None
    partitions_def: Annotated[
        Any,
        partitions_option(
            "The partitions that `group_by` gives, by their `type`; or a template that gives a "
            "`PartitionsDefinition`. Each run then has a partition key."
        ),
    ] = None
    max_in_flight: Annotated[
        int | None, option("The most batches requested and not finished; by default any.")
    ] = None
    on_failure: Annotated[
        OnFailure,
        option(
            "With `halt`, a failed batch stops those that would follow until it succeeds or is "
            "skipped; with `max_in_flight: 1`, files are then processed strictly in order."
        ),
    ] = "continue"
    max_batches_per_tick: Annotated[
        int, option("The most batches requested in one tick; the rest waits for the next.")
    ] = 20
    max_request_bytes: Annotated[
        int | None,
        option(
            "About the most bytes that the run requests of a tick take in Dagster's database; "
            "40000 for MySQL. `null` means no bound."
        ),
    ] = 1_000_000
    time_budget: Annotated[
        timedelta | None,
        duration_option(
            "A tick whose listing takes longer hands over what it has found, and the next goes on "
            "there: seconds, or as in `20s`; 15 seconds by default. `null` means that each tick "
            "looks at everything."
        ),
    ] = TIME_BUDGET
    lanes: Annotated[int, option("The most LIST requests under way at a time.")] = LANES
    sketch_cells: Annotated[
        int,
        option(
            "The size of the sketch that finds what shows up later than `lookback`: a multiple of "
            "4. Two thirds as many such changes from one tick to the next can be told apart."
        ),
    ] = CELLS
    source_asset: Annotated[
        Any,
        option(
            "The key of the asset that stands for the prefix, in which `{name}` is the sensor's "
            "name; or a template that gives what `build_s3_source_asset` makes. `null` leaves it "
            "out.",
            str | Sequence[str] | None,
        ),
    ] = NAMED_AFTER_SENSOR
    max_backlog_age: Annotated[
        timedelta | None,
        duration_option(
            "The check `backlog_age` warns while a file waits that was modified so long ago: "
            "seconds, or as in `2h`."
        ),
    ] = None
    s3: Annotated[
        Any,
        s3_option(
            "Settings of the S3 resource; by default all come from the environment. `project` "
            "where the project has a resource of its own under `s3_resource_key`."
        ),
    ] = Field(default_factory=lambda: S3_FROM_ENVIRONMENT)  # it would act as a descriptor
    s3_resource_key: Annotated[str, option("The key of the S3 resource.")] = "s3"
    batch_resource_key: Annotated[
        str, option("The key of the `S3Batch`, and the name of the parameter that takes it.")
    ] = "batch"
    minimum_interval_seconds: Annotated[
        int | None, option("The least seconds between two ticks; 30 by default.")
    ] = None
    default_status: Annotated[
        dg.DefaultSensorStatus,
        option("`RUNNING`: the sensor ticks as soon as it is loaded. `STOPPED` by default."),
    ] = dg.DefaultSensorStatus.STOPPED
    description: Annotated[str | None, option("Shown in the UI; by default it names the URI.")] = (
        None
    )
    tags: Annotated[Mapping[str, str] | None, tags_option("The sensor's own tags.")] = None
    run_tags: Annotated[
        Mapping[str, str] | None,
        tags_option("Tags for every run, beside those of the batch."),
    ] = None
    metadata: Annotated[Mapping[str, Any] | None, option("Metadata of the sensor.")] = None
    owners: Annotated[
        Sequence[str] | None,
        texts_option("The sensor's owners: email addresses, and teams as in `team:data`."),
    ] = None
    required_resource_keys: Annotated[
        Sequence[str] | None, texts_option("Further resources to be there when the sensor ticks.")
    ] = None
    reset_job_name: Annotated[str | None, option("By default `reset_` and the name.")] = None
    reset_job_options: Annotated[
        Mapping[str, Any] | None, reset_job_option("What else the reset job shows.")
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
