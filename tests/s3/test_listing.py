from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.errors import (
    BucketNotFoundError,
    ConfigurationError,
    KeyOrderError,
    ListingError,
)
from dagster_s3inc.s3.listing import (
    Listing,
    ListingMemory,
    open_listing,
)
from dagster_s3inc.s3.location import S3Location
from tests.s3.canned import client_answering, entry, page
from tests.s3.keyed import keys_of
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
    return [each for some in listing.pages for each in some.parsed().objects()]


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
    assert listing.requests == 2
    found = [key for some in pages for key in keys_of(some)]
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


def pages_of(*pages: list[str]) -> list[bytes]:
    """Pages with these keys, each of which leads to the next."""
    last = len(pages) - 1
    return [
        page(*entries_of(*keys), truncated="false" if at == last else "true", token=f"{at}")
        for at, keys in enumerate(pages)
    ]


def keys_in(listing: Listing) -> list[str]:
    return [key for some in listing.pages for key in keys_of(some)]


@pytest.mark.parametrize("budget", [None, 3600])
@pytest.mark.parametrize("second", [["b"], ["a", "c"], ["d", "c"]])
def test_another_order_is_noticed_and_listed(second: list[str], budget: int | None) -> None:
    """A listing that goes back raises; opened again, it is listed whole, and sorted."""
    deadline = None if budget is None else time.monotonic() + budget
    place, memory = S3Location("bucket"), ListingMemory()
    pages = pages_of(["a", "b"], second)
    client = client_answering(*pages, *pages_of(["x/1", "x-1"], ["a"]), *[page()] * 2)
    listing = open_listing(client, place, memory=memory, deadline=deadline)
    assert listing.may_be_cut
    with pytest.raises(KeyOrderError):
        keys_in(listing)
    again = open_listing(client, place, memory=memory, deadline=deadline)
    assert not again.may_be_cut
    assert keys_in(again) == ["a", "x-1", "x/1"]
    assert not open_listing(client, place, memory=memory, deadline=deadline).may_be_cut
    assert open_listing(client, place, deadline=deadline).may_be_cut


def test_a_first_page_in_another_order_is_noticed() -> None:
    """It is noticed when the listing is opened."""
    memory = ListingMemory()
    client = client_answering(*[page(*entries_of("b", "a"))] * 2)
    with pytest.raises(KeyOrderError):
        open_listing(client, S3Location("bucket"), memory=memory)
    assert keys_in(open_listing(client, S3Location("bucket"), memory=memory)) == ["a", "b"]


def test_a_disorder_that_passes_is_forgotten() -> None:
    """Who lists in order after all may be cut again."""
    place, memory = S3Location("bucket"), ListingMemory()
    memory.of(place).in_key_order = False
    client = client_answering(*pages_of(["a", "b"], ["c"]), page())
    assert keys_in(open_listing(client, place, memory=memory)) == ["a", "b", "c"]
    assert open_listing(client, place, memory=memory).may_be_cut


CYCLES = [
    [["a", "b"], ["c", "d"], ["a", "b"], ["c", "d"]],
    [["a", "b"], ["c", "a"]],
    [["a", "b"], ["b", "c"]],
    [["b", "b"]],
]


@pytest.mark.parametrize("pages", CYCLES)
def test_a_key_that_is_listed_twice_is_an_error(pages: list[list[str]]) -> None:
    """In whatever order a server lists, it lists no key twice; it may get another chance."""
    place, memory = S3Location("bucket"), ListingMemory()
    for _ in range(2):
        memory.of(place).in_key_order = False
        with pytest.raises(
            ListingError, match=r"s3://bucket/: the server listed a key twice, [abc]\."
        ):
            keys_in(open_listing(client_answering(*pages_of(*pages)), place, memory=memory))
    memory = ListingMemory()
    memory.of(place).in_key_order = False
    with pytest.raises(ListingError):
        keys_in(open_listing(client_answering(*pages_of(*pages)), place, memory=memory))
    assert memory.of(place).in_key_order


def test_a_server_that_goes_round_in_circles_is_left() -> None:
    """Where the pages repeat for ever, the listing ends as soon as one comes again."""
    place, memory = S3Location("bucket"), ListingMemory()
    memory.of(place).in_key_order = False
    rounds = [
        page(*entries_of(key), truncated="true", token=f"{n}{key}")
        for n in range(9)
        for key in "cba"
    ]
    client = client_answering(*rounds[:4])
    with pytest.raises(ListingError, match=r"the server listed a key twice, c\."):
        keys_in(open_listing(client, place, memory=memory))


