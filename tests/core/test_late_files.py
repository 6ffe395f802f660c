from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.checkpoint import Checkpoint, Total
from dagster_s3inc.core.classify import Listed
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.iblt import Digest, cells_for
from dagster_s3inc.core.late_files import (
    Decision,
    Ledger,
    LedgerEntry,
    LedgerProgress,
    LedgerReader,
    Why,
    decide,
)
from dagster_s3inc.core.objects import S3Object
from tests.core.making import (
    DAY,
    FIRST,
    Sensor,
    keys_of,
    limits_of,
    make_object,
    make_objects,
    scan_all,
)

CELLS = cells_for(12)
"""Tells about twelve changes apart."""

RUNS_BEGAN = 1000
"""When the ledger's first run was created, in seconds since 1970."""


def array(fingerprints: Iterable[int]) -> npt.NDArray[np.uint64]:
    """Fingerprints, sorted."""
    return np.array(sorted(fingerprints), np.uint64)


def prints(seed: int, count: int) -> list[int]:
    """So many different fingerprints, the same for each seed."""
    random = Random(seed)  # noqa: S311 # not a secret
    return [random.getrandbits(64) for _ in range(count)]


def ledger_of(*batches: Iterable[int]) -> Ledger:
    """The ledger of these batches, one in each tick."""
    entries = [
        LedgerEntry(number, f"b{number}", array(batch), RUNS_BEGAN * 10**6 + number)
        for number, batch in enumerate(batches)
    ]
    return Ledger.of(entries, 1)


def reader(ledger: Ledger | LedgerProgress) -> LedgerReader:
    """Reads this, whatever is asked."""

    def read(generation: int, sequence: int) -> Ledger | LedgerProgress:
        assert (generation, sequence) == (1, 7)
        return ledger

    return read


def decision(
    emitted: Iterable[int] | None,
    listed: Iterable[int],
    *,
    matching: Iterable[int] | None = None,
    late: Iterable[int] = (),
    total: Total | None = None,
    ledger: Ledger | LedgerProgress | None = None,
    old: Iterable[int] = (),
    changed: bool = False,
    why: Why | None = None,
    own: Iterable[int] = (),
) -> Decision:
    """What is decided of these; `old` are those modified before the ledger's first run."""
    there, counting = array(listed), array(listed if matching is None else matching)
    seconds = np.where(np.isin(there, array(old)), RUNS_BEGAN - 1, RUNS_BEGAN + 1)
    rows = Listed(there, seconds.astype(np.uint32), np.setdiff1d(there, counting))
    return decide(
        Checkpoint(sequence=7, late=frozenset(late), total=total),
        emitted=None if emitted is None else Digest.of(array(emitted), CELLS),
        listed=[Digest.of(there, CELLS)],
        matching=Digest.of(counting, CELLS),
        rows=why or rows,
        changed=changed,
        ledger=None if ledger is None else reader(ledger),
        own=array(own),
    )


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 500))
def test_digest_tells_few_changes_apart(gone: int, late: int, common: int) -> None:
    """What was never emitted and what is gone is known one by one, and no ledger is read."""
    stay, left, came = prints(1, common), prints(2, gone), prints(3, late)
    found = decision([*stay, *left], [*stay, *came])
    assert (found.by, found.gone, found.undecided) == ("digest", gone, None)
    assert found.late.tolist() == found.late_matching.tolist() == sorted(came)
    assert found.emitted == Digest.of(array(stay), CELLS)


def test_what_waits_is_no_change() -> None:
    """Fingerprints that are known to be late take no room of the digest."""
    stay, waiting, came = prints(1, 100), prints(2, 300), prints(3, 5)
    found = decision(stay, [*stay, *waiting, *came], late=waiting)
    assert found.by == "digest"
    assert found.late.tolist() == sorted([*waiting, *came])


def test_ledger_and_digest_together_prove_each_other() -> None:
    """Rule a: what came is not in the ledger; the digest proves that nothing else was emitted."""
    stay, came = prints(1, 300), prints(2, 500)
    whole = ledger_of(stay[:200], stay[200:])
    for total in (whole.total, None, Total(7, 7)):
        found = decision(stay, [*stay, *came], ledger=whole, total=total)
        assert (found.by, found.undecided, found.returned) == ("ledger", None, 0)
        assert found.late.tolist() == sorted(came)
        assert found.emitted == Digest.of(array(stay), CELLS)


