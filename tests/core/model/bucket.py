"""The objects of a bucket, those it showed before, and the server's clock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from itertools import count
from random import Random

from dagster_s3inc.core.objects import S3Object

__all__ = ["START", "Bucket", "at", "random_change"]

_CLASSES = ("STANDARD", "STANDARD_IA", "GLACIER")

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def at(second: int) -> datetime:
    """A moment, counted in seconds from the start of the world."""
    return START + timedelta(seconds=second)


class Bucket:
    """A versioned bucket. Times have whole seconds, as on AWS.

    Attributes:
        now: The server's clock, in seconds.
        objects: What a listing shows, by key.
        old: Versions that were deleted or overwritten, and may come back.
    """

    def __init__(self) -> None:
        self.now = 10_000
        self.objects: dict[str, S3Object] = {}
        self.old: list[S3Object] = []
        self._etags = count(1)

    def put(
        self, key: str, modified: int | None = None, *, size: int = 1, same_bytes: bool = False
    ) -> None:
        """Makes a new version visible, dated now unless it says otherwise."""
        before = self.objects.get(key)
        if before is not None:
            self.old.append(before)
        etag = f"e{next(self._etags)}"
        if before is not None and same_bytes:
            etag, size = before.etag, before.size
        time = at(self.now if modified is None else modified)
        self.objects[key] = S3Object(time, key, etag, size)

    def delete(self, keys: Iterable[str]) -> None:
        """Hides objects; their versions are kept."""
        self.old += [self.objects.pop(key) for key in keys]

    def bring_back(self, versions: Iterable[S3Object]) -> None:
        """Shows versions again that had been deleted or overwritten."""
        for version in versions:
            self.old.remove(version)
            if version.key in self.objects:
                self.old.append(self.objects[version.key])
            self.objects[version.key] = version

    def move(self, key: str, storage_class: str) -> None:
        """A lifecycle rule moves an object to a colder class; nothing warms up by itself."""
        before = self.objects[key]
        if _CLASSES.index(storage_class) > _CLASSES.index(before.storage_class):
            self.objects[key] = before._replace(storage_class=storage_class)

    def older_than(self, second: int) -> list[str]:
        """The keys of the objects modified before this second."""
        limit = at(second)
        return [key for key, each in self.objects.items() if each.last_modified < limit]

    def listing(self, *, after: str = "", prefix: str = "") -> list[S3Object]:
        """The objects behind a key and under a prefix, in the order of their keys."""
        objects = self.objects
        return [objects[key] for key in sorted(objects) if key > after and key.startswith(prefix)]


# Some hundred, so that keys meet again; some that bytes and code points order differently from
# UTF-16, and some that must be escaped.
_ODD_KEYS = ("a 1", "a+1", "a/é", "a/\ufb01", "a/😀", "b&b", "b<1>")


def random_key(random: Random, keys: int) -> str:
    """One of so many keys under two prefixes."""
    if random.random() < 0.03:
        return random.choice(_ODD_KEYS)
    return f"{random.choice('ab')}{random.randrange(keys):04d}"


def random_change(bucket: Bucket, random: Random, *, keys: int = 100) -> str:
    """Something happens to the bucket.

    Returns:
        What it was, in a word.
    """

    def put(count: int, oldest: int = 0, *, newest: int = 0) -> None:
        for _ in range(count):
            modified = bucket.now - random.randrange(newest, oldest + 1)
            size = random.choice((0, 1, 1, 3))
            same = random.random() < 0.1
            bucket.put(random_key(random, keys), modified, size=size, same_bytes=same)

    chance = random.random()
    if chance < 0.33:
        put(random.randrange(1, 4))
        return "put"
    if chance < 0.43:
        put(random.randrange(5, 40))
        return "burst"
    if chance < 0.53:
        put(random.randrange(1, 5), 600)
        return "late"
    if chance < 0.60:
        put(random.randrange(13, 50), 3000)
        return "wave"
    if chance < 0.63:
        put(random.choice((1, 1, 12)), -1, newest=-400)
        return "future"
    if chance < 0.71:
        keys_there = sorted(bucket.objects)
        bucket.delete(random.sample(keys_there, min(len(keys_there), random.randrange(1, 5))))
        return "delete"
    if chance < 0.76:
        bucket.delete(bucket.older_than(bucket.now - random.randrange(1000)))
        return "expire"
    if chance < 0.88 and bucket.old:
        count = min(len(bucket.old), random.choice((1, 1, 2, 20)))
        bucket.bring_back(random.sample(bucket.old, count))
        return "come back"
    return "nothing"
