from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
DOCS = sorted((TESTS.parent / "docs").glob("*.md"))
NAMED = re.compile(r"`((?:\w+/)*test_\w+\.py)?(?:::(test_\w+))?`")


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_tests_that_the_docs_name_exist(page: Path) -> None:
    """Each test that a page of the documentation names is there."""
    path = ""
    for found in NAMED.finditer(page.read_text("utf-8")):
        path, name = found[1] or path, found[2]
        if not (found[1] or name):
            continue
        assert (TESTS / path).is_file(), path
        assert name is None or f"def {name}(" in (TESTS / path).read_text("utf-8"), name


@pytest.mark.parametrize("page", [*DOCS, TESTS.parent / "README.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of this project leads to one."""
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