def test_runs_may_be_missing() -> None:
    """Rule a: the digest names the few files of a run that was deleted."""
    stay, came = prints(1, 300), prints(2, 500)
    found = decision(stay, [*stay, *came], ledger=ledger_of(stay[:100], stay[108:]))
    assert (found.by, found.late.tolist()) == ("ledger", sorted(came))
    assert found.emitted == Digest.of(array(stay), CELLS)


def test_version_that_came_back_is_late() -> None:
    """Rule a: a version in the ledger that was found gone since does not count as emitted."""
    stay, back, came = prints(1, 300), prints(2, 4), prints(3, 500)
    ledger = ledger_of([*stay, *back])
    found = decision(stay, [*stay, *back, *came], ledger=ledger, total=ledger.total)
    assert (found.by, found.returned) == ("ledger", 0)
    assert found.late.tolist() == sorted([*back, *came])


def test_what_is_older_than_the_runs_was_emitted_before() -> None:
    """Rule a, second try: an adopted beginning, or one whose old runs were deleted."""
    adopted, stay, came = prints(1, 300), prints(2, 200), prints(3, 500)
    hidden = prints(4, 5)
    listed = [*adopted, *stay, *came, *hidden]
    found = decision(
        [*adopted, *stay], listed, ledger=ledger_of(stay), old=[*adopted, *hidden], total=None
    )
    assert (found.by, found.undecided) == ("ledger", None)
    assert found.late.tolist() == sorted([*came, *hidden])
    nothing = decision(adopted, [*adopted, *hidden], ledger=ledger_of())
    assert nothing.late.tolist() == sorted(hidden)


def test_whole_ledger_decides_alone() -> None:
    """Rule b: if its total is the checkpoint's, what the ledger does not hold was never emitted."""
    stay, left, came = prints(1, 300), prints(2, 400), prints(3, 500)
    ledger = ledger_of([*stay, *left])
    found = decision([*stay, *left], [*stay, *came], ledger=ledger, total=ledger.total)
    assert (found.by, found.undecided) == ("ledger", None)
    assert (found.gone, found.returned) == (400, 0)
    assert found.late.tolist() == sorted(came)
    assert found.emitted == Digest.of(array(stay), CELLS)


def test_versions_that_came_back_are_counted() -> None:
    """Rule b: what had gone and came back counts as emitted, and about how many is said."""
    stay, back, left = prints(1, 300), prints(2, 100), prints(3, 200)
    ledger = ledger_of([*stay, *back, *left])
    found = decision([*stay, *left], [*stay, *back], ledger=ledger, total=ledger.total)
    assert (found.by, found.late.tolist()) == ("ledger", [])
    assert 40 <= found.returned <= 160
    assert found.emitted == Digest.of(array([*stay, *back]), CELLS)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "no ledger"),
        ({"ledger": ledger_of(prints(1, 100))}, "not whole"),
        ({"ledger": ledger_of(prints(1, 100)), "total": Total(9, 9)}, "not whole"),
        ({"ledger": LedgerProgress(50, 20)}, "reading"),
        ({"why": "too large"}, "too large"),
        ({"why": "part of a listing", "ledger": ledger_of(prints(1, 300))}, "part of a listing"),
    ],
)
def test_else_it_is_undecided(options: dict[str, Any], why: Why) -> None:
    """Rule c: nothing is late, the digest stays as it is, and the reason is said."""
    stay, left, came = prints(1, 300), prints(2, 400), prints(3, 500)
    found = decision([*stay, *left], [*stay, *came], **options)
    assert found.by is None
    assert found.emitted == Digest.of(array([*stay, *left]), CELLS)
    assert len(found.late) == len(found.late_matching) == 0
    undecided = found.undecided
    assert undecided is not None
    assert (undecided.why, undecided.listed) == (why, 800)
    assert undecided.appeared - undecided.gone == 100
    assert abs(undecided.appeared - 500) <= 2 * undecided.margin
    assert undecided.progress == (LedgerProgress(50, 20) if why == "reading" else None)


