from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.candidates import NO_GROUP, Candidates, OldestCandidates
from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.objects import S3Object
from tests.core.making import RANDOMS, listings, make_object


def candidates_of(objects: list[S3Object], segment: int = 0) -> Candidates:
    """The candidates of one stretch of a listing."""
    columns = Columns.of(objects)
    return Candidates(
        columns,
        columns.fingerprints(),
        np.full(len(objects), segment, np.int32),
        np.full(len(objects), NO_GROUP, np.int32),
    )


def add(oldest: OldestCandidates, objects: list[S3Object], segment: int = 0) -> None:
    """Adds the candidates of one stretch, as a scan does."""
    candidates = candidates_of(objects, segment)
    if oldest.latest is not None:
        is_beyond = candidates.columns.last_modified > oldest.latest
        oldest.dropped.add(candidates.columns.only(np.flatnonzero(is_beyond)))
        candidates = candidates.only(np.flatnonzero(~is_beyond))
    if len(candidates):
        oldest.add(candidates)


@given(listings(max_size=40, max_seconds=5), st.integers(1, 12), RANDOMS)
def test_the_oldest_are_kept_and_the_rest_is_counted(
    objects: list[S3Object], limit: int, random: Random
) -> None:
    """At least `limit` of the oldest are kept; number, bytes and oldest of the rest are exact."""
    oldest = OldestCandidates(limit)
    left, segment, listed_in = list(objects), 0, {}
    while left:
        size = random.randint(0, 6)
        for each in left[:size]:
            listed_in[each.key] = segment
        add(oldest, left[:size], segment)
        left, segment = left[size:], segment + 1
    found, dropped = oldest.finish(), oldest.dropped
    kept = [] if found is None else found.columns.objects()
    ordered = sorted(objects)
    assert kept == ordered[: len(kept)], "The oldest, in position order."
    assert len(kept) == min(limit, len(objects))
    rest = ordered[len(kept) :]
    assert (dropped.files, dropped.bytes) == (len(rest), sum(each.size for each in rest))
    if found is not None:
        assert found.segments.tolist() == [listed_in[each.key] for each in kept]
        assert found.fingerprints.tolist() == [each.fingerprint for each in kept]
    if rest:
        first = Columns.of(rest[:1])
        assert dropped.oldest == (int(first.last_modified[0]), first.key(0))


def test_memory_does_not_grow_with_the_listing() -> None:
    """However many candidates come, no more than twice the limit are held at a time."""
    oldest = OldestCandidates(10)
    for number in range(50):
        add(oldest, [make_object(f"{number:02}{row}", 1000 - number) for row in range(7)])
        assert oldest._count <= 2 * 10
    found = oldest.finish()
    assert found is not None
    assert len(found) == 10
    assert oldest.dropped.files == 50 * 7 - 10


def test_nothing_gives_no_candidates() -> None:
    """Where nothing is new there are no candidates, and nothing was dropped."""
    oldest = OldestCandidates(3)
    assert len(oldest.finish()) == 0
    assert (oldest.dropped.files, oldest.dropped.oldest) == (0, None)


@given(listings(max_seconds=2), RANDOMS)
def test_rows_are_chosen_and_left(objects: list[S3Object], random: Random) -> None:
    """Chosen rows and the rest make up the whole; the order is that of positions."""
    candidates = candidates_of(objects)
    rows = [row for row in range(len(objects)) if random.random() < 0.5]
    chosen = candidates.only(np.array(rows, np.intp)).columns.objects()
    left = candidates.without(np.array(rows, np.intp)).columns.objects()
    assert chosen == [objects[row] for row in rows]
    assert sorted([*chosen, *left]) == sorted(objects)
    ordered = candidates.in_position_order()
    assert ordered.columns.objects() == sorted(objects)
    joined = Candidates.joined([ordered, candidates]).packed()
    assert joined.columns.objects() == [*sorted(objects), *objects]
