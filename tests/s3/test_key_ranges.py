from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dagster_s3inc.core.page import Page
from dagster_s3inc.errors import KeyOrderError, ListingError
from dagster_s3inc.s3.key_ranges import KeyRange, KeyRanges
from dagster_s3inc.s3.page_requests import Answer
from tests.s3.keyed import (
    PLACE,
    DeafServer,
    KeyServer,
    by_path,
    bytes_with,
    columns_with,
    keys_of,
)

# Characters around the slash, so that the orders by bytes and by path differ.
KEYS = st.text("-./0ab", min_size=1, max_size=5)
KEY_SETS = st.sets(KEYS, max_size=60)
POINTS = st.lists(KEYS, max_size=12, unique=True).map(sorted)
SIZES = st.integers(1, 6)
CHANCES = st.randoms(use_true_random=False)


def some_chance() -> random.Random:
    return random.Random(1)  # noqa: S311 # for the order of answers


def pages_of(
    server: KeyServer,
    ranges: KeyRanges,
    chance: random.Random,
    *,
    at_a_time: int = 5,
    between: Callable[[], None] = lambda: None,
) -> Iterator[list[str]]:
    """Reads all; the answers come in any order, and something happens after each request."""
    under_way: list[tuple[KeyRange, Answer]] = []
    while True:
        while len(under_way) < at_a_time and (range_ := ranges.take()) is not None:
            under_way.append((range_, server.answer(range_.start, range_.token)))
            between()
        page = ranges.pop()
        if page is not None:
            yield keys_of(page)
        elif ranges.is_over:
            return
        else:
            ranges.put(*under_way.pop(chance.randrange(len(under_way))))


def read(
    server: KeyServer,
    points: list[str],
    chance: random.Random,
    *,
    after: str | None = None,
    between: Callable[[], None] = lambda: None,
) -> list[str]:
    ranges = KeyRanges(PLACE, None if after is None else after.encode())
    ranges.split(point.encode() for point in points)
    pages = pages_of(server, ranges, chance, between=between)
    return [key for some in pages for key in some]


@given(KEY_SETS, POINTS, SIZES, CHANCES, st.sampled_from([columns_with, bytes_with]))
def test_every_key_is_in_one_range(
    keys: set[str],
    points: list[str],
    size: int,
    chance: random.Random,
    page_with: Callable[[Iterable[str]], Page],
) -> None:
    """However it is split, and in whatever order the answers come, all keys are read in order."""
    server = KeyServer(keys, page_size=size, page_with=page_with)
    assert read(server, points, chance) == sorted(keys)


@given(KEY_SETS, POINTS, SIZES, CHANCES, KEYS)
def test_a_listing_may_begin_after_a_key(
    keys: set[str], points: list[str], size: int, chance: random.Random, after: str
) -> None:
    """What lies up to `after` is not read, be there split points or not."""
    found = read(KeyServer(keys, page_size=size), points, chance, after=after)
    assert found == sorted(key for key in keys if key > after)


@given(KEY_SETS, KEY_SETS, KEY_SETS, POINTS, SIZES, CHANCES)
def test_others_may_write_meanwhile(
    lasting: set[str],
    new: set[str],
    gone: set[str],
    points: list[str],
    size: int,
    chance: random.Random,
) -> None:
    """While keys come and go, all that are there throughout are read, in order, none twice."""
    server = KeyServer(lasting | gone, page_size=size)
    coming, going = sorted(new - lasting - gone), sorted(gone - lasting)

    def write() -> None:
        if coming and chance.random() < 0.7:
            server.keys.add(coming.pop(chance.randrange(len(coming))))
        if going and chance.random() < 0.7:
            server.keys.discard(going.pop(chance.randrange(len(going))))

    found = read(server, points, chance, between=write)
    assert found == sorted(set(found))
    assert lasting <= set(found) <= lasting | new | gone


@given(KEY_SETS, POINTS, SIZES, CHANCES)
def test_another_order_loses_nothing(
    keys: set[str], points: list[str], size: int, chance: random.Random
) -> None:
    """A server that lists by path is read as it lists, or the disorder is noticed."""
    server = KeyServer(keys, page_size=size, order=by_path)
    with contextlib.suppress(KeyOrderError):
        assert read(server, points, chance) == sorted(keys, key=by_path)


@given(KEY_SETS, POINTS, SIZES, CHANCES)
def test_a_server_without_start_after_loses_nothing(
    keys: set[str], points: list[str], size: int, chance: random.Random
) -> None:
    """A server that begins anew for each range is read once, or it is noticed."""
    with contextlib.suppress(KeyOrderError):
        assert read(DeafServer(keys, page_size=size), points, chance) == sorted(keys)


