"""Objects of a listing, the order among them, and what makes one the same as another."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_digest, xxh3_64_intdigest

__all__ = [
    "SECONDS_LENGTH",
    "Position",
    "S3Object",
    "fingerprints_of",
    "format_time",
    "identity_text",
    "parse_time",
]

SECONDS_LENGTH = 19
"""So many characters of an ISO 8601 time give it to the second: `2026-01-31T23:59:59`."""

# An entry as Amazon's S3 lists it, from the key to the ETag. Because it is, the bytes of a listing
# can be hashed where they lie.
_IDENTITY: Final = b"%b</Key><LastModified>%b.000Z</LastModified><ETag>&quot;%b"


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
    def fingerprint(self) -> int:
        """A 64-bit hash that is equal for the same version of the same object.

        Made of key, ETag and LastModified cut to whole seconds (servers differ in fractions).
        The storage class is left out: a lifecycle transition makes no new version. Two writes
        of the same bytes to the same key within one second have one fingerprint, since no listing
        tells them apart.
        """
        second = self.last_modified.astimezone(timezone.utc).isoformat()[:SECONDS_LENGTH]
        texts = (text.encode("utf-8", "surrogatepass") for text in (self.key, second, self.etag))
        return xxh3_64_intdigest(identity_text(*texts))


def identity_text(key: bytes, second: bytes, etag: bytes) -> bytes:
    """What a fingerprint is the hash of.

    Args:
        key: The key, not URL-encoded.
        second: The first `SECONDS_LENGTH` characters of LastModified, in UTC.
        etag: The ETag without its quotes.
    """
    return _IDENTITY % (key, second, etag)


def fingerprints_of(texts: Iterable[bytes]) -> npt.NDArray[np.uint64]:
    """The fingerprints of these texts, in the same order."""
    # Digests are big-endian.
    return np.frombuffer(b"".join(map(xxh3_64_digest, texts)), ">u8").astype(np.uint64)


def format_time(moment: datetime) -> str:
    """Writes a time as ISO 8601 in UTC, ending in `Z`, with no more digits than it has."""
    text = moment.astimezone(timezone.utc).isoformat()
    return text.replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Reads what `format_time` wrote, or any ISO 8601 time with an offset.

    Raises:
        ValueError: The text is not a time, or has no offset.
    """
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return moment.astimezone(timezone.utc)
