"""Listings with several requests at a time, over HTTP. Small pages make many of few objects."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore.config import Config

from dagster_s3inc.core.batching import ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.cursor_format import encode_checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.errors import CredentialsError
from dagster_s3inc.s3.client import make_client, pool_warning
from dagster_s3inc.s3.key_ranges import discovered_split_points
from dagster_s3inc.s3.listing import (
    MAX_CONCURRENT_REQUESTS,
    Listing,
    ListingMemory,
    open_listing,
)
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanner import Scanner
from tests import faults
from tests.faults import faulty_proxy
from tests.s3.keyed import keys_of, with_small_pages
from tests.servers import S3Server

PAGE = 5
FOLDERS, IN_FOLDER = 10, 20
KEYS = [f"in/{day:02}/{number:03}" for day in range(FOLDERS) for number in range(IN_FOLDER)]
PAGES = len(KEYS) // PAGE
POINTS = [key.encode() for key in KEYS[4 * PAGE - 1 : -1 : 4 * PAGE]]

# Requests that take so long make several at a time worth it.
FAR = 0.08


@pytest.fixture(scope="module")
def place(moto: S3Server) -> S3Location:
    client = moto.client()
    client.create_bucket(Bucket="concurrent")
    for key in [*KEYS, *(f"few/{number}" for number in range(7 * PAGE))]:
        client.put_object(Bucket="concurrent", Key=key, Body=b"")
    return S3Location("concurrent", "in/")


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 30
    while any(each.name.startswith("s3inc-request") for each in threading.enumerate()):
        assert time.monotonic() < deadline, "a thread does not end"
        time.sleep(0.01)


@pytest.fixture
def _far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests seem to take long."""
    monkeypatch.setattr("dagster_s3inc.s3.listing._NEAR_SECONDS", 0.0)


def client_of(server: S3Server) -> Any:
    return server.client(config=Config(max_pool_connections=8, retries={"total_max_attempts": 1}))


def opened(client: Any, place: S3Location, **more: Any) -> Listing:
    return open_listing(with_small_pages(client, PAGE), place, **more)


def keys_in(listing: Listing) -> list[str]:
    return [key for page in listing.pages for key in keys_of(page)]


def warm(place: S3Location) -> ListingMemory:
    """The memory of a listing that found the server far away."""
    memory = ListingMemory()
    memory.of(place).seconds = FAR
    return memory


def test_exact_split_points_cost_no_request(moto: S3Server, place: S3Location) -> None:
    """Where nothing has changed, as many requests are sent as one at a time."""
    client, memory = client_of(moto), warm(place)
    for _ in range(2):
        listing = opened(client, place, memory=memory, split_points=POINTS)
        assert keys_in(listing) == KEYS
        assert listing.concurrent_requests == 8
        assert listing.requests == PAGES
        assert listing.may_be_cut
        memory.of(place).seconds = FAR


