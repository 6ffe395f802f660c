"""What `dg scaffold defs` writes."""

from __future__ import annotations

import re
from typing import Any, Final

import dagster as dg
from pydantic import BaseModel, Field, field_validator, model_validator

from dagster_s3inc.s3.location import S3Location

__all__ = ["Scaffolding"]

# What Dagster does not take in the name of a sensor.
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_]")


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
            S3Location.parse(uri)
        return uri

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, name: str | None) -> str | None:
        if name is not None and (not name or _NOT_IN_NAMES.search(name)):
            raise ValueError(
                f"{name!r} is no name that Dagster takes. Write it with letters, digits and _ alone"
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