def test_changed_selection_uses_the_whole_ledger_alone() -> None:
    """Another filter makes the digest useless; only a ledger that is whole decides."""
    stay, came = prints(1, 300), prints(2, 4)
    whole = ledger_of(stay)
    found = decision([], [*stay[:9], *came], changed=True, ledger=whole, total=whole.total)
    assert (found.by, found.late.tolist()) == ("ledger", sorted(came))
    for options in ({}, {"ledger": whole}, {"ledger": ledger_of(stay[1:]), "total": whole.total}):
        undecided = decision(stay, stay, changed=True, **options).undecided
        assert undecided is not None
        assert undecided.selection_changed
        assert (undecided.listed, undecided.appeared) == (300, 300)


def test_own_batches_belong_to_the_ledger() -> None:
    """Where the digest holds what this tick emits, the ledger is compared with that added."""
    stay, mine, left = prints(1, 300), prints(2, 50), prints(3, 100)
    before = ledger_of([*stay, *left])
    emitted = [*stay, *left, *mine]
    found = decision(emitted, [*stay, *mine], ledger=before, total=before.total, own=mine)
    assert (found.by, found.late.tolist()) == ("ledger", [])
    without = decision(emitted, [*stay, *mine], ledger=before, total=before.total)
    assert without.late.tolist() == sorted(mine)


def test_unknown_past_is_taken_from_the_listing() -> None:
    """Without a digest (an adopted beginning), what is listed counts as emitted."""
    found = decision(None, prints(1, 9))
    assert (found.by, found.late.tolist()) == ("adopted", [])
    assert found.emitted == Digest.of(array(prints(1, 9)), CELLS)


def test_move_to_another_class_is_no_change() -> None:
    """However many files a lifecycle rule moves, nothing is late and nothing is gone."""
    objects = prints(1, 500)
    found = decision(objects, objects, matching=objects[:7])
    assert (found.by, found.gone, found.late.tolist()) == ("digest", 0, [])
    assert found.emitted == Digest.of(array(objects), CELLS)


def test_files_of_another_class_hide_nothing() -> None:
    """Thousands of archived files that were never emitted do not hide a late one."""
    stay, archived, came = prints(1, 100), prints(2, 3000), prints(3, 5)
    found = decision(stay, [*stay, *archived, *came], matching=[*stay, *came])
    assert (found.by, found.undecided) == ("digest", None)
    assert found.late_matching.tolist() == sorted(came)
    assert found.late.tolist() == sorted([*archived, *came])
    assert found.emitted == Digest.of(array(stay), CELLS)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.booleans(), st.data())
def test_what_is_decided_is_true(
    stay: int, gone: int, late: int, is_whole: bool, data: st.DataObject
) -> None:
    """Whatever runs are missing, what counts as late was never emitted, and nothing is missed."""
    kept, left, came = prints(1, stay), prints(2, gone), prints(3, late)
    everything = [*kept, *left]
    recorded = everything
    if not is_whole:
        recorded = [each for each in everything if data.draw(st.booleans())]
    total = ledger_of(everything).total
    found = decision(everything, [*kept, *came], ledger=ledger_of(recorded), total=total)
    if found.undecided is not None:
        assert not is_whole
        return
    assert found.late.tolist() == sorted(came)
    assert found.emitted == Digest.of(array(kept), CELLS)
    assert found.gone == gone


OLD = [make_object(f"old/{number:04}", number) for number in range(1000)]


def after_all(objects: list[S3Object], now: float = DAY) -> Checkpoint:
    """A checkpoint after all of these have been emitted; most lie at or below its watermark."""
    checkpoint = scan_all(FIRST, objects, now).checkpoint
    assert checkpoint.watermark is not None
    return checkpoint


def test_worked_example() -> None:
    """The example at the head of the module, in ticks each of a new process."""

    def begun(has_ledger: bool = True) -> tuple[Sensor, list[S3Object]]:
        limits = limits_of(late_file_capacity=3, lookback=timedelta(0))
        sensor = Sensor(limits, remembers=False, has_ledger=has_ledger)
        objects = [make_object(key, number) for number, key in enumerate("abcd")]
        sensor.tick(objects, 10)
        assert sensor.checkpoint.watermark == objects[3].position
        return sensor, objects

    sensor, objects = begun()
    left = [*objects[1:], make_object("x", 2)]
    result = sensor.tick(left, 11)
    seen = result.statistics
    assert (seen.decided_by, seen.gone, seen.found_late, sensor.reads) == ("digest", 1, 1, 0)
    assert keys_of(sensor.tick(left, 12).objects) == ["x"]

    replaced = [make_object(key, 2) for key in "efghx"]
    sensor, _ = begun()
    seen = sensor.tick(replaced, 11).statistics
    assert (seen.decided_by, seen.gone, seen.found_late, sensor.reads) == ("ledger", 4, 5, 1)
    assert keys_of(sensor.tick(replaced, 12).objects) == list("efghx")

    sensor, _ = begun(has_ledger=False)
    seen = sensor.tick(replaced, 11).statistics
    assert seen.undecided is not None
    assert seen.undecided.why == "no ledger"
    assert sensor.tick(replaced, 12).objects == ()


