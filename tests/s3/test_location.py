from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.s3.location import S3Location


@pytest.mark.parametrize(
    ("uri", "bucket", "key"),
    [
        ("s3://b-1", "b-1", ""),
        ("s3://b-1/", "b-1", ""),
        ("s3://b-1/logs", "b-1", "logs"),
        ("s3://b-1//x", "b-1", "/x"),
        ("s3://b-1/a#b?c=d%20e f/ü😀", "b-1", "a#b?c=d%20e f/ü😀"),
        ("s3://b-1/../x", "b-1", "../x"),
    ],
)
def test_key_is_taken_literally(uri: str, bucket: str, key: str) -> None:
    """What stands after the bucket's slash is the key, character for character."""
    assert S3Location.parse(uri) == S3Location(bucket, key)


@given(st.text(max_size=50))
def test_any_key_survives_the_round_trip(key: str) -> None:
    """Writing a location as a URI and reading it gives the location."""
    location = S3Location("some-bucket", key)
    assert S3Location.parse(location.uri) == location


@pytest.mark.parametrize(
    "wrong", ["", "b/x", "/data/x", "https://b/x", "s3:/b/x", "s3a://b/x", None]
)
def test_other_than_s3_uri_is_refused(wrong: str) -> None:
    """What is no S3 URI is refused with an example of one."""
    with pytest.raises(ConfigurationError, match=r"is not an S3 URI. Write s3://BUCKET/PREFIX"):
        S3Location.parse(wrong)


@pytest.mark.parametrize("wrong", ["s3://", "s3:///x", "s3://b", "s3://a b/x", "s3://b?x/y"])
def test_missing_or_bad_bucket_is_refused(wrong: str) -> None:
    """A URI without a usable bucket name is refused."""
    with pytest.raises(ConfigurationError, match="has no valid bucket name"):
        S3Location.parse(wrong)


@pytest.mark.parametrize(
    ("prefix", "key", "covered"),
    [
        ("s3://bucket/in/", "s3://bucket/in/a", True),
        ("s3://bucket/in", "s3://bucket/in-old/a", True),
        ("s3://bucket", "s3://bucket/a", True),
        ("s3://bucket/in/", "s3://bucket/state/a", False),
        ("s3://bucket/in/", "s3://bucket2/in/a", False),
    ],
)
def test_prefix_covers_what_a_listing_of_it_shows(prefix: str, key: str, covered: bool) -> None:
    """A prefix covers the keys of its bucket that start with it, and no others."""
    assert S3Location.parse(prefix).covers(S3Location.parse(key)) is covered


@pytest.mark.parametrize(
    "several",
    [["s3://lake/a/", "s3://lake/b/"], "s3://lake/a/,s3://lake/b/", "s3://lake/a/ s3://lake/b/"],
)
def test_several_prefixes_are_refused(several: Any) -> None:
    """One sensor scans one prefix, and the message shows how to build several."""
    with pytest.raises(ConfigurationError, match=r"several prefixes.*one for each.*merge"):
        S3Location.parse_prefix(several)


def test_prefix_with_a_leading_slash_is_refused() -> None:
    """A slash too many after the bucket is found before nothing is ever listed."""
    with pytest.raises(ConfigurationError, match="Write s3://lake/landing/"):
        S3Location.parse_prefix("s3://lake//landing/")
