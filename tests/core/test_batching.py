from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.batching import (
    Batch,
    BatchPolicy,
    Choice,
    RequestSize,
    ScanLimits,
    choose,
    most_that_fit,
    request_bytes,
)
from dagster_s3inc.core.candidates import NO_GROUP, Candidates
from dagster_s3inc.core.columns import Columns, microseconds
from dagster_s3inc.core.iblt import CELLS, Digest, decode
from dagster_s3inc.core.objects import S3Object, format_time
from dagster_s3inc.errors import ConfigurationError
from tests.core.making import KEYS, at, listings, make_object

POLICIES = st.builds(
    BatchPolicy,
    max_files=st.integers(1, 8),
    max_bytes=st.none() | st.integers(1, 30),
    linger=st.none() | st.builds(timedelta, seconds=st.integers(1, 9)),
)

REQUESTS = st.none() | st.builds(
    RequestSize,
    most=st.integers(0, 3000),
    tick=st.integers(0, 500),
    partial_scan=st.integers(0, 500),
    batch=st.integers(0, 400),
    jobs=st.integers(1, 2),
    group_copies=st.integers(0, 3),
)

NAMES = ("", "é", "long name")


def candidates_of(objects: Sequence[S3Object], groups: Sequence[int] | None = None) -> Candidates:
    """The objects in position order, as a scan has them; each in its group."""
    columns = Columns.of(objects)
    numbers = [NO_GROUP] * len(objects) if groups is None else list(groups)
    return Candidates(
        columns,
        columns.fingerprints(),
        np.zeros(len(objects), np.int32),
        np.array(numbers, np.int32),
    )


def cut(objects: Sequence[S3Object], policy: BatchPolicy, **options: Any) -> list[list[str]]:
    """The keys of each batch."""
    others = {name: options.pop(name) for name in ("now", "is_partial") if name in options}
    limits = ScanLimits(policy=policy, **{"max_batches": 10**6, **options})
    choice = choose(candidates_of(objects), limits, (), **others)
    return [[objects[row].key for row in rows] for rows in choice.batches]


def file_bytes(each: S3Object, request: RequestSize | None) -> int:
    """What one file takes in the run requests of its batch."""
    return request_bytes(candidates_of([each]), request)


def choose_one_by_one(
    objects: Sequence[S3Object],
    groups: Sequence[int],
    policy: BatchPolicy,
    *,
    max_batches: int,
    request: RequestSize | None,
    is_partial: bool,
    now: int | None,
) -> tuple[list[list[int]], list[int], bool]:
    """The same choice as `choose` makes, object by object."""
    left = 10**9
    if request is not None:
        left = max(0, request.most - request.tick - is_partial * request.partial_scan)
    longest, made, held = left, [], []
    by_group: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        by_group[group].append(row)

    def weight(rows: Sequence[int]) -> int:
        return sum(objects[row].size for row in rows)

    def length(rows: Sequence[int]) -> int:
        if request is None:
            return 0
        name = "" if groups[rows[0]] == NO_GROUP else NAMES[groups[rows[0]]]
        base = request.batch + request.group_copies * (len(json.dumps(name)) - 2)
        return base + sum(file_bytes(objects[row], request) for row in rows)

    for rows in by_group.values():
        batch: list[int] = []
        for row in rows:
            more = [*batch, row]
            heavy = policy.max_bytes is not None and weight(more) > policy.max_bytes
            if batch and (len(more) > policy.max_files or heavy or length(more) > longest):
                made.append(batch)
                more = [row]
            batch = more
        full = len(batch) == policy.max_files
        full |= policy.max_bytes is not None and weight(batch) >= policy.max_bytes
        lingers = policy.linger is not None and now is not None and not full
        first = microseconds(objects[batch[0]].last_modified)
        if lingers and policy.linger is not None and now is not None:
            lingers = first > now - policy.linger // timedelta(microseconds=1)
        (held if lingers else made).append(batch)
    chosen: list[list[int]] = []
    for batch in sorted(made):
        if len(chosen) == max_batches or (chosen and length(batch) > left):
            return chosen, sorted(row for each in held for row in each), False
        chosen.append(batch)
        left -= length(batch)
    return chosen, sorted(row for each in held for row in each), True


