from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy, ScanLimits
from dagster_s3inc.core.filters import ObjectFilter, Selection
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import ColumnsPage, Page
from dagster_s3inc.core.scan import scan, scan_backlog
from dagster_s3inc.errors import EndpointError, KeyOrderError
from tests.core.making import (
    DAY,
    FIRST,
    HOUR,
    RANDOMS,
    Random,
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
from tests.core.test_watermark import POLICIES

BOTH = pytest.mark.parametrize("remembers", [True, False], ids=["one process", "a new one each"])

USUAL = ScanLimits(max_batches=1000)
"""The limits of a sensor, but for the number of batches."""


def values(result: ScanResult) -> tuple[object, ...]:
    """What a scan gives, without what is kept in memory."""
    return result.batches, result.checkpoint, result.statistics, result.sequence


# What holds for every scan


@given(listings(), st.integers(1, 10), st.integers(0, DAY))
def test_objects_come_in_position_order(objects: list[S3Object], files: int, now: int) -> None:
    """Scan after scan, a listing that stays is emitted once, in position order."""
    checkpoint, emitted = FIRST, []
    for sequence in range(len(objects) + 1):
        result = scan_all(checkpoint, objects, now, files=files)
        assert len(result.batches) <= files
        if result.batches:
            assert (result.sequence, result.checkpoint.sequence) == (sequence, sequence + 1)
        emitted += result.objects
        checkpoint = result.checkpoint
    assert result.batches == ()
    assert emitted == sorted(objects)
    assert checkpoint.total is not None
    assert checkpoint.total.files == len(objects)


@given(listings(), listings(), st.integers(1, 30), RANDOMS, st.booleans())
def test_pages_do_not_matter(
    before: list[S3Object], later: list[S3Object], files: int, random: Random, has_index: bool
) -> None:
    """The same listing in other pages gives the same result to the last bit."""
    first = scan_all(FIRST, before, 9)
    index = first.index if has_index else None
    limits = ScanLimits(policy=BatchPolicy(max_files=3), max_batches=files)

    def scanned(pages: object) -> ScanResult:
        return scan(first.checkpoint, pages, now=at(DAY), limits=limits, index=index)  # type: ignore[arg-type]

    whole = values(scanned([page(later)]))
    pages = in_pages(later, random)
    assert values(scanned(pages)) == whole
    assert values(scanned(iter(pages))) == whole


@given(listings(max_size=12), listings(max_size=6), st.integers(1, 5), st.booleans())
def test_scan_that_is_not_stored_changes_nothing(
    before: list[S3Object], added: list[S3Object], files: int, has_index: bool
) -> None:
    """Without the new checkpoint, the next scan emits the same objects and more."""
    first = scan_all(FIRST, before, files=files)
    index = first.index if has_index else None
    lost = scan_all(first.checkpoint, before, index=index)
    assert values(scan_all(first.checkpoint, before, index=index)) == values(lost)
    present = {each.key: each for each in [*added, *before]}
    more = scan_all(first.checkpoint, present.values(), index=index).objects
    assert set(lost.objects) <= set(more)


@settings(max_examples=40)
@given(st.lists(listings(max_size=6), max_size=4), st.integers(2, 4), st.booleans())
def test_index_and_checkpoint_know_the_same(
    history: list[list[S3Object]], files: int, forgets: bool
) -> None:
    """With the index of the last scan and without it, the same objects are emitted in the end."""
    sensors = [Sensor(limits_of(files), remembers=each) for each in (True, False)]
    bucket: dict[str, S3Object] = {}
    for moment, written in enumerate(history):
        if forgets:
            bucket = dict(list(bucket.items())[::2])
        for each in written:
            key = each.key.encode().hex()
            bucket[key] = each._replace(key=key, etag=f"e{moment}")
        for sensor in sensors:
            sensor.tick(bucket.values(), 5000 + moment)
    for sensor in sensors:
        for _ in range(len(bucket) + 3):
            sensor.tick(bucket.values(), DAY)
    one, other = sensors
    assert set(bucket.values()) <= set(one.emitted)
    assert set(bucket.values()) <= set(other.emitted)
    for sensor in sensors:
        assert sensor.checkpoint.undecided == 0
        assert len(set(sensor.emitted)) == len(sensor.emitted) or forgets


def test_failing_pages_give_no_result() -> None:
    """An error on the way through the listing is passed on: not to have seen is not "nothing"."""

    def pages() -> Iterator[Page]:
        yield page([make_object()])
        raise EndpointError("broke off")

    with pytest.raises(EndpointError, match="broke off"):
        scan(FIRST, pages(), now=at(0))


@pytest.mark.parametrize("is_stored", [True, False])
def test_listing_that_goes_backwards_gives_no_result(is_stored: bool) -> None:
    """A listing that leads back to earlier pages is refused, with an index and without one."""
    objects = make_objects("k", 30)
    first = scan_all(FIRST, objects[:5])
    parts = [page(objects[start : start + 10]) for start in (0, 10, 20)]
    for order in ([0, 1, 0], [0, 1, 1], [1, 0, 2]):
        with pytest.raises(KeyOrderError):
            scan(
                first.checkpoint,
                [parts[each] for each in order],
                now=at(DAY),
                index=first.index if is_stored else None,
            )


def test_empty_listing_changes_nothing() -> None:
    """Where nothing is listed, nothing is emitted and the checkpoint stays."""
    result = scan(FIRST, [], now=at(0))
    assert (result.batches, result.checkpoint) == ((), replace(FIRST, selection=""))
    assert (result.statistics.newest, result.statistics.oldest_waiting) == (None, None)


# Which objects are new


@BOTH
def test_object_that_appears_late_is_found(remembers: bool) -> None:
    """An object with a LastModified half an hour in the past, below all others, is found."""
    objects = [make_object(f"k{index}", 1800 + index) for index in range(60)]
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects, 3600)
    found = sensor.tick([make_object("late", 1799), *objects], 3601)
    assert keys_of(found.objects) == ["late"]


