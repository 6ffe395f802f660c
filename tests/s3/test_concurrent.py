"""Listings in lanes, over HTTP. Small pages make many of few objects."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from botocore.config import Config

from dagster_s3inc.errors import CredentialsError
from dagster_s3inc.s3.client import make_client
from dagster_s3inc.s3.lanes import LANES, Pace
from dagster_s3inc.s3.listing import Listing, ListingMemory, open_listing
from dagster_s3inc.s3.location import S3Location
from tests import faults
from tests.faults import faulty_proxy
from tests.s3.keyed import keys_of
from tests.servers import S3Server

PAGE = 5
FOLDERS, IN_FOLDER = 10, 20
KEYS = [f"in/{day:02}/{number:03}" for day in range(FOLDERS) for number in range(IN_FOLDER)]
PAGES = len(KEYS) // PAGE


@pytest.fixture(scope="module")
def place(moto: S3Server) -> S3Location:
    client = moto.client()
    client.create_bucket(Bucket="lanes")
    for key in [*KEYS, *(f"few/{number}" for number in range(7 * PAGE))]:
        client.put_object(Bucket="lanes", Key=key, Body=b"")
    return S3Location("lanes", "in/")


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 30
    while any(each.name.startswith("s3inc-lane") for each in threading.enumerate()):
        assert time.monotonic() < deadline, "a lane does not end"
        time.sleep(0.01)


@pytest.fixture
def _far_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests seem to take long."""
    monkeypatch.setattr(Pace, "lanes", lambda _: 8)


def client_of(server: S3Server) -> Any:
    return server.client(config=Config(max_pool_connections=8, retries={"total_max_attempts": 1}))


def opened(client: Any, place: S3Location, **more: Any) -> Listing:
    return open_listing(client, place, page_size=PAGE, **more)


def keys_in(listing: Listing) -> list[str]:
    return [key for page in listing.pages for key in keys_of(page)]


def warm(client: Any, place: S3Location) -> ListingMemory:
    """The memory of a listing that found the server far away."""
    memory = ListingMemory()
    keys_in(opened(client, place, lanes=1, memory=memory))
    memory.note_lanes(place, 8)
    return memory


def test_marks_of_the_last_listing_cost_no_request(moto: S3Server, place: S3Location) -> None:
    """Where nothing has changed, lanes send as many requests as one lane does."""
    client = client_of(moto)
    memory = warm(client, place)
    for _ in range(2):
        memory.note_lanes(place, 8)
        listing = opened(client, place, memory=memory)
        assert keys_in(listing) == KEYS
        assert listing.lanes == 8
        assert listing.requests == PAGES
        assert listing.may_be_cut


def test_marks_may_be_outdated(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> None:
    """Objects that came or went since the last listing are found, or not, as in one lane."""
    client, place = client_of(moto), S3Location(new_bucket(moto), "")
    keys = {f"{number:03}" for number in range(100)}
    for key in keys:
        client.put_object(Bucket=place.bucket, Key=key, Body=b"")
    memory = warm(client, place)
    for key in [*memory.recall(place).marks[::2], "020", "021", "022"]:
        client.delete_object(Bucket=place.bucket, Key=key)
        keys.discard(key)
    for key in ["0", "0305", *(f"040-{number}" for number in range(12)), "999"]:
        client.put_object(Bucket=place.bucket, Key=key, Body=b"")
        keys.add(key)
    listing = opened(client, place, memory=memory)
    assert keys_in(listing) == sorted(keys)
    assert listing.lanes == 8


@pytest.mark.usefixtures("_far_away")
def test_folders_are_discovered(moto: S3Server, place: S3Location) -> None:
    """Without marks, a long listing is cut at its folders, with few requests more."""
    listing = opened(client_of(moto), place)
    assert keys_in(listing) == KEYS
    assert listing.lanes == 8
    assert PAGES < listing.requests <= PAGES + FOLDERS + 12


@pytest.mark.usefixtures("_far_away")
def test_few_pages_cost_no_request(moto: S3Server, place: S3Location) -> None:
    """A listing of few pages is read in one lane, known or not."""
    client, place = client_of(moto), S3Location(place.bucket, "few/")
    memory = ListingMemory()
    for _ in range(2):
        listing = opened(client, place, memory=memory)
        assert len(keys_in(listing)) == 7 * PAGE
        assert (listing.requests, listing.lanes) == (7, 1)
        memory.note_lanes(place, 8)


def test_a_near_server_is_listed_in_one_lane(
    moto: S3Server, place: S3Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where requests take no longer than the work on their pages, there are no lanes."""
    monkeypatch.setattr(Pace, "lanes", lambda _: 1)
    listing = opened(client_of(moto), place)
    assert keys_in(listing) == KEYS
    assert (listing.requests, listing.lanes) == (PAGES, 1)


@pytest.mark.parametrize(("lanes", "connections", "used"), [(3, 8, 3), (8, 2, 2), (1, 8, 1)])
def test_lanes_are_bounded(
    moto: S3Server, place: S3Location, lanes: int, connections: int, used: int
) -> None:
    """There are no more lanes than asked for, and than the client keeps connections."""
    memory = warm(client_of(moto), place)
    client = moto.client(config=Config(max_pool_connections=connections))
    listing = opened(client, place, memory=memory, lanes=lanes)
    assert keys_in(listing) == KEYS
    assert listing.lanes == used


def test_our_client_keeps_a_connection_for_each_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client made from the environment does not bound the lanes."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    config: Any = make_client().meta.config
    assert config.max_pool_connections == LANES


@pytest.mark.parametrize("read", [1, 2, 20])
def test_a_reader_may_stop(moto: S3Server, place: S3Location, read: int) -> None:
    """Who stops early has seen the first part, goes on behind it, and leaves no thread."""
    client = client_of(moto)
    memory = warm(client, place)
    marks = memory.recall(place).marks
    listing = opened(client, place, memory=memory)
    with closing(listing.pages) as pages:
        found = [key for _ in range(read) for key in keys_of(next(pages))]
    assert found == KEYS[: read * PAGE]
    assert memory.recall(place).marks == marks
    rest = opened(client, place, memory=memory, after=found[-1])
    assert keys_in(rest) == KEYS[read * PAGE :]
    assert memory.recall(place).marks == marks


@pytest.mark.parametrize("at", [3, 12, 30])
def test_a_failure_in_any_lane_is_an_error(moto: S3Server, place: S3Location, at: int) -> None:
    """Whichever request fails, the listing fails, in our words; the threads end."""
    memory = warm(client_of(moto), place)
    with faulty_proxy(moto) as (proxy, server):
        proxy.faults.extend([*[None] * at, faults.error(403, "InvalidAccessKeyId")])
        listing = opened(client_of(server), place, memory=memory)
        with pytest.raises(CredentialsError, match="Could not list s3://lanes/in/"):
            keys_in(listing)
        assert listing.lanes == 8


@pytest.mark.usefixtures("_far_away")
def test_a_failed_discovery_is_an_error(moto: S3Server, place: S3Location) -> None:
    """If it cannot be found out where to cut, the listing fails as well."""
    with faulty_proxy(moto) as (proxy, server):
        proxy.faults.extend([*[None] * 16, faults.error(403, "InvalidAccessKeyId")])
        with pytest.raises(CredentialsError, match="Could not list s3://lanes/in/"):
            keys_in(opened(client_of(server), place))


@pytest.mark.usefixtures("_far_away")
def test_a_server_by_paths_is_listed_in_one_lane(
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
        assert (listing.requests, listing.lanes) == (24, 1)
        memory.note_lanes(place, 8)