@given(
    listings(max_size=20),
    POLICIES,
    REQUESTS,
    st.integers(0, 6),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 20),
    st.randoms(use_true_random=True),
)
def test_choice_is_that_of_one_object_after_the_other(
    objects: list[S3Object],
    policy: BatchPolicy,
    request: RequestSize | None,
    max_batches: int,
    is_grouped: bool,
    is_partial: bool,
    now: int | None,
    random: Any,
) -> None:
    """Bounds, groups, lingering and the size of run requests: as if objects came one by one."""
    objects = sorted(objects)
    groups = [random.randrange(3) if is_grouped else NO_GROUP for _ in objects]
    moment = None if now is None else microseconds(at(now))
    found = choose(
        candidates_of(objects, groups),
        ScanLimits(policy=policy, max_batches=max_batches, request_size=request),
        NAMES,
        is_partial=is_partial,
        now=moment,
    )
    batches, held, is_all = choose_one_by_one(
        objects,
        groups,
        policy,
        max_batches=max_batches,
        request=request,
        is_partial=is_partial,
        now=moment,
    )
    assert [rows.tolist() for rows in found.batches] == batches
    assert (sorted(found.held.tolist()), found.is_all) == (held, is_all)
    assert found.chosen.tolist() == [row for batch in batches for row in batch]


def test_worked_example() -> None:
    """The example at the head of the module: two full batches, and one file that lingers."""
    objects = [make_object(key, minute * 60) for minute, key in enumerate("abcde")]
    policy = BatchPolicy(max_files=2, linger=timedelta(minutes=10))

    def choice(minutes: int) -> tuple[list[list[int]], list[int]]:
        now = microseconds(at(minutes * 60))
        found: Choice = choose(
            candidates_of(objects), ScanLimits(policy=policy, max_batches=9), (), now=now
        )
        return [rows.tolist() for rows in found.batches], found.held.tolist()

    assert choice(10) == ([[0, 1], [2, 3]], [4])
    assert choice(13) == ([[0, 1], [2, 3]], [4])
    assert choice(14) == ([[0, 1], [2, 3], [4]], [])
    assert cut([*objects, make_object("f", 300)], policy) == [["a", "b"], ["c", "d"], ["e", "f"]]


def test_object_beyond_max_bytes_is_a_batch_of_its_own() -> None:
    """An object larger than max_bytes is emitted alone, not left out."""
    sizes = [3, 50, 3, 3, 50]
    objects = [make_object(f"k{index}", index, size=size) for index, size in enumerate(sizes)]
    assert cut(objects, BatchPolicy(max_bytes=10)) == [["k0"], ["k1"], ["k2", "k3"], ["k4"]]


def test_full_batch_does_not_linger() -> None:
    """A batch with as many files or bytes as it may have waits for no others."""
    objects = [make_object("a", size=5), make_object("b", size=5)]
    for options in ({"max_files": 2}, {"max_bytes": 10}):
        policy = BatchPolicy(**options, linger=timedelta(hours=1))
        assert cut(objects, policy, now=microseconds(at(0))) == [["a", "b"]]
        assert cut(objects[:1], policy, now=microseconds(at(0))) == []


def test_first_batch_is_requested_however_large() -> None:
    """A file whose run request is larger than the bound is requested alone."""
    objects = [make_object(f"{number:04}", number) for number in range(30)]
    for most in (0, 1, 1500):
        batches = cut(objects, BatchPolicy(max_files=50), request_size=RequestSize(most))
        assert batches == [["0000"]]


def test_run_requests_keep_to_their_bytes() -> None:
    """All run requests of a tick together take no more bytes than they may."""
    objects = [make_object(f"{number:03}", number) for number in range(100)]
    for most in (4000, 10_000, 40_000):
        request = RequestSize(most, tick=500, partial_scan=700, batch=400)
        for is_partial in (False, True):
            batches = cut(
                objects, BatchPolicy(max_files=9), request_size=request, is_partial=is_partial
            )
            files = [make_object(key) for batch in batches for key in batch]
            taken = 500 + is_partial * 700 + 400 * len(batches)
            taken += sum(file_bytes(each, request) for each in files)
            assert batches
            assert taken <= most


@given(st.lists(st.tuples(KEYS, st.integers(0, 2**62)), min_size=1, max_size=9), st.integers(1, 3))
def test_files_take_no_more_bytes_than_reckoned(files: list[tuple[str, int]], jobs: int) -> None:
    """What is reckoned for files is at least what their JSON takes, on every job."""
    objects = [make_object(key, 0.123456, etag="9a0364b9e99bb480", size=n) for key, n in files]
    written = [
        {
            "key": each.key,
            "size": each.size,
            "last_modified": format_time(each.last_modified),
            "etag": each.etag,
            "storage_class": each.storage_class,
        }
        for each in objects
    ]
    found = request_bytes(candidates_of(objects), RequestSize(1, jobs=jobs))
    assert found >= jobs * (len(json.dumps(written)) - 2)


@given(st.integers(0, 40), st.integers(0, 40))
def test_most_that_fit_is_the_most(count: int, bound: int) -> None:
    """The greatest number that fits is found, with what was made of it."""
    fits = min(count, bound)
    found = most_that_fit(count, lambda number: f"{number} made" if number <= bound else None)
    assert found == (fits, f"{fits} made" if fits or not count else None)