@pytest.mark.parametrize("age", [1, 3600, 30 * DAY])
def test_file_below_the_watermark_comes_one_scan_later(age: float) -> None:
    """Without an index, a late file is found by one scan and emitted by the next."""
    checkpoint = after_all(OLD)
    objects = [*OLD, make_object("late", 998 - age)]
    first = scan_all(checkpoint, objects)
    assert (keys_of(first.objects), first.statistics.found_late) == ([], 1)
    second = scan_all(first.checkpoint, objects)
    assert (keys_of(second.objects), second.statistics.files_late) == (["late"], 1)
    assert scan_all(second.checkpoint, objects).objects == ()


def test_late_files_come_before_new_ones() -> None:
    """Late files are the oldest, so they are emitted first; limits hold for them too."""
    late = [make_object(f"late{number}", -number) for number in range(3)]
    objects = [*OLD, *late, make_object("new", DAY)]
    checkpoint = scan_all(after_all(OLD), objects[:-1]).checkpoint
    found = []
    for _ in range(3):
        result = scan_all(checkpoint, objects, files=2)
        found.append(keys_of(result.objects))
        checkpoint = result.checkpoint
    assert found == [["late2", "late1"], ["late0", "new"], []]


def test_late_file_that_goes_again_is_forgotten() -> None:
    """A late file that is deleted before it is emitted leaves nothing behind."""
    checkpoint = after_all(OLD)
    found = scan_all(checkpoint, [*OLD, make_object("late", 5)]).checkpoint
    assert len(found.late) == 1
    assert scan_all(found, OLD).checkpoint == checkpoint


def test_deletions_and_overwrites_are_counted() -> None:
    """What was emitted and is gone is counted once, above and below the watermark."""
    objects = [*OLD, make_object("a", DAY - 1), make_object("b", DAY - 1)]
    checkpoint = after_all(objects)
    left = [*OLD[3:], make_object("b", DAY - 1)]
    result = scan_all(checkpoint, left)
    assert result.statistics.gone == 4
    assert scan_all(result.checkpoint, left).statistics.gone == 0


@pytest.mark.parametrize(("gone", "late"), [(0, 400), (400, 0), (250, 150), (1, 399)])
def test_four_hundred_changes_are_told_apart(gone: int, late: int) -> None:
    """At the default capacity, 400 files that appear or go between two scans are all found."""
    arrivals = make_objects("late/", late, 500)
    objects = OLD[gone:] + arrivals
    checkpoint, found = after_all(OLD), []
    for _ in range(4):
        result = scan_all(checkpoint, objects)
        assert result.statistics.undecided is None
        found += result.objects
        checkpoint = result.checkpoint
    assert sorted(found) == sorted(arrivals)


@pytest.mark.parametrize("remembers", [True, False])
def test_file_that_a_storage_class_kept_out_comes_when_it_matches(remembers: bool) -> None:
    """A file that was passed by for its class is emitted once it matches."""
    only = ObjectFilter(storage_classes="STANDARD_IA").selection("")
    sensor = Sensor(selection=only, remembers=remembers)
    infrequent = make_object("ia", 1, storage_class="STANDARD_IA")
    for _ in range(2):
        sensor.tick([infrequent, make_object("x", 0)])
    moved = [infrequent, make_object("x", 0, storage_class="STANDARD_IA")]
    for _ in range(3):
        sensor.tick(moved)
    assert keys_of(sensor.emitted) == ["ia", "x"]


