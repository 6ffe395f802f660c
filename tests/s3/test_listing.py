from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.errors import BucketNotFoundError, ListingError
from dagster_s3inc.s3.listing import ListingMemory, open_listing
from dagster_s3inc.s3.location import S3Location
from tests.s3.canned import client_answering, entry, page
from tests.s3.keyed import keys_of
from tests.s3.making import made
from tests.servers import S3Server

STRANGE_KEYS = [
    "plain",
    "sp ace/and+plus",
    "percent%20/%0A/100%",
    "amp&lt;<tag>\"quote'",
    "hash#question?x=1;y",
    "uni/ü-é-漢字-😀",
    "comma,colon:at@dollar$equals=",
    "dots/.hidden/..two",
    "tilde~star*paren()bang!",
]

# What SeaweedFS, which keeps keys as file paths, does not store as S3 does.
PATHLIKE_KEYS = ["a", "a/b", "double//slash", "ctl/\x01\x1f"]


def list_all(client: Any, bucket: str, prefix: str = "") -> list[S3Object]:
    listing = open_listing(client, S3Location(bucket, prefix))
    return [each for some in listing.pages for each in made(some)]


@pytest.mark.parametrize("key", STRANGE_KEYS)
def test_strange_keys_come_as_they_are(client: Any, bucket: str, key: str) -> None:
    """A key comes back character for character, and works as a prefix."""
    client.put_object(Bucket=bucket, Key=key, Body=b"12345")
    [entry] = list_all(client, bucket, prefix=key)
    assert entry.key == key
    assert entry.size == 5
    assert entry.etag == "827ccb0eea8a706c4c34a16891f84e7b"
    assert entry.storage_class == "STANDARD"
    assert entry.last_modified.utcoffset() == timedelta(0)


@pytest.mark.parametrize("key", PATHLIKE_KEYS)
def test_keys_that_are_no_paths_come_as_they_are(
    s3_server: S3Server, client: Any, bucket: str, key: str
) -> None:
    """Keys that no file system could hold side by side are listed, where the server stores them."""
    if s3_server.name == "seaweedfs":
        pytest.skip("SeaweedFS keeps keys as paths: no a beside a/b, no //, no control characters")
    for each in PATHLIKE_KEYS:
        client.put_object(Bucket=bucket, Key=each, Body=b"")
    assert key in [entry.key for entry in list_all(client, bucket)]


def test_prefix_is_a_plain_start_of_text(client: Any, bucket: str) -> None:
    """`logs` covers `logs-old/x` as well as `logs/x`; `logs/` does not."""
    for key in ("logs/x", "logs-old/x", "log/x"):
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    assert {entry.key for entry in list_all(client, bucket, "logs")} == {"logs/x", "logs-old/x"}
    assert [entry.key for entry in list_all(client, bucket, "logs/")] == ["logs/x"]


def test_many_pages_make_one_listing(client: Any, bucket: str) -> None:
    """A listing of several pages has every object once."""
    keys = {f"n/{number:04}" for number in range(1100)}
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
    listing = open_listing(client, S3Location(bucket, "n/"))
    pages = list(listing.pages)
    assert [len(made(some)) for some in pages] == [1000, 100]
    found = [each.key for some in pages for each in made(some)]
    assert len(found) == 1100
    assert set(found) == keys


def test_server_time_is_the_servers(client: Any, bucket: str) -> None:
    """The time of a listing is the Date of its first answer, aware and in whole seconds."""
    before = datetime.now(timezone.utc) - timedelta(seconds=1)
    moment = open_listing(client, S3Location(bucket)).server_time
    assert before <= moment <= datetime.now(timezone.utc)
    assert moment.microsecond == 0


def test_empty_prefix_lists_nothing(client: Any, bucket: str) -> None:
    """A prefix without objects is an empty listing, and no error."""
    assert list_all(client, bucket, "nothing/here/") == []


def test_missing_bucket_is_no_empty_listing(client: Any) -> None:
    """A bucket that does not exist is an error that names it."""
    with pytest.raises(
        BucketNotFoundError, match=r"list s3://no-such-bucket-here/x: .*does not exist"
    ):
        list_all(client, "no-such-bucket-here", "x")


@pytest.mark.parametrize(
    ("client", "says"),
    [
        (client_answering(page(truncated=None)), "has no IsTruncated, so it is not a whole"),
        (client_answering(page(truncated="true")), "no token came"),
        (
            client_answering(*[page(truncated="true", token="t")] * 2),
            "the same token came twice",
        ),
        (client_answering(page(), date=None), "no valid Date header"),
        (client_answering(page(), date="yesterday"), "no valid Date header"),
    ],
)
def test_a_part_is_never_taken_for_the_whole(client: Any, says: str) -> None:
    """An answer that is not a whole listing is an error, and not the end of the listing."""
    with pytest.raises(ListingError, match=says):
        list_all(client, "bucket")


def entries_of(*keys: str) -> list[str]:
    time = "2026-11-22T12:00:00.000Z"
    return [
        entry([("Key", key), ("LastModified", time), ("ETag", "e"), ("Size", "1")]) for key in keys
    ]


def test_disorder_is_remembered() -> None:
    """After a page in another order, neither this listing nor the next one may be cut."""
    place, memory = S3Location("bucket"), ListingMemory()
    client = client_answering(page(*entries_of("a/x", "a-b")), page(*entries_of("a")))
    listing = open_listing(client, place, memory=memory)
    assert not listing.may_be_cut
    assert [key for some in listing.pages for key in keys_of(some)] == ["a/x", "a-b"]
    assert not open_listing(client, place, memory=memory).may_be_cut


def test_directory_buckets_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory bucket, known by its name, has no order."""
    monkeypatch.setenv("AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "true")
    client = client_answering(*[page(*entries_of("a"))] * 2)
    assert not open_listing(client, S3Location("bucket--usw2-az1--x-s3")).may_be_cut
    assert open_listing(client, S3Location("bucket")).may_be_cut


def test_a_server_that_does_not_go_on_is_an_error() -> None:
    """An answer with what lies before the key to go on from is no answer."""
    client = client_answering(page(*entries_of("a", "b", "c")))
    with pytest.raises(ListingError, match="list s3://bucket/ on from 'b'"):
        open_listing(client, S3Location("bucket"), after="b")
