from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import ObjectsPage
from dagster_s3inc.core.scan import scan
from tests.core.making import (
    DAY,
    FIRST,
    HOUR,
    at,
    keys_of,
    listings,
    look,
    make_object,
)


def test_floor_stays_below_what_waits() -> None:
    """Rule 1: the floor never passes a new object that was not handed over."""
    known = [make_object("b", 20), make_object("c", 30)]
    checkpoint = look(FIRST, known, 60).checkpoint
    late = [make_object("a1", 5), make_object("a2", 10), make_object("a3", 25)]
    result = look(checkpoint, known + late, files=1)
    assert keys_of(result.objects) == ["a1"]
    assert result.checkpoint.floor == late[0].position
    result = look(result.checkpoint, known + late, files=1)
    assert keys_of(result.objects) == ["a2"]
    assert result.checkpoint.floor == known[0].position
    assert result.checkpoint.recent == {known[1].identity}
    assert keys_of(look(result.checkpoint, known + late).objects) == ["a3"]


@given(listings(), st.integers(1, 30), st.integers(0, DAY))
def test_floor_is_the_place_of_an_object_handed_over(
    objects: list[S3Object], files: int, now: int
) -> None:
    """Rule 2: the floor rises to the position of an object handed over and to no other."""
    result = look(FIRST, objects, now, files=files)
    floor = result.checkpoint.floor
    assert floor is None or floor in [each.position for each in result.objects]


def test_floor_does_not_rise_over_what_the_filter_leaves_out() -> None:
    """Rule 2: an object that does not match is no evidence that all below it is done."""
    objects = [make_object("a.csv", 1), make_object("b.tmp", 2)]
    selection = ObjectFilter(include="*.csv").selection("")
    result = scan(FIRST, [ObjectsPage(objects)], now=at(DAY), selection=selection)
    assert result.checkpoint.floor == objects[0].position
    assert result.statistics.left_out == 1


def test_floor_rises_only_to_what_is_older_than_the_lookback() -> None:
    """Rule 3: an object exactly as old as the lookback is still remembered one by one."""
    objects = [make_object("a", 0), make_object("b", 1e-6), make_object("c", 1)]
    assert look(FIRST, objects, 3600).checkpoint.floor is None
    assert look(FIRST, objects, 3600 + 1e-6).checkpoint.floor == objects[0].position
    assert look(FIRST, objects, 3600 + 2e-6).checkpoint.floor == objects[1].position
    assert look(FIRST, objects, 3602).checkpoint.floor == objects[2].position
    assert look(FIRST, objects, 1.5, lookback=timedelta(0)).checkpoint.recent == frozenset()


def test_floor_never_sinks() -> None:
    """A server's clock that goes back, or objects that are gone, do not lower the floor."""
    objects = [make_object("a", 0), make_object("b", 9)]
    checkpoint = look(FIRST, objects).checkpoint
    assert look(checkpoint, objects, 10).checkpoint == checkpoint
    assert look(checkpoint, [], 10).checkpoint.floor == checkpoint.floor


@given(st.lists(listings(max_seconds=5000), max_size=4), st.integers(1, 8), st.integers(1, 30))
def test_no_more_is_remembered_than_the_limit(
    history: list[list[S3Object]], recent_limit: int, files: int
) -> None:
    """Rule 4: whatever comes and goes, at most recent_limit identities are kept."""
    checkpoint = FIRST
    for now, objects in enumerate(history):
        result = look(checkpoint, objects, 5000 + now, files=files, recent_limit=recent_limit)
        checkpoint = result.checkpoint
        assert len(checkpoint.recent) <= recent_limit


def test_lookback_shrinks_when_more_comes_than_can_be_remembered() -> None:
    """Rule 4: the statistics tell exactly how late an object may now appear and be found."""
    objects = [make_object(f"k{index}", index * 60) for index in range(10)]
    within = look(FIRST, objects, 600, recent_limit=10)
    assert within.statistics.lookback == HOUR
    result = look(FIRST, objects, 600, recent_limit=3)
    assert result.checkpoint.recent == {each.identity for each in objects[7:]}
    assert result.statistics.lookback == timedelta(minutes=4)
    late = [make_object("lost", 359), make_object("found", 361)]
    assert keys_of(look(result.checkpoint, objects + late, 601).objects) == ["found"]
    assert look(result.checkpoint, objects, 600 + 3600).statistics.lookback == HOUR


def test_object_that_appears_too_late_is_not_found() -> None:
    """An object that appears below the floor counts as done: no lookback reaches everything."""
    objects = [make_object("a", 100)]
    checkpoint = look(FIRST, objects).checkpoint
    assert look(checkpoint, [*objects, make_object("b", 99)]).objects == ()
