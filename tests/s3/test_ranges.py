from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.s3.range import Range
from dagster_s3inc.s3.ranges import Ranges
from dagster_s3inc.s3.source import Answer
from tests.s3.keyed import DeafServer, KeyServer, by_path, keys_of

# Characters around the slash, so that the orders by bytes and by path differ.
KEYS = st.text("-./0ab", min_size=1, max_size=5)
KEY_SETS = st.sets(KEYS, max_size=60)
CUTS = st.lists(KEYS, max_size=12, unique=True).map(sorted)
SIZES = st.integers(1, 6)
CHANCES = st.randoms(use_true_random=False)


def some_chance() -> random.Random:
    return random.Random(1)  # noqa: S311 # for the order of answers


def pages_of(
    server: KeyServer,
    ranges: Ranges,
    chance: random.Random,
    *,
    lanes: int = 5,
    between: Callable[[], None] = lambda: None,
) -> Iterator[list[str]]:
    """Reads all; the answers come in any order, and something happens after each request."""
    under_way: list[tuple[Range, Answer]] = []
    while True:
        while len(under_way) < lanes and (range_ := ranges.take()) is not None:
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
    cuts: list[str],
    chance: random.Random,
    *,
    after: str | None = None,
    between: Callable[[], None] = lambda: None,
) -> list[str]:
    ranges = Ranges(after, "")
    ranges.cut(cuts, pages=0)
    pages = pages_of(server, ranges, chance, between=between)
    return [key for some in pages for key in some]


@given(KEY_SETS, CUTS, SIZES, CHANCES)
def test_every_key_is_in_one_range(
    keys: set[str], cuts: list[str], size: int, chance: random.Random
) -> None:
    """However it is cut, and in whatever order the answers come, all keys are read in order."""
    assert read(KeyServer(keys, page_size=size), cuts, chance) == sorted(keys)


@given(KEY_SETS, CUTS, SIZES, CHANCES, KEYS)
def test_a_listing_may_begin_behind_a_key(
    keys: set[str], cuts: list[str], size: int, chance: random.Random, after: str
) -> None:
    """What lies up to `after` is not read, be there cuts or not."""
    found = read(KeyServer(keys, page_size=size), cuts, chance, after=after)
    assert found == sorted(key for key in keys if key > after)


@given(KEY_SETS, KEY_SETS, KEY_SETS, CUTS, SIZES, CHANCES)
def test_others_may_write_meanwhile(
    lasting: set[str],
    new: set[str],
    gone: set[str],
    cuts: list[str],
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

    found = read(server, cuts, chance, between=write)
    assert found == sorted(set(found))
    assert lasting <= set(found) <= lasting | new | gone


@given(KEY_SETS, CUTS, SIZES, CHANCES)
def test_another_order_loses_nothing(
    keys: set[str], cuts: list[str], size: int, chance: random.Random
) -> None:
    """A server that lists by path is read as it lists, be its order noticed or not."""
    server = KeyServer(keys, page_size=size, order=by_path)
    assert read(server, cuts, chance) == sorted(keys, key=by_path)


@given(KEY_SETS, CUTS, SIZES, CHANCES)
def test_a_server_without_start_after_loses_nothing(
    keys: set[str], cuts: list[str], size: int, chance: random.Random
) -> None:
    """A server that begins anew for each range is read once."""
    assert read(DeafServer(keys, page_size=size), cuts, chance) == sorted(keys)


@given(KEY_SETS, SIZES, CHANCES)
def test_disorder_is_noticed(keys: set[str], size: int, chance: random.Random) -> None:
    """Read to its end, a listing in another order than that of the bytes is known as such."""
    ranges = Ranges(None, "")
    server = KeyServer(keys, page_size=size, order=by_path)
    found = [key for some in pages_of(server, ranges, chance, lanes=1) for key in some]
    assert ranges.in_key_order == (found == sorted(keys))


@pytest.mark.parametrize("each", [1, 2, 4])
@pytest.mark.parametrize("lanes", [1, 4, 32])
def test_exact_cuts_cost_no_request(each: int, lanes: int) -> None:
    """Cut at the ends of its pages, a listing takes as many requests as it has pages."""
    keys = [f"{number:04}" for number in range(200)]
    server, ranges = KeyServer(keys, page_size=5), Ranges(None, "")
    ranges.cut(keys[4::5][each - 1 : -1 : each], pages=each)
    pages = list(pages_of(server, ranges, some_chance(), lanes=lanes))
    assert [key for some in pages for key in some] == keys
    assert len(pages) == server.requests == 40


def test_small_ranges_are_joined() -> None:
    """Cuts that are much too many do not make as many requests."""
    keys = [f"{number:04}" for number in range(2000)]
    server, ranges = KeyServer(keys, page_size=20), Ranges(None, "")
    ranges.cut(keys, pages=4, guessed=True)
    assert [key for some in pages_of(server, ranges, some_chance()) for key in some] == keys
    assert 100 <= server.requests <= 400


@given(st.integers(0, 3), CHANCES)
def test_little_waits_to_be_read(seed: int, chance: random.Random) -> None:
    """Of a long listing that nobody reads, only so many pages are fetched."""
    keys = [f"{number:05}" for number in range(3000)]
    server, ranges = KeyServer(keys, page_size=5), Ranges(None, "")
    ranges.cut(keys[4 + seed :: 20], pages=4)
    under_way: list[tuple[Range, Answer]] = []
    while len(under_way) < 400 and (range_ := ranges.take()) is not None:
        under_way.append((range_, server.answer(range_.start, range_.token)))
        if chance.random() < 0.5:
            ranges.put(*under_way.pop(chance.randrange(len(under_way))))
    assert server.requests <= 200
