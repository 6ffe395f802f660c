from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.codec import decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.scan import scan, scan_backlog
from dagster_s3inc.core.selection import Selection
from tests.core.making import FIRST, HOUR, RANDOMS, at, in_pages, listings, make_object

SAME = Random(0)  # noqa: S311 # no secret

GROUPS = Selection(group_of=lambda each: str(len(each.key) % 3))

POLICIES = st.builds(
    BatchPolicy,
    max_files=st.integers(1, 5),
    max_bytes=st.none() | st.integers(1, 12),
    linger=st.none() | st.builds(timedelta, seconds=st.integers(1, 7200)),
)


@given(
    st.lists(listings(max_size=12, max_seconds=4000), min_size=1, max_size=4),
    POLICIES,
    st.sampled_from([Selection(), GROUPS]),
    st.integers(1, 6),
    st.integers(1, 3),
    RANDOMS,
)
def test_groups_and_lingering_lose_nothing(
    history: list[list[S3Object]],
    policy: BatchPolicy,
    selection: Selection,
    recent_limit: int,
    max_batches: int,
    random: Random,
) -> None:
    """However batches are grouped or held back, each file comes once, and the cursor is bounded."""
    limits = ScanLimits(policy=policy, max_batches=max_batches, recent_limit=recent_limit)
    bucket: dict[str, S3Object] = {}
    checkpoint, handed = FIRST, []
    for moment, written in enumerate(history):
        for each in written:
            moved = each.last_modified + moment * HOUR
            bucket[each.key] = each._replace(last_modified=moved, etag=f"e{moment}")
        last = moment == len(history) - 1
        for tick in range(60 if last else 3):
            now = at(4000) + moment * HOUR + tick * timedelta(seconds=300)
            pages = in_pages(list(bucket.values()), random)
            result = scan(checkpoint, pages, now=now, selection=selection, limits=limits)
            firsts = [batch.objects[0] for batch in result.batches]
            assert firsts == sorted(firsts), "In the order of the oldest objects."
            for batch in result.batches:
                assert list(batch.objects) == sorted(batch.objects)
                groups = {selection.group_of and selection.group_of(e) for e in batch.objects}
                assert groups == {batch.group}, "A batch is of one group."
            handed += result.objects
            checkpoint = decode_checkpoint(encode_checkpoint(result.checkpoint))
            kept = len(checkpoint.recent) + len(checkpoint.wanted)
            assert kept <= recent_limit or len(checkpoint.recent) <= 1, "The cursor is bounded."
    assert len(handed) == len(set(handed)), "Nothing twice."
    assert set(bucket.values()) <= set(handed), "Nothing lost."


def test_partial_batch_waits_until_it_is_due() -> None:
    """Less than a full batch goes out once its oldest file has waited long enough."""
    policy = BatchPolicy(max_files=3, linger=timedelta(minutes=10))
    limits = ScanLimits(policy=policy)
    objects = [make_object(f"k{number}", number) for number in range(4)]

    def handed(seconds: float) -> list[int]:
        result = scan(FIRST, in_pages(objects, SAME), now=at(seconds), limits=limits)
        return [len(batch) for batch in result.batches]

    assert (handed(602), handed(603)) == ([3], [3, 1])
    assert (handed(4), [len(batch) for batch in policy.split(objects)]) == ([3], [3, 1])


def test_run_requests_keep_to_their_bytes() -> None:
    """The run requests of a scan take no more bytes than they may, with at least one batch."""
    objects = [make_object(f"{number:03}", number) for number in range(100)]
    for bound in (1, 3000, 10_000):
        limits = ScanLimits(policy=BatchPolicy(max_files=50), max_request_bytes=bound)
        batches = scan(FIRST, in_pages(objects, SAME), now=at(0), limits=limits).batches
        assert sum(batch.request_bytes for batch in batches) <= bound or len(batches) == 1
        assert all(len(batch) == 1 or batch.request_bytes <= bound for batch in batches)


@given(listings(max_size=20), POLICIES, st.integers(1, 3), st.integers(0, 7000))
def test_backlog_goes_on_as_another_look_would(
    objects: list[S3Object], policy: BatchPolicy, max_batches: int, now: int
) -> None:
    """What waits comes from memory just as the next look at the same listing would find it."""
    limits = ScanLimits(policy=policy, max_batches=max_batches)
    result = scan(FIRST, in_pages(objects, SAME), now=at(now), limits=limits)
    while result.backlog is not None:
        assert result.backlog.follows == result.checkpoint
        looked = scan(result.checkpoint, in_pages(objects, SAME), now=at(now), limits=limits)
        result = scan_backlog(result.backlog, limits=limits)
        assert result.batches == looked.batches
        assert replace(result.checkpoint, selection="") == replace(looked.checkpoint, selection="")
