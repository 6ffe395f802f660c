"""The pictures in the documentation, made anew: `python -m tests.browser`.

Runs the browser tests, which keep what they see, and puts the pages that the documentation shows
into docs/images. Needs Debian's chromium.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.browser.test_ui import PICTURES

IMAGES = Path(__file__).parents[2] / "docs/images"

# What the documentation shows, and the picture that the tests keep.
SHOWN = {
    "sensor": "sensor",
    "runs": "runs",
    "run": "run",
    "source": "source_event",
    "source_checks": "source_checks",
    "lineage": "lineage",
    "launchpad": "launchpad",
    "state_running": "state_running",
    "state_halted": "state_halted",
    "state_halted_check": "state_halted_check",
    "state_halted_lineage": "state_halted_lineage",
    "state_undecided": "state_undecided",
    "state_unpartitioned": "state_unpartitioned",
}


def main() -> int:
    """Makes the pictures; returns the exit code of the tests."""
    # With "keep", the pictures of the last run are taken.
    tests = ["-m", "browser", "-n", "0", "-q", str(Path(__file__).parent)]
    ended = 0 if sys.argv[1:] == ["keep"] else pytest.main(tests)
    if ended == 0:
        for name, kept in SHOWN.items():
            # A page has few colours; so the picture takes a third.
            picture = Image.open(PICTURES / f"{kept}.png").convert("RGB").quantize(255)
            picture.save(IMAGES / f"{name}.png", optimize=True)
    return int(ended)


if __name__ == "__main__":
    sys.exit(main())
