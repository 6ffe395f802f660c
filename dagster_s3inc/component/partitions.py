"""Partitions as YAML writes them.

The words are those that Dagster's own components use for the partitions of an asset; monthly,
dynamic and multi are not among theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import Field

from dagster_s3inc.component.values import resolved
from dagster_s3inc.errors import ConfigurationError

__all__ = ["partitions_option"]


class Hourly(dg.Model):
    """One partition an hour."""

    type: Literal["hourly"]
    start_date: str = Field(description="The start of the first, in the format fmt.")
    end_date: str | None = Field(default=None, description="Where they end; by default never.")
    end_offset: int = Field(default=0, description="How many further ones there are beyond now.")
    timezone: str | None = Field(default=None, description="As in Europe/Berlin; by default UTC.")
    fmt: str | None = Field(
        default=None, description="How the keys are written, as in %Y%m%d; by default as in ISO."
    )
    minute_offset: int = Field(default=0, description="The minute at which one begins.")


class Daily(Hourly):
    """One partition a day."""

    type: Literal["daily"]  # type: ignore[assignment]
    hour_offset: int = Field(default=0, description="The hour at which one begins.")


class Weekly(Daily):
    """One partition a week."""

    type: Literal["weekly"]  # type: ignore[assignment]
    day_offset: int = Field(
        default=0, description="The day on which one begins: of the week, 0 is Sunday."
    )


class Monthly(Daily):
    """One partition a month."""

    type: Literal["monthly"]  # type: ignore[assignment]
    day_offset: int = Field(default=1, description="The day of the month on which one begins.")


class TimeWindow(dg.Model):
    """One partition between two moments of a cron schedule."""

    type: Literal["time_window"]
    cron_schedule: str = Field(description="When one begins, as in 0 6 * * 1.")
    fmt: str = Field(description="How the keys are written, as in %Y-%m-%d.")
    start_date: str = Field(description="The start of the first, in the format fmt.")
    end_date: str | None = Field(default=None, description="Where they end; by default never.")
    end_offset: int = Field(default=0, description="How many further ones there are beyond now.")
    timezone: str | None = Field(default=None, description="As in Europe/Berlin; by default UTC.")


class Static(dg.Model):
    """Partitions that are listed."""

    type: Literal["static"]
    partition_keys: Sequence[str] = Field(description="The keys, in quotes if they are numbers.")


class Dynamic(dg.Model):
    """Partitions that the sensor adds as their files come in."""

    type: Literal["dynamic"]
    name: str = Field(description="The name that the asset's DynamicPartitionsDefinition has.")


class Multi(dg.Model):
    """Partitions of several dimensions."""

    type: Literal["multi"]
    dimensions: Mapping[str, OneDimension] = Field(
        description="The partitions of each dimension, by its name: group_by has a group of it."
    )


OneDimension = Annotated[
    Hourly | Daily | Weekly | Monthly | TimeWindow | Static | Dynamic, Field(discriminator="type")
]

Multi.model_rebuild()

_MADE_BY: dict[str, Any] = {
    "hourly": dg.HourlyPartitionsDefinition,
    "daily": dg.DailyPartitionsDefinition,
    "weekly": dg.WeeklyPartitionsDefinition,
    "monthly": dg.MonthlyPartitionsDefinition,
    "static": dg.StaticPartitionsDefinition,
    "dynamic": dg.DynamicPartitionsDefinition,
}


def _made(written: Mapping[str, Any]) -> dg.PartitionsDefinition[Any]:
    options = {name: value for name, value in written.items() if name != "type"}
    if written["type"] == "multi":
        dimensions = options["dimensions"].items()
        return dg.MultiPartitionsDefinition({name: _made(each) for name, each in dimensions})
    if written["type"] == "time_window":
        start, end = options.pop("start_date"), options.pop("end_date", None)
        return dg.TimeWindowPartitionsDefinition(start=start, end=end, **options)
    definition: dg.PartitionsDefinition[Any] = _MADE_BY[written["type"]](**options)
    return definition


def _partitions(context: dg.ResolutionContext, value: Any) -> Any:
    if isinstance(value, dg.Model):
        return _made(resolved(context, value.model_dump(exclude_unset=True)))
    if isinstance(value, str):
        raise ConfigurationError(
            f"partitions_def is {value!r}, which is only text. Write a mapping with a type, or a "
            f"template that gives a PartitionsDefinition"
        )
    return value


def partitions_option(description: str) -> dg.Resolver:
    """A mapping with a `type`, or a template that gives a `PartitionsDefinition`."""
    kind: Any = Annotated[
        Hourly | Daily | Weekly | Monthly | TimeWindow | Static | Dynamic | Multi,
        Field(discriminator="type"),
    ]
    return dg.Resolver(_partitions, model_field_type=kind, description=description)
