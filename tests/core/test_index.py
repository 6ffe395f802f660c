from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_s3inc.core import index as module
from dagster_s3inc.core.batching import BatchPolicy, ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.classify import Classifier
from dagster_s3inc.core.columns import microseconds
from dagster_s3inc.core.filters import Selection
from dagster_s3inc.core.index import (
    NO_FINGERPRINTS,
    Index,
    Segment,
    Stretch,
    members,
    stretches,
    united,
)
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import ColumnsPage, Page, Rest
from dagster_s3inc.core.scan import scan
from dagster_s3inc.errors import KeyOrderError
from tests.core.making import DAY, FIRST, RANDOMS, at, byte_pages, keys_of, make_object, page

ALL = ScanLimits(policy=BatchPolicy(max_files=1000), max_batches=1000)

OBJECTS = [make_object(f"k/{number:04}", number) for number in range(400)]
"""Ten segments of 40 objects, each of four pages."""

_PAGE = 10


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OBJECTS", 40)


def tick(
    objects: Iterable[S3Object],
    before: ScanResult | None = None,
    *,
    now: float = DAY,
    size: int = _PAGE,
    limits: ScanLimits = ALL,
) -> ScanResult:
    """A scan that follows another one in the same process."""
    checkpoint, index = FIRST, None
    if before is not None:
        checkpoint, index = before.checkpoint, before.index
    pages = byte_pages(objects, size)
    return scan(checkpoint, pages, now=at(now), limits=limits, index=index)


def read(objects: Iterable[S3Object], before: ScanResult, *, size: int = _PAGE) -> list[Stretch]:
    """The stretches that the next scan has to read."""
    may_skip = Classifier(before.checkpoint, before.index, Selection()).may_skip
    found = stretches(byte_pages(objects, size), before.index, may_skip=may_skip)
    assert not isinstance(found, Rest)
    return [each for each in found if isinstance(each, Stretch) and each.unchanged is None]


