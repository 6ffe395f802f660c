"""The buckets of the benchmark, each at several moments."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from hashlib import blake2b
from heapq import nsmallest
from typing import Any, Final

from benchmarks.pages import Bucket, Entry, write_bucket

__all__ = ["FILTERS", "MOMENTS", "PAGE", "PREFIX", "SHARE", "SHARE_PREFIX", "Content", "Digest"]

PREFIX: Final = "landing/"

SHARE_PREFIX: Final = PREFIX + "0/"
SHARE: Final = 1 / 16
"""So much of the objects is below that prefix."""

PAGE: Final = 1000

MOMENTS: Final = {"nothing": 0.0, "hundredth": 0.01, "tenth": 0.1, "everywhere": 1.0}
"""In how many of its pages the bucket changed since the tick before, by the name of the moment."""

_GLOBS: Final[Any] = {"include": "**/*.json.gz", "exclude": "**/*f.json.gz"}
_SIZES: Final[Any] = {"min_size": 2**20, "storage_classes": ["STANDARD"]}

FILTERS: Final[dict[str, dict[str, Any]]] = {
    "globs": _GLOBS,
    "sizes and classes": _SIZES,
    "all filters": {**_GLOBS, **_SIZES},
}
"""The filters of sensors by the names of their options; see `_passes`."""

_FOLDERS: Final = 16 * 16

# New is what was modified a few minutes before: above the watermark of a sensor whose lookback is
# one hour, even if the benchmark takes long. Old is what is older than two days.
_NEW_SECONDS: Final = (60, 600)
_OLD_SECONDS: Final = (2 * 86_400, 365 * 86_400)

_MODIFIED: Final = re.compile(b"<LastModified>([^<]*)<")
_SIZE_AND_CLASS: Final = re.compile(b"<Size>([^<]*)</Size><StorageClass>([^<]*)<")


class Digest:
    """Count and digest of keys, in whichever order and portions they come."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._sum = self.count = 0
        self.add(keys)

    def add(self, keys: Iterable[str]) -> None:
        """Takes keys; each once in all."""
        for key in keys:
            hashed = blake2b(key.encode(), digest_size=8).digest()
            self._sum += int.from_bytes(hashed, "little")
            self.count += 1

    def __str__(self) -> str:
        return f"{self._sum % 2**64:016x}"


