from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cases import Case, Options, Results
from benchmarks.report import write_report
from benchmarks.targets import figure_of, targets
from benchmarks.ways import WAYS
from tests.benchmarks.making import measurement

SIZE = 1_000_000
CPU = {"floor": 0.5, "steady": 1.5, "first": 4.0, "obstore_list": 1.6, "paginator": 60.0}


def results(*, far: tuple[float, float] | None = (80.0, 4.0), peak: float = 100.0) -> Results:
    """Results that just reach every target."""
    made = Results()
    for way, cpu in CPU.items():
        made.of[Case(way=way, size=SIZE)] = [measurement(way, cpu=cpu, peak=peak)]
    if far is not None:
        for way, wall in zip(("steady", "lanes"), far, strict=True):
            made.of[Case(way=way, size=SIZE, is_far=True)] = [measurement(way, wall=wall)]
    return made


def verdicts(made: Results) -> list[bool | None]:
    return [each.is_met for each in targets(made, SIZE)]


def test_reached_targets_are_reached() -> None:
    """A figure at its bound is reached."""
    assert verdicts(results()) == [True] * 6


@pytest.mark.parametrize(
    ("way", "cpu", "missed"),
    [("paginator", 59.9, {0, 3}), ("floor", 0.37, {1}), ("obstore_list", 1.49, {2})],
)
def test_missed_targets_are_missed(way: str, cpu: float, missed: set[int]) -> None:
    """A figure beyond its bound is missed, and no other with it."""
    made = results()
    made.of[Case(way=way, size=SIZE)] = [measurement(way, cpu=cpu)]
    assert {number for number, is_met in enumerate(verdicts(made)) if not is_met} == missed


def test_memory_and_lanes_can_be_missed() -> None:
    """So can the targets that are not about CPU."""
    assert verdicts(results(peak=120.0))[4] is False
    assert verdicts(results(far=(80.0, 4.1)))[5] is False


def test_what_was_not_measured_is_neither() -> None:
    """Without a figure there is no verdict."""
    assert verdicts(results(far=None))[5] is None


def test_a_share_is_reckoned_up() -> None:
    """What a sixteenth of the objects took counts sixteen times; what was there before, once."""
    made, case = Results(), Case(way="s3fs_find", size=SIZE, is_share=True)
    made.of[case] = [measurement("s3fs_find", cpu=2.0, peak=50.0, base=40.0)]
    figure = figure_of(made, case)
    assert figure is not None
    assert (figure.cpu, figure.peak, figure.is_reckoned) == (32.0, 200.0, True)


def test_rounds_are_summed_up_by_their_median() -> None:
    """The figure of several rounds is the median, with the least and the most beside it."""
    made, case = Results(), Case(way="steady", size=SIZE)
    made.of[case] = [measurement("steady", cpu=cpu) for cpu in (5.0, 1.0, 2.0)]
    figure = figure_of(made, case)
    assert figure is not None
    assert (figure.cpu, figure.least, figure.most, figure.rounds) == (2.0, 1.0, 5.0, 3)


def test_report_tells_all_of_it(tmp_path: Path) -> None:
    """The report has the targets, a row for each way, the plot, and what was not measured."""
    made = results(far=None)
    made.of[Case(way="s3fs_find", size=SIZE, is_share=True)] = [measurement("s3fs_find", cpu=2.0)]
    made.missing = {"lanes": "one lane only"}
    path = write_report(made, Options(sizes=(SIZE,)), tmp_path)
    text = path.read_text()
    assert "| ≥ 40 | 40.0 | reached |" in text
    assert "not measured" in text
    assert f"| {WAYS['paginator'].title} | 60.0 | once | 120.0 |" in text
    assert f"| {WAYS['s3fs_find'].title} | ≈ 32.0 |" in text
    assert "(one lane only)" in text
    assert "](cost.png)" in text
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