def test_worked_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The example at the head of the module: five files, three scans."""
    monkeypatch.setattr(module, "_OBJECTS", 4)
    objects = [make_object(key) for key in "abcde"]

    def segments(result: ScanResult) -> list[tuple[bytes, int]]:
        assert result.index is not None
        return [(each.start, len(each.fingerprints)) for each in result.index.segments]

    first = tick(objects, size=2)
    assert segments(first) == [(b"", 4), (b"e", 1)]
    objects.insert(2, make_object("bb"))
    [changed] = read(objects, first, size=2)
    assert (changed.start, changed.objects) == (b"", 5)
    second = tick(objects, first, size=2)
    assert keys_of(second.objects) == ["bb"]
    del objects[4]
    [changed] = read(objects, second, size=2)
    assert changed.start == b""
    third = tick(objects, second, size=2)
    assert (third.statistics.gone, segments(third)) == (1, [(b"", 4), (b"e", 1)])


@pytest.mark.parametrize("size", [1, 7, 10, 13, 1000])
def test_what_did_not_change_is_not_read(size: int) -> None:
    """However the pages are cut, a listing with the same entries is skipped."""
    assert read(OBJECTS, tick(OBJECTS), size=size) == []


def without(*numbers: int) -> list[S3Object]:
    """The listing after these were deleted."""
    return [each for number, each in enumerate(OBJECTS) if number not in numbers]


def with_more(*keys: str) -> list[S3Object]:
    """The listing after these were written."""
    return sorted([*OBJECTS, *map(make_object, keys)], key=lambda each: each.key)


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        (with_more("k/0101x"), [41]),
        (with_more("a"), [41]),
        (with_more("k/0399x"), [41]),
        (with_more("z"), [41]),
        (with_more("k/0101x", "k/0102x"), [42]),
        (with_more("k/0101x", "k/0202x"), [41, 41]),
        (without(101), [39]),
        (without(0), [39]),
        (without(399), [39]),
        (without(101, 202), [39, 39]),
        ([each for each in with_more("k/0101x") if each.key != "k/0202"], [41, 39]),
        (without(*range(100, 111)), [29]),
        (without(*range(120, 160)), [40]),
    ],
)
@pytest.mark.parametrize("size", [10, 11, 1000])
def test_only_what_changed_is_read(objects: list[S3Object], expected: list[int], size: int) -> None:
    """One file written or deleted shifts all pages behind it; one segment is read."""
    before = tick(OBJECTS)
    assert before.index is not None
    assert len(before.index.segments) == 10
    found = read(objects, before, size=size)
    assert [each.objects for each in found] == expected
    after = tick(objects, before)
    assert read(objects, after) == []
    assert sorted(after.objects) == sorted(set(objects) - set(OBJECTS))
    assert after.statistics.gone == len(set(OBJECTS) - set(objects))


def test_segments_are_one_after_their_border_was_deleted() -> None:
    """Where the first key of a segment is deleted, it is read with the one before, once."""
    before = tick(OBJECTS)
    objects = [each for each in OBJECTS if each.key != "k/0080"]
    assert before.index is not None
    assert before.index.segments[2].start == b"k/0080"
    assert [each.objects for each in read(objects, before)] == [39]
    assert sum(each.objects for each in read(objects, before, size=7)) == 79
    after = tick(objects, before)
    assert after.statistics.gone == 1
    assert read(objects, after) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda each: each._replace(etag="e2"),
        lambda each: each._replace(last_modified=at(DAY)),
        lambda each: each._replace(size=2),
        lambda each: each._replace(storage_class="GLACIER"),
    ],
)
def test_changed_entry_is_read(change: Callable[[S3Object], S3Object]) -> None:
    """Whatever changes of an entry, its segment is read; only another version is new."""
    before = tick(OBJECTS)
    objects = list(OBJECTS)
    objects[205] = change(objects[205])
    [found] = read(objects, before)
    assert found.objects == 40
    after = tick(objects, before)
    is_new = objects[205].fingerprint != OBJECTS[205].fingerprint
    assert after.objects == ((objects[205],) if is_new else ())


def test_segment_in_which_something_waits_is_read() -> None:
    """A file that was found and not emitted is found again, though no byte changed."""
    first = tick(OBJECTS, limits=ScanLimits(policy=BatchPolicy(max_files=100), max_batches=3))
    assert len(first.objects) == 300
    found = read(OBJECTS, first)
    assert sum(each.objects for each in found) == 120, "From 280 on: the first of them waits."
    assert tick(OBJECTS, first).objects == tuple(OBJECTS[300:])


def test_segment_above_the_watermark_is_read() -> None:
    """What is emitted above the watermark is remembered one by one, so it has to be seen."""
    first = tick(OBJECTS, now=3600 + 299.5)
    assert first.checkpoint.watermark == OBJECTS[299].position
    assert sum(each.objects for each in read(OBJECTS, first)) == 120
    second = tick(OBJECTS, first, now=DAY)
    assert second.objects == ()
    assert read(OBJECTS, second) == []


def test_only_positions_decide_what_lies_below_the_watermark() -> None:
    """A segment in whose newest second the watermark lies is skipped if its key lies below too."""
    second = microseconds(at(7))

    def may_skip(newest: tuple[int, bytes] | None, waiting: int = 0) -> bool:
        checkpoint = Checkpoint(watermark=Position(at(7), "k1"))
        segment = Segment(b"", NO_FINGERPRINTS, b"hash", newest, waiting=waiting)
        return Classifier(checkpoint, None, Selection()).may_skip(segment)

    assert may_skip((second, b"k1"))
    assert not may_skip((second, b"k2"))
    assert may_skip((second - 1, b"k2"))
    assert not may_skip((second, b"k0"), waiting=1)
    assert may_skip(None)


def test_page_without_bytes_is_read() -> None:
    """A page that only a real parser can read is never skipped, and changes nothing."""
    first = tick(OBJECTS)
    odd: list[Page] = byte_pages(OBJECTS, _PAGE)
    odd[7] = page(OBJECTS[70:80])
    for _ in range(2):
        may_skip = Classifier(first.checkpoint, first.index, Selection()).may_skip
        found = list(stretches(odd, first.index, may_skip=may_skip))
        [changed] = [e for e in found if isinstance(e, Stretch) and e.unchanged is None]
        assert changed.content is None
        first = scan(first.checkpoint, odd, now=at(DAY), limits=ALL, index=first.index)
        assert (first.objects, first.statistics.gone) == ((), 0)


class Garbled:
    """A page whose bytes look like entries, but are not read as a parser reads them."""

    def __init__(self, objects: list[S3Object]) -> None:
        [self._page] = byte_pages(objects, 1000)
        self._content = page(objects).content

    def __getattr__(self, name: str) -> object:
        return getattr(self._page, name)

    def __len__(self) -> int:
        return len(self._page)

    def columns(self, start: int = 0, end: int | None = None) -> None:
        """Nothing: only a parser can tell."""

    def parsed(self) -> object:
        """The whole page."""
        return self._content


def test_piece_of_a_page_that_only_a_parser_reads() -> None:
    """Where a segment begins within such a page, each entry is seen once."""
    first = tick(OBJECTS)
    for start, end in ((35, 45), (75, 125), (0, 400)):
        pages: list[Page] = [
            *byte_pages(OBJECTS[:start], _PAGE),
            Garbled(OBJECTS[start:end]),  # type: ignore[list-item]
            *byte_pages(OBJECTS[end:], _PAGE),
        ]
        result = scan(first.checkpoint, pages, now=at(DAY), limits=ALL, index=first.index)
        assert (result.objects, result.statistics.gone) == ((), 0)
        assert result.statistics.objects_listed == 400
        assert result.index is not None
        assert len(result.index.all_fingerprints()) == 400


def frozen(index: Index) -> list[tuple[object, ...]]:
    """What an index holds, as values of its own."""
    return [(each.fingerprints.tolist(), *each[2:], each.start) for each in index.segments]


def test_index_is_never_changed_in_place() -> None:
    """A scan makes the next index from the one before, and shares what did not change."""
    before = tick(OBJECTS)
    assert before.index is not None
    held = frozen(before.index)
    for each in before.index.segments:
        each.fingerprints.flags.writeable = False
    objects = [*without(5, 6, 230), make_object("z")]
    after = tick(objects, before)
    assert frozen(before.index) == held
    assert after.index is not None
    shared = [
        one is other for one, other in zip(before.index.segments, after.index.segments, strict=True)
    ]
    assert shared == [False, True, True, True, True, False, True, True, True, False]
    assert tick(OBJECTS, before).objects == ()


@settings(max_examples=60)
@given(RANDOMS, st.integers(1, 12))
def test_index_is_what_was_emitted_and_is_listed(random: Random, size: int) -> None:
    """Whatever is written and deleted, however pages are cut, the index is exact."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_OBJECTS", 4)
        bucket: dict[str, S3Object] = {}
        result: ScanResult | None = None
        emitted: set[int] = set()
        for moment in range(8):
            for _ in range(random.choice([0, 1, 1, 2, 8])):
                key = f"{random.randrange(40):02}"
                if random.random() < 0.4:
                    bucket.pop(key, None)
                else:
                    bucket[key] = make_object(key, random.choice([moment, moment * 2000]))
            pages: list[Page] = byte_pages(bucket.values(), random.randint(1, size))
            if pages and random.random() < 0.2:
                odd = random.randrange(len(pages))
                pages[odd] = ColumnsPage(pages[odd].parsed())
            limits = ScanLimits(
                policy=BatchPolicy(max_files=1), max_batches=random.choice([0, 2, 100])
            )
            result = scan(
                FIRST if result is None else result.checkpoint,
                pages,
                now=at(20_000),
                limits=limits,
                index=None if result is None else result.index,
            )
            listed = {each.fingerprint for each in bucket.values()}
            found = {each.fingerprint for each in result.objects}
            assert not found & emitted, "Nothing twice."
            emitted = (emitted | found) & listed
            assert result.index is not None
            assert sorted(result.index.all_fingerprints().tolist()) == sorted(emitted)
            starts = result.index.starts()
            assert starts[0] == b""
            assert starts == sorted(set(starts))
            assert result.statistics.files_waiting == len(listed - emitted)
            check_segments(result, bucket, emitted)


