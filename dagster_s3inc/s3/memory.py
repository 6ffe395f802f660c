"""What one listing may know of the one before."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from dagster_s3inc.errors import EndpointError
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.page_requests import Workers

__all__ = ["SPLIT_POINTS", "ListingMemory", "Recollection"]

SPLIT_POINTS: Final = 4096
"""Beyond, every second one is forgotten. Each takes as much memory as its key."""


class Recollection(NamedTuple):
    """What is known of a prefix.

    Attributes:
        split_points: Keys with about four pages of objects between them, in order.
        concurrent_requests: How many were worth it at the end of the last listing; None if it was
            too short to say.
        in_key_order: Whether nothing spoke against the order of the keys' bytes.
    """

    split_points: tuple[bytes, ...] = ()
    concurrent_requests: int | None = None
    in_key_order: bool = True


class ListingMemory:
    """What the listings of one prefix learn for those that follow; in memory only, thread-safe.

    It saves time and changes nothing of what a listing shows. And it knows of requests that no
    answer has come to, so that they do not pile up.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._location: S3Location | None = None
        self._known = Recollection()
        self._may_trust_again = True
        self._left: list[Workers] = []

    def recall(self, location: S3Location) -> Recollection:
        """What is known of this prefix."""
        with self._lock:
            return self._known if location == self._location else Recollection()

    def note_split_points(
        self,
        location: S3Location,
        keys: Sequence[bytes],
        *,
        after: bytes | None = None,
        to: bytes | None = None,
    ) -> None:
        """Replaces the split points after one key and up to another; None means either end."""
        with self._lock:
            known = self._at(location).split_points
            before = known[: bisect_right(known, after)] if after is not None else ()
            behind = known[bisect_right(known, to) :] if to is not None else ()
            kept = (*before, *keys, *behind)
            while len(kept) > SPLIT_POINTS:
                kept = kept[1::2]
            self._known = self._known._replace(split_points=kept)

    def note_concurrent_requests(self, location: S3Location, number: int) -> None:
        """Keeps how many requests at a time are worth it."""
        with self._lock:
            self._known = self._at(location)._replace(concurrent_requests=number)

    def note_disorder(self, location: S3Location) -> None:
        """Keeps that the server does not list in the order of the keys' bytes."""
        with self._lock:
            self._known = self._at(location)._replace(in_key_order=False, split_points=())

    def note_order(self, location: S3Location) -> None:
        """Forgets a disorder that a later listing did not show; once, and not again and again."""
        with self._lock:
            known = self._at(location)
            if self._may_trust_again and not known.in_key_order:
                self._may_trust_again = False
                self._known = known._replace(in_key_order=True)

    def note_left(self, workers: Workers) -> None:
        """Keeps in mind requests of a listing that is over, as long as no answer comes."""
        with self._lock:
            self._left = [each for each in (*self._left, workers) if each.is_busy]

    def require_no_hanging(self, location: S3Location) -> None:
        """Refuses to send requests to a server that still owes answers from long ago.

        Raises:
            EndpointError: A request of an earlier listing was given up, and is still under way.
        """
        with self._lock:
            self._left = [each for each in self._left if each.is_busy]
            hanging = [each for each in self._left if each.is_hanging]
        if hanging:
            seconds = time.monotonic() - min(each.began for each in hanging)
            raise EndpointError(
                f"Could not list {location}: the server has not answered a request of the scan "
                f"that began {seconds:.0f} s ago, and no other is sent meanwhile. Check the server "
                f"and the network, and read_timeout and max_attempts of the S3 client, which say "
                f"when it gives up"
            )

    def _at(self, location: S3Location) -> Recollection:
        if location != self._location:
            self._location, self._known = location, Recollection()
            self._may_trust_again = True
        return self._known
