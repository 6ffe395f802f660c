from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy, ScanLimits
from dagster_s3inc.core.checkpoint import Reprocess
from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.filters import Conditions, Selection
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import ColumnsPage, Rest
from dagster_s3inc.core.reprocessing import emitted_before
from dagster_s3inc.core.scan import scan
from dagster_s3inc.errors import KeyOrderError
from tests.core.making import (
    DAY,
    FIRST,
    HOUR,
    RANDOMS,
    Random,
    Sensor,
    at,
    keys_of,
    limits_of,
    make_object,
    make_objects,
    page,
)
from tests.core.test_reprocess import CONDITIONS, meeting

BOTH = pytest.mark.parametrize("remembers", [True, False], ids=["one process", "a new one each"])

EVERYTHING = Reprocess()


def tick(
    sensor: Sensor,
    objects: list[S3Object],
    now: float = DAY,
    *,
    part: int | None = None,
    is_stored: bool = True,
) -> ScanResult:
    """A tick of a sensor that reprocesses, with the listing that it needs."""
    checkpoint = sensor.checkpoint
    reprocess = checkpoint.reprocesses_now
    if reprocess is None:
        return sensor.tick(objects, now, is_stored=is_stored)
    is_behind = sensor.index is not None or reprocess.in_parts
    left = [each for each in objects if not is_behind or each.key > reprocess.after]
    left.sort(key=lambda each: each.key)
    pages: list[ColumnsPage | Rest] = [page(left)]
    if part is not None and part < len(left):
        pages = [page(left[:part]), Rest(left[part - 1].key.encode())]
    result = scan(
        checkpoint,
        pages,
        now=at(now),
        selection=sensor.selection,
        limits=sensor.limits,
        index=sensor.index,
        ledger=sensor.read if sensor.has_ledger else None,
    )
    if is_stored:
        sensor.store(result, now)
    return result


def again(
    sensor: Sensor, objects: list[S3Object], now: float = DAY, *, part: int | None = None
) -> list[list[str]]:
    """Ticks until everything asked for has been emitted again; the keys of each tick."""
    found = []
    for _ in range(100):
        if sensor.checkpoint.reprocess is None:
            return found
        found.append(keys_of(tick(sensor, objects, now, part=part).objects))
    raise AssertionError("It does not end.")


@BOTH
def test_worked_example(remembers: bool) -> None:
    """The example at the head of the module: what begins with b or later, two files a tick."""
    objects = [make_object(key) for key in "abcde"]
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects)
    sensor.limits = limits_of(2)
    sensor.reset(Reprocess(conditions=Conditions(include=("[b-z]*",))))
    first = tick(sensor, objects)
    assert keys_of(first.objects) == ["b", "c"]
    assert first.checkpoint.reprocess is not None
    assert first.checkpoint.reprocess.after == "c"
    assert again(sensor, objects) == [["d", "e"]]
    assert sensor.tick(objects).objects == ()


@settings(max_examples=30)
@given(CONDITIONS, st.data(), RANDOMS, st.integers(1, 4), st.booleans())
def test_matching_is_emitted_once_more(
    conditions: Conditions, data: st.DataObject, random: Random, files: int, remembers: bool
) -> None:
    """Exactly what meets the conditions comes again, once; then exactly what is new."""
    old = [
        make_object(key, data.draw(st.integers(0, 90_000)))
        for key in ("a", "a.csv", "a/b.csv", "b/c.csv", "c.csv", "é.csv")
    ]
    new = [make_object("a/new.csv", 100_000), make_object("z", 100_000)]
    if remembers:
        # In parts and without an index, a late file counts as emitted.
        new.append(make_object("late", 5))
    sensor = Sensor(remembers=remembers)
    sensor.tick(old, 100_000)
    before, entries = sensor.checkpoint, list(sensor.entries)
    sensor.emitted.clear()
    sensor.limits = limits_of(files)
    sensor.reset(Reprocess(conditions=conditions))
    for _ in range(50):
        if sensor.checkpoint.reprocess is None:
            break
        part = random.choice([None, None, 2])
        result = tick(sensor, [*old, *new], 100_000, part=part, is_stored=random.random() < 0.7)
        assert result.repeats
        assert list(result.objects) == sorted(result.objects), "In position order within a part."
    assert sorted(sensor.emitted) == sorted(meeting(conditions, old))
    after = sensor.checkpoint
    assert after == replace(before, sequence=after.sequence, reset_seen="later")
    assert sensor.entries == entries, "What is repeated is no part of the ledger."
    sensor.limits = limits_of()
    for _ in range(2):
        sensor.tick([*old, *new], 100_000)
    assert Counter(sensor.emitted) == Counter([*meeting(conditions, old), *new])


@BOTH
def test_partial_scan_comes_to_its_end_first(remembers: bool) -> None:
    """What a partial scan has not reached is emitted by it, and then again."""
    objects = make_objects("k", 30)
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects, part=10)
    sensor.reset(EVERYTHING)
    for _ in range(2):
        assert not sensor.tick(objects, part=10).repeats
    assert keys_of(sensor.emitted) == keys_of(objects)
    again(sensor, objects)
    assert Counter(sensor.emitted) == Counter(objects * 2)


