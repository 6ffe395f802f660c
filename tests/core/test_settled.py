from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import ObjectsPage
from dagster_s3inc.core.report import describe_scan
from dagster_s3inc.core.scan import scan
from dagster_s3inc.core.settled import Listed, settle
from dagster_s3inc.core.sketch import Sketch
from tests.core.making import DAY, FIRST, at, keys_of, look, make_object

OLD = [make_object(f"old/{number:04}", number) for number in range(1000)]


def settled_on(objects: list[S3Object], now: float = DAY) -> Checkpoint:
    """A checkpoint that has handed over all of these, most of them at or below its floor."""
    checkpoint = look(FIRST, objects, now).checkpoint
    assert checkpoint.floor is not None
    return checkpoint


def scan_all(
    checkpoint: Checkpoint, objects: list[S3Object], filter_: ObjectFilter, now: float = DAY
) -> ScanResult:
    """A scan with a filter."""
    return scan(checkpoint, [ObjectsPage(objects)], now=at(now), selection=filter_.selection(""))


@pytest.mark.parametrize("age", [1, 3600, 30 * DAY])
def test_file_below_the_floor_comes_one_scan_later(age: float) -> None:
    """An object that appears below the floor is revealed in one scan, handed over in the next."""
    checkpoint = settled_on(OLD)
    objects = [*OLD, make_object("late", 998 - age)]
    first = look(checkpoint, objects)
    assert (keys_of(first.objects), first.statistics.revealed) == ([], 1)
    second = look(first.checkpoint, objects)
    assert (keys_of(second.objects), second.statistics.files_late) == (["late"], 1)
    assert look(second.checkpoint, objects).objects == ()


def test_late_files_come_before_new_ones() -> None:
    """Late objects are the oldest, so they are handed over first; limits hold for them too."""
    late = [make_object(f"late{number}", -number) for number in range(3)]
    objects = [*OLD, *late, make_object("new", DAY)]
    checkpoint = look(settled_on(OLD), objects[:-1]).checkpoint
    found = []
    for _ in range(3):
        result = look(checkpoint, objects, files=2)
        found.append(keys_of(result.objects))
        checkpoint = result.checkpoint
    assert found == [["late2", "late1"], ["late0", "new"], []]


def test_late_file_that_goes_again_is_forgotten() -> None:
    """A late object that is deleted before it is handed over leaves nothing behind."""
    checkpoint = settled_on(OLD)
    revealed = look(checkpoint, [*OLD, make_object("late", 5)]).checkpoint
    assert len(revealed.wanted) == 1
    assert look(revealed, OLD).checkpoint == checkpoint


def test_deletions_and_overwrites_are_counted() -> None:
    """What was handed over and is gone is counted once, above and below the floor."""
    objects = [*OLD, make_object("a", DAY - 1), make_object("b", DAY - 1)]
    checkpoint = settled_on(objects)
    left = [*OLD[3:], make_object("b", DAY - 1)]
    result = look(checkpoint, left)
    assert result.statistics.gone == 4
    assert look(result.checkpoint, left).statistics.gone == 0


@given(st.integers(0, 250), st.integers(0, 150))
def test_four_hundred_changes_are_told_apart(gone: int, late: int) -> None:
    """Up to 400 objects that appear or go below the floor between two scans are all found."""
    arrivals = [make_object(f"late/{number}", 500) for number in range(late)]
    objects = OLD[gone:] + arrivals
    first = look(settled_on(OLD), objects)
    assert (first.statistics.gone, first.statistics.revealed) == (gone, late)
    assert set(look(first.checkpoint, objects).objects) == set(arrivals)


def test_file_that_a_storage_class_kept_out_comes_when_it_matches() -> None:
    """An object that was passed by for its class is handed over one scan after it matches."""
    only = ObjectFilter(storage_classes="STANDARD_IA")
    infrequent = [make_object("ia", 1, storage_class="STANDARD_IA")]
    objects = [*infrequent, make_object("x", 0)]
    checkpoint = scan_all(FIRST, objects, only).checkpoint
    checkpoint = scan_all(checkpoint, objects, only).checkpoint
    moved = [*infrequent, make_object("x", 0, storage_class="STANDARD_IA")]
    first = scan_all(checkpoint, moved, only)
    assert keys_of([*first.objects, *scan_all(first.checkpoint, moved, only).objects]) == ["x"]


def test_lifecycle_of_all_files_is_no_news() -> None:
    """However many objects a lifecycle rule moves to an archive class, nothing seems to change."""
    objects = [make_object(f"{number}", number % 1000) for number in range(5000)]
    checkpoint = scan_all(FIRST, objects, ObjectFilter()).checkpoint
    while (result := scan_all(checkpoint, objects, ObjectFilter())).objects:
        checkpoint = result.checkpoint
    archived = [each._replace(storage_class="GLACIER") for each in objects]
    seen = scan_all(checkpoint, archived, ObjectFilter()).statistics
    assert (seen.gone, seen.revealed, seen.overflow, seen.files) == (0, 0, None, 0)


def test_many_files_written_into_an_archive_class_hide_nothing() -> None:
    """Thousands of archived objects that were never handed over do not hide a late one."""
    archived = [make_object(f"cold/{n}", n % 900, storage_class="GLACIER") for n in range(3000)]
    checkpoint = scan_all(FIRST, OLD[:100], ObjectFilter()).checkpoint
    objects = [*OLD[:100], *archived, make_object("late", 3)]
    first = scan_all(checkpoint, objects, ObjectFilter())
    assert first.statistics.overflow is None
    assert keys_of(scan_all(first.checkpoint, objects, ObjectFilter()).objects) == ["late"]


