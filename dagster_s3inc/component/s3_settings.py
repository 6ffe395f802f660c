"""The S3 resource as YAML writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

import dagster as dg
from dagster_aws.s3 import S3Resource
from pydantic import BaseModel, Field, create_model

from dagster_s3inc.component.values import resolved
from dagster_s3inc.definitions import S3_FROM_ENVIRONMENT
from dagster_s3inc.errors import ConfigurationError

__all__ = ["S3Settings", "s3_option"]

_OF_PROJECT: Final = "project"


class FromEnvironment(BaseModel, extra="forbid"):
    """A setting that is read only where the S3 client is made, and never shown."""

    env: str = Field(description="The name of the environment variable.")


def _settings() -> type[BaseModel]:
    """The settings of the S3Resource that is installed, whichever they are."""
    fields: dict[str, Any] = {
        name: (
            field.rebuild_annotation() | str | FromEnvironment,
            Field(default=field.default, description=field.description),
        )
        for name, field in S3Resource.model_fields.items()
    }
    return create_model("S3Settings", __base__=dg.Model, __doc__="How to reach S3.", **fields)


S3Settings: Final = _settings()


def s3_option(description: str) -> dg.Resolver:
    """Settings; or `project` for the resource that the project has under `s3_resource_key`."""
    kind: Any = S3Settings | Literal["project"]
    return dg.Resolver(_resolve, model_field_type=kind, description=description)


def _resolve(context: dg.ResolutionContext, written: Any) -> Any:
    if isinstance(written, BaseModel):
        settings = resolved(context, written.model_dump(exclude_unset=True))
        return _resource(json.dumps(settings, sort_keys=True)) if settings else S3_FROM_ENVIRONMENT
    if written == _OF_PROJECT:
        return None
    raise ConfigurationError(
        f"s3 is {written!r}. Write its settings as a mapping, or {_OF_PROJECT!r} where the project "
        f"has the resource"
    )


# One object for equal settings: Definitions.merge refuses two different ones under the same key.
@cache
def _resource(settings: str) -> S3Resource:
    given: dict[str, Any] = {
        name: dg.EnvVar(value["env"]) if isinstance(value, Mapping) else value
        for name, value in json.loads(settings).items()
    }
    return S3Resource(**given)
