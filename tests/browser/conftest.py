"""A person's browser on the example project; `pytest -m browser`."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

PATIENCE_MS = 180_000
"""For what the page shows; a run takes some seconds, on a busy machine a minute."""


START_SECONDS = 180


@pytest.fixture(scope="module")
def ui(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of Dagster's UI on the example project, with twelve files that have landed."""
    state = tmp_path_factory.mktemp("state")
    options = ["--port", "0", "--files", "12", "--every", "86400"]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "example_project", *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "EXAMPLE_STATE": str(state)},
        cwd=Path(__file__).parents[2],
    ) as example:
        try:
            assert example.stdout is not None
            for line in example.stdout:
                if found := re.search(r"(http://127\.0\.0\.1:\d+)/locations", line):
                    yield found[1]
                    break
            else:
                raise AssertionError("the example ended before it said where to look")
        finally:
            example.send_signal(signal.SIGINT)
            example.wait(START_SECONDS)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of Debian's Chromium."""
    chromium = shutil.which("chromium")
    assert chromium, "The browser tests need Debian's chromium: apt-get install chromium"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": 1500, "height": 950})
        opened.set_default_timeout(PATIENCE_MS)
        yield opened
        browser.close()