@dataclass(frozen=True)
class Content:
    """A bucket with many old objects, to which something happens.

    Keys say nothing about times, and changes are at random places. Every second change is a new
    object, the others are old ones that are written anew. A third of the entries have elements
    about checksums, a twentieth another storage class, a sixteenth the ETag of a multipart upload.
    """

    size: int  # so many old objects
    now: datetime  # the changes have just happened
    is_encoded: bool = False  # keys are such that a listing percent-encodes them
    # How often the old objects are there, each time in another folder. The copies are made while
    # they are listed, so that ten million objects need little memory.
    times: int = 1

    @cache  # noqa: B019 - there are few of them, and they live as long as the server
    def at(self, moment: str) -> Bucket:
        """The bucket at a moment."""
        old = _old_bucket(self.size, self.now, self.is_encoded)
        if self.times > 1:
            return Bucket(_Copies(old.keys, self.times), _Copies(old.entries, self.times))
        keys: list[str] = []
        entries: list[bytes] = []
        done = 0
        for at, entry, replaces in sorted(self._changes(moment)):
            keys += [*old.keys[done:at], entry.key]
            entries += [*old.entries[done:at], entry.written()]
            done = at + replaces
        return Bucket([*keys, *old.keys[done:]], [*entries, *old.entries[done:]])

    @cache  # noqa: B019 - see above
    def expected(self, moment: str, prefix: str, oldest: int, sensor: str) -> dict[str, int | str]:
        """What a sensor is to find below a prefix, as the fields of `Found`.

        New are so many of the oldest; with 0 the changes.
        """
        if self.times > 1:
            return {"listed": self.size * self.times, "new": oldest}
        rows: Iterable[tuple[str, bytes]] = zip(*self.at(moment)[:2], strict=True)
        if not oldest:
            rows = [(entry.key, entry.written()) for _, entry, _ in self._changes(moment)]
        new = [
            (_MODIFIED.findall(entry), key)
            for key, entry in rows
            if key.startswith(prefix) and _passes(FILTERS.get(sensor, {}), key, entry)
        ]
        chosen = Digest(key for _, key in (nsmallest(oldest, new) if oldest else new))
        listed = self._listed(moment, prefix)
        return {
            "listed": listed.count,
            "digest": str(listed),
            "new": chosen.count,
            "new_digest": str(chosen),
        }

    @cache  # noqa: B019 - see above
    def _listed(self, moment: str, prefix: str) -> Digest:
        return Digest(key for key in self.at(moment).keys if key.startswith(prefix))

    def _changes(self, moment: str) -> list[tuple[int, Entry, bool]]:
        """Where each change happens, what is there then, and whether it replaces an old object."""
        chance = random.Random(20261122)  # noqa: S311 - no secrets; the same at each call
        pages = list(range(max(1, self.size // PAGE)))
        chance.shuffle(pages)
        changes = []
        for number, page in enumerate(pages[: round(len(pages) * MOMENTS[moment])]):
            at = min(self.size - 1, page * PAGE + chance.randrange(PAGE))
            old = _entry(at, self.size, self.now, self.is_encoded)
            replaces = number % 2 == 1
            entry = old._replace(
                # Right before the old one, since `-` sorts before `.`.
                key=old.key if replaces else old.key.replace(".json", "-new.json"),
                modified=_time(self.now, chance.getrandbits(32), _NEW_SECONDS),
                etag=f"{chance.getrandbits(128):032x}",
            )
            changes.append((at, entry, replaces))
        return changes


@cache
def _old_bucket(size: int, now: datetime, is_encoded: bool) -> Bucket:
    return write_bucket(_entry(number, size, now, is_encoded) for number in range(size))


def _entry(number: int, size: int, now: datetime, is_encoded: bool) -> Entry:
    hashed = blake2b(b"%d" % number, digest_size=40).hexdigest()
    bits = [int(hashed[at : at + 8], 16) for at in range(0, 48, 8)]
    high, low = divmod(number * _FOLDERS // size, 16)
    names = f"dt=2026-{high:02}-{low:02}" if is_encoded else f"{high:x}/{low:x}"
    return Entry(
        key=f"{PREFIX}{names}/{number:08}-{bits[0]:08x}.json.gz",
        modified=_time(now, bits[1], _OLD_SECONDS),
        etag=hashed[48:] + (f"-{bits[2] % 64 + 2}" if bits[2] >> 28 == 0 else ""),
        size=bits[3] >> 8,
        storage_class="STANDARD" if bits[4] % 20 else "STANDARD_IA",
        has_checksum=number % 3 == 0,
    )


def _time(now: datetime, bits: int, ago: tuple[int, int]) -> str:
    since = ago[0] + bits % (ago[1] - ago[0])
    # Naive, whose text has no offset.
    moment = now.astimezone(timezone.utc).replace(microsecond=0, tzinfo=None)
    return (moment - timedelta(seconds=since)).isoformat()


def _passes(filters: dict[str, Any], key: str, entry: bytes) -> bool:
    if "exclude" in filters and key.endswith("f.json.gz"):
        return False
    [(size, name)] = _SIZE_AND_CLASS.findall(entry)
    return "min_size" not in filters or (int(size) >= filters["min_size"] and name == b"STANDARD")


class _Copies(Sequence[Any]):
    """The same texts several times, each time below another folder of one digit."""

    def __init__(self, texts: Sequence[str] | Sequence[bytes], times: int) -> None:
        self._texts, self._times = texts, times

    def __len__(self) -> int:
        return len(self._texts) * self._times

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[each] for each in range(len(self))[at]]
        copy, row = divmod(range(len(self))[at], len(self._texts))
        text = self._texts[row]
        if isinstance(text, bytes):
            return text.replace(PREFIX.encode(), f"{PREFIX}{copy}".encode(), 1)
        return text.replace(PREFIX, f"{PREFIX}{copy}", 1)