@BOTH
def test_smaller_key_of_the_same_second_is_found(remembers: bool) -> None:
    """Objects that share a second are found whatever the order in which they appear."""
    middle, smaller, greater = (make_object(key, 7) for key in "mag")
    sensor = Sensor(remembers=remembers)
    sensor.tick([middle], 7)
    assert keys_of(sensor.tick([smaller, middle, greater], 7).objects) == ["a", "g"]
    assert sensor.tick([smaller, middle, greater]).objects == ()


@BOTH
@pytest.mark.parametrize("now", [20, DAY])
def test_overwritten_object_is_new(now: int, remembers: bool) -> None:
    """A key written again is emitted again, even in the same second if its ETag changed."""
    again = make_object("a", 10, etag="e2"), make_object("a", now - 1, etag="e1")
    for version in again:
        sensor = Sensor(remembers=remembers)
        sensor.tick([make_object("a", 10, etag="e1")], 10)
        assert sensor.tick([version], now).objects == (version,)


def test_deleted_objects_do_not_matter() -> None:
    """The scan goes on though the newest object, or every one that it knew, was deleted."""
    objects = [make_object("a", 10), make_object("b", 20), make_object("c", 5000)]
    first = scan_all(FIRST, objects, 5001)
    assert first.checkpoint.watermark == objects[1].position
    for index in (first.index, None):
        for left in (objects[:1], objects[1:], []):
            listed = [*left, make_object("d", 5002)]
            result = scan_all(first.checkpoint, listed, 5003, index=index)
            assert keys_of(result.objects) == ["d"]
        assert scan_all(first.checkpoint, [], index=index).checkpoint.recent == frozenset()


@BOTH
def test_transition_makes_no_new_object(remembers: bool) -> None:
    """An object that changes its storage class after it was emitted is not new."""
    sensor = Sensor(remembers=remembers)
    for now in (10, DAY):
        sensor.tick([make_object("a", 10)], now)
        moved = make_object("a", 10, storage_class="GLACIER")
        assert sensor.tick([moved], now + 1).objects == ()


@BOTH
def test_changed_filter_does_not_repeat_what_was_emitted(remembers: bool) -> None:
    """What was emitted and does not match any more is known when it matches again."""
    objects = [make_object("a", 10), make_object("b", 10)]
    for now in (10, DAY):
        sensor = Sensor(remembers=remembers)
        sensor.tick(objects, now)
        for selection in (ObjectFilter(include="a").selection(""), Selection()):
            sensor.selection = selection
            assert sensor.tick(objects, now + 1).objects == ()
            assert sensor.tick(objects, now + 2).objects == ()


