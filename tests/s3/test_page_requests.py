"""Servers that do not answer, and what becomes of who waits for them."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from threading import Event
from typing import Any

import pytest
from botocore.config import Config

from dagster_s3inc.errors import EndpointError
from dagster_s3inc.s3.listing import ListingMemory, open_listing
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.page_requests import Workers
from tests.faults import Exchange, FaultyProxy, faulty_proxy
from tests.s3.keyed import with_small_pages
from tests.servers import S3Server, fill

PLACE = S3Location("slow")


@pytest.fixture(scope="module", autouse=True)
def _bucket(moto: S3Server) -> None:
    moto.client().create_bucket(Bucket=PLACE.bucket)
    fill(PLACE.bucket, [f"{number:03}" for number in range(100)])


@contextmanager
def hanging(moto: S3Server, after: int) -> Iterator[tuple[FaultyProxy, Any, Event]]:
    """A server that answers so many requests, and then none before the event."""
    event = Event()

    def hang(exchange: Exchange) -> None:
        event.wait(60)
        exchange.pass_on()

    with faulty_proxy(moto) as (proxy, server):
        proxy.faults.extend([*[None] * after, *[hang] * 40])
        config = Config(read_timeout=60, max_pool_connections=8, retries={"total_max_attempts": 6})
        try:
            yield proxy, with_small_pages(server.client(config=config), 5), event
        finally:
            event.set()


# Behind every fourth page.
POINTS = [b"%03d" % number for number in range(19, 100, 20)]


def read(client: Any, memory: ListingMemory, *, budget: float, points: Any = ()) -> int:
    deadline = time.monotonic() + budget
    listing = open_listing(client, PLACE, memory=memory, deadline=deadline, split_points=points)
    with closing(listing.pages) as pages:
        return sum(len(page) for page in pages)


@pytest.mark.parametrize("after", [0, 1, 7])
def test_no_request_outlives_the_time_budget_by_much(moto: S3Server, after: int) -> None:
    """Whichever request hangs, the listing ends in time, and says what it is about."""
    with hanging(moto, after) as (_, client, _):
        began = time.monotonic()
        with pytest.raises(EndpointError, match=r"did not answer in time.*nothing is known"):
            read(client, ListingMemory(), budget=0.3)
        assert time.monotonic() - began < 4


def test_at_most_one_listing_is_abandoned(moto: S3Server) -> None:
    """While a request of an earlier listing hangs, no other is sent; once answered, all is well."""
    memory = ListingMemory()
    with hanging(moto, 3) as (proxy, client, event):
        with pytest.raises(EndpointError):
            read(client, memory, budget=0.1)
        sent, began = proxy.requests, time.monotonic()
        for _ in range(3):
            with pytest.raises(EndpointError, match=r"has not answered .* began [23] s ago"):
                read(client, memory, budget=30)
        assert time.monotonic() - began < 1
        assert proxy.requests == sent == 4
        assert open_listing(moto.client(), S3Location("slow")).requests == 1
        event.set()
        proxy.faults.clear()
        until_it_is_answered(lambda: read(client, memory, budget=30))


def until_it_is_answered(action: Callable[[], int]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            assert action() == 100
        except EndpointError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


def far_away() -> ListingMemory:
    """The memory of a listing that found the server far away."""
    memory = ListingMemory()
    memory.of(PLACE).seconds = 0.08
    return memory


def test_concurrent_requests_that_hang_are_given_up(moto: S3Server) -> None:
    """Requests that are sent ahead are not waited for either."""
    memory = far_away()
    with hanging(moto, 6) as (proxy, client, _):
        with pytest.raises(EndpointError):
            read(client, memory, budget=0.3, points=POINTS)
        assert proxy.requests > 7
        with pytest.raises(EndpointError, match="has not answered"):
            read(client, memory, budget=0.3)


def test_who_stops_early_may_list_again(moto: S3Server) -> None:
    """Requests that are under way when a listing is closed are no reason to wait."""
    memory = far_away()
    with hanging(moto, 6) as (_, client, event):
        deadline = time.monotonic() + 60
        listing = open_listing(client, PLACE, memory=memory, deadline=deadline, split_points=POINTS)
        with closing(listing.pages) as pages:
            next(pages)
            next(pages)
        event.set()
        assert read(client, memory, budget=60) == 100


def test_a_listing_in_another_order_has_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole listing may take nearly a tick; a request of it, no longer than any other."""
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    workers = {budget: Workers(PLACE, now + budget) for budget in (1, 15, 30, 300)}
    expected = {1: 3, 15: 30, 30: 50, 300: 305}
    assert {budget: each._patience() for budget, each in workers.items()} == expected
    for each in workers.values():
        each.allow_a_whole_listing()
    now += 35
    assert [each._patience() for each in workers.values()] == [2, 15, 15, 270]
    assert Workers(PLACE, None)._patience() is None


def test_threads_end_with_who_uses_them() -> None:
    """Threads that nobody uses any more end."""
    workers = Workers(PLACE, None)
    threads = workers.map(lambda _: threading.current_thread(), range(5))
    assert not workers.is_busy
    del workers
    for each in threads:
        each.join(30)
        assert not each.is_alive()


PROGRAM = """
import sys, time
from contextlib import suppress
from dagster_s3inc.errors import EndpointError
from dagster_s3inc.s3.client import make_client
from dagster_s3inc.s3.listing import open_listing
from dagster_s3inc.s3.location import S3Location
with suppress(EndpointError):
    open_listing(make_client(), S3Location("slow"), deadline=time.monotonic())
    sys.exit("it did not hang")
"""


def test_a_request_that_hangs_does_not_keep_the_process_alive(moto: S3Server) -> None:
    """A process ends though its server has not answered."""
    event = Event()

    def hang(_: Exchange) -> None:
        event.wait(60)

    with faulty_proxy(moto) as (proxy, server):
        proxy.faults.append(hang)
        environment = {**server.environment, "AWS_MAX_ATTEMPTS": "1"}
        began = time.monotonic()
        try:
            subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True, timeout=50)
        finally:
            event.set()
    assert time.monotonic() - began < 30
