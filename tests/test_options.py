"""Each option has one name and one default, wherever it can be given and wherever it is shown."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
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
from dagster_s3inc.core.batching import ScanLimits
from dagster_s3inc.core.words import descriptions
from tests.component_docs import CLASSES, OPTIONS, options_with_tables, schema
from tests.component_docs import FACTORIES as DOCUMENTED

FACTORIES = [
    build_s3_incremental_definitions,
    build_s3_incremental_sensor,
    build_s3_reset_job,
    build_s3_source_asset,
    build_s3_source_checks,
]


def options_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """The options of a factory and their defaults."""
    parameters = inspect.signature(factory).parameters.values()
    return {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}


def fields_of(made: type[Any]) -> dict[str, Any]:
    return {each.name: each.default for each in fields(made)}


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


def test_reference_is_made_from_the_docstrings() -> None:
    """The reference has the options of all of them (`python -m tests.component_docs`)."""
    assert {*FACTORIES, BatchPolicy, ObjectFilter} <= {*DOCUMENTED.values(), *CLASSES.values()}
    assert OPTIONS.read_text("utf-8") == options_with_tables()
