from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy, ScanLimits
from dagster_s3inc.core.filters import ObjectFilter, Selection
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.objects import Position, S3Object
from tests.core.making import (
    DAY,
    HOUR,
    RANDOMS,
    Sensor,
    at,
    keys_of,
    limits_of,
    make_object,
    make_objects,
)

BOTH = pytest.mark.parametrize("remembers", [True, False], ids=["one process", "a new one each"])


def digest_of(objects: list[S3Object]) -> Digest:
    """The digest of these."""
    return Digest.of([each.fingerprint for each in objects])


@BOTH
def test_worked_example(remembers: bool) -> None:
    """The example at the head of the module: three parts, what each emits and remembers."""
    listed = [make_object(key, 0 if key == "c" else 500) for key in "abcde"]
    c = listed[2]
    sensor, now = Sensor(remembers=remembers), 2 * DAY
    sensor.tick([c])
    assert sensor.checkpoint.watermark == c.position
    first = sensor.tick(listed, now, part=2)
    partial = first.checkpoint.partial_scan
    assert partial is not None
    assert (keys_of(first.objects), partial.after) == (["a", "b"], "b")
    assert first.checkpoint.emitted == digest_of([c, *listed[:2]])
    assert partial.listed == digest_of(listed[:2])
    assert first.checkpoint.watermark == c.position
    second = sensor.tick(listed, now + 60, part=2)
    partial = second.checkpoint.partial_scan
    assert partial is not None
    assert (keys_of(second.objects), partial.after) == (["d"], "d")
    assert second.checkpoint.emitted == partial.listed == digest_of(listed[:4])
    third = sensor.tick(listed, now + 120, part=2)
    assert keys_of(third.objects) == ["e"]
    assert third.checkpoint.partial_scan is None
    assert third.checkpoint.emitted == digest_of(listed)
    assert third.checkpoint.watermark == Position(at(now - 3600), "")
    assert sensor.tick(listed, now + 180).objects == ()


@BOTH
def test_part_emits_every_new_file_up_to_its_key(remembers: bool) -> None:
    """A part leaves nothing behind that is older than the horizon, and says to where it came."""
    objects = [make_object(f"k{n:02}", n * 37 % 50 + 100 * (n % 7 > 0)) for n in range(50)]
    sensor = Sensor(limits_of(8), remembers=remembers)
    sensor.tick(objects[::7])
    watermark, emitted = sensor.checkpoint.watermark, set(sensor.emitted)
    while True:
        result = sensor.tick(objects, DAY, part=20)
        assert list(result.objects) == sorted(result.objects), "In position order within a part."
        assert not emitted & set(result.objects), "Nothing twice."
        emitted |= set(result.objects)
        partial = result.checkpoint.partial_scan
        if partial is None:
            break
        assert {each for each in objects if each.key <= partial.after} <= emitted
        assert result.checkpoint.watermark == watermark
    assert emitted == set(objects)


@BOTH
def test_part_ends_before_the_first_file_that_it_has_no_room_for(remembers: bool) -> None:
    """A part whose limits are reached goes no further than what it emits."""
    objects = make_objects("k", 30)
    sensor = Sensor(limits_of(8), remembers=remembers)
    afters = []
    for _ in range(4):
        partial = sensor.tick(objects, DAY, part=25).checkpoint.partial_scan
        afters.append(partial and partial.after)
    assert afters == ["k000007", "k000015", "k000023", None]
    assert keys_of(sensor.emitted) == keys_of(objects)


@BOTH
def test_part_that_is_not_stored_changes_nothing(remembers: bool) -> None:
    """After a crash in any part, the next tick emits the same files and goes on."""
    objects = [make_object(f"k{number:02}", number * 37 % 50) for number in range(50)]
    sensor = Sensor(limits_of(), remembers=remembers)
    for lost in range(12):
        result = sensor.tick(objects, DAY, part=7, is_stored=False)
        again = sensor.tick(objects, DAY, part=7)
        assert again.objects == result.objects
        assert [each.id for each in again.batches] == [each.id for each in result.batches]
        assert again.sequence == result.sequence
        if lost == 3:
            sensor.forget()
        if again.checkpoint.partial_scan is None:
            break
    assert sorted(sensor.emitted) == sorted(objects)
    assert sensor.tick(objects, DAY).objects == ()


@BOTH
def test_horizon_is_that_of_the_first_part(remembers: bool) -> None:
    """However long a partial scan takes, its watermark is reckoned from its beginning."""
    objects = make_objects("k", 30)
    sensor = Sensor(remembers=remembers)
    for tick in range(3):
        partial = sensor.tick(objects, DAY + tick * 3600, part=10).checkpoint.partial_scan
        if partial is not None:
            assert (partial.began, partial.horizon) == (at(DAY), at(DAY - 3600))
            assert partial.objects == 10 * (tick + 1)
    assert sensor.checkpoint.watermark == Position(at(DAY - 3600), "")
    behind = [make_object("a0", DAY - 3000), make_object("a1", DAY - 4000)]
    for _ in range(2):
        sensor.tick([*behind, *objects], DAY + 10_800)
    assert sorted(keys_of(sensor.emitted)[30:]) == ["a0", "a1"]


