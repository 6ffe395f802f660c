from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy, ScanLimits
from dagster_s3inc.core.candidates import Above, at_or_below, place_of, sorted_array
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.classify import (
    Classifier,
    Seen,
)
from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.filters import ObjectFilter, Selection
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.index import Index, Place, Segment, stretches
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.outcome import ScanStatistics
from dagster_s3inc.core.scan import scan, scan_backlog
from tests.core.making import (
    FIRST,
    KEYS,
    RANDOMS,
    Random,
    at,
    in_pages,
    keys_of,
    limits_of,
    listings,
    make_object,
    page,
)
from tests.core.test_candidates import candidates_of

FILTER = ObjectFilter(exclude="*.tmp").selection("")
ARCHIVED = "GLACIER"


def seen_of(
    objects: list[S3Object],
    checkpoint: Checkpoint,
    random: Random,
    *,
    index: Index | None = None,
    selection: Selection = FILTER,
    adopts: bool = False,
) -> Seen:
    """What a scan keeps of a listing."""
    seen = Seen(
        Classifier(checkpoint, index, selection, adopts=adopts),
        kept=10**6,
        cells=[] if index is not None else [600],
        max_index_bytes=10**9,
    )
    for stretch in stretches(in_pages(objects, random), index, may_skip=lambda _: False):
        seen.add(seen.classify(stretch))
    return seen


def index_of(objects: list[S3Object]) -> Index:
    """An index that holds these."""
    prints = np.sort(np.array([each.fingerprint for each in objects], np.uint64))
    return Index((Segment(b"", prints),), FILTER.hash, 2**62)


def found_by(seen: Seen) -> list[S3Object]:
    """The candidates, in position order."""
    return seen.oldest.finish().columns.objects()


def prints_of(objects: list[S3Object]) -> list[int]:
    """The fingerprints, sorted."""
    return sorted(each.fingerprint for each in objects)


def places_of(above: Above) -> list[Place]:
    """The places of all rows."""
    return [above.place(row) for row in range(len(above))]


@st.composite
def buckets(draw: st.DrawFn) -> list[S3Object]:
    """Listings with names that are left out, and archived objects."""
    objects = draw(listings(max_size=20))
    return [
        each._replace(
            key=each.key + draw(st.sampled_from(["", ".tmp"])),
            storage_class=draw(st.sampled_from(["STANDARD", "STANDARD", ARCHIVED])),
        )
        for each in objects
    ]


@given(buckets(), st.integers(-1, 9), RANDOMS)
def test_with_an_index_new_is_what_it_does_not_hold(
    objects: list[S3Object], seconds: int, random: Random
) -> None:
    """New is what matches and is not in the index; gone is what is in it and not listed."""
    known = [each for each in objects if random.random() < 0.5]
    gone = [make_object(f"gone/{number}") for number in range(random.randrange(3))]
    checkpoint = Checkpoint(watermark=Position(at(seconds), "k"))
    seen = seen_of(objects, checkpoint, random, index=index_of([*known, *gone]))
    new = [each for each in objects if each not in known]
    assert found_by(seen) == sorted(each for each in new if matches(each))
    assert sorted(seen.gone().tolist()) == prints_of(gone)
    above = [each for each in known if each.position > Position(at(seconds), "k")]
    assert sorted(seen.above().fingerprints.tolist()) == prints_of(above)
    left_out = [e for e in new if not matches(e) and e.position > Position(at(seconds), "k")]
    assert sum(each.left_out for each in seen.classified) == len(left_out)
    prints = [print_ for each in seen.segments() for print_ in each.fingerprints.tolist()]
    assert sorted(prints) == prints_of(known)


def matches(each: S3Object) -> bool:
    """Whether it matches, as the filter says it."""
    return bool(FILTER.matches(Columns.of([each]))[0])


@given(buckets(), st.integers(-1, 9), RANDOMS)
def test_without_an_index_the_checkpoint_tells(
    objects: list[S3Object], seconds: int, random: Random
) -> None:
    """Above the watermark `recent` tells; at or below it what matches enters the digests."""
    watermark = Position(at(seconds), "k")
    below = [each for each in objects if each.position <= watermark]
    above = [each for each in objects if each.position > watermark]
    recent = [each for each in above if random.random() < 0.5]
    late = [each for each in below if random.random() < 0.2]
    checkpoint = Checkpoint(
        watermark=watermark,
        recent=frozenset(prints_of(recent)),
        late=frozenset(prints_of(late)),
    )
    seen = seen_of(objects, checkpoint, random)
    new = [each for each in above if each not in recent] + late
    assert found_by(seen) == sorted(each for each in new if matches(each))
    may = [each for each in below if matches(each._replace(storage_class="STANDARD"))]
    [listed] = seen.digests()
    assert listed == Digest.of(prints_of(may))
    assert seen.matching() == Digest.of(prints_of([e for e in may if matches(e)]))
    assert seen.above().fingerprints.tolist() == [each.fingerprint for each in sorted(recent)]
    assert places_of(seen.above()) == [place_of(each.position) for each in sorted(recent)]
    times = dict(zip([e.fingerprint for e in may], [e.last_modified for e in may], strict=True))
    for each in seen.classified:
        pairs = zip(each.listed.fingerprints.tolist(), each.listed.seconds.tolist(), strict=True)
        assert all(times[print_].timestamp() == second for print_, second in pairs)


