from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.page import ObjectsPage
from dagster_s3inc.core.scan import scan
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.errors import ConfigurationError, EndpointError
from tests.core.making import (
    DAY,
    FIRST,
    HOUR,
    RANDOMS,
    Random,
    at,
    in_pages,
    keys_of,
    listings,
    look,
    make_object,
)


@given(listings(), st.integers(1, 10), st.integers(0, DAY))
def test_objects_come_in_position_order(objects: list[S3Object], files: int, now: int) -> None:
    """Scan after scan, a listing that stays is handed over once, in position order."""
    checkpoint, handed = FIRST, []
    for _ in range(len(objects) + 1):
        result = look(checkpoint, objects, now, files=files)
        assert len(result.batches) <= files
        handed += result.objects
        checkpoint = result.checkpoint
    assert result.batches == ()
    assert handed == sorted(objects)


@given(listings(), listings(), st.integers(1, 30), RANDOMS)
def test_pages_and_their_order_do_not_matter(
    before: list[S3Object], later: list[S3Object], files: int, random: Random
) -> None:
    """The same listing in other pages, in another order, gives the same result to the last bit."""
    checkpoint = look(FIRST, before, 9).checkpoint
    limits = ScanLimits(policy=BatchPolicy(max_files=3), max_batches=files)
    whole = scan(checkpoint, [ObjectsPage(later)], now=at(DAY), limits=limits)
    pages = in_pages(later, random)
    assert scan(checkpoint, pages, now=at(DAY), limits=limits) == whole
    assert scan(checkpoint, iter(pages), now=at(DAY), limits=limits) == whole


@given(listings(max_size=12), listings(max_size=6), st.integers(1, 5))
def test_scan_that_is_not_committed_changes_nothing(
    before: list[S3Object], added: list[S3Object], files: int
) -> None:
    """Without the new checkpoint, the next scan returns the same objects and more."""
    checkpoint = look(FIRST, before, files=files).checkpoint
    lost = look(checkpoint, before)
    assert look(checkpoint, before) == lost
    present = {each.key: each for each in [*added, *before]}
    more = look(checkpoint, present.values()).objects
    assert set(lost.objects) <= set(more)


def test_object_that_appears_late_is_found() -> None:
    """An object with a LastModified half an hour in the past, below all others, is found."""
    objects = [make_object(f"k{index}", 1800 + index) for index in range(60)]
    checkpoint = look(FIRST, objects, 3600).checkpoint
    assert keys_of(look(checkpoint, [make_object("late", 1799), *objects], 3601).objects) == [
        "late"
    ]


def test_smaller_key_of_the_same_second_is_found() -> None:
    """Objects that share a second are found whatever the order in which they appear."""
    middle, smaller, greater = (make_object(key, 7) for key in "mag")
    checkpoint = look(FIRST, [middle], 7).checkpoint
    result = look(checkpoint, [smaller, middle, greater], 7)
    assert keys_of(result.objects) == ["a", "g"]
    assert look(result.checkpoint, [smaller, middle, greater]).objects == ()


@pytest.mark.parametrize("now", [20, DAY])
def test_overwritten_object_is_new(now: int) -> None:
    """A key written again is handed over again, even in the same second if its ETag changed."""
    checkpoint = look(FIRST, [make_object("a", 10, etag="e1")], 10).checkpoint
    again = make_object("a", 10, etag="e2"), make_object("a", now - 1, etag="e1")
    for version in again:
        assert look(checkpoint, [version], now).objects == (version,)


def test_deleted_objects_do_not_matter() -> None:
    """The scan goes on though the newest object, or every one that it knew, was deleted."""
    objects = [make_object("a", 10), make_object("b", 20), make_object("c", 5000)]
    checkpoint = look(FIRST, objects, 5001).checkpoint
    assert checkpoint.floor == objects[1].position
    for left in (objects[:1], objects[1:], []):
        result = look(checkpoint, [*left, make_object("d", 5002)], 5003)
        assert keys_of(result.objects) == ["d"]
    assert look(checkpoint, []).checkpoint.recent == frozenset()


def test_transition_makes_no_new_object() -> None:
    """An object that changes its storage class after it was handed over is not new."""
    checkpoint = look(FIRST, [make_object("a", 10)], 10).checkpoint
    assert look(checkpoint, [make_object("a", 10, storage_class="GLACIER")], 11).objects == ()


def test_changed_filter_does_not_repeat_what_was_handed_over() -> None:
    """An object that no longer matches stays known as long as it is above the floor."""
    objects = [make_object("a", 10), make_object("b", 10)]
    checkpoint = look(FIRST, objects, 10).checkpoint
    only_a = ObjectFilter(include="a").selection("")
    kept = scan(checkpoint, [ObjectsPage(objects)], now=at(11), selection=only_a).checkpoint
    assert look(kept, objects, 12).objects == ()