@pytest.mark.parametrize("remembers", [True, False])
def test_lifecycle_of_all_files_is_no_news(remembers: bool) -> None:
    """However many files a lifecycle rule moves to an archive class, nothing seems to change."""
    sensor = Sensor(selection=ObjectFilter().selection(""), remembers=remembers)
    sensor.tick(OLD)
    archived = [each._replace(storage_class="GLACIER") for each in OLD]
    for listed in (archived, archived, OLD):
        seen = sensor.tick(listed).statistics
        assert (seen.gone, seen.found_late, seen.undecided, seen.files) == (0, 0, None, 0)
    assert sensor.reads == 0


def test_late_file_that_changes_its_class_waits_for_another() -> None:
    """A late file that is archived before it was emitted comes when it is restored, and once."""
    sensor = Sensor(selection=ObjectFilter().selection(""), remembers=False)
    sensor.tick(OLD)
    late = make_object("late", 5)
    archived = late._replace(storage_class="GLACIER")
    for shown, waits in ((late, 1), (archived, 0), (archived, 0)):
        result = sensor.tick([*OLD, shown])
        assert (result.objects, len(result.checkpoint.late)) == ((), waits)
    for _ in range(3):
        sensor.tick([*OLD, late])
    assert sensor.emitted[len(OLD) :] == [late]


def test_undecided_files_are_not_given_up() -> None:
    """While it is undecided, what lies above the watermark goes on, and the digest stays."""
    sensor = Sensor(limits_of(late_file_capacity=12), remembers=False, has_ledger=False)
    sensor.tick(OLD)
    before = sensor.checkpoint
    arrivals = make_objects("late/", 300, 500)
    for number in range(3):
        new = make_object(f"new{number}", DAY - 60 + number)
        result = sensor.tick([*OLD, *arrivals, new], DAY + number)
        assert keys_of(result.objects) == [f"new{number}"]
        assert result.statistics.undecided is not None
        assert result.checkpoint.undecided >= 300
        assert result.checkpoint.emitted == before.emitted
        assert result.index is None
    sensor.has_ledger = True
    for _ in range(3):
        sensor.tick([*OLD, *arrivals], DAY + 4)
    assert set(arrivals) <= set(sensor.emitted)
    assert sensor.checkpoint.undecided == 0


def test_ledger_is_read_over_several_ticks() -> None:
    """While the ledger is being read, it is undecided; once it has been, all late files come."""
    sensor = Sensor(limits_of(late_file_capacity=12), remembers=False)
    sensor.tick(OLD)
    arrivals = make_objects("late/", 300, 500)
    sensor.progress = LedgerProgress(runs=10, runs_read=4)
    undecided = sensor.tick([*OLD, *arrivals]).statistics.undecided
    assert undecided is not None
    assert (undecided.why, undecided.progress) == ("reading", sensor.progress)
    sensor.progress = None
    for _ in range(3):
        sensor.tick([*OLD, *arrivals])
    assert sorted(sensor.emitted) == sorted([*OLD, *arrivals])


def test_lookback_is_only_how_long_each_file_is_remembered() -> None:
    """With a lookback of zero, what appears late is still found, one scan later."""
    no_lookback = timedelta(0)
    checkpoint = scan_all(FIRST, OLD, lookback=no_lookback).checkpoint
    assert checkpoint.recent == frozenset()
    objects = [*OLD, make_object("late", 998)]
    for expected in ([], ["late"], []):
        result = scan_all(checkpoint, objects, lookback=no_lookback)
        assert keys_of(result.objects) == expected
        checkpoint = result.checkpoint


def test_adopted_beginning_knows_what_is_older_than_its_runs() -> None:
    """Rule a, second try, from end to end: what was adopted is in no run, and is not late."""
    sensor = Sensor(limits_of(late_file_capacity=12), remembers=False)
    sensor.tick(OLD, DAY, adopt=True)
    assert sensor.checkpoint.total is None
    fresh = make_objects("fresh/", 300, DAY + 10)
    sensor.tick([*OLD, *fresh], DAY + 20)
    last = make_object("last", DAY + 1000)
    sensor.tick([*OLD, *fresh, last], 2 * DAY)
    late = make_objects("late/", 300, DAY + 500)
    for _ in range(3):
        sensor.tick([*OLD, *fresh, *late, last], 2 * DAY)
    assert sorted(sensor.emitted) == sorted([*fresh, *late, last])
    assert (sensor.checkpoint.undecided, sensor.reads) == (0, 1)