def check_segments(result: ScanResult, bucket: dict[str, S3Object], emitted: set[int]) -> None:
    """Each segment tells of the objects that lie in it."""
    assert result.index is not None
    segments = result.index.segments
    ends = [*result.index.starts()[1:], module.END]
    for segment, end in zip(segments, ends, strict=True):
        inside = [e for e in bucket.values() if segment.start <= e.key.encode() < end]
        assert segment.objects == len(inside)
        assert segment.bytes == sum(each.size for each in inside)
        prints = {each.fingerprint for each in inside}
        assert set(segment.fingerprints.tolist()) == prints & emitted
        assert segment.waiting == len(prints - emitted)
        assert np.all(np.diff(segment.fingerprints.astype(object)) > 0)
        keys = sorted(each.key.encode() for each in inside)
        assert segment.last_key == (keys[-1] if keys else b"")


def test_segments_stay_of_one_size() -> None:
    """However much is written and deleted over time, segments stay few and small."""
    random = Random(1)  # noqa: S311 # not a secret
    bucket = {each.key: each for each in OBJECTS}
    result = tick(bucket.values())
    for moment in range(40):
        for _ in range(60):
            number = random.randrange(800)
            key = f"k/{number:04}x"
            if random.random() < 0.5:
                bucket.pop(key, None)
                bucket.pop(f"k/{number:04}", None)
            else:
                bucket[key] = make_object(key, moment)
        result = tick(bucket.values(), result, size=random.choice([9, 10, 50]))
        assert result.index is not None
        sizes = [each.objects for each in result.index.segments]
        assert max(sizes) <= 2 * 40 + 50 + 40
        assert len(sizes) <= 3 + 2 * len(bucket) / 40


