from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.filters import LONGEST_CONDITIONS, Conditions, narrower
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.errors import ConfigurationError
from tests.core.making import START, at, listings, make_object

CONDITIONS = st.builds(
    Conditions,
    since=st.none()
    | st.sampled_from([0, 1, 3600, 86_400]).map(lambda age: START + timedelta(seconds=age)),
    prefix=st.sampled_from(["", "", "a", "a/", "é"]),
    include=st.sampled_from([(), (), ("*.csv",), ("a*", "**/c.csv")]),
)


def meeting(conditions: Conditions, objects: list[S3Object], scanned: str = "") -> list[S3Object]:
    """Those of the objects that meet the conditions."""
    mask = conditions.rules(scanned).may_count(Columns.of(objects))
    return [each for each, meets in zip(objects, mask.tolist(), strict=True) if meets]


@pytest.mark.parametrize(
    ("conditions", "key", "seconds", "meets"),
    [
        (Conditions(), "in/a", 0, True),
        (Conditions(since=at(5)), "in/a", 5, True),
        (Conditions(since=at(5)), "in/a", 4.999, False),
        (Conditions(prefix="in/a"), "in/ab", 0, True),
        (Conditions(prefix="a"), "in/ab", 0, False),
        (Conditions(include=("a*",)), "in/ab", 0, True),
        (Conditions(include=("in/a*",)), "in/ab", 0, False),
        (Conditions(include=("x", "ab")), "in/ab", 0, True),
        (Conditions(since=at(0), prefix="in/a", include=("b*",)), "in/ab", 0, False),
    ],
)
def test_every_condition_counts(
    conditions: Conditions, key: str, seconds: float, meets: bool
) -> None:
    """An object meets all conditions: inclusive time, the key's beginning, a glob below."""
    each = make_object(key, seconds, size=0, storage_class="GLACIER")
    assert bool(meeting(conditions, [each], "in/")) is meets
    assert conditions.rules("in/").class_counts(Columns.of([each])).all()


@given(CONDITIONS, listings())
def test_pages_are_as_their_objects(conditions: Conditions, objects: list[S3Object]) -> None:
    """A page's mask is what the conditions say of each object."""
    one_by_one = [each for each in objects if meeting(conditions, [each])]
    assert meeting(conditions, objects) == one_by_one


@pytest.mark.parametrize(
    ("conditions", "scanned", "expected"),
    [
        (Conditions(), "in/", "in/"),
        (Conditions(prefix="in/2026/"), "in/", "in/2026/"),
        (Conditions(prefix="i"), "in/", "in/"),
        (Conditions(prefix="elsewhere/"), "in/", "in/"),
        (Conditions(include=("2026/*.csv",)), "in/", "in/2026/"),
        (Conditions(prefix="in/2026/11/", include=("2026/**",)), "in/", "in/2026/11/"),
        (Conditions(prefix="in/20", include=("2026/**",)), "in/", "in/2026/"),
    ],
)
def test_listing_is_no_longer_than_it_must_be(
    conditions: Conditions, scanned: str, expected: str
) -> None:
    """The listing of a reset is narrowed by its prefix and its globs, never widened."""
    assert conditions.list_prefix(scanned) == expected
    assert narrower(scanned, expected) == expected


@given(CONDITIONS)
def test_conditions_survive_the_round_trip(conditions: Conditions) -> None:
    """Reading what was written gives equal conditions."""
    assert Conditions.read(conditions.written()) == conditions


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"sine": 1},
        {"since": 7},
        {"since": "2026-01-01"},
        {"prefix": 1},
        {"include": "a"},
        {"include": [""]},
        {"include": [7]},
        {"include": None},
    ],
)
def test_other_conditions_are_refused(document: Any) -> None:
    """What was not written as conditions is an error, never a part of them."""
    with pytest.raises(ValueError):  # noqa: PT011 # of several kinds
        Conditions.read(document)


def test_conditions_are_bounded() -> None:
    """Conditions that would make the cursor too long are refused, and so are unclear ones."""
    with pytest.raises(ConfigurationError, match="too long for a cursor"):
        Conditions(include=tuple(f"{number:09}" for number in range(LONGEST_CONDITIONS // 9)))
    with pytest.raises(ConfigurationError, match="no time zone"):
        Conditions(since=datetime(2026, 1, 1))  # noqa: DTZ001 # that is the point


def test_conditions_in_words() -> None:
    """Conditions read as a person would say them."""
    assert str(Conditions(since=datetime(2026, 1, 1, tzinfo=timezone.utc), prefix="p")) == (
        "modified since 2026-01-01T00:00:00Z, under p"
    )
    assert str(Conditions(include=("a", "b"))) == "matching a or b"
    assert str(Conditions()) == "all"
