"""Components and projects for tests."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster.components.testing.utils import DefsFolderSandbox

from dagster_s3inc import S3IncrementalComponent

PROJECT = Path(__file__).parent.parent / "component_project"
NAME = "component_project"

NEEDED = """
name: landing
uri: s3://lake/landing/
asset_selection: key:orders
"""


def load(attributes: str = "", *, needed: str = NEEDED, **scope: Any) -> S3IncrementalComponent:
    """The component with these attributes in its `defs.yaml`, beside those that it needs."""
    component = S3IncrementalComponent.resolve_from_yaml(needed + attributes, scope=scope)
    assert isinstance(component, S3IncrementalComponent)
    return component


def build(attributes: str = "", *, needed: str = NEEDED, **scope: Any) -> dg.Definitions:
    """What the component makes."""
    return dg.component_defs(component=load(attributes, needed=needed, **scope))


def copied_project(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """The small project in a folder of its own, with these files beside or instead of its own."""
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in (files or {}).items():
        place = folder / "src" / NAME / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, "utf-8")
    return folder


@contextmanager
def loaded_project(folder: Path) -> Iterator[dg.Definitions]:
    """All that a project defines, as `dg` loads it."""
    sandbox = DefsFolderSandbox(folder, folder / "src" / NAME / "defs", NAME)
    try:
        with sandbox.build_all_defs() as definitions:
            yield definitions
    finally:
        # The next project of this name is another one.
        for module in [each for each in sys.modules if each.partition(".")[0] == NAME]:
            del sys.modules[module]