@BOTH
def test_parts_are_cut_by_key_and_ordered_by_position(remembers: bool) -> None:
    """The first keys come first; within what a tick emits, the oldest."""
    objects = [make_object("c", 1), make_object("b", 2), make_object("a", 3), make_object("d", 0)]
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects)
    sensor.limits = limits_of(2)
    sensor.reset(EVERYTHING)
    assert again(sensor, objects) == [["b", "a"], ["d", "c"]]


@BOTH
def test_files_may_go_and_come_in_between(remembers: bool) -> None:
    """What is gone is not emitted again; what is new waits until the end, whatever its key."""
    objects = make_objects("k", 9)
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects)
    sensor.limits = limits_of(3)
    sensor.reset(EVERYTHING)
    tick(sensor, objects)
    left = [make_object("a", DAY), *objects[:5], *objects[6:], make_object("z", 5)]
    found = [*again(sensor, left)]
    assert [key for keys in found for key in keys] == keys_of([*objects[3:5], *objects[6:]])
    for _ in range(2):
        sensor.tick(left)
    assert sorted(keys_of(sensor.emitted[-2:])) == ["a", "z"]


@BOTH
def test_late_files_are_left_to_the_next_scan(remembers: bool) -> None:
    """What is known never to have been emitted is not emitted again."""
    old, late = make_objects("k", 9, 5), make_object("late", 0)
    sensor = Sensor(remembers=remembers)
    sensor.tick(old)
    if not remembers:
        sensor.tick([*old, late])
        assert sensor.checkpoint.late == {late.fingerprint}
    sensor.reset(EVERYTHING)
    assert again(sensor, [*old, late]) == [keys_of(old)]
    for _ in range(2):
        sensor.tick([*old, late])
    assert Counter(sensor.emitted) == Counter([*old, *old, late])


def test_reading_stops_when_there_is_enough() -> None:
    """Where the listing goes on behind a key, no more is read than the limits need."""
    objects = make_objects("k", 90)
    sensor = Sensor()
    sensor.tick(objects)
    sensor.limits = limits_of(2)
    sensor.reset(EVERYTHING)
    read: list[int] = []

    def pages() -> Iterator[ColumnsPage]:
        for number in range(9):
            read.append(number)
            yield page(objects[number * 10 : number * 10 + 10])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dagster_s3inc.core.index._OBJECTS", 10)
        result = scan(
            sensor.checkpoint, pages(), now=at(DAY), limits=sensor.limits, index=sensor.index
        )
    assert keys_of(result.objects) == keys_of(objects[:2])
    assert result.checkpoint.reprocess == Reprocess(after="k000001")
    assert len(read) <= 3


def test_nothing_emitted_means_nothing_to_reprocess() -> None:
    """Before anything has been emitted, a reset of some files is over at once."""
    assert FIRST.reprocessing(EVERYTHING, reset_seen="t") == replace(FIRST, reset_seen="t")


@BOTH
def test_preview_names_what_is_emitted_again(remembers: bool) -> None:
    """The preview of a reset names exactly what it emits."""
    objects = [make_object(key, seconds) for seconds, key in enumerate("abcd")]
    sensor = Sensor(limits_of(3), remembers=remembers)
    sensor.tick(objects)
    reprocess = Reprocess(conditions=Conditions(since=at(1)))
    checkpoint = sensor.checkpoint.reprocessing(reprocess, reset_seen=None)
    found = emitted_before(checkpoint, [page(objects)], selection=Selection(), index=sensor.index)
    assert keys_of(objects_of(found)) == ["b", "c"]
    everything = emitted_before(FIRST, [page(objects)], selection=Selection())
    assert keys_of(objects_of(everything)) == ["a", "b", "c", "d"]


def objects_of(parts: object) -> list[S3Object]:
    """The objects of several columns."""
    assert isinstance(parts, Iterator)
    found: list[S3Object] = []
    for columns in parts:
        assert isinstance(columns, Columns)
        found += columns.objects()
    return found


@BOTH
def test_linger_is_honoured(remembers: bool) -> None:
    """Whole batches come again at once; what does not fill one waits until it is due."""
    objects = [make_object(f"k{number}", DAY + number) for number in range(7)]
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects, DAY + 60)
    policy = BatchPolicy(max_files=3, linger=timedelta(minutes=10))
    sensor.limits = ScanLimits(policy=policy, lookback=HOUR)
    sensor.reset(EVERYTHING)
    assert [len(tick(sensor, objects, DAY + 61).objects) for _ in range(2)] == [6, 0]
    assert sensor.checkpoint.reprocess is not None
    assert again(sensor, objects, DAY + 606) == [["k6"]]
    assert Counter(sensor.emitted) == Counter(objects * 2)


