from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.objects import Position, format_time, parse_time
from tests.core.making import KEYS, RANDOMS, START, Random, listings, make_object

TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.timezones())  # noqa: DTZ001


@given(listings(), RANDOMS)
def test_objects_sort_by_time_then_by_the_bytes_of_the_key(listed: list, random: Random) -> None:
    """Objects sort as their positions do: by time, then by the UTF-8 bytes of the key."""
    random.shuffle(listed)
    by_bytes = sorted(listed, key=lambda each: (each.last_modified, each.key.encode()))
    assert sorted(listed) == by_bytes
    assert sorted(each.position for each in listed) == [each.position for each in by_bytes]


@given(KEYS)
def test_empty_key_comes_first(key: str) -> None:
    """A position with an empty key is below every object of its time, and above all before it."""
    bound = Position(START, "")
    assert bound < make_object(key).position
    assert bound > make_object(key, -1e-6).position


def test_fingerprint_is_part_of_the_stored_format() -> None:
    """Fingerprints are in stored checkpoints, so they stay as they are for all time."""
    assert make_object("in/é.csv", 7.5, etag="9a0364b9").fingerprint == 16583760288362070649


@given(KEYS, st.integers(0, 999_999), st.integers(0, 999_999))
def test_fingerprint_ignores_what_makes_no_new_version(key: str, one: int, other: int) -> None:
    """Fractions of the second, the storage class and the size make no new version."""
    first = make_object(key, one / 1e6)
    second = make_object(key, other / 1e6, size=2, storage_class="GLACIER")
    assert first.fingerprint == second.fingerprint
    assert 0 <= first.fingerprint < 2**64


@given(KEYS, KEYS, st.integers(-(10**10), 10**10), st.integers(-(10**10), 10**10))
def test_fingerprint_tells_versions_apart(key: str, other: str, when: int, later: int) -> None:
    """Another key, another ETag and another second each make another fingerprint."""
    fingerprint = make_object(key, when).fingerprint
    assert (make_object(other, when).fingerprint == fingerprint) == (key == other)
    assert (make_object(key, later).fingerprint == fingerprint) == (when == later)
    assert make_object(key, when, etag="e2").fingerprint != fingerprint


def test_fingerprint_does_not_depend_on_the_zone() -> None:
    """The same moment written in another zone is the same version."""
    here = make_object("a", 3)
    there = here._replace(last_modified=here.last_modified.astimezone(timezone(timedelta(hours=5))))
    assert there.fingerprint == here.fingerprint


@given(TIMES)
def test_times_survive_the_round_trip(moment: datetime) -> None:
    """A time that is written and read is the same moment, in UTC."""
    text = format_time(moment)
    assert text.endswith("Z")
    assert parse_time(text) == moment.astimezone(timezone.utc)
    assert parse_time(text).tzinfo is timezone.utc


def test_times_are_written_with_no_more_digits_than_they_have() -> None:
    """Whole seconds are written without a fraction."""
    assert format_time(make_object("a", 61).last_modified) == "2026-01-01T00:01:01Z"
    assert format_time(make_object("a", 0.25).last_modified) == "2026-01-01T00:00:00.250000Z"


@pytest.mark.parametrize(
    "text", ["2026-01-01T00:00:00", "2026-01-01", "yesterday", "", "1767225600"]
)
def test_text_that_is_no_moment_is_refused(text: str) -> None:
    """A text without an offset, or one that is no time, is never taken for a moment."""
    with pytest.raises(ValueError, match=r"time zone|isoformat"):
        parse_time(text)