@given(listings(max_size=6), listings(max_size=6))
def test_id_is_that_of_the_versions(one: list[S3Object], other: list[S3Object]) -> None:
    """Two batches have the same id exactly if they hold the same versions in the same order."""
    versions = [[each.fingerprint for each in objects] for objects in (one, other)]
    ids = [Batch.of(objects).id for objects in (one, other)]
    assert all(re.fullmatch("[0-9a-f]{24}", each) for each in ids)
    assert (ids[0] == ids[1]) == (versions[0] == versions[1])


def test_id_is_part_of_the_stored_format() -> None:
    """Ids are in run keys and tags, so they stay as they are for all time."""
    assert Batch((), (1, 2**64 - 1)).id == "50e40a76c99a995c4297b1bb"


def test_id_follows_versions_and_not_storage() -> None:
    """A new ETag makes a new id, a lifecycle transition does not."""
    batch, first = Batch.of([make_object("a"), make_object("b")]), make_object("a")
    moved = Batch.of([make_object("a", storage_class="STANDARD_IA"), make_object("b")])
    changed = Batch.of([make_object("a"), make_object("b", etag="e2")])
    assert moved.id == batch.id
    assert len({batch.id, changed.id, Batch.of([first]).id}) == 3


def test_batches_of_all_groups_come_in_the_order_of_their_oldest() -> None:
    """However objects are grouped, batches are emitted in the order of their oldest objects."""
    objects = [make_object(f"k{number}", number) for number in range(9)]
    found = choose(
        candidates_of(objects, [0, 1, 0, 1, 2, 0, 1, 2, 2]),
        ScanLimits(policy=BatchPolicy(max_files=2), max_batches=9),
        NAMES,
    )
    batches = [rows.tolist() for rows in found.batches]
    assert batches == [[0, 2], [1, 3], [4, 7], [5], [6], [8]]
    assert all(one[0] < other[0] for one, other in pairwise(batches))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_files": 0}, "max_files must be at least 1 (files in a batch), not 0"),
        ({"max_files": True}, "max_files must be a whole number of files in a batch, not True"),
        ({"max_files": "5"}, "max_files must be a whole number of files in a batch, not '5'"),
        ({"max_files": None}, "max_files must be a whole number of files in a batch, not None"),
        ({"max_bytes": 0}, "max_bytes must be at least 1 (bytes in a batch), not 0"),
        (
            {"max_bytes": 1e9},
            "max_bytes must be a whole number of bytes in a batch, not 1000000000",
        ),
        ({"linger": timedelta(0)}, "linger must be a timedelta of more than zero"),
        ({"linger": 60}, "linger must be a timedelta of more than zero, not 60"),
    ],
)
def test_wrong_bounds_are_refused(options: dict[str, Any], message: str) -> None:
    """A bound that is not a whole number of at least one is refused, and the message names it."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        BatchPolicy(**options)


@given(st.integers(1, 1500))
def test_capacity_is_what_a_digest_tells_apart(capacity: int) -> None:
    """A digest has cells for half as many again as the files that it is to tell apart."""
    cells = ScanLimits(late_file_capacity=capacity).cells
    assert cells % 4 == 0
    assert cells >= max(8, capacity * 1.5)
    assert cells < capacity * 1.5 + 8
    few = frozenset(range(1, 2 + min(capacity, 3) // 2))
    assert decode(Digest.of(few, cells)) == (few, frozenset())


def test_defaults_are_those_of_the_cursor() -> None:
    """By default a digest tells 400 files apart, in as many cells as digests have."""
    assert ScanLimits().cells == CELLS == 600
    assert (ScanLimits().recent_limit, ScanLimits().late_limit) == (512, 256)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batches": -1}, "max_batches must be at least 0 (batches), not -1"),
        ({"max_batches": 1.5}, "max_batches must be a whole number of batches, not 1.5"),
        ({"late_file_capacity": 0}, "late_file_capacity must be at least 1 (files), not 0"),
        ({"late_file_capacity": "9"}, "late_file_capacity must be a whole number of files"),
        ({"late_file_capacity": 10**6}, "late_file_capacity is 1,000,000 files; at most 43,690"),
        ({"recent_limit": 1}, "recent_limit must be at least 2 (fingerprints), not 1"),
        ({"lookback": timedelta(-1)}, "lookback must be a timedelta of zero or more"),
        ({"lookback": timedelta(40_000)}, "at most 36500 days"),
        ({"lookback": 3600}, "lookback must be a timedelta of zero or more"),
    ],
)
def test_wrong_limits_are_refused(options: dict[str, Any], message: str) -> None:
    """A limit that is wrong is refused, and the message names it."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        ScanLimits(**options)