@BOTH
def test_changed_filter_brings_what_only_it_matches(remembers: bool) -> None:
    """If the runs are whole, every matching file comes once, whenever the filter changes."""
    objects = [make_object(f"{n:03}.{'csv' if n % 2 else 'txt'}", n) for n in range(300)]
    sensor = Sensor(selection=ObjectFilter(include="*.csv").selection(""), remembers=remembers)
    sensor.tick(objects)
    sensor.selection = ObjectFilter().selection("")
    result = sensor.tick(objects)
    assert result.statistics.selection_changed
    assert result.statistics.undecided is None
    for _ in range(2):
        sensor.tick(objects)
    assert Counter(sensor.emitted) == Counter(objects)


def test_changed_filter_without_runs_gives_nothing_up() -> None:
    """If they are not, it is said that files are undecided; new ones come as ever."""
    objects = [make_object(f"{n:03}.{'csv' if n % 2 else 'txt'}", n) for n in range(300)]
    sensor = Sensor(selection=ObjectFilter(include="*.csv").selection(""), has_ledger=False)
    sensor.tick(objects)
    sensor.selection = ObjectFilter().selection("")
    objects.append(make_object("new.txt", DAY))
    result = sensor.tick(objects)
    assert keys_of(result.objects) == ["new.txt"]
    assert result.statistics.undecided is not None
    assert result.statistics.undecided.selection_changed
    sensor.has_ledger = True
    for _ in range(3):
        sensor.tick(objects)
    assert Counter(sensor.emitted) == Counter(objects)


def test_index_of_another_selection_is_not_used() -> None:
    """An index tells what one selection means; another one goes by the checkpoint."""
    objects = [make_object("a.csv", 1), make_object("b.tmp", 1)]
    wide, narrow = Selection(hash="wide"), ObjectFilter(exclude="*.tmp").selection("")
    first = scan(FIRST, [page(objects)], now=at(DAY), selection=narrow)
    result = scan(first.checkpoint, [page(objects)], now=at(DAY), selection=wide, index=first.index)
    assert result.statistics.decided_by is None
    assert result.statistics.selection_changed


def test_narrower_listing_is_no_deletion() -> None:
    """What another prefix does not list is not reported as gone."""
    wide, narrow = Selection(hash="wide"), Selection(hash="narrow")
    a, b = make_object("a/1"), make_object("b/1")
    sensor = Sensor(selection=wide)
    sensor.tick([a, b], 0)
    sensor.selection = narrow
    second = sensor.tick([a], 0).statistics
    assert (second.gone, second.selection_changed) == (0, True)
    third = sensor.tick([], 0).statistics
    assert (third.gone, third.selection_changed) == (1, False)


def test_adopting_emits_nothing() -> None:
    """Adopting takes all that is listed as emitted; what appears afterwards is new, late or not."""
    objects = [make_object("old", -DAY), make_object("edge", -3600), make_object("fresh", 0)]
    result = scan(FIRST, [page(objects)], now=at(0), adopt=True)
    assert result.batches == ()
    assert result.checkpoint.watermark == Position(at(-3600), "")
    assert result.checkpoint.recent == {each.fingerprint for each in objects[1:]}
    assert result.checkpoint.total is None
    assert (result.statistics.files, result.statistics.files_waiting) == (0, 0)
    late = [make_object("late", -3599), make_object("aged", -3601), make_object("next", 1)]
    for index in (result.index, None):
        found, following = [], result
        for _ in range(2):
            following = scan_all(following.checkpoint, objects + late, 1, index=index)
            found += keys_of(following.objects)
            index = following.index if index is not None else None
        assert sorted(found) == ["aged", "late", "next"]


@given(listings(), st.integers(2, 8))
def test_adopting_keeps_the_limit(objects: list[S3Object], recent_limit: int) -> None:
    """However much is adopted, at most recent_limit fingerprints are kept; nothing is new."""
    limits = ScanLimits(recent_limit=recent_limit)
    first = scan(FIRST, [page(objects)], now=at(9), limits=limits, adopt=True)
    assert len(first.checkpoint.recent) <= recent_limit
    for index in (first.index, None):
        result = scan_all(first.checkpoint, objects, 10, index=index)
        assert (result.objects, result.statistics.found_late) == ((), 0)


