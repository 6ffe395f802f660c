"""docs/component.md: the files that it shows, and its tables, which are made from the schema.

`python -m tests.component_docs` writes the tables into it.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components.resolved.form_config import UNSET_DEFAULT_SENTINEL
from pydantic_core import PydanticUndefined

from dagster_s3inc import S3IncrementalComponent

PAGE = Path(__file__).parent.parent / "docs/component.md"
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


def schema() -> dict[str, Any]:
    """What `dg check yaml` checks attributes against."""
    model = S3IncrementalComponent.get_model_cls()
    assert model is not None
    return model.model_json_schema()


def files() -> dict[str, str]:
    """The files that the page shows, by their paths."""
    text = PAGE.read_text("utf-8")
    return dict(re.findall(r"```(?:yaml|python)\n# (\S+)\n(.*?)```", text, re.DOTALL))


def with_tables() -> str:
    """The page with its tables as the schema has them."""
    whole = schema()
    tables = {name: _options(whole["$defs"][model]) for name, model in GROUPS.items()}
    tables["options"] = _options(whole)
    tables["partitions"] = _types([whole["$defs"][name] for name in PARTITIONS])
    text = PAGE.read_text("utf-8")
    for name, table in tables.items():
        place = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text, count = place.subn(lambda found, table=table: found[1] + table + found[2], text)
        assert count == 1, name
    return text


def _options(model: dict[str, Any]) -> str:
    lines = ["| option | default | meaning |", "| --- | --- | --- |"]
    for name, field in model["properties"].items():
        lines.append(f"| `{name}` | {_default(model, name)} | {field['description']} |")
    return "\n".join(lines) + "\n"


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


def _default(model: dict[str, Any], name: str) -> str:
    default = model["properties"][name].get("default")
    if default == UNSET_DEFAULT_SENTINEL and name in S3IncrementalComponent.model_fields:
        # The schema of the component does not say what is no JSON.
        default = S3IncrementalComponent.model_fields[name].default
    if isinstance(default, timedelta):
        default = f"{default.total_seconds():.0f}s"
    if isinstance(default, dg.DefaultSensorStatus):
        default = default.value
    if default in (None, [], UNSET_DEFAULT_SENTINEL, PydanticUndefined):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


if __name__ == "__main__":
    PAGE.write_text(with_tables(), "utf-8")