def test_adopting_hands_nothing_over() -> None:
    """Adopting takes all that is listed as done; what appears afterwards is new, late or not."""
    objects = [make_object("old", -DAY), make_object("edge", -3600), make_object("fresh", 0)]
    result = scan(FIRST, [ObjectsPage(objects)], now=at(0), adopt=True)
    assert result.batches == ()
    assert result.checkpoint.floor == Position(at(-3600), "")
    assert result.checkpoint.recent == {each.identity for each in objects[1:]}
    assert (result.statistics.files, result.statistics.files_waiting) == (0, 0)
    late = [make_object("late", -3599), make_object("aged", -3601), make_object("next", 1)]
    assert keys_of(look(result.checkpoint, objects + late, 1).objects) == ["late", "next"]


@given(listings(), st.integers(1, 8))
def test_adopting_keeps_the_limit(objects: list[S3Object], recent_limit: int) -> None:
    """However much is adopted, at most recent_limit identities are kept, and nothing is new."""
    limits = ScanLimits(recent_limit=recent_limit)
    checkpoint = scan(
        FIRST, [ObjectsPage(objects)], now=at(9), limits=limits, adopt=True
    ).checkpoint
    assert len(checkpoint.recent) <= recent_limit
    assert look(checkpoint, objects, 10).objects == ()


def test_statistics_count_what_was_seen() -> None:
    """Statistics count the whole listing, what was handed over, what waits and what is left out."""
    objects = [make_object(f"k{index}", index, size=10**index) for index in range(5)]
    checkpoint = look(FIRST, objects[:1], 0).checkpoint
    limits = ScanLimits(policy=BatchPolicy(max_files=1), max_batches=2)
    selection = ObjectFilter(exclude="k4").selection("")
    seen = scan(
        checkpoint, [ObjectsPage(objects)], now=at(5), selection=selection, limits=limits
    ).statistics
    assert (seen.objects_listed, seen.bytes_listed) == (5, 11_111)
    assert (seen.files, seen.bytes) == (2, 110)
    assert (seen.files_waiting, seen.bytes_waiting, seen.oldest_waiting) == (1, 1000, at(3))
    assert (seen.left_out, seen.newest, seen.lookback) == (1, objects[4].position, HOUR)


def test_empty_listing_changes_nothing() -> None:
    """Where nothing is listed, nothing is handed over and the checkpoint stays."""
    result = scan(FIRST, [], now=at(0))
    assert (result.batches, result.checkpoint) == ((), replace(FIRST, selection=""))
    assert (result.statistics.newest, result.statistics.oldest_waiting) == (None, None)


def test_failing_pages_give_no_result() -> None:
    """An error on the way through the listing is passed on: not to have seen is not "nothing"."""

    def pages() -> Iterator[ObjectsPage]:
        yield ObjectsPage([make_object()])
        raise EndpointError("broke off")

    with pytest.raises(EndpointError, match="broke off"):
        scan(FIRST, pages(), now=at(0))


def test_batches_are_cut_by_the_policy() -> None:
    """A scan hands over whole batches of its policy, the first max_batches of them."""
    objects = [make_object(f"k{index}", index, size=4) for index in range(9)]
    limits = ScanLimits(policy=BatchPolicy(max_files=3, max_bytes=10), max_batches=3)
    result = scan(FIRST, [ObjectsPage(objects)], now=at(DAY), limits=limits)
    assert [len(batch) for batch in result.batches] == [2, 2, 2]
    assert all(one.objects[-1] < two.objects[0] for one, two in pairwise(result.batches))
    assert result.checkpoint.floor == objects[5].position


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batches": -1}, "max_batches must be at least 0 (batches), not -1"),
        ({"max_request_bytes": 0}, "max_request_bytes must be at least 1 (bytes), not 0"),
        ({"max_batches": 1.5}, "max_batches must be a whole number of batches, not 1.5"),
        ({"sketch_cells": 4}, "sketch_cells must be at least 8 (cells of the sketch), not 4"),
        ({"sketch_cells": 30}, "sketch_cells must be a multiple of 4 and at most 65536, not 30"),
        ({"recent_limit": 0}, "recent_limit must be at least 1 (identities), not 0"),
        ({"lookback": timedelta(-1)}, "lookback must be a timedelta of zero or more"),
        ({"lookback": 3600}, "lookback must be a timedelta of zero or more"),
    ],
)
def test_wrong_limits_are_refused(options: dict[str, Any], message: str) -> None:
    """A limit that is wrong is refused, and the message names it."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        ScanLimits(**options)


def test_narrower_listing_is_no_deletion() -> None:
    """What another prefix does not list is not reported as gone."""
    wide, narrow = Selection(digest="wide"), Selection(digest="narrow")
    a, b = make_object("a/1"), make_object("b/1")
    first = scan(FIRST, [ObjectsPage([a, b])], now=at(0), selection=wide)
    second = scan(first.checkpoint, [ObjectsPage([a])], now=at(0), selection=narrow)
    assert (second.statistics.gone, second.statistics.selection_changed) == (0, True)
    third = scan(second.checkpoint, [ObjectsPage([])], now=at(0), selection=narrow)
    assert (third.statistics.gone, third.statistics.selection_changed) == (1, False)