def test_changed_filter_is_noticed() -> None:
    """Below the floor, what only a new filter matches counts as handed over, and that is said."""
    objects = [*OLD[:9], *(make_object(f"tmp/{number}", number % 8) for number in range(2000))]
    checkpoint = scan_all(FIRST, objects, ObjectFilter(exclude="tmp/**")).checkpoint
    objects.append(make_object("tmp/new", DAY))
    result = scan_all(checkpoint, objects, ObjectFilter())
    seen = result.statistics
    assert (seen.selection_changed, seen.overflow, seen.revealed) == (True, None, 0)
    assert keys_of(result.objects) == ["tmp/new"]
    [warning] = describe_scan(result, source="s3://b/", seconds=1).warnings
    assert "launch the reset job" in warning
    again = scan_all(result.checkpoint, objects, ObjectFilter())
    assert (again.statistics.selection_changed, again.objects) == (False, ())


def test_changed_filter_keeps_what_was_revealed() -> None:
    """A late object that is already known is handed over under the new filter too."""
    objects = [*OLD, make_object("late", 5)]
    known = look(settled_on(OLD), objects).checkpoint
    found = scan_all(known, objects, ObjectFilter(exclude="x")).objects
    assert keys_of(found) == ["late"]


def test_changed_number_of_cells_loses_nothing() -> None:
    """Another sketch_cells takes effect with the next scan, which takes the sketch afresh."""
    checkpoint = settled_on(OLD)
    limits = ScanLimits(sketch_cells=120)
    result = scan(checkpoint, [ObjectsPage(OLD)], now=at(DAY), limits=limits)
    assert result.checkpoint.settled == Sketch.of([each.identity for each in OLD], 120).minus(
        result.checkpoint.recent
    )
    objects = [*OLD, make_object("late", 5)]
    for _ in range(2):
        result = scan(result.checkpoint, [ObjectsPage(objects)], now=at(DAY), limits=limits)
    assert keys_of(result.objects) == ["late"]


def test_overflow_of_arrivals_is_said() -> None:
    """More late objects than can be told apart are reported, counted about, and given up."""
    arrivals = [make_object(f"late/{number}", 500) for number in range(3000)]
    checkpoint = settled_on(OLD)
    result = look(checkpoint, OLD + arrivals)
    overflow = result.statistics.overflow
    assert overflow is not None
    assert overflow.added - overflow.removed == 3000
    assert abs(overflow.added - 3000) <= 2 * overflow.margin
    assert result.checkpoint.overflows == 1
    [warning] = describe_scan(result, source="s3://b/", seconds=1).warnings
    assert "+3,000 in all (exactly)" in warning
    assert "NOT handed over. Launch the reset job" in warning
    again = look(result.checkpoint, [*OLD, *arrivals, make_object("late", 3)])
    assert (again.statistics.overflow, again.statistics.revealed) == (None, 1)
    assert again.checkpoint.overflows == 1


def test_overflow_of_deletions_is_told_from_arrivals() -> None:
    """A mass deletion reads as one, with a bound for the arrivals that may hide in it."""
    objects = [make_object(f"{number}", number % 1000) for number in range(9000)]
    result = look(settled_on(objects), objects[8000:])
    assert result.statistics.overflow is not None
    assert result.statistics.overflow.removed >= 8000
    [warning] = describe_scan(result, source="s3://b/", seconds=1).warnings
    assert "-8,000 in all (exactly)" in warning
    assert "look like a lifecycle rule or a clean-up: nothing is lost" in warning


def test_overflow_keeps_what_was_revealed_before() -> None:
    """A late object that is already known survives an overflow."""
    objects = [*OLD, make_object("late", 5)]
    known = look(settled_on(OLD), objects, files=1).checkpoint
    arrivals = [make_object(f"late/{number}", 500) for number in range(3000)]
    result = look(known, objects + arrivals)
    assert result.statistics.overflow is not None
    assert keys_of(result.objects) == ["late"]


def test_unknown_past_is_taken_from_the_listing() -> None:
    """Without a sketch (an old checkpoint), what is listed counts as handed over."""
    old = settled_on(OLD)
    legacy = Checkpoint(floor=old.floor)
    first = look(legacy, OLD, now=DAY)
    assert (first.objects, first.statistics.overflow) == ((), None)
    objects = [*OLD, make_object("late", 5)]
    second = look(first.checkpoint, objects)
    assert keys_of(look(second.checkpoint, objects).objects) == ["late"]


def test_wrong_sketch_sizes_are_refused() -> None:
    """A number of cells that can be no sketch is refused when the limits are made."""
    for cells in (0, 6, 601, -4):
        with pytest.raises(ValueError, match="cells must be"):
            ScanLimits(sketch_cells=cells)


def test_settling_nothing_changes_nothing() -> None:
    """Where what is listed is what was handed over, the sketch stays as it is."""
    sketch = Sketch.of(range(50))
    settled = settle(sketch, Listed(sketch, Sketch.empty()), frozenset())
    assert (settled.sketch, settled.late, settled.gone) == (sketch, frozenset(), 0)


def test_lookback_is_only_how_long_each_file_is_remembered() -> None:
    """With a lookback of zero, what appears late is still found, one scan later."""
    checkpoint = look(FIRST, OLD, lookback=timedelta(0)).checkpoint
    assert checkpoint.recent == frozenset()
    objects = [*OLD, make_object("late", 998)]
    for expected in ([], ["late"], []):
        result = look(checkpoint, objects, lookback=timedelta(0))
        assert keys_of(result.objects) == expected
        checkpoint = result.checkpoint
