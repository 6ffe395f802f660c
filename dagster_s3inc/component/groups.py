"""Options that belong together: each group is a mapping in YAML, and one value for the factories.

A field here is an option of what it makes, by the same name: a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

import dagster as dg
from pydantic import BaseModel

from dagster_s3inc.component.values import (
    duration_option,
    moment_option,
    option,
    resolved,
    tags_option,
    texts_option,
)
from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.errors import ConfigurationError

__all__ = [
    "BatchFields",
    "FilterFields",
    "ResetJobFields",
    "batch_option",
    "filter_option",
    "reset_job_option",
]


class BatchFields(dg.Model, dg.Resolvable):
    """How files are cut into batches."""

    max_files: Annotated[int, option("The most files in a batch.")] = 100
    max_bytes: Annotated[
        int | None,
        option("The most bytes in a batch; a larger file is a batch of its own. By default any."),
    ] = None
    linger: Annotated[
        timedelta | None,
        duration_option(
            "A batch that is not full waits for more files until its oldest file is so old: "
            "seconds, or as in 15m. By default nothing waits."
        ),
    ] = None


class FilterFields(dg.Model, dg.Resolvable):
    """Which files count."""

    include: Annotated[
        Sequence[str],
        texts_option(
            "Globs on the key below the prefix, of which one must match; by default every key "
            "does. `*` and `?` stop at `/`, `**` does not; `[a-c]` and `{csv,json}` work."
        ),
    ] = ()
    exclude: Annotated[
        Sequence[str], texts_option("Globs of which none may match; stronger than `include`.")
    ] = ()
    storage_classes: Annotated[
        Sequence[str] | None,
        texts_option(
            "The storage classes that count, as S3 names them; by default all but `GLACIER` and "
            "`DEEP_ARCHIVE`."
        ),
    ] = None
    min_size: Annotated[int | None, option("The least bytes, inclusive.")] = None
    max_size: Annotated[int | None, option("The most bytes, inclusive.")] = None
    modified_after: Annotated[
        datetime | None,
        moment_option(
            "The earliest LastModified, inclusive: ISO 8601 with a time zone, as in "
            "`2026-01-31T00:00:00Z`."
        ),
    ] = None
    modified_before: Annotated[
        datetime | None, moment_option("The first LastModified that is too late, likewise.")
    ] = None
    include_folder_markers: Annotated[
        bool, option("Whether empty objects whose key ends in `/` count.")
    ] = False


class ResetJobFields(dg.Model, dg.Resolvable):
    """What else the reset job shows."""

    description: Annotated[str | None, option("Shown in the UI.")] = None
    tags: Annotated[Mapping[str, str] | None, tags_option("Tags of the job.")] = None
    metadata: Annotated[Mapping[str, Any] | None, option("Metadata of the job.")] = None
    owners: Annotated[
        Sequence[str] | None, texts_option("Email addresses, and teams as in `team:data`.")
    ] = None


def _group(make: type[Any], fields: Any, description: str) -> dg.Resolver:
    def resolve(context: dg.ResolutionContext, written: Any) -> Any:
        if isinstance(written, BaseModel):
            return make(**dict(fields.resolve_from_model(context, written)))
        value = resolved(context, written)
        if not isinstance(value, make):
            raise ConfigurationError(
                f"Write a mapping, or a template that gives a {make.__name__}, not {value!r}"
            )
        return value

    return dg.Resolver(
        resolve,
        model_field_type=fields.model(),
        inject_before_resolve=False,
        description=description,
    )


def batch_option(description: str) -> dg.Resolver:
    """A `BatchPolicy`."""
    return _group(BatchPolicy, BatchFields, description)


def filter_option(description: str) -> dg.Resolver:
    """An `ObjectFilter`."""
    return _group(ObjectFilter, FilterFields, description)


def reset_job_option(description: str) -> dg.Resolver:
    """Arguments of `build_s3_reset_job`."""
    return _group(dict, ResetJobFields, description)
