"""How options are written in YAML, and how their values are made of that.

Dagster resolves templates with Jinja's native types. Two of its ways surprise: text that looks like
Python is taken for it ("1.10" becomes the number 1.1), and an environment variable that is not set
becomes None, or the text "None" inside other text. Here the first happens only where there is a
template, and the second is an error.

Options that are a mapping in YAML have the fields, defaults and descriptions of what they make: a
`BatchPolicy`, an `ObjectFilter`, an `S3Resource`, the options of the reset job. The partitions have
the words that Dagster's own components use for those of an asset; monthly, dynamic and multi are
not among theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Final, Literal, NamedTuple

import dagster as dg
from dagster_aws.s3 import S3Resource
from jinja2 import Undefined
from pydantic import BaseModel, Field, create_model

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.words import descriptions, parse_duration, parse_moment, parse_start
from dagster_s3inc.definitions import S3_FROM_ENVIRONMENT, reset_job_defaults
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.reset import build_s3_reset_job

__all__ = [
    "DURATION",
    "START",
    "TAGS",
    "TEXTS",
    "Environment",
    "batch_option",
    "filter_option",
    "option",
    "partitions_option",
    "reset_job_option",
    "s3_option",
]


class _Unset(Undefined):
    """An environment variable that is not set: it may be asked about, but not written out."""

    __str__ = Undefined._fail_with_undefined_error


class Environment:
    """`env` in templates, as Dagster has it, but what is not set is an error where it is used.

    Args:
        env: Dagster's own.
    """

    def __init__(self, env: Any) -> None:
        self._env = env

    def __call__(self, *name_and_default: Any) -> Any:
        """The variable, or the default that is given; Dagster refuses it if there is neither."""
        return self._env(*name_and_default)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._env, name)
        if value is not None:
            return value
        return _Unset(
            hint=f"Environment variable {name} is needed here, but not set. Set it, or give a "
            f"default: {{{{ env({name!r}, 'the default') }}}}"
        )


class Kind(NamedTuple):
    """A kind of value, as YAML writes it.

    Attributes:
        written: The types that YAML may give.
        read: Reads it once its templates are filled in; None is not read.
        hint: How it is written, to be added to an option's description.
    """

    written: Any
    read: Callable[[Any], Any] = lambda value: value
    hint: str = ""


def _unless(made: type[Any], parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Parses text, and takes what a template made already."""
    return lambda value: value if isinstance(value, made) else parse(str(value))


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else [str(each) for each in value]


def _tags(value: Any) -> Any:
    return {
        str(name): each if isinstance(each, str) else json.dumps(each)
        for name, each in value.items()
    }


_IN_ISO = "ISO 8601 with a time zone, as in `2026-01-31T00:00:00Z`."
_NUMBER: Final = Kind(int | str)
_MOMENT: Final = Kind(str, _unless(datetime, parse_moment), f" {_IN_ISO}")
TEXTS: Final = Kind(Sequence[str] | str, _texts)
TAGS: Final = Kind(Mapping[str, str | int | float | bool], _tags)
DURATION: Final = Kind(
    int | float | str,
    _unless(timedelta, parse_duration),
    " In seconds, or as in `90s`, `15m`, `1h30m`, `7d`.",
)
START: Final = Kind(str, _unless(datetime, parse_start), f" A moment is {_IN_ISO}")

_BATCH: Final = {"max_files": _NUMBER, "max_bytes": _NUMBER, "linger": DURATION}
_FILTER: Final = {
    "include": TEXTS,
    "exclude": TEXTS,
    "storage_classes": TEXTS,
    "min_size": _NUMBER,
    "max_size": _NUMBER,
    "modified_after": _MOMENT,
    "modified_before": _MOMENT,
    "include_folder_markers": Kind(bool | str),
}
_RESET_JOB: Final = {
    "description": Kind(str),
    "tags": TAGS,
    "metadata": Kind(Mapping[str, Any]),
    "owners": TEXTS,
}


def _resolved(context: dg.ResolutionContext, value: Any) -> Any:
    """Fills in the templates in a value from YAML; all other text stays as it is written."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_unset=True)
    if isinstance(value, Mapping):
        return {each: _resolved(context.at_path(each), inner) for each, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(context.at_path(place), inner) for place, inner in enumerate(value)]
    if isinstance(value, str) and not ("{{" in value or "{%" in value):
        return value
    return context.resolve_value(value)


def _in_yaml(description: str) -> str:
    """A description that was written for Python, with YAML's word for None."""
    return re.sub(r"\bNone\b", "`null`", description)


def _resolver(
    description: str,
    written: Any,
    make: Callable[[Any, bool], Any],
    *,
    reads_templates: bool = True,
) -> dg.Resolver:
    """An option of which a value is made once its templates are filled in.

    Descriptions are given in this way because Dagster drops those of pydantic's fields.

    Args:
        description: What it means.
        written: The types that YAML may give.
        make: Makes the value of what is written, and of whether it is a mapping with fields.
        reads_templates: Whether `make` also gets what a template for the whole value gives; else
            that is the value.
    """

    def resolve(context: dg.ResolutionContext, value: Any) -> Any:
        return make(_resolved(context, value), isinstance(value, BaseModel))

    return dg.Resolver(
        resolve,
        model_field_type=written,
        inject_before_resolve=not reads_templates,
        description=_in_yaml(description),
    )