# What a scan says and keeps


def test_statistics_count_what_was_seen() -> None:
    """Statistics count the whole listing, what is emitted, what waits and what is left out."""
    objects = [make_object(f"k{index}", index, size=10**index) for index in range(5)]
    checkpoint = scan_all(FIRST, objects[:1], 0).checkpoint
    selection = ObjectFilter(exclude="k4").selection("")
    seen = scan(
        checkpoint, [page(objects)], now=at(5), selection=selection, limits=limits_of(2)
    ).statistics
    assert (seen.objects_listed, seen.bytes_listed) == (5, 11_111)
    assert (seen.files, seen.bytes) == (2, 110)
    assert (seen.files_waiting, seen.bytes_waiting, seen.oldest_waiting) == (1, 1000, at(3))
    assert (seen.left_out, seen.newest, seen.lookback) == (1, objects[4].position, HOUR)


def test_statistics_count_what_was_not_read() -> None:
    """What did not change is not read, and counts all the same."""
    objects = [make_object(f"k{index}", index, size=10**index) for index in range(5)]
    sensor = Sensor()
    sensor.tick(objects)
    seen = sensor.tick(objects).statistics
    assert (seen.objects_listed, seen.bytes_listed) == (5, 11_111)
    assert seen.newest == objects[4].position


def test_batches_are_cut_by_the_policy() -> None:
    """A scan emits whole batches of its policy, the first max_batches of them."""
    objects = [make_object(f"k{index}", index, size=4) for index in range(9)]
    limits = ScanLimits(policy=BatchPolicy(max_files=3, max_bytes=10), max_batches=3)
    result = scan(FIRST, [page(objects)], now=at(DAY), limits=limits)
    assert [len(batch) for batch in result.batches] == [2, 2, 2]
    assert all(one.objects[-1] < two.objects[0] for one, two in pairwise(result.batches))
    assert result.checkpoint.watermark == objects[5].position


@given(listings(max_size=20), POLICIES, st.integers(1, 3), st.integers(0, 7000))
def test_backlog_goes_on_as_another_scan_would(
    objects: list[S3Object], policy: BatchPolicy, max_batches: int, now: int
) -> None:
    """What waits comes from memory just as the next scan of the same listing would find it."""
    limits = ScanLimits(policy=policy, max_batches=max_batches)
    result = scan(FIRST, [page(objects)], now=at(now), limits=limits)
    while result.backlog is not None:
        assert result.backlog.follows == result.checkpoint
        scanned = scan(
            result.checkpoint, [page(objects)], now=at(now), limits=limits, index=result.index
        )
        result = scan_backlog(result.backlog, limits=limits)
        assert result.batches == scanned.batches
        assert result.checkpoint == scanned.checkpoint
        assert (result.index is None) == (scanned.index is None)
        if result.index is not None and scanned.index is not None:
            assert [each.fingerprints.tolist() for each in result.index.segments] == [
                each.fingerprints.tolist() for each in scanned.index.segments
            ]
            assert [each.waiting for each in result.index.segments] == [
                each.waiting for each in scanned.index.segments
            ]


def test_backlog_is_kept_while_nothing_may_be_requested() -> None:
    """A tick that may emit nothing counts what waits, and the next goes on without a listing."""
    objects = make_objects("k", 10)
    result = scan(FIRST, [page(objects)], now=at(9), limits=limits_of(4))
    nothing = limits_of(0)
    for _ in range(3):
        assert result.backlog is not None
        held = scan_backlog(result.backlog, limits=nothing)
        assert (held.batches, held.statistics.files_waiting) == ((), 6)
        assert held.checkpoint == result.checkpoint
        result = held
    assert result.backlog is not None
    assert keys_of(scan_backlog(result.backlog, limits=limits_of(4)).objects) == keys_of(
        objects[4:8]
    )


