from __future__ import annotations

from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.memory import SPLIT_POINTS, ListingMemory, Recollection

HERE = S3Location("bucket", "in/")


def test_what_was_not_listed_keeps_its_split_points() -> None:
    """A listing of a part replaces the split points of that part."""
    memory = ListingMemory()
    memory.note_split_points(HERE, [b"b", b"d", b"f", b"h"])
    memory.note_split_points(HERE, [b"c", b"e"], after=b"b", to=b"f")
    assert memory.recall(HERE).split_points == (b"b", b"c", b"e", b"h")
    memory.note_split_points(HERE, [b"g"], after=b"e")
    assert memory.recall(HERE).split_points == (b"b", b"c", b"e", b"g")


def test_split_points_are_bounded() -> None:
    """Of too many split points, some remain, all over the listing."""
    memory = ListingMemory()
    memory.note_split_points(HERE, [b"%06d" % number for number in range(5 * SPLIT_POINTS)])
    points = memory.recall(HERE).split_points
    assert SPLIT_POINTS // 2 <= len(points) <= SPLIT_POINTS
    assert points[0] < b"000010"
    assert points[-1] > b"%06d" % (5 * SPLIT_POINTS - 10)


def test_a_disorder_is_forgotten_once() -> None:
    """A listing that shows an order after all is believed, and not again and again."""
    memory = ListingMemory()
    for may_trust in (True, False, False):
        memory.note_disorder(HERE)
        memory.note_order(HERE)
        assert memory.recall(HERE).in_key_order == may_trust


def test_another_prefix_is_not_known() -> None:
    """What is known of one prefix is not taken for another."""
    memory = ListingMemory()
    memory.note_concurrent_requests(HERE, 8)
    memory.note_disorder(HERE)
    assert memory.recall(HERE) == Recollection((), 8, in_key_order=False)
    assert memory.recall(S3Location("bucket", "out/")) == Recollection()
    memory.note_concurrent_requests(S3Location("bucket", "out/"), 2)
    assert memory.recall(HERE) == Recollection()