@BOTH
def test_listing_in_another_order_is_refused(remembers: bool) -> None:
    """A server whose order is not that of the keys makes nothing be skipped silently."""
    objects = [make_object(key) for key in ("a/b", "a/c", "a-b", "a-c")]
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects)
    sensor.reset(EVERYTHING)
    for pages in ([page([each]) for each in objects], [unsorted_page(objects)]):
        with pytest.raises(KeyOrderError):
            scan(sensor.checkpoint, pages, now=at(DAY), index=sensor.index, ledger=sensor.read)
    assert keys_of(tick(sensor, objects).objects) == ["a-b", "a-c", "a/b", "a/c"]


def unsorted_page(objects: list[S3Object]) -> ColumnsPage:
    """A page in the order given."""
    return ColumnsPage(Columns.of(objects))


@BOTH
def test_unpartitioned_files_are_not_emitted_again(remembers: bool) -> None:
    """Files whose partition is gone are passed over, and do not stop the others."""
    objects = make_objects("k", 9)
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects)
    sensor.selection = replace(
        sensor.selection, group_of=lambda key: None if key.endswith(("3", "8")) else "g"
    )
    sensor.limits = limits_of(2)
    sensor.reset(EVERYTHING)
    found = again(sensor, objects)
    assert [len(keys) for keys in found] == [2, 2, 2, 1]


def undecided(**options: object) -> tuple[Sensor, list[S3Object], list[S3Object]]:
    """A sensor of which it is undecided what it emitted, as after its runs were deleted."""
    limits = limits_of(late_file_capacity=12)
    sensor = Sensor(limits, remembers=False, has_ledger=False, **options)  # type: ignore[arg-type]
    old, late = make_objects("k", 300, 500), make_objects("a", 200, 100)
    sensor.tick(old)
    result = sensor.tick([*old, *late])
    assert result.statistics.undecided is not None
    assert result.checkpoint.undecided >= 200
    return sensor, old, late


def test_accepting_what_is_listed_ends_it() -> None:
    """The reset `accept_listed`: all that is listed counts as emitted, and what follows is new."""
    sensor, old, late = undecided()
    sensor.reset(Reprocess(accepts=True))
    result = sensor.tick([*old, *late])
    assert (result.objects, result.statistics.decided_by) == ((), "adopted")
    assert result.checkpoint.reprocess is None
    assert (result.checkpoint.undecided, result.checkpoint.total) == (0, None)
    new = [make_object("b", 7), make_object("new", DAY)]
    for _ in range(3):
        sensor.tick([*old, *late, *new])
    assert sorted(sensor.emitted) == sorted([*old, *new])


def test_accepting_what_is_listed_takes_several_ticks_if_need_be() -> None:
    """Where the listing takes longer than a tick, `accept_listed` ends it with the last part."""
    sensor, old, late = undecided()
    sensor.reset(Reprocess(accepts=True))
    listed = [*old, *late]
    for _ in range(6):
        sensor.tick(listed, DAY + 1, part=200)
        if sensor.checkpoint.partial_scan is None and sensor.checkpoint.reprocess is None:
            break
    sensor.tick(listed, DAY + 2)
    assert sensor.checkpoint.undecided == 0
    assert sensor.checkpoint.reprocess is None
    assert keys_of(sensor.emitted) == keys_of(old)


def test_reprocessing_all_undecided_files_ends_it() -> None:
    """The reset `matching`: all that meets the conditions is emitted, emitted before or not."""
    sensor, old, late = undecided()
    sensor.limits = replace(sensor.limits, max_batches=150)
    sensor.reset(EVERYTHING)
    found = again(sensor, [*old, *late])
    assert [len(keys) for keys in found] == [150, 150, 150, 50]
    assert sensor.checkpoint.undecided == 0
    assert Counter(sensor.emitted) == Counter([*old, *old, *late])
    result = sensor.tick([*old, *late])
    assert (result.objects, result.statistics.undecided) == ((), None)


def test_reprocessing_some_undecided_files_does_not_end_it() -> None:
    """Where other files are undecided as well, they stay so, and this is said."""
    sensor, old, late = undecided()
    sensor.reset(Reprocess(conditions=Conditions(prefix="a")))
    assert again(sensor, [*old, *late]) == [keys_of(late)]
    result = sensor.tick([*old, *late])
    assert result.statistics.undecided is not None
    assert result.objects == ()


def test_late_files_behind_the_key_are_not_settled() -> None:
    """Files that appear behind the key while undecided ones are reprocessed are not given up."""
    sensor, old, late = undecided()
    sensor.limits = replace(sensor.limits, max_batches=400)
    sensor.reset(EVERYTHING)
    tick(sensor, [*old, *late])
    more = make_objects("A", 100, 50)
    again(sensor, [*old, *late, *more])
    for _ in range(3):
        result = sensor.tick([*old, *late, *more])
    if result.statistics.undecided is None:
        assert set(more) <= set(sensor.emitted)
