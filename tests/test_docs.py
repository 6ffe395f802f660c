from __future__ import annotations

import pkgutil
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.reconstruct import repository_def_from_target_def
from dagster._core.workspace.autodiscovery import loadable_targets_from_python_file

import dagster_s3inc
from dagster_s3inc import S3Batch, build_s3_incremental_definitions
from dagster_s3inc.core.report import describe_cost
from dagster_s3inc.runs import run_requests
from dagster_s3inc.source_asset import evaluations
from tests.component_docs import OPTIONS, options_with_tables
from tests.servers import S3Server, fill

TESTS = Path(__file__).parent
ROOT = TESTS.parent
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
NAMED = re.compile(r"`((?:\w+/)*test_\w+\.py)?(?:::(test_\w+))?`")
# What needs Spark is run by test_recipes.py, which has something in its place.
BLOCK = re.compile(
    r"^(?<!<!-- needs: pyspark -->\n)( *)```python\n(.*?)^ *```$", re.DOTALL | re.MULTILINE
)

# What the words of the glossary replaced. None of these means anything else in the docs.
REPLACED = re.compile(
    r"\b(floor|floors|sketch\w*|settled|wanted|handed over|hands over|hand over|stragglers?|"
    r"revealed|overflows?|redo|lanes?|unplaced|mend\w*|foresee\w*|carried out|carry out|"
    r"generation \d+ begins anew)\b",
    re.IGNORECASE,
)


def blocks() -> Iterator[Any]:
    """Each Python block of the docs, and the page that it is on."""
    for page in [*DOCS, ROOT / "README.md"]:
        for number, (_, code) in enumerate(BLOCK.findall(page.read_text("utf-8")), 1):
            yield pytest.param(textwrap.dedent(code), id=f"{page.relative_to(ROOT)}-{number}")


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of this project leads to one, and to a heading that it has."""
    for target, heading in re.findall(r"\]\(([^)#]*)(?:#([^)]+))?\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        place = (page.parent / target).resolve() if target else page
        assert place.exists(), target
        if heading:
            assert heading in headings(place), f"{target}#{heading}"


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    found = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_words_are_those_of_the_glossary(page: Path) -> None:
    """No page uses a word that another has replaced."""
    assert not REPLACED.findall(page.read_text("utf-8"))


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
    for each in client.list_objects_v2(Bucket="lake").get("Contents", []):
        client.delete_object(Bucket="lake", Key=each["Key"])
    client.delete_bucket(Bucket="lake")


@pytest.mark.parametrize("code", list(blocks()))
@pytest.mark.usefixtures("lake")
def test_each_block_works_alone(code: str, tmp_path: Path) -> None:
    """Each block is a module that Dagster loads; what it defines to be run, or as a test, runs."""
    module = tmp_path / "definitions.py"
    module.write_text(code, "utf-8")
    space: dict[str, Any] = {"__name__": "definitions"}
    # Without this module's __future__ imports, as in a module of its own.
    exec(compile(code, str(module), "exec", dont_inherit=True), space)  # noqa: S102
    if any(isinstance(each, dg.Definitions) for each in space.values()):
        # As `dagster definitions validate -f` loads it: a module has one Definitions.
        [target] = loadable_targets_from_python_file(str(module))
        repository = repository_def_from_target_def(target.target_definition)
        assert repository is not None
        repository.load_all_definitions()
    for name, each in list(space.items()):
        if name == "run_once" or name.startswith("test_"):
            each()


def test_run_config_by_hand_is_complete() -> None:
    """The run config that the tutorial shows launches the job that it names."""
    page = (ROOT / "docs/tutorial.md").read_text("utf-8")
    [name] = re.findall(r"`(__anonymous_asset_job_\w+)`", page)
    [shown] = re.findall(r"```yaml\n(resources:.*?)```", page, re.DOTALL)
    found: list[str] = []

    @dg.asset
    def orders(batch: S3Batch) -> None:
        found.extend(batch.uris())

    definitions = build_s3_incremental_definitions(
        name="landing", uri="s3://lake/landing/", target=orders, assets=[orders]
    )
    job = definitions.get_repository_def().get_job(name)
    assert job.execute_in_process(run_config=yaml.safe_load(shown)).success
    assert found == ["s3://lake/landing/000.csv"]


def test_options_are_those_of_the_docstrings() -> None:
    """The tables of options are made from the docstrings (`python -m tests.component_docs`)."""
    assert OPTIONS.read_text("utf-8") == options_with_tables()


def test_every_public_name_is_in_the_reference() -> None:
    """Each name that the package exports is on the page of the API, and each name there exists."""
    page = (ROOT / "docs/reference/python.md").read_text("utf-8")
    for name in set(dagster_s3inc.__all__) - {"__version__"}:
        assert re.search(rf"::: dagster_s3inc\.{name}\b|`{name}`", page), name
    for path in re.findall(r"^::: (\S+)$", page, re.MULTILINE):
        assert pkgutil.resolve_name(path), path


def test_every_run_tag_is_in_the_reference() -> None:
    """The page of tags has each tag of a run, and no other."""
    page = (ROOT / "docs/reference/tags-and-metadata.md").read_text("utf-8")
    tags = {value for name, value in vars(run_requests).items() if name.endswith("_TAG")}
    section = page[page.index("## Run tags") : page.index("## The run's config")]
    assert set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)) == tags


def test_every_check_is_on_the_page_of_monitoring() -> None:
    """The page has each check of a source asset, and no other."""
    page = (ROOT / "docs/how-to/monitoring.md").read_text("utf-8")
    section = page[page.index("## Checks") : page.index("## Freshness")]
    checks = {value for name, value in vars(evaluations).items() if name.endswith("_CHECK")}
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == checks


def test_table_of_costs_is_right() -> None:
    """The costs in the documentation are those that a tick says."""
    page = (ROOT / "docs/performance.md").read_text("utf-8")
    found = re.search(r"<!-- table: cost -->\n.*?\n.*?\n(.*?)<!-- end -->", page, re.DOTALL)
    assert found is not None
    for row in found[1].splitlines():
        objects, requests, *prices = [
            cell.strip().replace(",", "") for cell in row.split("|")[1:-1]
        ]
        assert int(requests) == int(objects) // 1000
        for price, seconds in zip(prices, (30, 300, 3600), strict=True):
            said = describe_cost(int(requests), seconds).replace(",", "")
            assert f"{price} a month" in said
