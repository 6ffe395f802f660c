from __future__ import annotations

import inspect
import re
from dataclasses import fields
from typing import Any

import dagster as dg
import pytest
import yaml

import dagster_s3inc
from dagster_s3inc import (
    BatchPolicy,
    ObjectFilter,
    S3Batch,
    S3File,
    S3IncrementalProcessor,
    build_s3_incremental_definitions,
    build_s3_incremental_sensor,
    build_s3_reset_job,
    build_s3_source_asset,
    build_s3_source_checks,
    find_runs,
)
from dagster_s3inc.reset import ResetConfig
from tests.readme import README, outputs, with_outputs
from tests.servers import moto_server


def test_outputs_are_what_the_code_gives() -> None:
    """The README's code runs, and gives what the README shows (`python -m tests.readme`)."""
    with moto_server() as server:
        assert README.read_text("utf-8") == with_outputs(outputs(server))


def options_of(described: Any) -> list[str]:
    if described in (BatchPolicy, ObjectFilter):
        return [field.name for field in fields(described)]
    if described in (S3File, ResetConfig):
        return list(described.model_fields)
    parameters = inspect.signature(described).parameters.values()
    return [each.name for each in parameters if each.kind is not each.VAR_KEYWORD]


@pytest.mark.parametrize(
    "described",
    [
        BatchPolicy,
        ObjectFilter,
        S3File,
        S3IncrementalProcessor,
        S3IncrementalProcessor.get_new_files,
        build_s3_incremental_definitions,
        build_s3_incremental_sensor,
        build_s3_reset_job,
        ResetConfig,
        build_s3_source_asset,
        build_s3_source_checks,
        find_runs,
        S3Batch.metadata,
    ],
)
def test_every_option_is_in_the_readme_and_the_docstring(described: Any) -> None:
    """Each option that a user can give is described in the README and in its docstring."""
    readme, docstring = README.read_text("utf-8"), inspect.getdoc(described) or ""
    for option in options_of(described):
        if option in ("self", "path", "checkpoint_path", "name"):
            continue
        assert re.search(rf"`{option}`|{option}=", readme), option
        if described not in (S3File, ResetConfig):
            assert re.search(rf"\b{option}:", docstring), option


def test_every_public_name_is_in_the_readme() -> None:
    """Each name that the package exports is in the README."""
    readme = README.read_text("utf-8")
    for name in set(dagster_s3inc.__all__) - {"__version__", "S3File", "S3IncError"}:
        assert name in readme, name


def test_run_config_by_hand_is_complete() -> None:
    """The run config that the README shows launches the job that it names."""
    [name] = re.findall(r"`(__anonymous_asset_job_\w+)`", README.read_text("utf-8"))
    [shown] = re.findall(r"  ```yaml\n(  resources:.*?)  ```", README.read_text("utf-8"), re.DOTALL)
    found: list[str] = []

    @dg.asset
    def orders(batch: S3Batch) -> None:
        found.extend(batch.uris())

    definitions = build_s3_incremental_definitions(
        name="landing", uri="s3://lake/landing/", target=orders, assets=[orders]
    )
    job = definitions.get_repository_def().get_job(name)
    assert job.execute_in_process(run_config=yaml.safe_load(shown)).success
    assert found == ["s3://lake/landing/000.csv"]