@given(KEY_SETS, CHANCES)
def test_disorder_is_noticed(keys: set[str], chance: random.Random) -> None:
    """Pages of one object are in key order, or it is noticed that they are not."""
    server = KeyServer(keys, page_size=1, order=by_path)
    if sorted(keys, key=by_path) == sorted(keys):
        assert read(server, [], chance) == sorted(keys)
    else:
        with pytest.raises(KeyOrderError):
            read(server, [], chance)


@given(KEY_SETS, SIZES, CHANCES)
def test_without_an_order_the_pages_are_as_they_come(
    keys: set[str], size: int, chance: random.Random
) -> None:
    """Where no order is expected, none is asked for."""
    server = KeyServer(keys, page_size=size, order=by_path)
    ranges = KeyRanges(PLACE, in_key_order=False)
    found = [key for some in pages_of(server, ranges, chance, at_a_time=1) for key in some]
    assert found == sorted(keys, key=by_path)


@pytest.mark.parametrize("each", [1, 2, 4])
@pytest.mark.parametrize("at_a_time", [1, 4, 32])
def test_exact_split_points_cost_no_request(each: int, at_a_time: int) -> None:
    """Split at the ends of its pages, a listing takes as many requests as it has pages."""
    keys = [f"{number:04}" for number in range(200)]
    server, ranges = KeyServer(keys, page_size=5), KeyRanges(PLACE)
    ranges.split(key.encode() for key in keys[4::5][each - 1 : -1 : each])
    pages = list(pages_of(server, ranges, some_chance(), at_a_time=at_a_time))
    assert [key for some in pages for key in some] == keys
    assert len(pages) == server.requests == 40


def test_small_ranges_are_joined() -> None:
    """Split points that are much too many do not make as many requests."""
    keys = [f"{number:04}" for number in range(2000)]
    server, ranges = KeyServer(keys, page_size=20, page_with=bytes_with), KeyRanges(PLACE)
    ranges.split(key.encode() for key in keys)
    assert [key for some in pages_of(server, ranges, some_chance()) for key in some] == keys
    assert 100 <= server.requests <= 400


@settings(max_examples=15)
@given(st.integers(0, 3), CHANCES)
def test_little_waits_to_be_read(seed: int, chance: random.Random) -> None:
    """Of a long listing that nobody reads, only so many pages are fetched."""
    keys = [f"{number:05}" for number in range(3000)]
    server, ranges = KeyServer(keys, page_size=5), KeyRanges(PLACE)
    ranges.split(key.encode() for key in keys[4 + seed :: 20])
    under_way: list[tuple[KeyRange, Answer]] = []
    while len(under_way) < 400 and (range_ := ranges.take()) is not None:
        under_way.append((range_, server.answer(range_.start, range_.token)))
        if chance.random() < 0.5:
            ranges.put(*under_way.pop(chance.randrange(len(under_way))))
    assert server.requests <= 150


def put_all(*pages: tuple[list[str], str | None], in_key_order: bool = True) -> None:
    """Puts pages with these keys and tokens, one after the other, into one range."""
    ranges = KeyRanges(PLACE, in_key_order=in_key_order)
    for keys, token in pages:
        range_ = ranges.take()
        assert range_ is not None
        ranges.put(range_, Answer(columns_with(keys), token))


@pytest.mark.parametrize("in_key_order", [True, False])
def test_a_token_that_came_before_is_an_error(in_key_order: bool) -> None:
    """A server that leads back to an earlier page is not followed."""
    pages = [(["a"], "1"), (["b"], "2"), (["c"], "1")]
    with pytest.raises(ListingError, match="the same token came twice"):
        put_all(*pages, in_key_order=in_key_order)


def test_pages_without_entries_come_to_an_end() -> None:
    """A server may send empty pages, but not for ever."""
    put_all(*(([], str(number)) for number in range(900)), (["a"], None))
    with pytest.raises(ListingError, match="a thousand pages without entries"):
        put_all(*(([], str(number)) for number in range(1100)))


def test_a_page_that_goes_back_is_not_in_key_order() -> None:
    """A page that begins at or before the last key of the one before contradicts the order."""
    for keys in (["b"], ["a", "c"], ["b", "c"], ["d", "c"]):
        with pytest.raises(KeyOrderError):
            put_all((["a", "b"], "1"), (keys, "2"))
        put_all((["a", "b"], "1"), (keys, "2"), in_key_order=False)
