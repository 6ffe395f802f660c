from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.report import documented, report, targets, write_report
from benchmarks.rows import ONE_REQUEST, PAGINATOR, ROWS, WIRE, Row
from benchmarks.run import Results
from tests.benchmarks.making import measurement

ROOT = Path(__file__).parents[2]
STEADY = next(row for row in ROWS if row.ratio == 38)
FAR = next(row for row in ROWS if row.speed == 20)


def results(row: Row, **figures: Any) -> Results:
    """Results with one row, the wire, and a paginator that takes 55 s for a million objects."""
    return Results(
        of={
            WIRE: [measurement(cpu=0.4)],
            PAGINATOR: [measurement(cpu=55 / 16)],
            row: [measurement(**figures)],
        }
    )


def verdicts(made: Results, row: Row) -> list[bool]:
    return [each.is_met for each in targets(made, row)]


def test_reached_targets_are_reached() -> None:
    """A figure at its bound is reached, one beyond it is missed, and no other with it."""
    assert verdicts(results(STEADY, cpu=1.4, base=10.0, peak=90.0), STEADY) == [True, True]
    assert verdicts(results(STEADY, cpu=1.5, base=10.0, peak=90.0), STEADY) == [False, True]
    assert verdicts(results(STEADY, cpu=1.4, base=10.0, peak=91.0), STEADY) == [True, False]


def test_far_rows_are_compared_with_one_request_at_a_time() -> None:
    """Without that row there is no verdict on their speed."""
    made = results(FAR, wall=4.0)
    assert verdicts(made, FAR) == [True]
    made.of[ONE_REQUEST] = [measurement(wall=79.0 / 16)]
    assert verdicts(made, FAR) == [True, False]


def test_the_least_of_the_rounds_counts() -> None:
    """Whatever else the machine does only adds to the CPU; of memory, the most counts."""
    made = results(STEADY)
    made.of[STEADY] = [measurement(cpu=cpu, peak=40 + cpu) for cpu in (5.0, 1.0, 2.0)]
    assert (made.cpu(STEADY), made.above(STEADY)) == (1.0, 5.0)


def test_report_says_all_of_it(tmp_path: Path) -> None:
    """The report has a row for each way, and what it missed; a page gets its table."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- table: figures -->\nold\n<!-- end -->\nafter\n")
    made = results(STEADY, cpu=2.0)
    table = documented(made)
    path = tmp_path / "REPORT.md"
    write_report(report(made, {"s3fs": "1"}), table, path, page)
    text = path.read_text()
    assert f"| {STEADY.title} | 27.5 | 5.0 | 2.00 |" in text
    assert "**≥ 38 times less: missed, 27.5**, ≤ 80 MB above |" in text
    assert "of the peers: s3fs 1." in text
    assert page.read_text() == f"before\n<!-- table: figures -->\n{table}<!-- end -->\nafter\n"


def test_the_documentation_has_the_figures_of_the_report() -> None:
    """The table of the documentation and the last report are of one run."""
    written = (ROOT / "benchmarks/results/REPORT.md").read_text("utf-8")
    page = (ROOT / "docs/performance.md").read_text("utf-8")
    found = re.search(r"<!-- table: figures -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert found is not None
    ratios = dict(re.findall(r"^\| ([^|]+) \| ([\d.]+) \|", written, re.MULTILINE))
    assert set(ratios) == {row.title for row in ROWS}
    assert dict(re.findall(r"^\| ([^|]+) \| ([\d.]+) \|", found[1], re.MULTILINE)) == ratios
