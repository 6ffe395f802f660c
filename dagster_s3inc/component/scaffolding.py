"""What `dg scaffold defs` writes."""

from __future__ import annotations

from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

__all__ = ["Scaffolding"]


class _Params(BaseModel):
    """What `dg scaffold defs` may be given."""

    uri: str = Field(
        default="s3://my-bucket/landing/", description="What to scan, as s3://BUCKET/PREFIX."
    )
    name: str | None = Field(
        default=None, description="The sensor's name; by default that of the folder."
    )
    asset_selection: str | None = Field(
        default=None, description="The assets to run for each batch; all of them by default."
    )
    job_name: str | None = Field(
        default=None, description="The job to run for each batch, instead of assets."
    )


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
        attributes: dict[str, Any] = {"name": given.name or folder.name, "uri": given.uri}
        if given.job_name is not None:
            attributes["job_name"] = given.job_name
        if given.asset_selection is not None or given.job_name is None:
            attributes["asset_selection"] = given.asset_selection or "*"
        attributes["batch"] = {"max_files": 100}
        dg.scaffold_component(request, attributes)
