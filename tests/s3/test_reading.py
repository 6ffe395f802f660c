from __future__ import annotations

from typing import Any

import pytest

from dagster_s3inc.errors import BucketNotFoundError, ObjectChangedError, ObjectNotFoundError
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.reading import open_object


def put(client: Any, bucket: str, key: str, body: bytes) -> str:
    return str(client.put_object(Bucket=bucket, Key=key, Body=body)["ETag"]).strip('"')


def test_listed_version_is_read(client: Any, bucket: str) -> None:
    """An object that still has its ETag is read."""
    etag = put(client, bucket, "k ü", b"one\ntwo\n")
    with open_object(client, S3Location(bucket, "k ü"), etag) as stream:
        assert list(stream.iter_lines()) == [b"one", b"two"]


def test_overwritten_object_is_not_read(client: Any, bucket: str) -> None:
    """An object with another ETag is an error that says where its new version goes."""
    etag = put(client, bucket, "k", b"old")
    put(client, bucket, "k", b"new")
    with (
        pytest.raises(ObjectChangedError, match=r"overwritten since it was listed.*later batch"),
        open_object(client, S3Location(bucket, "k"), etag),
    ):
        pass


def test_without_etag_any_version_is_read(client: Any, bucket: str) -> None:
    """Where no ETag is given, whatever version is there is read."""
    put(client, bucket, "k", b"new")
    with open_object(client, S3Location(bucket, "k"), None) as stream:
        assert stream.read() == b"new"


def test_deleted_object_is_named(client: Any, bucket: str) -> None:
    """An object that is gone is an error that names it."""
    with (
        pytest.raises(ObjectNotFoundError, match=r"read s3://.*/gone: .*deleted since"),
        open_object(client, S3Location(bucket, "gone"), "0" * 32),
    ):
        pass


def test_missing_bucket_is_named(client: Any) -> None:
    """A bucket that is gone is told from an object that is gone."""
    with (
        pytest.raises(BucketNotFoundError, match="no-such-bucket-here"),
        open_object(client, S3Location("no-such-bucket-here", "k"), None),
    ):
        pass