def test_a_disorder_is_forgotten_once() -> None:
    """A listing that shows an order after all is believed, and not again and again."""
    known = ListingMemory().of(S3Location("bucket"))
    for may_trust in (True, False, False):
        known.in_key_order = False
        known.trust()
        assert known.in_key_order == may_trust


def test_another_prefix_is_not_known() -> None:
    """What is known of one prefix is not taken for another."""
    memory, here = ListingMemory(), S3Location("bucket", "in/")
    memory.of(here).in_key_order = False
    assert not memory.of(here).in_key_order
    assert memory.of(S3Location("bucket", "out/")).in_key_order


@pytest.mark.parametrize("is_ordered", [True, False])
@pytest.mark.parametrize("tokens", [["t", "t"], ["t", "u", "t"]])
def test_tokens_that_lead_back_are_an_error(tokens: list[str], is_ordered: bool) -> None:
    """A token that came before ends the listing, also where the pages seem to go on."""
    memory = ListingMemory()
    if not is_ordered:
        memory.of(S3Location("bucket")).in_key_order = False
    pages = [
        page(*entries_of(f"{number}"), truncated="true", token=token)
        for number, token in enumerate(tokens)
    ]
    with pytest.raises(ListingError, match="the same token came twice"):
        keys_in(open_listing(client_answering(*pages), S3Location("bucket"), memory=memory))


def test_directory_buckets_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory bucket, known by its name, has no order."""
    monkeypatch.setenv("AWS_S3_DISABLE_EXPRESS_SESSION_AUTH", "true")
    client = client_answering(*[page(*entries_of("a"))] * 2)
    assert not open_listing(client, S3Location("bucket--usw2-az1--x-s3")).may_be_cut
    assert open_listing(client, S3Location("bucket")).may_be_cut


@pytest.mark.parametrize("keys", [["a", "c"], ["b"]])
def test_a_server_that_does_not_go_on_is_listed_from_the_beginning(keys: list[str]) -> None:
    """An answer with what lies before the key to go on from means that there is no such order."""
    place, memory = S3Location("bucket"), ListingMemory()
    client = client_answering(*[page(*entries_of(*keys))] * 2)
    with pytest.raises(KeyOrderError):
        open_listing(client, place, after=b"b", memory=memory)
    again = open_listing(client, place, after=b"b", memory=memory)
    assert not again.may_be_cut
    assert keys_in(again) == [key for key in keys if key > "b"]


def test_a_server_by_paths_is_not_gone_on_with(
    seaweedfs: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """SeaweedFS says who it is; a listing that is to begin after a key is refused at once."""
    place, memory = S3Location(new_bucket(seaweedfs)), ListingMemory()
    for key in ("a/1", "a-1", "a.1"):
        seaweedfs.client().put_object(Bucket=place.bucket, Key=key, Body=b"")
    with pytest.raises(KeyOrderError):
        open_listing(seaweedfs.client(), place, after=b"a-1", memory=memory)
    listing = open_listing(seaweedfs.client(), place, memory=memory)
    assert not listing.may_be_cut
    assert keys_in(listing) == ["a-1", "a.1", "a/1"]


@pytest.mark.parametrize("after", [b"\xed\xa0\x80", b"a\xff"])
def test_what_is_not_a_key_is_not_sent(after: bytes) -> None:
    """A key to go on from that is not UTF-8 is refused in our words."""
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        open_listing(client_answering(), S3Location("bucket"), after=after)
    with pytest.raises(ConfigurationError, match="Check the prefix"):
        open_listing(client_answering(), S3Location("bucket", "\ud800"))


def test_values_that_botocore_cannot_read_are_the_servers_fault() -> None:
    """Also in a page that is left to botocore, an invalid value is an error of the listing."""
    wrong = entry([("Key", "a"), ("LastModified", "x"), ("ETag", "e"), ("Size", "1")])
    strange = page(wrong).replace(b"<Name>", b"<!-- strange --><Name>")
    with pytest.raises(ListingError, match=r"list s3://bucket/: .*fault of the server"):
        list_all(client_answering(strange), "bucket")
