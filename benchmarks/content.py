"""The bucket of the benchmark: many old objects, and a few new ones spread among them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

from benchmarks.digest import digest_of
from benchmarks.pages import Bucket, Entry

__all__ = ["PREFIX", "SHARE", "SHARE_PREFIX", "Content", "make_content"]

PREFIX: Final = "landing/"

SHARE_PREFIX: Final = PREFIX + "0/"
"""The first of the folders below the prefix."""

SHARE: Final = 1 / 16
"""How much of the objects it holds."""

_FOLDERS: Final = 16 * 16
_SEED: Final = 20261122

# New is what was modified within the last half hour: well above the floor of a scan that looks
# back one hour, even if the benchmark takes long. Old is what is older than two days.
_NEW_SECONDS: Final = (60, 1800)
_OLD_SECONDS: Final = (2 * 86_400, 365 * 86_400)


@dataclass(frozen=True, slots=True)
class Content:
    """The same bucket at two moments.

    Attributes:
        before: The old objects alone.
        after: The old ones and the new ones.
        new: The keys of the new ones.
    """

    before: Bucket
    after: Bucket
    new: frozenset[str]

    def expected(self, prefix: str) -> dict[str, int | str]:
        """What every way must find below a prefix, as the fields of `Found`."""
        keys = [key for key in self.after.keys if key.startswith(prefix)]
        new = [key for key in keys if key in self.new]
        return {
            "listed": len(keys),
            "digest": digest_of(keys),
            "new": len(new),
            "new_digest": digest_of(new),
        }


def make_content(old: int, new: int, *, now: datetime) -> Content:
    """Makes `old` objects, and `new` ones evenly among them, the same at each call but for times.

    Keys have nothing to do with times, so the new objects are on all pages: the most work that
    they can make. A third of the entries have elements about checksums, a twentieth another
    storage class, a sixteenth the ETag of a multipart upload.
    """
    total = old + new
    entries = list(_entries(total, new, now))
    is_new = [_is_new(number, total, new) for number in range(total)]
    after = Bucket.of(entries)
    before = [at for at in range(total) if not is_new[at]]
    keys = [after.keys[at] for at in before]
    written = [after.url[at] for at in before]
    return Content(
        before=Bucket(keys, written, written),
        after=after,
        new=frozenset(after.keys[at] for at in range(total) if is_new[at]),
    )


def _entries(total: int, new: int, now: datetime) -> Iterator[Entry]:
    chance = random.Random(_SEED)  # noqa: S311 - no secrets; the same in each run
    bits = chance.getrandbits
    # Naive, whose text has no offset.
    moment = now.astimezone(timezone.utc).replace(microsecond=0, tzinfo=None)
    for number in range(total):
        folder = number * _FOLDERS // total
        if _is_new(number, total, new):
            age = chance.randrange(*_NEW_SECONDS)
        else:
            age = chance.randrange(*_OLD_SECONDS)
        parts = f"-{bits(6) + 2}" if bits(4) == 0 else ""
        yield Entry(
            key=f"{PREFIX}{folder >> 4:x}/{folder & 15:x}/{number:08}-{bits(32):08x}.json.gz",
            modified=(moment - timedelta(seconds=age)).isoformat(),
            etag=f"{bits(128):032x}{parts}",
            size=bits(24),
            storage_class="STANDARD" if chance.randrange(20) else "STANDARD_IA",
            has_checksum=number % 3 == 0,
        )


def _is_new(number: int, total: int, new: int) -> bool:
    """Whether this one is new: evenly spread, and exactly so many of all."""
    return (number + 1) * new // total > number * new // total