def test_worked_example() -> None:
    """The table at the head of the module: what each row is, with the index and without it."""
    objects = [make_object(f"09:0{minute}", 60 * minute) for minute in range(5)]
    late, new = make_object("08:30", -1800), make_object("09:05", 300)
    listed = [late, objects[0], *objects[2:], new]
    watermark, recent = objects[3].position, frozenset({objects[4].fingerprint})
    checkpoint = Checkpoint(watermark=watermark, recent=recent)
    seen = seen_of(listed, checkpoint, Random(0), index=index_of(objects))
    assert keys_of(found_by(seen)) == ["08:30", "09:05"]
    assert seen.gone().tolist() == [objects[1].fingerprint]
    assert places_of(seen.above()) == [place_of(objects[4].position)]
    seen = seen_of(listed, checkpoint, Random(0))
    assert keys_of(found_by(seen)) == ["09:05"]
    [digest] = seen.digests()
    assert digest == Digest.of(prints_of([late, objects[0], *objects[2:4]]))
    assert places_of(seen.above()) == [place_of(objects[4].position)]


@given(buckets(), st.integers(-1, 9), RANDOMS)
def test_adopting_counts_what_may_match_as_emitted(
    objects: list[S3Object], seconds: int, random: Random
) -> None:
    """An adopted beginning has no candidates: what may match counts as emitted, archived too."""
    checkpoint = Checkpoint(watermark=Position(at(seconds), ""))
    seen = seen_of(objects, checkpoint, random, adopts=True)
    assert found_by(seen) == []
    prints = [print_ for each in seen.segments() for print_ in each.fingerprints.tolist()]
    may = [e for e in objects if matches(e._replace(storage_class="STANDARD"))]
    assert sorted(prints) == prints_of(may)


@given(listings(), KEYS | st.just(""), st.integers(-1, 10))
def test_at_or_below_is_the_order_of_positions(
    objects: list[S3Object], key: str, seconds: int
) -> None:
    """A row lies at or below a place exactly if its position does."""
    position = Position(at(seconds), key)
    columns = Columns.of(objects)
    assert at_or_below(columns, place_of(position)).tolist() == [
        each.position <= position for each in objects
    ]
    assert not at_or_below(columns, None).any()


@given(listings(max_seconds=2), RANDOMS)
def test_what_is_known_above_comes_in_position_order(
    objects: list[S3Object], random: Random
) -> None:
    """Parts of a listing are put together in the order of positions."""
    parts, left = [], list(objects)
    while left:
        size = random.randint(1, 4)
        parts.append(Above.of(candidates_of(left[:size])))
        left = left[size:]
    joined = Above.joined(parts)
    assert joined.fingerprints.tolist() == [each.fingerprint for each in sorted(objects)]
    assert places_of(joined) == [place_of(each.position) for each in sorted(objects)]


def test_groups_are_numbered_as_they_come() -> None:
    """Equal groups have one number; keys in no group are counted, and a few are named."""
    groups = Selection(group_of=lambda key: None if key.startswith("x") else key[0], hash="g")
    keys = ["a1", "a2", "b1", *(f"x{number}" for number in range(9))]
    seen = seen_of([make_object(key) for key in keys], FIRST, Random(3), selection=groups)
    found = seen.oldest.finish()
    assert found.groups.tolist() == [0, 0, 1]
    assert seen.names == ["a", "b"]
    statistics = ScanStatistics.of(seen, lookback=timedelta(0))
    assert statistics.unpartitioned == 9
    assert statistics.unpartitioned_keys == ("x0", "x1", "x2", "x3", "x4")


UNPARTITIONED = replace(
    Selection(), group_of=lambda key: None if key.startswith("odd") else "all", hash="groups"
)


def test_unpartitioned_files_are_counted_once() -> None:
    """However often limits are tried, each file in no group counts once, on backlog ticks too."""
    objects = [make_object(f"{name}{n:02}", n) for n in range(10) for name in ("even", "odd")]
    limits = ScanLimits(policy=BatchPolicy(max_files=1), max_batches=3)
    for pages in ([page(objects)], in_pages(objects, Random(1))):
        for may_be_cut in (True, False):
            result = scan(
                FIRST,
                pages,
                now=at(20),
                selection=UNPARTITIONED,
                limits=limits,
                may_be_cut=may_be_cut,
            )
            assert keys_of(result.objects) == ["even00", "even01", "even02"]
            while result.backlog is not None:
                assert result.statistics.unpartitioned == 10
                assert result.statistics.unpartitioned_keys == (
                    "odd00",
                    "odd01",
                    "odd02",
                    "odd03",
                    "odd04",
                )
                result = scan_backlog(result.backlog, limits=limits)
            assert result.statistics.files_waiting == 0


def test_unpartitioned_files_come_when_they_have_a_group() -> None:
    """What was held back for want of a partition is emitted once its partition is there."""
    objects = [make_object("even"), make_object("odd")]
    for keeps_index in (True, False):
        result = scan(
            FIRST, [page(objects)], now=at(9), selection=UNPARTITIONED, limits=limits_of()
        )
        assert keys_of(result.objects) == ["even"]
        placed = replace(UNPARTITIONED, group_of=lambda _: "all")
        found = []
        for _ in range(2):
            result = scan(
                result.checkpoint,
                [page(objects)],
                now=at(9),
                selection=placed,
                limits=limits_of(),
                index=result.index if keeps_index else None,
            )
            found += keys_of(result.objects)
        assert found == ["odd"]


def test_arrays_of_fingerprints_are_sorted() -> None:
    """Fingerprints of a checkpoint become a sorted array, however large they are."""
    assert sorted_array(frozenset({2**64 - 1, 0, 7})).tolist() == [0, 7, 2**64 - 1]
    assert sorted_array(frozenset()).tolist() == []
