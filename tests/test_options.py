"""Each option has one name and one default, wherever it can be given and wherever it is shown."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import BaseModel

from dagster_s3inc import (
    BatchPolicy,
    ObjectFilter,
    S3IncrementalComponent,
    S3IncrementalProcessor,
    build_s3_incremental_definitions,
    build_s3_incremental_sensor,
    build_s3_reset_job,
    build_s3_source_asset,
    build_s3_source_checks,
)
from dagster_s3inc.cli.command import cli
from dagster_s3inc.core.descriptions import descriptions
from dagster_s3inc.core.limits import ScanLimits
from tests.component_docs import schema

README = (Path(__file__).parent.parent / "README.md").read_text("utf-8")

FACTORIES = [
    build_s3_incremental_definitions,
    build_s3_incremental_sensor,
    build_s3_reset_job,
    build_s3_source_asset,
    build_s3_source_checks,
]

# Those that are Dagster's: the README names them in a sentence.
DAGSTERS = {
    *("target", "job", "jobs", "job_name", "asset_selection"),
    *("name", "description", "tags", "metadata", "owners", "required_resource_keys"),
    *("minimum_interval_seconds", "default_status"),
}


def options_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """The options of a factory and their defaults."""
    parameters = inspect.signature(factory).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


def fields_of(made: type[Any]) -> dict[str, Any]:
    return {each.name: each.default for each in fields(made)}


def tables(text: str) -> dict[str, str]:
    """What the first column of the tables names, and the default beside it."""
    found = {}
    for names, default in re.findall(r"^\| (`[^|]*`) \|([^|]*)\|", text, re.MULTILINE):
        found.update(dict.fromkeys(re.findall(r"`(\w+)`", names), default.strip()))
    return found


def test_component_has_the_options_of_the_factories() -> None:
    """The component has the options of the factories, no others, and their defaults."""
    options = {
        **options_of(build_s3_incremental_sensor),
        **options_of(build_s3_incremental_definitions),
    }
    del options["assets"]  # those of the project are there without being named
    model: type[BaseModel] = S3IncrementalComponent
    assert options == {
        name: inspect.Parameter.empty
        if field.is_required()
        else field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
    }


@pytest.mark.parametrize(
    ("name", "made"), [("Batch", BatchPolicy), ("Filter", ObjectFilter), ("ResetJob", None)]
)
def test_mappings_have_the_fields_of_what_they_make(name: str, made: type[Any] | None) -> None:
    """A mapping in YAML has the fields of what it makes, no others, and their defaults."""
    expected = fields_of(made) if made else options_of(build_s3_reset_job)
    if made is None:
        for given_by_the_component in ("sensor", "sensor_name", "name"):
            del expected[given_by_the_component]
    shown = schema()["$defs"][name]["properties"]
    assert {field: each.get("default") for field, each in shown.items()} == {
        field: list(default) if default == () else default for field, default in expected.items()
    }


def test_command_line_has_the_same_defaults() -> None:
    """The options of `plan` have the names and defaults of those that they stand for."""
    sensor = options_of(build_s3_incremental_sensor)
    options = {**sensor, **fields_of(BatchPolicy), **fields_of(ObjectFilter)}
    given = {
        each.opts[0].removeprefix("--").replace("-", "_"): each
        for each in cli.commands["plan"].params
        if isinstance(each, click.Option)
    }
    # It knows no groups, no runs and no time budget; a start is a moment at the earliest.
    unknown = {"storage_classes", "modified_after"}
    meant = {**fields_of(BatchPolicy), **fields_of(ObjectFilter)}.keys() - unknown
    assert meant <= given.keys()
    context = click.Context(cli.commands["plan"])
    for name, option in given.items():
        if name in options:
            default = option.type_cast_value(context, option.get_default(context))
            assert default == options[name], name
    assert {"lookback", "start_from", "max_batches_per_tick"} <= given.keys()


def test_processor_and_sensor_share_names_and_defaults() -> None:
    """What a processor takes as the sensor does has its name, and its default where it can."""
    sensor = options_of(build_s3_incremental_sensor)
    processor = options_of(S3IncrementalProcessor)
    shared = sensor.keys() & processor.keys()
    assert shared == {
        "objects",
        "lookback",
        "late_file_capacity",
        "max_concurrent_requests",
        "max_index_bytes",
    }
    different = {name for name in shared if sensor[name] != processor[name]}
    assert different == {"late_file_capacity"}
    assert sensor["late_file_capacity"] == ScanLimits().late_file_capacity
    assert processor["late_file_capacity"] == 10 * ScanLimits().late_file_capacity


@pytest.mark.parametrize("described", [*FACTORIES, BatchPolicy, ObjectFilter])
def test_every_option_is_described(described: Any) -> None:
    """Each option is described in the docstring, and nothing else is."""
    names = fields_of(described) if inspect.isclass(described) else options_of(described)
    assert descriptions(described).keys() - {"sensor_options"} == names.keys()


@pytest.mark.parametrize("factory", FACTORIES[:2])
def test_readme_has_every_option_of_the_sensor(factory: Callable[..., Any]) -> None:
    """The README's tables have each option that is not Dagster's, with its default."""
    shown = tables(README)
    options = {
        name: default for name, default in options_of(factory).items() if name not in DAGSTERS
    }
    assert options.keys() <= shown.keys()
    for name, default in options.items():
        if isinstance(default, int) and name in shown:
            assert shown[name].replace(",", "") == str(default), name


@pytest.mark.parametrize("made", [BatchPolicy, ObjectFilter])
def test_readme_has_every_field(made: type[Any]) -> None:
    """The README's tables have each field of the values that options take."""
    assert fields_of(made).keys() <= tables(README).keys()


@pytest.mark.parametrize("factory", FACTORIES[2:])
def test_readme_names_every_option_of_the_other_factories(factory: Callable[..., Any]) -> None:
    """The README names each option of the reset job, the source asset and its checks."""
    assert options_of(factory).keys() <= set(re.findall(r"`(\w+)`", README))


def test_readme_shows_no_option_that_is_not_there() -> None:
    """A table of the README names no option that the code does not take."""
    known: set[str] = set()
    for factory in FACTORIES:
        known |= options_of(factory).keys()
    for made in (BatchPolicy, ObjectFilter):
        known |= fields_of(made).keys()
    sections = re.findall(r"^\| option \| default .*?(?=\n\n)", README, re.MULTILINE | re.DOTALL)
    assert set().union(*map(tables, sections)) <= known
