"""The tables of options in docs/reference, made from docstrings and from the component's schema.

`python -m tests.component_docs` writes them into their pages.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any

from dagster.components.resolved.form_config import UNSET_DEFAULT_SENTINEL

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
    find_runs,
)
from dagster_s3inc.core.words import count, descriptions
from dagster_s3inc.reset import ResetConfig

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "reference/component.md"
OPTIONS = DOCS / "reference/options.md"
FILES = DOCS / "how-to/component.md"

GROUPS = {
    "batch": "Batch",
    "objects": "Filter",
    "reset_job_options": "ResetJob",
}
PARTITIONS = (
    "Hourly",
    "Daily",
    "Weekly",
    "Monthly",
    "TimeWindow",
    "Static",
    "Dynamic",
    "Multi",
)
FACTORIES: Mapping[str, Callable[..., Any]] = {
    "sensor": build_s3_incremental_sensor,
    "definitions": build_s3_incremental_definitions,
    "reset job": build_s3_reset_job,
    "source asset": build_s3_source_asset,
    "source checks": build_s3_source_checks,
    "find_runs": find_runs,
    "processor": S3IncrementalProcessor,
    "get_new_files": S3IncrementalProcessor.get_new_files,
}
CLASSES: Mapping[str, type[Any]] = {"BatchPolicy": BatchPolicy, "ObjectFilter": ObjectFilter}
_HEAD = "| option | default | meaning |\n| --- | --- | --- |\n"


def schema() -> dict[str, Any]:
    """What `dg check yaml` checks attributes against."""
    model = S3IncrementalComponent.get_model_cls()
    assert model is not None
    return model.model_json_schema()


def files() -> dict[str, str]:
    """The files that docs/how-to/component.md shows, by their paths."""
    text = FILES.read_text("utf-8")
    return dict(re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", text, re.DOTALL))


def with_tables() -> str:
    """The component's page with its tables as the schema has them."""
    whole = schema()
    tables = {name: _options(whole["$defs"][model]) for name, model in GROUPS.items()}
    tables["options"] = _options(whole)
    tables["partitions"] = _types([whole["$defs"][name] for name in PARTITIONS])
    return _filled(PAGE, tables)


def options_with_tables() -> str:
    """The page of options with its tables as the docstrings have them."""
    tables = {name: _arguments(factory) for name, factory in FACTORIES.items()}
    tables.update((name, _attributes(made)) for name, made in CLASSES.items())
    tables["reset config"] = _fields(ResetConfig)
    return _filled(OPTIONS, tables)


def _filled(page: Path, tables: Mapping[str, str]) -> str:
    text = page.read_text("utf-8")
    for name, table in tables.items():
        place = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, found = place.subn(lambda found, table=table: found[1] + table + found[2], text)
        assert found == 1, name
    return text


def _options(model: dict[str, Any]) -> str:
    return _HEAD + "".join(
        f"| `{name}` | {_default(field)} | {field['description']} |\n"
        for name, field in model["properties"].items()
    )


def _types(models: list[dict[str, Any]]) -> str:
    lines = ["| `type` | fields | meaning |", "| --- | --- | --- |"]
    for model in models:
        needed = model["required"]
        names = [
            f"**`{name}`**" if name in needed else f"`{name}`"
            for name in model["properties"]
            if name != "type"
        ]
        kind = model["properties"]["type"]["const"]
        lines.append(f"| `{kind}` | {', '.join(names)} | {model['description']} |")
    return "\n".join(lines) + "\n"


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    if default in (None, UNSET_DEFAULT_SENTINEL):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _arguments(factory: Callable[..., Any]) -> str:
    means = descriptions(factory)
    parameters = inspect.signature(factory).parameters.values()
    return _HEAD + "".join(
        f"| `{each.name}` | {_shown(each.default)} | {means[each.name]} |\n"
        for each in parameters
        if each.kind is not each.VAR_KEYWORD and each.name != "self"
    )


def _attributes(made: type[Any]) -> str:
    means = descriptions(made)
    return _HEAD + "".join(
        f"| `{each.name}` | {_shown(each.default)} | {means[each.name]} |\n"
        for each in fields(made)
    )


def _fields(config: type[Any]) -> str:
    return _HEAD + "".join(
        f"| `{name}` | {_shown(getattr(each.default, 'name', each.default))} "
        f"| {each.description} |\n"
        for name, each in config.model_fields.items()
    )


def _shown(default: Any) -> str:
    """A default as a person writes it; nothing where there is none, or it is that of Dagster."""
    if default in (inspect.Parameter.empty, None, (), []):
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, int):
        return f"{default:,}"
    if isinstance(default, timedelta):
        hours, seconds = divmod(int(default.total_seconds()), 3600)
        return count(hours, "hour") if hours else f"{seconds} s"
    if isinstance(default, Enum):
        return f"`{default.name}`"
    return f"`{default}`" if isinstance(default, str) else f"`{type(default).__name__}()`"


if __name__ == "__main__":
    PAGE.write_text(with_tables(), "utf-8")
    OPTIONS.write_text(options_with_tables(), "utf-8")