def test_index_beyond_its_bound_is_not_kept() -> None:
    """An index takes 8 bytes for each object, and a larger one than allowed is not kept."""
    result = tick(OBJECTS)
    assert result.index is not None
    assert 400 * 8 <= result.index.size <= 400 * 8 + 10 * 600
    for most, is_kept in ((result.index.size, True), (result.index.size - 1, False)):
        pages = byte_pages(OBJECTS, _PAGE)
        again = scan(
            result.checkpoint,
            pages,
            now=at(DAY),
            limits=ALL,
            index=result.index,
            max_index_bytes=most,
        )
        assert (again.index is not None) == is_kept


@pytest.mark.parametrize(
    "order", [[1, 0, 2], [0, 2, 1], [0, 0, 1], [2, 1, 0]], ids=lambda order: str(order)
)
def test_pages_that_go_backwards_are_refused(order: list[int]) -> None:
    """A listing whose pages are not in the order of the keys is a failed scan, not data."""
    parts = byte_pages(OBJECTS[:30], 10)
    for pages in (
        [parts[each] for each in order],
        [page(OBJECTS[10 * e : 10 * e + 10]) for e in order],
    ):
        with pytest.raises(KeyOrderError):
            list(stretches(pages, None, may_skip=lambda _: False))


def test_keys_that_go_backwards_within_a_page_are_refused() -> None:
    """So is a page that is not in order within itself, or lists a key twice."""
    for objects in ([OBJECTS[0], OBJECTS[2], OBJECTS[1], OBJECTS[3]], [OBJECTS[0]] * 2):
        pages = [ColumnsPage(page(()).content.concatenated([page([e]).content for e in objects]))]
        with pytest.raises(KeyOrderError):
            list(stretches(pages, None, may_skip=lambda _: False))


def test_listing_behind_a_key_begins_there() -> None:
    """A part of a listing begins behind a key; what is listed before it is refused."""
    [only] = stretches(byte_pages(OBJECTS[5:9], 10), None, after=b"k/0004", may_skip=bool)
    assert isinstance(only, Stretch)
    assert (only.start, only.end) == (b"k/0004\0", module.END)
    with pytest.raises(KeyOrderError):
        list(stretches(byte_pages(OBJECTS[4:9], 10), None, after=b"k/0004", may_skip=bool))


def test_cut_listing_ends_with_its_rest() -> None:
    """What follows the last key of a cut listing belongs to no stretch."""
    pages = [*byte_pages(OBJECTS[:9], 10), Rest(b"k/0008")]
    *found, rest = stretches(pages, None, may_skip=bool)
    assert rest == Rest(b"k/0008")
    assert [each.end for each in found if isinstance(each, Stretch)] == [b"k/0008\0"]


@given(st.lists(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_members_are_found(some: list[int], of: set[int]) -> None:
    """Membership in a sorted array is that in the set."""
    found = members(np.array(some, np.uint64), np.array(sorted(of), np.uint64))
    assert found.tolist() == [each in of for each in some]


@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_fingerprints_are_united(one: set[int], other: set[int]) -> None:
    """What is in one array or the other is in the union, sorted, once."""
    arrays = [np.array(sorted(each), np.uint64) for each in (one, other)]
    assert united(*arrays).tolist() == sorted(one | other)


def test_checkpoint_that_has_not_begun_has_an_empty_index() -> None:
    """The index of a new beginning says that nothing was emitted."""
    assert Index.empty("s").all_fingerprints().tolist() == []
    assert Index.empty("s").starts() == [b""]
    assert not Checkpoint().has_begun
