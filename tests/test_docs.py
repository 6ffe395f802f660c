from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_s3inc.core.report import describe_cost
from tests.servers import S3Server, fill

TESTS = Path(__file__).parent
DOCS = sorted((TESTS.parent / "docs").rglob("*.md"))
BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
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


@pytest.fixture
def lake(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The bucket that the documentation speaks of, found through the environment."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    client = moto.client()
    client.create_bucket(Bucket="lake")
    fill("lake", [f"landing/{number}.csv" for number in range(3)])
    yield
    # All moto servers of a process share their buckets.
    for each in client.list_objects_v2(Bucket="lake")["Contents"]:
        client.delete_object(Bucket="lake", Key=each["Key"])
    client.delete_bucket(Bucket="lake")


def code_of(page: Path) -> str:
    """All the Python code of a page, in order."""
    found = BLOCK.findall(page.read_text("utf-8"))
    return "\n".join(textwrap.dedent(code) for _, code in found)


@pytest.mark.parametrize(
    "page", [page for page in DOCS if code_of(page)], ids=lambda page: page.stem
)
@pytest.mark.usefixtures("lake")
def test_code_of_the_docs_runs(page: Path) -> None:
    """The code of a page runs from top to bottom, and its definitions can be loaded."""
    space: dict[str, Any] = {"__name__": page.stem}
    # Without this module's __future__ imports, as in a module of its own.
    exec(compile(code_of(page), page.name, "exec", dont_inherit=True), space)  # noqa: S102
    if "defs" in space:
        dg.Definitions.validate_loadable(space["defs"])
    if "run_once" in space:
        space["run_once"]()


def test_table_of_costs_is_right() -> None:
    """The costs in the documentation are those that a tick would tell."""
    page = (TESTS.parent / "docs/performance.md").read_text("utf-8")
    found = re.search(r"<!-- table: cost -->\n.*?\n.*?\n(.*?)<!-- end -->", page, re.DOTALL)
    assert found is not None
    for row in found[1].splitlines():
        objects, requests, *prices = [
            cell.strip().replace(",", "") for cell in row.split("|")[1:-1]
        ]
        assert int(requests) == int(objects) // 1000
        for price, seconds in zip(prices, (30, 300, 3600), strict=True):
            told = describe_cost(int(requests), seconds).replace(",", "")
            assert f"{price} a month" in told
