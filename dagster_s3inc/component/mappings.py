"""Options that are a mapping in YAML and one value in Python.

Their fields, defaults and descriptions are those of what they make: a `BatchPolicy`, an
`ObjectFilter`, an `S3Resource`, the options of the reset job. The partitions have the words that
Dagster's own components use for those of an asset; monthly, dynamic and multi are not among theirs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Final, Literal

import dagster as dg
from dagster_aws.s3 import S3Resource
from pydantic import BaseModel, Field, create_model

from dagster_s3inc.component.values import (
    DURATION,
    FLAG,
    MOMENT,
    NUMBER,
    TAGS,
    TEXT,
    TEXTS,
    VALUES,
    Kind,
    in_yaml,
    resolved,
)
from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.descriptions import descriptions
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.definitions import S3_FROM_ENVIRONMENT, reset_job_defaults
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.reset import build_s3_reset_job

__all__ = ["batch_option", "filter_option", "partitions_option", "reset_job_option", "s3_option"]

_BATCH: Final = {"max_files": NUMBER, "max_bytes": NUMBER, "linger": DURATION}
_FILTER: Final = {
    "include": TEXTS,
    "exclude": TEXTS,
    "storage_classes": TEXTS,
    "min_size": NUMBER,
    "max_size": NUMBER,
    "modified_after": MOMENT,
    "modified_before": MOMENT,
    "include_folder_markers": FLAG,
}
_RESET_JOB: Final = {"description": TEXT, "tags": TAGS, "metadata": VALUES, "owners": TEXTS}


def _mapping(
    name: str,
    make: type[Any],
    kinds: Mapping[str, Kind],
    defaults: Mapping[str, Any],
    described: object,
) -> Callable[[str], dg.Resolver]:
    """Makes the maker of an option that is a mapping with these fields.

    Args:
        name: The name of the mapping in the schema.
        make: The type of the value, made of the fields that are given.
        kinds: How each field is written.
        defaults: Of each field.
        described: Whose docstring describes the fields.
    """
    texts = descriptions(described)
    given: dict[str, Any] = {
        field: (
            kinds[field].written | None,
            Field(default=default, description=in_yaml(texts.get(field, "")) + kinds[field].hint),
        )
        for field, default in defaults.items()
    }
    model = create_model(name, __base__=dg.Model, **given)

    def resolve(context: dg.ResolutionContext, written: Any) -> Any:
        if isinstance(written, BaseModel):
            values = resolved(context, written.model_dump(exclude_unset=True))
            return make(
                **{
                    field: value if value is None else kinds[field].read(value)
                    for field, value in values.items()
                }
            )
        value = resolved(context, written)
        if not isinstance(value, make):
            raise ConfigurationError(
                f"Write a mapping, or a template that gives a {make.__name__}, not {value!r}"
            )
        return value

    return lambda description: dg.Resolver(
        resolve,
        model_field_type=model,
        inject_before_resolve=False,
        description=in_yaml(description),
    )


def _defaults(made: type[Any]) -> dict[str, Any]:
    return {each.name: each.default for each in fields(made)}


batch_option = _mapping("Batch", BatchPolicy, _BATCH, _defaults(BatchPolicy), BatchPolicy)
filter_option = _mapping("Filter", ObjectFilter, _FILTER, _defaults(ObjectFilter), ObjectFilter)
reset_job_option = _mapping("ResetJob", dict, _RESET_JOB, reset_job_defaults(), build_s3_reset_job)


_PARTITION_FIELDS: Final[Mapping[str, tuple[Any, Any, str]]] = {
    "start_date": (str, ..., "The start of the first, in the format fmt."),
    "end_date": (str | None, None, "Where they end; by default never."),
    "end_offset": (int, 0, "How many further ones there are beyond now."),
    "timezone": (str | None, None, "As in Europe/Berlin; by default UTC."),
    "fmt": (str | None, None, "How the keys are written, as in %Y%m%d; by default as in ISO."),
    "minute_offset": (int, 0, "The minute at which one begins."),
    "hour_offset": (int, 0, "The hour at which one begins."),
    "day_offset": (
        int | None,
        None,
        "On which day one begins: of the week, 0 is Sunday and the default; of the month, 1 is.",
    ),
    "cron_schedule": (str, ..., "When one begins, as in 0 6 * * 1."),
    "partition_keys": (Sequence[str], ..., "The keys, in quotes if they are numbers."),
    "name": (str, ..., "The name that the asset's DynamicPartitionsDefinition has."),
}
_IN_TIME: Final = ("start_date", "end_date", "end_offset", "timezone", "fmt")


def _time_window(start_date: str, end_date: str | None = None, **options: Any) -> Any:
    return dg.TimeWindowPartitionsDefinition(start=start_date, end=end_date, **options)


_PARTITIONS: Final[Mapping[str, tuple[Any, str, tuple[str, ...]]]] = {
    "hourly": (
        dg.HourlyPartitionsDefinition,
        "One partition an hour.",
        (*_IN_TIME, "minute_offset"),
    ),
    "daily": (
        dg.DailyPartitionsDefinition,
        "One partition a day.",
        (*_IN_TIME, "minute_offset", "hour_offset"),
    ),
    "weekly": (
        dg.WeeklyPartitionsDefinition,
        "One partition a week.",
        (*_IN_TIME, "minute_offset", "hour_offset", "day_offset"),
    ),
    "monthly": (
        dg.MonthlyPartitionsDefinition,
        "One partition a month.",
        (*_IN_TIME, "minute_offset", "hour_offset", "day_offset"),
    ),
    "time_window": (
        _time_window,
        "One partition between two moments of a cron schedule.",
        ("cron_schedule", *_IN_TIME),
    ),
    "static": (dg.StaticPartitionsDefinition, "Partitions that are listed.", ("partition_keys",)),
    "dynamic": (
        dg.DynamicPartitionsDefinition,
        "Partitions that the sensor adds as their files come in.",
        ("name",),
    ),
}


def _one_of(models: Sequence[Any]) -> Any:
    return Annotated[reduce(or_, models), Field(discriminator="type")]


def _type(kind: str, description: str, **given: Any) -> type[BaseModel]:
    literal: Any = Literal
    return create_model(
        kind.title().replace("_", ""),
        __base__=dg.Model,
        __doc__=description,
        type=(literal[kind], ...),
        **given,
    )


def _partition_types() -> list[type[BaseModel]]:
    types = []
    for kind, (_, description, names) in _PARTITIONS.items():
        given: dict[str, Any] = {
            name: (type_, Field(default=default, description=text))
            for name, (type_, default, text) in _PARTITION_FIELDS.items()
            if name in names
        }
        if kind == "time_window":
            given["fmt"] = (str, Field(description="How the keys are written, as in %Y-%m-%d."))
        types.append(_type(kind, description, **given))
    text = "The partitions of each dimension, by its name: group_by has a group of it."
    dimensions = (Mapping[str, _one_of(types)], Field(description=text))  # type: ignore[misc]
    return [*types, _type("multi", "Partitions of several dimensions.", dimensions=dimensions)]


def _made(written: Mapping[str, Any]) -> dg.PartitionsDefinition[Any]:
    options = {name: value for name, value in written.items() if name != "type"}
    if written["type"] == "multi":
        dimensions = options["dimensions"].items()
        return dg.MultiPartitionsDefinition({name: _made(each) for name, each in dimensions})
    definition: dg.PartitionsDefinition[Any] = _PARTITIONS[written["type"]][0](**options)
    return definition


def partitions_option(description: str) -> dg.Resolver:
    """A mapping with a `type`, or a template that gives a `PartitionsDefinition`."""

    def resolve(context: dg.ResolutionContext, value: Any) -> Any:
        if isinstance(value, dg.Model):
            return _made(resolved(context, value.model_dump(exclude_unset=True)))
        if isinstance(value, str):
            raise ConfigurationError(
                f"partitions_def is {value!r}, which is only text. Write a mapping with a type, or "
                f"a template that gives a PartitionsDefinition"
            )
        return value

    types = _one_of(_partition_types())
    return dg.Resolver(resolve, model_field_type=types, description=in_yaml(description))


class FromEnvironment(BaseModel, extra="forbid"):
    """A setting that is read only where the S3 client is made, and never shown."""

    env: str = Field(description="The name of the environment variable.")


def s3_option(description: str) -> dg.Resolver:
    """The settings of the S3Resource that is installed, or `project` for the project's own."""
    given: dict[str, Any] = {
        name: (
            each.rebuild_annotation() | str | FromEnvironment,
            Field(default=each.default, description=each.description),
        )
        for name, each in S3Resource.model_fields.items()
    }
    settings = create_model("S3Settings", __base__=dg.Model, __doc__="How to reach S3.", **given)

    def resolve(context: dg.ResolutionContext, written: Any) -> Any:
        if isinstance(written, BaseModel):
            values = resolved(context, written.model_dump(exclude_unset=True))
            return (
                _s3_resource(json.dumps(values, sort_keys=True)) if values else S3_FROM_ENVIRONMENT
            )
        if written == "project":
            return None
        raise ConfigurationError(
            f"s3 is {written!r}. Write its settings as a mapping, or 'project' where the project "
            f"has the resource"
        )

    kind: Any = settings | Literal["project"]
    return dg.Resolver(resolve, model_field_type=kind, description=in_yaml(description))


# One object for equal settings: Definitions.merge refuses two different ones under the same key.
@cache
def _s3_resource(settings: str) -> S3Resource:
    given: dict[str, Any] = {
        name: dg.EnvVar(value["env"]) if isinstance(value, Mapping) else value
        for name, value in json.loads(settings).items()
    }
    return S3Resource(**given)
