from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from dagster_s3inc import errors
from dagster_s3inc.core.late_files import Undecided, Why
from dagster_s3inc.core.report import describe_undecided

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/reference/messages.md").read_text("utf-8")
ROW = re.compile(r"^\| `([^`]+)` \|.*\|.*\|$", re.MULTILINE)

ERRORS = {*errors.__all__, "Failure", "UsageError", "ClickException", "BadParameter"}

# What is logged as a warning without being text there, and the functions and constants that it is
# made by.
OF_A_SCAN = ("_warnings", "describe_undecided")
WARNED = {
    "sensor/evaluation.py: warning": (
        *OF_A_SCAN,
        "describe_halt",
        "gate",
        "_describe_failed",
        "describe_unpartitioned",
        "pool_warning",
    ),
    "sensor/evaluation.py: words": ("_carry_out",),
    "sensor/evaluation.py: _SET_BACK": ("_SET_BACK",),
    "sensor/evaluation.py: retries.warning": ("warning",),
    "processor/processor.py: warning": (*OF_A_SCAN, "_FILTER_CHANGED"),
    "processor/processor.py: _WITHOUT_RESET_JOB": ("_WITHOUT_RESET_JOB",),
}


def test_every_warning_and_error_is_in_the_reference() -> None:
    """The page of messages has each warning and each error, and none that there is not."""
    said = set(messages())
    sections = (
        PAGE[PAGE.index("## Warnings") : PAGE.index("## Checks")],
        PAGE[PAGE.index("## Err") :],
    )
    entries = [each for part in sections for each in ROW.findall(part)]
    entries = [each for each in entries if each not in errors.__all__]
    assert len(said) > 100
    assert [each for each in said if not any(quotes(entry, each) for entry in entries)] == []
    assert [entry for entry in entries if not any(quotes(entry, each) for each in said)] == []


def test_what_ticks_say_is_in_the_code() -> None:
    """What the page quotes of ticks is in the code, to the letter."""
    said = "\n".join(text for _, tree in modules() for text in texts_in(tree))
    rows = ROW.findall(PAGE[: PAGE.index("## Warnings")])
    assert len(rows) > 10
    for row in rows:
        for part in row.split("…"):
            assert part.strip() in said, row


def test_every_error_is_in_the_reference() -> None:
    """The page of messages has each error, and no other."""
    assert set(re.findall(r"^\| `(\w+Error)`", PAGE, re.MULTILINE)) == set(errors.__all__)


def test_every_reason_why_files_are_undecided_is_in_the_reference() -> None:
    """The page of messages has each reason that a warning of undecided files may give."""
    reasons = re.findall(r"^\| `([^`]+)`", PAGE, re.MULTILINE)
    for why in get_args(Why):
        said = describe_undecided(Undecided(9, 9, 0, 0, why))
        [clause] = re.findall(r"tells apart(?:, and|\.) ([^.:(]*)", said)
        assert any(each in clause for each in reasons), clause


def quotes(entry: str, message: str) -> bool:
    """Whether an entry of the page has the fixed words of a message."""
    return bool(re.search(".*".join(re.escape(each.strip()) for each in entry.split("…")), message))


def modules() -> Iterator[tuple[str, ast.Module]]:
    package = ROOT / "dagster_s3inc"
    for path in sorted(package.rglob("*.py")):
        yield path.relative_to(package).as_posix(), ast.parse(path.read_text("utf-8"))


def messages() -> Iterator[str]:
    """All warnings and errors of the package; `…` stands for what is put into them."""
    made_by = {name for names in WARNED.values() for name in names}
    found: set[str] = set()
    for module, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args and name_of(node.func) == "warning":
                told = text_of(node.args[0])
                if told is None:
                    found.add(f"{module}: {ast.unparse(node.args[0])}")
                else:
                    yield told.replace("%s", "…")
            for kind, first in errors_in(node):
                is_of_a_person = module.startswith("component/") and kind == "ValueError"
                if kind in ERRORS or is_of_a_person:
                    told = text_of(first)
                    # Another error, which is in the reference itself.
                    assert told is not None or ast.unparse(first) == "str(error)", module
                    if told is not None and re.search(r"\w{2}", told):
                        yield told
            if {getattr(node, "name", None), *targets_of(node)} & made_by:
                for told in texts_in(node):
                    # Fewer words are put into a text that is another of these.
                    if len(re.findall(r"\w+", told)) > 4:
                        yield told
    # Whoever logs a warning of another origin adds it there.
    assert found == WARNED.keys()


def errors_in(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """A class and the text that is given to it; or, in a table, that stands beside it."""
    if isinstance(node, ast.Call) and node.args:
        yield name_of(node.func), node.args[0]
        if len(node.args) > 1:
            yield name_of(node.args[0]), node.args[1]
    elif isinstance(node, ast.Tuple) and len(node.elts) == 2:
        yield name_of(node.elts[0]), node.elts[1]


def name_of(node: ast.AST) -> str:
    return str(getattr(node, "attr", getattr(node, "id", "")))


def targets_of(node: ast.AST) -> list[str]:
    return [name_of(each) for each in node.targets] if isinstance(node, ast.Assign) else []


def texts_in(node: ast.AST) -> Iterator[str]:
    """The texts below a node, each whole; not the docstrings."""
    told = text_of(node)
    if told is not None:
        yield told
    elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        for child in ast.iter_child_nodes(node):
            yield from texts_in(child)


def text_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(each) or "…" for each in node.values)
    return None
