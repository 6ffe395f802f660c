from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from benchmarks.content import MOMENTS, PREFIX, SHARE, SHARE_PREFIX, Content, Digest
from benchmarks.pages import Bucket

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
CONTENT = Content(16_000, NOW)


def ages(bucket: Bucket) -> dict[str, timedelta]:
    """How old each object is."""
    found = {}
    for key, entry in zip(bucket.keys, bucket.entries, strict=True):
        text = entry.partition(b"<LastModified>")[2][:19].decode()
        found[key] = NOW - datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
    return found


def test_digest_knows_no_order_and_no_portions() -> None:
    """The same keys have the same digest, however they come; others have another."""
    digest = Digest()
    digest.add(["c"])
    digest.add(["a", "b"])
    assert (str(digest), digest.count) == (str(Digest(["a", "b", "c"])), 3)
    assert str(Digest(["a", "b"])) != str(Digest(["a", "c"]))


@pytest.mark.parametrize("moment", MOMENTS)
def test_so_many_pages_change(moment: str) -> None:
    """Each change is in a page of its own, and half of them are objects that were there before."""
    bucket = CONTENT.at(moment)
    new = [key for key, age in ages(bucket).items() if age < timedelta(hours=1)]
    changes = round(16 * MOMENTS[moment])
    assert len(new) == changes
    assert len({key.partition("/0")[2][:5] for key in new}) == changes
    assert len(bucket.keys) == 16_000 + (changes + 1) // 2
    assert list(bucket.keys) == sorted(set(bucket.keys))
    expected = CONTENT.expected(moment, PREFIX, 0, "")
    assert (expected["new"], expected["new_digest"]) == (len(new), str(Digest(new)))
    assert all(age > timedelta(days=1) for key, age in ages(bucket).items() if key not in new)


def test_share_is_its_share() -> None:
    """The first folder holds a sixteenth of all objects."""
    assert CONTENT.expected("nothing", SHARE_PREFIX, 0, "")["listed"] == 16_000 * SHARE


def test_oldest_are_expected_of_a_first_tick() -> None:
    """What a first tick requests are the oldest objects, by time and key."""
    known = ages(CONTENT.at("nothing"))
    oldest = sorted(known, key=lambda key: (-known[key], key))[:50]
    assert CONTENT.expected("nothing", PREFIX, 50, "")["new_digest"] == str(Digest(oldest))


def test_filters_leave_some_out() -> None:
    """Each filter leaves out some of the changes, and all of them more."""
    names = ("", "globs", "sizes and classes", "all filters")
    found = [
        int(Content(100_000, NOW).expected("everywhere", PREFIX, 0, name)["new"]) for name in names
    ]
    assert found[0] == 100
    assert found[0] > max(found[1:3]) >= min(found[1:3]) > found[3] > 70


def test_copies_are_a_larger_bucket() -> None:
    """A bucket that is there several times lists as one whose objects were all written."""
    bucket = Content(500, NOW, times=3).at("nothing")
    keys, entries = list(bucket.keys), list(bucket.entries)
    assert len(keys) == len(entries) == 1500
    assert keys == sorted(set(keys))
    assert all(f"<Key>{key}<".encode() in entry for key, entry in zip(keys, entries, strict=True))