def option(description: str, kind: Any = None) -> dg.Resolver:
    """An option of the component.

    Args:
        description: What it means.
        kind: A `Kind`, or the type that YAML gives if it is another than Python's.
    """
    if isinstance(kind, Kind):
        return _resolver(
            description + kind.hint,
            kind.written | None,
            lambda value, _: None if value is None else kind.read(value),
        )
    resolver: dg.Resolver = dg.Resolver.default(
        description=_in_yaml(description), model_field_type=kind
    )
    return resolver


def _mapping(
    name: str,
    make: type[Any],
    kinds: Mapping[str, Kind],
    *,
    defaults: Mapping[str, Any] | None = None,
    described: object = None,
) -> Callable[[str], dg.Resolver]:
    """Makes the maker of an option that is a mapping with these fields.

    Args:
        name: The name of the mapping in the schema.
        make: The type of the value, made of the fields that are given.
        kinds: How each field is written.
        defaults: Of each field; None takes those of the type.
        described: Whose docstring describes the fields; None means the type's.
    """
    texts = descriptions(described or make)
    if defaults is None:
        defaults = {each.name: each.default for each in fields(make)}
    given: dict[str, Any] = {
        field: (
            kinds[field].written | None,
            Field(default=default, description=_in_yaml(texts.get(field, "")) + kinds[field].hint),
        )
        for field, default in defaults.items()
    }

    def made(value: Any, has_fields: bool) -> Any:
        if has_fields:
            return make(
                **{
                    field: each if each is None else kinds[field].read(each)
                    for field, each in value.items()
                }
            )
        if not isinstance(value, make):
            raise ConfigurationError(
                f"Write a mapping, or a template that gives a {make.__name__}, not {value!r}"
            )
        return value

    model = create_model(name, __base__=dg.Model, **given)
    return lambda description: _resolver(description, model, made)


batch_option = _mapping("Batch", BatchPolicy, _BATCH)
filter_option = _mapping("Filter", ObjectFilter, _FILTER)
reset_job_option = _mapping(
    "ResetJob", dict, _RESET_JOB, defaults=reset_job_defaults(), described=build_s3_reset_job
)


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


def _time_window(start_date: str, end_date: str | None = None, **options: Any) -> Any:
    return dg.TimeWindowPartitionsDefinition(start=start_date, end=end_date, **options)


_IN_TIME: Final = "start_date end_date end_offset timezone fmt"
_HOURLY: Final = f"{_IN_TIME} minute_offset"
_DAILY: Final = f"{_HOURLY} hour_offset"
_WEEKLY: Final = f"{_DAILY} day_offset"

# Of each type: what it makes, what it means, and its fields.
_PARTITIONS: Final[Mapping[str, tuple[Any, str, str]]] = {
    "hourly": (dg.HourlyPartitionsDefinition, "One partition an hour.", _HOURLY),
    "daily": (dg.DailyPartitionsDefinition, "One partition a day.", _DAILY),
    "weekly": (dg.WeeklyPartitionsDefinition, "One partition a week.", _WEEKLY),
    "monthly": (dg.MonthlyPartitionsDefinition, "One partition a month.", _WEEKLY),
    "time_window": (
        _time_window,
        "One partition between two moments of a cron schedule.",
        f"{_IN_TIME} cron_schedule",
    ),
    "static": (dg.StaticPartitionsDefinition, "Partitions that are listed.", "partition_keys"),
    "dynamic": (
        dg.DynamicPartitionsDefinition,
        "Partitions that the sensor adds as their files come in.",
        "name",
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
            if name in names.split()
        }
        if kind == "time_window":
            given["fmt"] = (str, Field(description="How the keys are written, as in %Y-%m-%d."))
        types.append(_type(kind, description, **given))
    text = "The partitions of each dimension, by its name: group_by has a group of it."
    dimensions = (Mapping[str, _one_of(types)], Field(description=text))  # type: ignore[misc]
    return [*types, _type("multi", "Partitions of several dimensions.", dimensions=dimensions)]


def _partitions(type: str, **options: Any) -> dg.PartitionsDefinition[Any]:
    if type == "multi":
        dimensions = options["dimensions"].items()
        return dg.MultiPartitionsDefinition(
            {name: _partitions(**each) for name, each in dimensions}
        )
    definition: dg.PartitionsDefinition[Any] = _PARTITIONS[type][0](**options)
    return definition


def partitions_option(description: str) -> dg.Resolver:
    """A mapping with a `type`, or a template that gives a `PartitionsDefinition`."""

    def made(value: Any, has_fields: bool) -> Any:
        if isinstance(value, str):
            raise ConfigurationError(
                f"partitions_def is {value!r}, which is only text. Write a mapping with a type, or "
                f"a template that gives a PartitionsDefinition"
            )
        return _partitions(**value) if has_fields else value

    return _resolver(description, _one_of(_partition_types()), made, reads_templates=False)


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

    def made(value: Any, has_fields: bool) -> Any:
        if has_fields:
            return _s3_resource(json.dumps(value, sort_keys=True)) if value else S3_FROM_ENVIRONMENT
        if value == "project":
            return None
        raise ConfigurationError(
            f"s3 is {value!r}. Write its settings as a mapping, or 'project' where the project "
            f"has the resource"
        )

    return _resolver(description, settings | Literal["project"], made, reads_templates=False)


# One object for equal settings: Definitions.merge refuses two different ones under the same key.
@cache
def _s3_resource(settings: str) -> S3Resource:
    given: dict[str, Any] = {
        name: dg.EnvVar(value["env"]) if isinstance(value, Mapping) else value
        for name, value in json.loads(settings).items()
    }
    return S3Resource(**given)
