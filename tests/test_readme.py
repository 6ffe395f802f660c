from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from tests.component.making import copied_project, loaded_project
from tests.readme import PAGES, README, outputs, places, with_outputs, yaml_block
from tests.servers import moto_server

LONGEST = 150
"""In lines: a newcomer reads one page to start."""


def test_outputs_are_what_the_code_gives() -> None:
    """The README's code runs; README and docs show what it gives (`python -m tests.readme`)."""
    with moto_server() as server:
        made = outputs(server)
    assert set(places()) == made.keys()
    for page in PAGES:
        assert page.read_text("utf-8") == with_outputs(page.read_text("utf-8"), made), page


def test_yaml_makes_the_sensor_of_the_python_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The README's `defs.yaml` loads, and makes the same sensor, job and asset as its Python."""
    monkeypatch.setenv("LAKE", "lake")
    # The README's Python has `orders`, and so has this project.
    folder = copied_project(tmp_path / "project", {"defs/landing/defs.yaml": yaml_block()})
    with loaded_project(folder) as definitions:
        dg.Definitions.validate_loadable(definitions)
        repository = definitions.get_repository_def()
        sensor = repository.get_sensor_def("landing")
        assert sensor.metadata["dagster_s3inc/source"].value == "s3://lake/landing/"
        assert repository.has_job("reset_landing")
        assert dg.AssetKey("landing_files") in repository.asset_graph.get_all_asset_keys()


def test_readme_is_short() -> None:
    """The README is one page."""
    assert len(README.read_text("utf-8").splitlines()) <= LONGEST
