"""Objects of a listing, the order among them, and what makes one the same as another."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple

from xxhash import xxh3_64_intdigest as hash_identity

__all__ = [
    "SECONDS_LENGTH",
    "Position",
    "S3Object",
    "format_time",
    "hash_identity",
    "parse_time",
]

SECONDS_LENGTH = 19
"""So many characters of an ISO 8601 time tell it to the second: `2026-01-31T23:59:59`."""


class Position(NamedTuple):
    """A place in the order of processing.

    Positions compare by time first, then by key. Python compares strings by code point, which
    for valid text is the order of the UTF-8 bytes, the order in which S3 lists keys.

    Attributes:
        last_modified: Aware, UTC.
        key: The object's whole key; empty sorts before every object of that time.
    """

    last_modified: datetime
    key: str


class S3Object(NamedTuple):
    """One entry of a listing.

    A tuple, because a million of them are made and sorted in one scan; its first two fields are
    the position, so that plain `sorted` gives the order of processing.

    Attributes:
        last_modified: Aware, UTC. Whole seconds on AWS, milliseconds on some servers.
        key: The object's whole key.
        etag: As listed, without the quotes.
        size: In bytes.
        storage_class: As listed; a listing without one means `STANDARD`.
    """

    last_modified: datetime
    key: str
    etag: str
    size: int
    storage_class: str = "STANDARD"

    @property
    def position(self) -> Position:
        """The object's place in the order of processing."""
        return Position(self.last_modified, self.key)

    @property
    def identity(self) -> int:
        """A 64-bit hash that is equal for the same version of the same object.

        Made of key, ETag and LastModified cut to whole seconds (servers differ in fractions), in
        the very characters of a listing, so that it can be had without making the object.
        The storage class is left out: a lifecycle transition makes no new version. Two writes
        of the same bytes to the same key within one second are one identity, since no listing
        tells them apart.
        """
        moment = self.last_modified.astimezone(timezone.utc).isoformat()[:SECONDS_LENGTH]
        text = f"{moment}\n{self.etag}\n{self.key}"
        return hash_identity(text.encode("utf-8", "surrogatepass"))


def format_time(moment: datetime) -> str:
    """Writes a time as ISO 8601 in UTC, ending in `Z`, with no more digits than it has."""
    text = moment.astimezone(timezone.utc).isoformat()
    return text.replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Reads what `format_time` wrote, or any ISO 8601 time with an offset.

    Raises:
        ValueError: The text is no time, or has no offset.
    """
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(timezone.utc)
