from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.content import PREFIX, SHARE, SHARE_PREFIX, make_content
from benchmarks.digest import Digest, digest_of

NOW = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)
CONTENT = make_content(4800, 160, now=NOW)


def test_digest_knows_no_order_and_no_portions() -> None:
    """The same keys have the same digest, however they come; others have another."""
    digest = Digest()
    digest.add(["c"])
    digest.add(["a", "b"])
    assert str(digest) == digest_of(["a", "b", "c"])
    assert digest.count == 3
    assert digest_of(["a", "b"]) != digest_of(["a", "c"])


@given(st.integers(0, 400), st.integers(0, 60))
def test_there_are_as_many_as_asked_for(old: int, new: int) -> None:
    """So many old objects and so many new ones, and afterwards both."""
    content = make_content(old, new, now=NOW)
    assert len(content.before.keys) == old
    assert len(content.new) == new
    assert sorted([*content.before.keys, *content.new]) == content.after.keys


def test_new_objects_are_new_and_everywhere() -> None:
    """New is what was modified within the hour, old what is days old; each folder has both."""
    for key, entry in zip(CONTENT.after.keys, CONTENT.after.url, strict=True):
        text = entry.partition(b"<LastModified>")[2][:19].decode()
        age = NOW - datetime.fromisoformat(text).replace(tzinfo=timezone.utc)
        assert age < timedelta(hours=1) if key in CONTENT.new else age > timedelta(days=1)
    folders = [key.removeprefix(PREFIX)[0] for key in CONTENT.new]
    assert {folders.count(folder) for folder in "0123456789abcdef"} == {10}


def test_share_is_its_share() -> None:
    """The first folder holds a sixteenth of all objects."""
    whole, share = CONTENT.expected(PREFIX), CONTENT.expected(SHARE_PREFIX)
    assert int(share["listed"]) == int(whole["listed"]) * SHARE
    assert int(share["new"]) == int(whole["new"]) * SHARE
