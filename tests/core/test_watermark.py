from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy, ScanLimits
from dagster_s3inc.core.filters import ObjectFilter, Selection
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.scan import scan
from tests.core.making import (
    DAY,
    FIRST,
    HOUR,
    RANDOMS,
    Sensor,
    at,
    in_pages,
    keys_of,
    limits_of,
    listings,
    make_object,
    make_objects,
    page,
    scan_all,
)

GROUPS = Selection(group_of=lambda key: str(len(key) % 3), hash="groups")

POLICIES = st.builds(
    BatchPolicy,
    max_files=st.integers(1, 5),
    max_bytes=st.none() | st.integers(1, 12),
    linger=st.none() | st.builds(timedelta, seconds=st.integers(1, 7200)),
)


def test_worked_example() -> None:
    """The example at the head of the module: two ticks, what is emitted and remembered."""
    minutes = {"a": 10, "b": 20, "c": 100, "d": 110, "e": 115}
    objects = [make_object(key, 60 * minute) for key, minute in minutes.items()]
    sensor = Sensor(limits_of(3, recent_limit=2))
    first = sensor.tick(objects, 2 * 3600)
    assert keys_of(first.objects) == ["a", "b", "c"]
    assert first.checkpoint.watermark == objects[1].position
    assert first.checkpoint.recent == {objects[2].fingerprint}
    second = sensor.tick(objects, 2 * 3600)
    assert keys_of(second.objects) == ["d", "e"]
    assert second.checkpoint.watermark == objects[2].position


@pytest.mark.parametrize("remembers", [True, False])
def test_watermark_stays_below_what_waits(remembers: bool) -> None:
    """Rule 1: the watermark never passes a new file that there was no room for."""
    known = [make_object("b", 20), make_object("c", 30)]
    sensor = Sensor(limits_of(1), remembers=remembers)
    sensor.limits = limits_of()
    sensor.tick(known, 60)
    sensor.limits = limits_of(1)
    late = [make_object("a1", 5), make_object("a2", 10), make_object("a3", 25)]
    for expected, watermark in (("a1", late[0]), ("a2", known[0]), ("a3", known[1])):
        result = sensor.tick(known + late)
        assert keys_of(result.objects) == [expected]
        assert result.checkpoint.watermark == watermark.position
    assert sensor.checkpoint.recent == frozenset()


@given(listings(), st.integers(1, 30), st.integers(0, DAY))
def test_watermark_is_the_position_of_an_emitted_file(
    objects: list[S3Object], files: int, now: int
) -> None:
    """Rule 2: the watermark rises to the position of a file that was emitted, and to no other."""
    result = scan_all(FIRST, objects, now, files=files)
    watermark = result.checkpoint.watermark
    assert watermark is None or watermark in [each.position for each in result.objects]


def test_watermark_does_not_rise_over_what_the_filter_leaves_out() -> None:
    """Rule 2: a file that does not match is no evidence that all below it has been emitted."""
    objects = [make_object("a.csv", 1), make_object("b.tmp", 2)]
    selection = ObjectFilter(include="*.csv").selection("")
    result = scan(FIRST, [page(objects)], now=at(DAY), selection=selection)
    assert result.checkpoint.watermark == objects[0].position
    assert result.statistics.left_out == 1


def test_watermark_rises_only_to_what_is_older_than_the_lookback() -> None:
    """Rule 3: a file exactly as old as the lookback is still remembered one by one."""
    objects = [make_object("a", 0), make_object("b", 1e-6), make_object("c", 1)]
    assert scan_all(FIRST, objects, 3600).checkpoint.watermark is None
    assert scan_all(FIRST, objects, 3600 + 1e-6).checkpoint.watermark == objects[0].position
    assert scan_all(FIRST, objects, 3600 + 2e-6).checkpoint.watermark == objects[1].position
    assert scan_all(FIRST, objects, 3602).checkpoint.watermark == objects[2].position
    none = scan_all(FIRST, objects, 1.5, lookback=timedelta(0)).checkpoint
    assert none.recent == frozenset()


def test_watermark_never_falls() -> None:
    """A server's clock that goes back, or files that are gone, do not lower the watermark."""
    objects = [make_object("a", 0), make_object("b", 9)]
    checkpoint = scan_all(FIRST, objects).checkpoint
    assert scan_all(checkpoint, objects, 10).checkpoint == checkpoint
    assert scan_all(checkpoint, [], 10).checkpoint.watermark == checkpoint.watermark


@settings(max_examples=40)
@given(
    st.lists(listings(max_size=15, max_seconds=5000), max_size=4),
    st.integers(2, 8),
    st.integers(1, 30),
    st.booleans(),
)
def test_no_more_is_remembered_than_the_limit(
    history: list[list[S3Object]], recent_limit: int, files: int, remembers: bool
) -> None:
    """Rule 4: whatever comes and goes, at most recent_limit fingerprints are kept."""
    sensor = Sensor(limits_of(files, recent_limit=recent_limit), remembers=remembers)
    for now, objects in enumerate(history):
        plain = [each._replace(key=each.key.encode().hex()) for each in objects]
        checkpoint = sensor.tick(plain, 5000 + now).checkpoint
        assert len(checkpoint.recent) + len(checkpoint.late) <= recent_limit