@BOTH
@pytest.mark.parametrize("is_newest_emitted", [False, True])
def test_more_waits_than_is_kept(
    is_newest_emitted: bool, remembers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not kept is found by the next scan, also behind something newer that was emitted."""
    monkeypatch.setattr("dagster_s3inc.core.scan.KEPT", 4)
    limits = ScanLimits(policy=BatchPolicy(max_files=4), max_batches=1, late_file_capacity=5)
    sensor = Sensor(limits, remembers=remembers)
    objects = [make_object("old", -3 * 3600)]
    if is_newest_emitted:
        objects.append(make_object("newest", 0))
    result = sensor.tick(objects, 0)
    # Replicas, which carry the time of their source.
    objects += [make_object(f"late{number:02}", number - 1800) for number in range(24)]
    for minute in range(20):
        backlog, now = result.backlog, 2 * 3600 + 60 * minute
        if backlog is not None:
            result = scan_backlog(backlog, limits=limits)
            sensor.store(result, now)
        if backlog is None or not result.batches:
            result = sensor.tick(objects, now)
    assert Counter(sensor.emitted) == Counter(objects)


# What S3 does: bursts, late files, dates in the future, versions that come back


def until_quiet(sensor: Sensor, listed: list[S3Object], now: float) -> None:
    """Ticks until two in a row find nothing; each file that is listed has been emitted once."""
    quiet = 0
    for number in range(60):
        result = sensor.tick(listed, now + number)
        assert result.statistics.undecided is None
        quiet = 0 if result.objects or result.statistics.found_late else quiet + 1
        if quiet == 2:
            break
    assert Counter(sensor.emitted) == Counter(listed)


@BOTH
def test_burst_of_one_second_with_a_tick_in_the_middle(remembers: bool) -> None:
    """Thousands of files share one second, and a tick falls in the middle of it."""
    objects = make_objects("k", 3000, DAY)
    shuffled = list(objects)
    Random(1).shuffle(shuffled)
    sensor = Sensor(USUAL, remembers=remembers)
    sensor.tick(shuffled[:1500], DAY)
    until_quiet(sensor, objects, DAY + 30)


@BOTH
def test_files_of_one_second_that_arrive_over_many_ticks(remembers: bool) -> None:
    """Files of one second become visible 300 a tick, in any order of their keys."""
    shuffled = make_objects("k", 3000, DAY)
    Random(2).shuffle(shuffled)
    sensor = Sensor(USUAL, remembers=remembers)
    for tick in range(1, 11):
        sensor.tick(shuffled[: 300 * tick], DAY + 30 * tick)
    until_quiet(sensor, shuffled, DAY + 600)


@BOTH
def test_multipart_uploads_appear_in_halves(remembers: bool) -> None:
    """Uploads that began in the last ten minutes appear in two halves, within the lookback."""
    uploads = [make_object(f"k{number:04}", DAY - number % 600) for number in range(2400)]
    Random(3).shuffle(uploads)
    sensor = Sensor(USUAL, remembers=remembers)
    before = make_objects("before", 100, 5)
    sensor.tick(before, DAY - 1000)
    sensor.tick([*before, *uploads[:1200]], DAY)
    until_quiet(sensor, [*before, *uploads], DAY + 30)


@BOTH
def test_late_files_in_waves(remembers: bool) -> None:
    """Late files, 250 a tick and ten ticks long: each comes once."""
    objects = make_objects("k", 500, DAY - 7200)
    sensor = Sensor(USUAL, remembers=remembers)
    sensor.tick(objects)
    for tick in range(10):
        objects = [*objects, *make_objects(f"late{tick}/", 250, tick * 60)]
        sensor.tick(objects, DAY + 30 * tick)
    until_quiet(sensor, objects, DAY + 600)


@BOTH
def test_changed_capacity_gives_nothing_up(remembers: bool) -> None:
    """Files that appear late while late_file_capacity changes are found, up and down."""
    objects = make_objects("k", 500, 500)
    sensor = Sensor(USUAL, remembers=remembers)
    sensor.tick(objects)
    for number, capacity in enumerate((1000, 100, 400)):
        objects = [*objects, *make_objects(f"late{number}/", 60, 5)]
        sensor.limits = replace(USUAL, late_file_capacity=capacity)
        result = sensor.tick(objects)
        assert result.statistics.undecided is None
        assert result.checkpoint.emitted is not None
        assert result.checkpoint.emitted.cells == sensor.limits.cells
        until_quiet(sensor, objects, DAY)


@BOTH
def test_files_dated_in_the_future(remembers: bool) -> None:
    """However many files are dated years ahead, present ones are found ever after."""
    future = [make_object(f"f{number:04}", DAY * (400 + number)) for number in range(600)]
    sensor = Sensor(USUAL, remembers=remembers)
    sensor.tick(future)
    listed = list(future)
    for tick in range(3):
        listed += make_objects(f"present{tick}/", 300, DAY + 60 * tick)
        sensor.tick(listed, DAY + 60 * tick)
    until_quiet(sensor, listed, DAY + 600)


@BOTH
@pytest.mark.parametrize("age", [0, 7200])
def test_version_that_comes_back_is_emitted_again(age: int, remembers: bool) -> None:
    """Rolling back shows the version before again: it is emitted, and its run key is another."""
    old, new = make_object("a", DAY - age, etag="e1"), make_object("a", DAY + 5, etag="e2")
    others = make_objects("k", 9, DAY - 9000)
    sensor = Sensor(remembers=remembers)
    found = []
    for tick in range(12):
        shown = new if tick // 3 % 2 else old
        result = sensor.tick([shown, *others], DAY + 10 + 3600 * tick)
        found += [(result.sequence, each.id, each.objects) for each in result.batches]
    of_a = [objects[0].etag for _, _, objects in found if objects[0].key == "a"]
    assert of_a == ["e1", "e2", "e1", "e2"]
    run_keys = [(sequence, batch_id) for sequence, batch_id, _ in found]
    assert len(run_keys) == len(set(run_keys))
    assert len({batch_id for _, batch_id in run_keys}) == len(run_keys) - 2


@BOTH
def test_mass_deletion_while_new_files_come(remembers: bool) -> None:
    """Half of the bucket is deleted between two ticks; what came meanwhile is found."""
    objects = make_objects("k", 3000, 500)
    sensor = Sensor(USUAL, remembers=remembers)
    sensor.tick(objects)
    left = [*objects[1500:], *make_objects("late", 30, 5), *make_objects("new", 30, DAY)]
    for tick in range(3):
        result = sensor.tick(left, DAY + tick)
        assert result.statistics.undecided is None
    assert set(left) <= set(sensor.emitted)
    assert len(sensor.emitted) == len(set(sensor.emitted)) == 3060


@BOTH
def test_another_storage_class_gets_its_files(remembers: bool) -> None:
    """Whoever asks for another storage class gets the older files of that class too."""
    objects = [
        make_object(f"k{n:03}", n, storage_class="STANDARD" if n % 2 else "STANDARD_IA")
        for n in range(300)
    ]
    standard = ObjectFilter(storage_classes="STANDARD").selection("")
    infrequent = ObjectFilter(storage_classes="STANDARD_IA").selection("")
    sensor = Sensor(selection=standard, remembers=remembers)
    sensor.tick(objects)
    sensor.selection = infrequent
    for _ in range(2):
        sensor.tick(objects)
    assert Counter(sensor.emitted) == Counter(objects)


@BOTH
def test_linger_holds_where_the_listing_is_cut(remembers: bool) -> None:
    """Less than a batch waits for others, whether or not the listing comes to its end in time."""
    policy = BatchPolicy(max_files=10, linger=timedelta(minutes=10))
    for part in (None, 4):
        sensor = Sensor(ScanLimits(policy=policy), remembers=remembers)
        objects = [make_object(f"k{number}", DAY) for number in range(8)]
        for _ in range(2):
            assert sensor.tick(objects, DAY + 60, part=part).objects == ()
        for tick in range(3):
            sensor.tick(objects, DAY + 600 + tick, part=part)
        assert Counter(sensor.emitted) == Counter(objects)


def test_bucket_beyond_the_index() -> None:
    """Where the index is larger than it may be, digest and checkpoint tell what is new."""
    objects = make_objects("k", 500, 500)
    sensor = Sensor(USUAL, max_index_bytes=1000)
    assert sensor.tick(objects).index is None
    objects = [*objects, *make_objects("late", 100, 5), make_object("new", DAY)]
    until_quiet(sensor, objects, DAY)
    result = sensor.tick([*objects, *make_objects("many", 600, 5)])
    assert result.statistics.undecided is not None
    assert result.statistics.undecided.why == "too large"


def test_pages_may_be_empty() -> None:
    """Empty pages are nothing, wherever they come."""
    empty = page([])
    pages: list[ColumnsPage] = [empty, page([make_object("a")]), empty, page([make_object("b")])]
    assert keys_of(scan(FIRST, pages, now=at(9)).objects) == ["a", "b"]