@BOTH
def test_file_behind_the_key_waits_for_the_next_scan(remembers: bool) -> None:
    """What appears behind the key that was reached is found by the next scan."""
    objects = make_objects("k", 30)
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects, DAY, part=10)
    objects += [make_object("a", 5), make_object("b", DAY)]
    for _ in range(2):
        sensor.tick(objects, DAY + 10, part=10)
    assert keys_of(sensor.emitted) == keys_of(objects[:30])
    for _ in range(2):
        sensor.tick(objects, DAY + 20)
    assert sorted(keys_of(sensor.emitted)[30:]) == ["a", "b"]


@BOTH
def test_more_young_files_than_can_be_remembered_wait(remembers: bool) -> None:
    """What is younger than the horizon is emitted as far as `recent` has room; then it waits."""
    objects = [make_object(f"k{number:02}", DAY) for number in range(30)]
    sensor = Sensor(limits_of(recent_limit=20), remembers=remembers)
    for _ in range(3):
        checkpoint = sensor.tick(objects, DAY, part=10).checkpoint
        assert len(checkpoint.recent) <= 20
    assert len(sensor.emitted) == 20
    sensor.tick(objects, DAY + 60, part=10)
    partial = sensor.checkpoint.partial_scan
    assert partial is not None
    assert partial.horizon == at(DAY + 60), "Little room at the beginning: no lookback."
    for tick in range(6):
        sensor.tick(objects, DAY + 120 + tick, part=10)
    assert sorted(sensor.emitted) == sorted(objects)


@BOTH
def test_what_lingers_is_passed_over(remembers: bool) -> None:
    """A file that lingers is not emitted by a part; it comes when it is due, and once."""
    policy = BatchPolicy(max_files=4, linger=timedelta(hours=30))
    limits = ScanLimits(policy=policy, lookback=HOUR)
    sensor = Sensor(limits, remembers=remembers)
    objects = make_objects("k", 30)
    for _ in range(3):
        sensor.tick(objects, DAY, part=10)
    assert sensor.checkpoint.partial_scan is None
    assert {len(each.fingerprints) for each in sensor.entries} == {4}
    assert len(sensor.emitted) == 24
    if not remembers:
        assert len(sensor.checkpoint.late) == 6, "They were listed, and not emitted."
    due = 30 * 3600
    for tick in range(9):
        sensor.tick(objects, due + tick, part=10 if tick < 3 else None)
    assert sorted(sensor.emitted) == objects


@BOTH
def test_deletions_in_between_are_no_harm(remembers: bool) -> None:
    """Files that go while a partial scan is under way, before or behind its key, are just gone."""
    objects = make_objects("k", 60)
    sensor = Sensor(limits_of(late_file_capacity=30), remembers=remembers)
    sensor.tick(objects, DAY)
    sensor.tick(objects, DAY + 1, part=20)
    left = [each for number, each in enumerate(objects) if number % 6]
    for _ in range(2):
        sensor.tick(left, DAY + 2, part=20)
    result = sensor.tick(left, DAY + 3)
    assert result.statistics.undecided is None
    assert result.checkpoint.emitted == Digest.of(
        [each.fingerprint for each in left], sensor.limits.cells
    )
    assert len(sensor.emitted) == 60


def test_version_that_a_part_found_gone_comes_back() -> None:
    """What a part with the index found gone is another showing when it comes back."""
    objects = make_objects("k", 30, DAY)
    sensor = Sensor()
    for _ in range(3):
        sensor.tick(objects, DAY, part=10)
    assert len(sensor.checkpoint.recent) == 30
    result = sensor.tick(objects[1:], DAY + 60, part=9)
    assert result.statistics.gone == 1
    assert objects[0].fingerprint not in result.checkpoint.recent
    sensor.forget()
    for _ in range(3):
        sensor.tick(objects, DAY + 120, part=10)
    sensor.tick(objects, DAY + 180)
    assert sorted(sensor.emitted) == sorted([objects[0], *objects])


@BOTH
def test_late_files_are_found_by_parts(remembers: bool) -> None:
    """Files below the watermark are found: with the index by their part, else at the end."""
    objects = make_objects("k", 60, 500)
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects, DAY)
    late = make_objects("a", 40, 100)
    listed = [*late, *objects]
    found = [len(sensor.tick(listed, DAY + 1, part=50).objects) for _ in range(2)]
    assert found == ([40, 0] if remembers else [0, 0])
    sensor.tick(listed, DAY + 2)
    assert sorted(sensor.emitted) == sorted(listed)