def test_lookback_shrinks_when_more_comes_than_can_be_remembered() -> None:
    """Rule 4: the statistics tell how far the watermark now is behind the clock."""
    objects = [make_object(f"k{index}", index * 60) for index in range(10)]
    within = scan_all(FIRST, objects, 600, recent_limit=10)
    assert within.statistics.lookback == HOUR
    result = scan_all(FIRST, objects, 600, recent_limit=3)
    assert result.checkpoint.recent == {each.fingerprint for each in objects[7:]}
    assert result.statistics.lookback == timedelta(minutes=4)
    assert scan_all(result.checkpoint, objects, 600 + 3600).statistics.lookback == HOUR


@pytest.mark.parametrize("remembers", [True, False])
def test_late_file_is_found_however_far_the_watermark_rose(remembers: bool) -> None:
    """Rule 4 loses nothing: what comes below the watermark is a late file."""
    objects = [make_object(f"k{index}", index * 60) for index in range(10)]
    sensor = Sensor(limits_of(recent_limit=3), remembers=remembers)
    sensor.tick(objects, 600)
    late = [make_object("before", 359), make_object("behind", 361)]
    for _ in range(3):
        sensor.tick(objects + late, 601)
    assert sorted(keys_of(sensor.emitted)[10:]) == ["before", "behind"]


@pytest.mark.parametrize("remembers", [True, False])
def test_file_that_lingers_does_not_hold_the_watermark_down(remembers: bool) -> None:
    """What is held back is a late file that waits; it comes when it is due."""
    policy = BatchPolicy(max_files=3, linger=timedelta(hours=3))
    sensor = Sensor(ScanLimits(policy=policy, lookback=HOUR), remembers=remembers)
    grouped = Selection(group_of=lambda key: key[0], hash="groups")
    sensor.selection = grouped
    lone = make_object("a0", 0)
    full = make_objects("b", 3, 60)
    result = sensor.tick([lone, *full], 2 * 3600)
    assert keys_of(result.objects) == keys_of(full)
    assert result.checkpoint.watermark == full[-1].position
    assert result.checkpoint.late == {lone.fingerprint}
    assert result.statistics.files_waiting == 1
    assert sensor.tick([lone, *full], 3 * 3600 - 1).objects == ()
    assert keys_of(sensor.tick([lone, *full], 3 * 3600).objects) == ["a0"]
    assert sensor.tick([lone, *full], 3 * 3600).statistics.files_waiting == 0


def test_partial_batch_waits_until_it_is_due() -> None:
    """Less than a full batch is emitted once its oldest file has waited long enough."""
    policy = BatchPolicy(max_files=3, linger=timedelta(minutes=10))
    limits = ScanLimits(policy=policy)
    objects = [*make_objects("k", 3), make_object("z", 3)]

    def sizes(seconds: float) -> list[int]:
        result = scan(FIRST, [page(objects)], now=at(seconds), limits=limits)
        return [len(batch) for batch in result.batches]

    assert (sizes(4), sizes(602), sizes(603)) == ([3], [3], [3, 1])


@settings(max_examples=40)
@given(
    st.lists(listings(max_size=10, max_seconds=4000), min_size=1, max_size=3),
    POLICIES,
    st.sampled_from([Selection(), GROUPS]),
    st.integers(2, 6),
    st.integers(1, 3),
    st.booleans(),
    RANDOMS,
)
def test_groups_and_lingering_lose_nothing(
    history: list[list[S3Object]],
    policy: BatchPolicy,
    selection: Selection,
    recent_limit: int,
    max_batches: int,
    remembers: bool,
    random: Random,
) -> None:
    """However batches are grouped or held back, each file comes once, and the cursor is bounded."""
    limits = ScanLimits(policy=policy, max_batches=max_batches, recent_limit=recent_limit)
    bucket: dict[str, S3Object] = {}
    sensor = Sensor(limits, selection=selection, remembers=remembers)
    for moment, written in enumerate(history):
        for each in written:
            key = each.key.encode().hex()
            moved = each.last_modified + moment * HOUR
            bucket[key] = each._replace(key=key, last_modified=moved, etag=f"e{moment}")
        is_last = moment == len(history) - 1
        quiet = 0
        for tick in range(100 if is_last else 2):
            now = 4000 + moment * 3600 + tick * 900
            result = scan(
                sensor.checkpoint,
                in_pages(bucket.values(), random),
                now=at(now),
                selection=selection,
                limits=limits,
                index=sensor.index,
                ledger=sensor.read,
            )
            check_order(result.batches, selection)
            sensor.store(result, now)
            checkpoint = sensor.checkpoint
            kept = len(checkpoint.recent) + len(checkpoint.late)
            assert kept <= recent_limit, "The cursor is bounded."
            assert result.statistics.undecided is None
            quiet = 0 if result.objects else quiet + 1
            if quiet > 9:
                break
    emitted = sensor.emitted
    assert len(emitted) == len(set(emitted)), "Nothing twice."
    assert set(bucket.values()) <= set(emitted), "Nothing lost."


def check_order(batches: tuple, selection: Selection) -> None:  # type: ignore[type-arg]
    """Batches come in the order of their oldest files, and each is of one group."""
    firsts = [batch.objects[0] for batch in batches]
    assert firsts == sorted(firsts), "In the order of the oldest files."
    for batch in batches:
        assert list(batch.objects) == sorted(batch.objects)
        groups = {selection.group_of and selection.group_of(e.key) for e in batch.objects}
        assert groups == {batch.group}, "A batch is of one group."
