"""A whole project, loaded as `dg` loads it, and by `dg` itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from pydantic import ValidationError

from dagster_s3inc.component.component import Scaffolding
from tests.component.making import NAME, copied_project, loaded_project
from tests.component_docs import PAGE, files, with_tables
from tests.servers import S3Server

ASSETS = {"asset_selection": "key:orders"}
MORE_ASSETS = """
import dagster as dg

from dagster_s3inc import S3Batch


@dg.asset
def counts(batch: S3Batch): ...


@dg.asset
def partner_orders(batch: S3Batch, partner_s3: dg.ResourceParam[object]): ...
"""


def test_project_processes_files(
    moto: S3Server,
    new_bucket: Callable[[S3Server], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two components in one project each request their files for the assets that they name."""
    bucket, client = new_bucket(moto), moto.client()
    for key in ("landing/a", "landing/b", "payments/dt=2026-01-02/c", "payments/none"):
        client.put_object(Bucket=bucket, Key=key, Body=b"1\n2\n")
    for name, value in {**moto.environment, "LAKE": bucket}.items():
        monkeypatch.setenv(name, value)
    found = {}
    with loaded_project(copied_project(tmp_path / "project")) as definitions:
        repository = definitions.get_repository_def()
        for sensor_name, asset in (("landing", "orders"), ("payments", "payments")):
            sensor = repository.get_sensor_def(sensor_name)
            context = dg.build_sensor_context(
                repository_def=repository, resources={"s3": (definitions.resources or {})["s3"]}
            )
            [request] = sensor.evaluate_tick(context).run_requests or ()
            job = definitions.resolve_implicit_global_asset_job_def()
            ran = job.execute_in_process(
                run_config=request.run_config,
                partition_key=request.partition_key,
                asset_selection=[dg.AssetKey(asset)],
            )
            [event] = ran.get_asset_materialization_events()
            found[asset] = {
                name: value.value for name, value in event.materialization.metadata.items()
            }
    assert found["orders"] == {"files": 2, "lines": 4}
    assert found["payments"] == {"day": "2026-01-02", "files": 1}


def test_documented_files_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that docs/component.md shows are a project that loads."""
    monkeypatch.setenv("LAKE", "lake")
    shown = files()
    assert len(shown) >= 5
    folder = copied_project(tmp_path / "project", {**shown, "defs/more.py": MORE_ASSETS})
    with loaded_project(folder) as definitions:
        dg.Definitions.validate_loadable(definitions)
        assert {each.name for each in definitions.sensors or ()} == {
            "landing",
            "payments",
            "archive",
            "partner",
        }


def test_documented_options_are_those_of_the_schema() -> None:
    """The tables are made from the schema (`python -m tests.component_docs`)."""
    assert PAGE.read_text("utf-8") == with_tables()


def dg_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "HOME": str(folder),
        "COLUMNS": "200",
        "DAGSTER_DG_UPDATE_CHECK_ENABLED": "0",
    }
    return subprocess.run(
        [sys.executable, "-m", "dagster_dg_cli.cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_dg_finds_scaffolds_and_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`dg` lists the component, writes a file that loads as it is, and finds what is misspelt."""
    monkeypatch.setenv("LAKE", "lake")
    folder = copied_project(tmp_path / "project")
    kind = "dagster_s3inc.S3IncrementalComponent"
    listed = dg_command(folder, "list", "components", "--package", "dagster_s3inc", "--json")
    assert kind in listed.stdout, listed.stderr

    uri, selection = ("--uri", "s3://lake/more/"), ("--asset-selection", "key:orders")
    scaffolded = dg_command(folder, "scaffold", "defs", kind, "more", *uri, *selection)
    assert scaffolded.returncode == 0, scaffolded.stderr
    written = folder / "src" / NAME / "defs/more/defs.yaml"
    assert yaml.safe_load(written.read_text("utf-8")) == {
        "type": kind,
        "attributes": {
            "name": "more",
            "uri": "s3://lake/more/",
            "asset_selection": "key:orders",
            "batch": {"max_files": 100},
        },
    }

    refused = dg_command(folder, "scaffold", "defs", kind, "none", *uri)
    assert refused.returncode != 0
    assert "Give --asset-selection, as in key:orders, or --job-name" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (folder / "src" / NAME / "defs/none").exists()

    # With its folder: of several files with one type, `dg check yaml` (1.13) looks at one only.
    check = ("check", "yaml", str(written.parent))
    assert dg_command(folder, *check).returncode == 0
    with loaded_project(folder) as definitions:
        assert definitions.get_repository_def().has_sensor_def("more")
    written.write_text(written.read_text("utf-8").replace("max_files", "max_flies"), "utf-8")
    refused = dg_command(folder, *check)
    assert refused.returncode != 0
    assert "max_flies" in refused.stdout + refused.stderr


def scaffolded_attributes(folder: Path, options: dict[str, str]) -> dict[str, Any]:
    """The attributes that are written into the folder."""
    folder.mkdir()
    params = Scaffolding.get_scaffold_params().model_validate(options)
    Scaffolding().scaffold(
        dg.ScaffoldRequest(
            type_name="dagster_s3inc.S3IncrementalComponent",
            target_path=folder,
            scaffold_format="yaml",
            project_root=folder.parent,
            params=params,
            append=False,
        )
    )
    attributes: dict[str, Any] = yaml.safe_load((folder / "defs.yaml").read_text("utf-8"))
    return attributes["attributes"]


@pytest.mark.parametrize(
    ("options", "written"),
    [
        (ASSETS, {"name": "my_landing", **ASSETS}),
        ({"job_name": "ingest"}, {"name": "my_landing", "job_name": "ingest"}),
        ({"name": "other", **ASSETS}, {"name": "other", **ASSETS}),
        ({"uri": "s3://{{ env.LAKE }}/in/", **ASSETS}, {"uri": "s3://{{ env.LAKE }}/in/"}),
    ],
)
def test_scaffolded_attributes(
    options: dict[str, str], written: dict[str, str], tmp_path: Path
) -> None:
    """The file has the one target that was given, and a name that Dagster takes."""
    attributes = scaffolded_attributes(tmp_path / "my-landing", options)
    assert written.items() <= attributes.items()
    assert len({"asset_selection", "job_name"} & attributes.keys()) == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "Give --asset-selection, as in key:orders, or --job-name"),
        ({"asset_selection": ""}, "Give --asset-selection, as in key:orders, or --job-name"),
        ({"job_name": "ingest", **ASSETS}, "Both --asset-selection and --job-name are given"),
        ({"uri": "lake/landing", **ASSETS}, "Write s3://BUCKET/PREFIX"),
        ({"name": "my-landing", **ASSETS}, "letters, digits and _ alone"),
    ],
)
def test_wrong_scaffold_options_are_refused(
    options: dict[str, str], says: str, tmp_path: Path
) -> None:
    """What would not load, or would run who knows what, is not written."""
    with pytest.raises(ValidationError, match=says):
        scaffolded_attributes(tmp_path / "landing", options)
    assert not (tmp_path / "landing/defs.yaml").exists()
