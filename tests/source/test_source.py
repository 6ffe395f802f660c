from __future__ import annotations

import dagster as dg

from dagster_s3inc import ObjectFilter
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.source import Grouping, Source

LANDING = S3Location("lake", "landing/")
DAY = r"dt=(?P<day>[^/]+)/"


def test_listing_is_narrowed() -> None:
    """Only the part of the prefix is listed below which everything lies that can match."""
    narrowed = Source(location=LANDING, objects=ObjectFilter(include="orders/2026*/**"))
    assert narrowed.uri == "s3://lake/landing/"
    assert narrowed.listed_location.uri == "s3://lake/landing/orders/2026"
    assert Source(location=LANDING, objects=ObjectFilter()).listed_location == LANDING


def test_selection_gives_the_group_of_a_key() -> None:
    """With a grouping, a selection gives groups; without one it gives none."""
    plain = Source(location=LANDING, objects=ObjectFilter())
    assert plain.selection().group_of is None
    days = Grouping(DAY, dg.StaticPartitionsDefinition(["1", "2"]))
    grouped = Source(location=LANDING, objects=ObjectFilter(), grouping=days).selection()
    assert grouped.group_of is not None
    keys = ("landing/dt=2/a", "landing/dt=3/a", "landing/a")
    assert [grouped.group_of(key) for key in keys] == ["2", None, None]


def test_hash_differs_where_another_set_is_selected() -> None:
    """Filter, prefix, expression and kind of partitions are in the hash; it is short."""

    def hash_of(
        objects: ObjectFilter | None = None,
        grouping: Grouping | None = None,
        prefix: str = "landing/",
    ) -> str:
        location = S3Location("lake", prefix)
        source = Source(location=location, objects=objects or ObjectFilter(), grouping=grouping)
        return source.selection().hash

    static = dg.StaticPartitionsDefinition(["1"])
    hashes = [
        hash_of(),
        hash_of(ObjectFilter(include="*.csv")),
        hash_of(prefix="other/"),
        hash_of(grouping=Grouping(DAY, None)),
        hash_of(grouping=Grouping(DAY, static)),
        hash_of(grouping=Grouping(f"{'x' * 999}{DAY}", None)),
        hash_of(grouping=Grouping(str.upper, None)),
    ]
    assert len(set(hashes)) == len(hashes)
    assert all(len(each) <= 64 for each in hashes)
    assert hash_of(grouping=Grouping(DAY, static)) == hash_of(grouping=Grouping(DAY, static))