def test_many_late_files_are_decided_by_the_ledger_at_the_end() -> None:
    """Without an index, beyond the capacity: what one process listed is held against the runs."""
    for loses_sight in (False, True):
        sensor = Sensor(limits_of(late_file_capacity=12))
        objects, late = make_objects("k", 300, 500), make_objects("a", 200, 100)
        sensor.tick(objects, DAY)
        sensor.forget()
        sensor.tick([*late, *objects], DAY + 1, part=250)
        if loses_sight:
            sensor.forget()
        result = sensor.tick([*late, *objects], DAY + 2, part=250)
        assert result.checkpoint.partial_scan is None
        undecided = result.statistics.undecided
        if loses_sight:
            assert undecided is not None
            assert undecided.why == "part of a listing"
            assert (result.checkpoint.undecided > 0, result.index) == (True, None)
        else:
            assert undecided is None
            assert result.statistics.decided_by == "ledger"
        for _ in range(3):
            sensor.tick([*late, *objects], DAY + 3)
        assert sorted(sensor.emitted) == sorted([*late, *objects])
        assert sensor.checkpoint.undecided == 0


def test_index_is_made_of_what_one_process_listed() -> None:
    """After a partial scan that one process saw from beginning to end, it has the index."""
    objects = make_objects("k", 100, 500)
    sensor = Sensor()
    sensor.tick(objects[:50], DAY)
    sensor.forget()
    for _ in range(4):
        sensor.tick(objects, DAY + 1, part=30)
    assert sensor.checkpoint.partial_scan is None
    assert sensor.index is not None
    emitted = sorted(each.fingerprint for each in sensor.emitted)
    assert sorted(sensor.index.all_fingerprints().tolist()) == emitted
    result = sensor.tick(objects, DAY + 2)
    assert result.statistics.decided_by == "index"


@BOTH
def test_filter_may_change_in_between(remembers: bool) -> None:
    """Each matching file comes once, though the filter changes while a scan is under way."""
    objects = [make_object(f"k{n:02}.{'csv' if n % 2 else 'txt'}", n) for n in range(40)]
    narrow = ObjectFilter(include="*.csv").selection("")
    sensor = Sensor(selection=narrow, remembers=remembers)
    sensor.tick(objects, DAY, part=15)
    sensor.selection = ObjectFilter().selection("")
    for _ in range(8):
        result = sensor.tick(objects, DAY + 1, part=15)
    for _ in range(3):
        result = sensor.tick(objects, DAY + 2)
        assert result.statistics.undecided is None
    assert sorted(sensor.emitted) == sorted(objects)


def test_unpartitioned_files_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a part tries how far it can go, each file in no group counts once."""
    monkeypatch.setattr("dagster_s3inc.core.index._OBJECTS", 4)
    selection = replace(
        Selection(), group_of=lambda key: None if key.endswith("x") else "g", hash="g"
    )
    objects = [make_object(f"k{number:02}{'x' if number % 3 else ''}") for number in range(30)]
    for remembers in (True, False):
        sensor = Sensor(limits_of(2), selection=selection, remembers=remembers)
        sensor.page_size = 4
        counted, listed = 0, 0
        while not listed or sensor.checkpoint.partial_scan is not None:
            seen = sensor.tick(objects, DAY, part=25).statistics
            counted, listed = counted + seen.unpartitioned, listed + seen.objects_listed
            assert len(seen.unpartitioned_keys) == min(5, seen.unpartitioned)
        assert (counted, listed) == (20, 30)
        assert len(sensor.emitted) == 10


@BOTH
def test_adopted_in_parts(remembers: bool) -> None:
    """A beginning that adopts what is listed emits nothing, also if it takes several ticks."""
    objects = make_objects("k", 30)
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects, DAY, part=10, adopt=True)
    while sensor.checkpoint.partial_scan is not None:
        sensor.tick(objects, DAY + 1, part=10)
    assert sensor.emitted == []
    new = [make_object("a", DAY + 100), make_object("z", 7)]
    for _ in range(3):
        sensor.tick([*objects, *new], DAY + 200)
    assert sorted(sensor.emitted) == sorted(new)


@settings(max_examples=30)
@given(RANDOMS, st.integers(1, 6), st.sampled_from([2, 4, 30]))
def test_nothing_is_lost_and_nothing_comes_twice(
    random: Random, files: int, recent_limit: int
) -> None:
    """Listings cut anywhere, processes and ticks lost, while files come, go and are replaced."""
    sensor = Sensor(limits_of(files, recent_limit=recent_limit, late_file_capacity=12))
    bucket: dict[str, S3Object] = {}
    now = 100_000
    for _ in range(12):
        now += random.choice([1, 60, 3000])
        for _ in range(random.randrange(6)):
            key = f"{random.randrange(30):02}"
            age = random.choice([0, 0, 10, 5000])
            bucket[key] = make_object(key, now - age, etag=f"e{random.random()}")
        for key in random.sample(sorted(bucket), min(len(bucket), random.randrange(3))):
            del bucket[key]
        if random.random() < 0.3:
            sensor.forget()
        sensor.tick(
            bucket.values(),
            now,
            part=random.choice([None, 3, 8]),
            is_stored=random.random() < 0.8,
        )
    for _ in range(60):
        now += 3000
        result = sensor.tick(bucket.values(), now, part=random.choice([None, 8]))
        if result.checkpoint.partial_scan is None and random.random() < 0.2:
            sensor.forget()
    emitted = sensor.emitted
    assert len(emitted) == len(set(emitted)), "Nothing twice."
    assert set(bucket.values()) <= set(emitted), "Nothing lost."
    assert sensor.checkpoint.undecided == 0
