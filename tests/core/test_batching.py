from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.batching import Batch, BatchPolicy
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.errors import ConfigurationError
from tests.core.making import listings, make_object

POLICIES = st.builds(
    BatchPolicy, max_files=st.integers(1, 8), max_bytes=st.none() | st.integers(1, 30)
)


@given(listings(), POLICIES)
def test_each_object_is_in_one_batch(objects: list[S3Object], policy: BatchPolicy) -> None:
    """The batches hold the objects given, in the order given, each exactly once."""
    batches = list(policy.split(objects))
    assert list(chain.from_iterable(batch.objects for batch in batches)) == objects
    assert all(batch.objects for batch in batches)


@given(listings(), POLICIES)
def test_batches_keep_their_bounds(objects: list[S3Object], policy: BatchPolicy) -> None:
    """A batch never holds more than max_files objects, nor max_bytes unless it is one object."""
    for batch in policy.split(objects):
        assert len(batch) == len(batch.objects) <= policy.max_files
        assert batch.bytes == sum(each.size for each in batch.objects)
        assert policy.max_bytes is None or batch.bytes <= policy.max_bytes or len(batch) == 1


@given(listings(), POLICIES)
def test_batches_are_full(objects: list[S3Object], policy: BatchPolicy) -> None:
    """A batch is closed only when the next object would break a bound."""
    for batch, following in pairwise(policy.split(objects)):
        larger = Batch((*batch.objects, following.objects[0]))
        heavy = policy.max_bytes is not None and larger.bytes > policy.max_bytes
        assert len(larger) > policy.max_files or heavy


def test_object_beyond_max_bytes_is_a_batch_of_its_own() -> None:
    """An object larger than max_bytes is handed over alone, not left out."""
    sizes = [3, 50, 3, 3, 50]
    objects = [make_object(f"k{index}", size=size) for index, size in enumerate(sizes)]
    batches = BatchPolicy(max_bytes=10).split(objects)
    assert [[each.size for each in batch.objects] for batch in batches] == [[3], [50], [3, 3], [50]]


class _OpenEnded(Sequence[S3Object]):
    """A sequence that notes how far it was read."""

    def __init__(self) -> None:
        self.furthest = -1

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [make_object(str(each)) for each in range(*index.indices(10**6))]
        self.furthest = max(self.furthest, index)
        return make_object(str(index))


def test_split_is_lazy() -> None:
    """To yield a batch, no more is read than the object that follows it."""
    objects = _OpenEnded()
    batch = next(BatchPolicy(max_files=5).split(objects))
    assert len(batch) == 5
    assert objects.furthest == 5


@given(listings(max_size=6), listings(max_size=6))
def test_id_is_that_of_the_versions(one: list[S3Object], other: list[S3Object]) -> None:
    """Two batches have the same id exactly if they hold the same versions in the same order."""
    versions = [[each.identity for each in objects] for objects in (one, other)]
    ids = [Batch(tuple(objects)).id for objects in (one, other)]
    assert all(re.fullmatch("[0-9a-f]{24}", each) for each in ids)
    assert (ids[0] == ids[1]) == (versions[0] == versions[1])


def test_id_follows_versions_and_not_storage() -> None:
    """A new ETag makes a new id, a lifecycle transition does not."""
    batch, first = Batch((make_object("a"), make_object("b"))), make_object("a")
    moved = Batch((make_object("a", storage_class="STANDARD_IA"), make_object("b")))
    changed = Batch((make_object("a"), make_object("b", etag="e2")))
    assert moved.id == batch.id
    assert len({batch.id, changed.id, Batch((first,)).id}) == 3


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
    ],
)
def test_wrong_bounds_are_refused(options: dict[str, Any], message: str) -> None:
    """A bound that is no whole number of at least one is refused, and the message names it."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        BatchPolicy(**options)