def test_segments_of_the_index_are_split_points(
    moto: S3Server, place: S3Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a scan remembers splits the next listing, and that costs no request."""
    monkeypatch.setattr("dagster_s3inc.core.index._OBJECTS", 4 * PAGE)
    monkeypatch.setattr("dagster_s3inc.s3.listing._NEAR_SECONDS", 60.0)
    client, scanner, sent = with_small_pages(client_of(moto), PAGE), Scanner(), []
    selection = ObjectFilter().selection(place.key, bucket=place.bucket)
    checkpoint, given = Checkpoint(), None
    client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: sent.append(params)
    )
    for _ in range(2):
        sent.clear()
        done = scanner.scan(
            client, place, checkpoint, given=given, selection=selection, limits=ScanLimits()
        )
        assert len(sent) == done.requests == PAGES
        checkpoint, given = done.result.checkpoint, encode_checkpoint(done.result.checkpoint)
        monkeypatch.setattr("dagster_s3inc.s3.listing._NEAR_SECONDS", 0.0)
    points = {each["StartAfter"].encode() for each in sent if "StartAfter" in each}
    assert points == set(POINTS)


def test_split_points_may_be_outdated(
    moto: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """Objects that came or went since the last listing are found, or not, as they must be."""
    client, place = client_of(moto), S3Location(new_bucket(moto), "")
    keys = {f"{number:03}" for number in range(100)}
    for key in keys:
        client.put_object(Bucket=place.bucket, Key=key, Body=b"")
    points = ["019", "039", "059", "079"]
    for key in ["019", "059", "020", "021", "022"]:
        client.delete_object(Bucket=place.bucket, Key=key)
        keys.discard(key)
    for key in ["0", "0305", *(f"040-{number}" for number in range(12)), "999"]:
        client.put_object(Bucket=place.bucket, Key=key, Body=b"")
        keys.add(key)
    listing = opened(
        client, place, memory=warm(place), split_points=[point.encode() for point in points]
    )
    assert keys_in(listing) == sorted(keys)
    assert listing.concurrent_requests == 8


@pytest.mark.usefixtures("_far_away")
def test_folders_are_discovered(moto: S3Server, place: S3Location) -> None:
    """Without split points, a long listing is split at its folders, with few requests more."""
    listing = opened(client_of(moto), place)
    assert keys_in(listing) == KEYS
    assert listing.concurrent_requests == 8
    assert PAGES < listing.requests <= PAGES + FOLDERS + 12


@pytest.mark.usefixtures("_far_away")
def test_few_pages_cost_no_request(moto: S3Server, place: S3Location) -> None:
    """A listing of few pages is read one request at a time, known or not."""
    client, place = client_of(moto), S3Location(place.bucket, "few/")
    memory = warm(place)
    for points in ([], [b"few/19"]):
        listing = opened(client, place, memory=memory, split_points=points)
        assert len(keys_in(listing)) == 7 * PAGE
        assert (listing.requests, listing.concurrent_requests) == (7, 1)


def test_a_near_server_is_asked_one_request_at_a_time(
    moto: S3Server, place: S3Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where requests take no longer than the work on their pages, there is one at a time."""
    monkeypatch.setattr("dagster_s3inc.s3.listing._NEAR_SECONDS", 60.0)
    memory = ListingMemory()
    for _ in range(2):
        listing = opened(client_of(moto), place, memory=memory, split_points=POINTS)
        assert keys_in(listing) == KEYS
        assert (listing.requests, listing.concurrent_requests) == (PAGES, 1)


@pytest.mark.parametrize(("most", "connections", "used"), [(3, 8, 3), (8, 2, 2), (1, 8, 1)])
def test_concurrent_requests_are_bounded(
    moto: S3Server, place: S3Location, most: int, connections: int, used: int
) -> None:
    """There are no more at a time than asked for, and than the client keeps connections."""
    client = moto.client(config=Config(max_pool_connections=connections))
    listing = opened(
        client, place, memory=warm(place), max_concurrent_requests=most, split_points=POINTS
    )
    assert keys_in(listing) == KEYS
    assert listing.concurrent_requests == used


def test_our_client_keeps_a_connection_for_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client made from the environment does not bound them."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config: Any = make_client().meta.config
    assert config.max_pool_connections == MAX_CONCURRENT_REQUESTS


def test_a_client_that_keeps_few_connections_is_said_once(
    moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the client bounds the requests at a time, one warning says how to change that."""
    monkeypatch.setattr("dagster_s3inc.s3.client._said", set())
    assert pool_warning(client_of(moto), 8) is None
    warning = pool_warning(client_of(moto), 9)
    assert warning is not None
    assert "at most 8 requests at a time, not 9" in warning
    assert "max_pool_connections=9" in warning
    assert pool_warning(client_of(moto), 9) is None


@pytest.mark.parametrize("read", [1, 2, 20])
def test_a_reader_may_stop(moto: S3Server, place: S3Location, read: int) -> None:
    """Who stops early has seen the first part, goes on after it, and leaves no thread."""
    client, memory = client_of(moto), warm(place)
    listing = opened(client, place, memory=memory, split_points=POINTS)
    with closing(listing.pages) as pages:
        found = [key for _ in range(read) for key in keys_of(next(pages))]
    assert found == KEYS[: read * PAGE]
    last = found[-1].encode()
    rest = opened(client, place, memory=memory, split_points=POINTS, after=last)
    assert keys_in(rest) == KEYS[read * PAGE :]


@pytest.mark.parametrize("at", [3, 12, 30])
def test_a_failure_of_any_request_is_an_error(moto: S3Server, place: S3Location, at: int) -> None:
    """Whichever request fails, the listing fails, in our words; the threads end."""
    with faulty_proxy(moto) as (proxy, server):
        proxy.faults.extend([*[None] * at, faults.error(403, "InvalidAccessKeyId")])
        listing = opened(client_of(server), place, memory=warm(place), split_points=POINTS)
        with pytest.raises(CredentialsError, match="Could not list s3://concurrent/in/"):
            keys_in(listing)
        assert listing.concurrent_requests == 8


@pytest.mark.usefixtures("_far_away")
def test_a_failed_discovery_is_an_error(moto: S3Server, place: S3Location) -> None:
    """If it cannot be found out where to split, the listing fails as well."""
    with faulty_proxy(moto) as (proxy, server):
        proxy.faults.extend([*[None] * 10, faults.error(403, "InvalidAccessKeyId")])
        with pytest.raises(CredentialsError, match="Could not list s3://concurrent/in/"):
            keys_in(opened(client_of(server), place))


@pytest.mark.usefixtures("_far_away")
def test_a_server_by_paths_is_asked_one_request_at_a_time(
    seaweedfs: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """SeaweedFS, which does not list in byte order, is known by name and listed whole."""
    client, place = client_of(seaweedfs), S3Location(new_bucket(seaweedfs), "")
    keys = {f"{part}{mark}{number}" for part in "abcdefgh" for mark in "/-." for number in range(5)}
    for key in keys:
        client.put_object(Bucket=place.bucket, Key=key, Body=b"")
    memory = ListingMemory()
    for _ in range(2):
        listing = opened(client, place, memory=memory)
        assert not listing.may_be_cut
        found = keys_in(listing)
        assert len(found) == len(keys)
        assert set(found) == keys
        assert (listing.requests, listing.concurrent_requests) == (24, 1)


def folders_of(keys: list[str], asked: list[bytes]) -> Callable[[bytes], list[bytes]]:
    """Names folders as S3 does, and notes what was asked."""

    def folders(prefix: bytes) -> list[bytes]:
        asked.append(prefix)
        inside = (key.encode() for key in keys if key.encode().startswith(prefix))
        rests = (key[len(prefix) :] for key in inside)
        return sorted({prefix + rest.split(b"/")[0] + b"/" for rest in rests if b"/" in rest})[
            :1000
        ]

    return folders


def test_folders_are_split_points() -> None:
    """Where there are many folders, one request finds the split points."""
    asked: list[bytes] = []
    keys = [f"in/{number:03}/x" for number in range(500)]
    points = discovered_split_points(folders_of(keys, asked), b"in/", b"in/000/w", pages=16)
    assert asked == [b"in/"]
    assert points == [b"in/%03d/" % number for number in range(1, 500)]


def test_several_small_folders_make_one_split_point() -> None:
    """Where one page has held many folders, there is a split point only after many."""
    keys = [f"in/{number:03}/x" for number in range(900)]
    points = discovered_split_points(folders_of(keys, []), b"in/", b"in/160/", pages=16)
    assert points == [b"in/%03d/" % number for number in range(200, 900, 40)]


def test_single_folders_are_entered() -> None:
    """Where there is one folder, or few, those within are asked for."""
    asked: list[bytes] = []
    keys = [f"in/deep/{a}/{b:02}/x" for a in "pq" for b in range(20)]
    points = discovered_split_points(folders_of(keys, asked), b"in/", b"in/deep/p/00/x", pages=16)
    assert asked[:4] == [b"in/", b"in/deep/", b"in/deep/p/", b"in/deep/q/"]
    assert {b"in/deep/q/", b"in/deep/p/07/", b"in/deep/q/13/"} <= set(points)
    assert min(points) > b"in/deep/p/00/x"


def test_few_requests_are_sent() -> None:
    """However deep and bushy the folders, no more than two dozen requests."""
    asked: list[bytes] = []
    keys = [f"{a}/{b}/{c}/{d}/x" for a in "abc" for b in "abc" for c in "abc" for d in "abc"]
    discovered_split_points(folders_of(keys, asked), b"", b"a/a/a/a/", pages=16)
    assert len(asked) == 24


def test_no_folders_make_no_split_points() -> None:
    """Where there are no folders, one request tells so."""
    asked: list[bytes] = []
    assert discovered_split_points(folders_of(["a", "b"], asked), b"", b"a", pages=16) == []
    assert asked == [b""]
