"""What the scenarios are played to: something that ticks and emits versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from tests.bursts.bucket import Bucket, Version
from tests.bursts.scenarios import PREFIX


class Tick(NamedTuple):
    """What one tick did.

    Attributes:
        emitted: The versions that it emitted, repeated as often as they were.
        runs: In how many runs.
        checkpoint: The text of the stored checkpoint after it.
        undecided: How many files, at most, the checkpoint says to be undecided.
        decided_by: What it was decided by which files are new, if the index did not know.
        said: What it told people.
    """

    emitted: list[Version]
    runs: int
    checkpoint: str
    undecided: int = 0
    decided_by: str | None = None
    said: str = ""


class TickFailedError(Exception):
    """A tick ended in an error."""


class Engine(Protocol):
    """A sensor or a processor, and what it needs."""

    def tick(self) -> Tick:
        """Lists, emits, and stores its checkpoint.

        Raises:
            TickFailedError: It could not.
        """

    def start_over(self) -> None:
        """Resets the checkpoint: everything is new again."""


class SetEngine:
    """Remembers each listing whole, in memory: right by construction, and of no use otherwise.

    Args:
        bucket: What is listed.
        client: By which.
        spoil: Changes what is emitted, so that a judge has something to find. It is given the
            number of the ticks that have emitted something, and what this one emits.
    """

    def __init__(
        self,
        bucket: Bucket,
        client: Any,
        spoil: Callable[[int, list[Version]], list[Version]] = lambda _, emitted: emitted,
    ) -> None:
        self._bucket, self._client, self._spoil = bucket, client, spoil
        self._known: set[Version] = set()
        self._emissions = 0

    def tick(self) -> Tick:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket.name, Prefix=PREFIX
        )
        listed = {
            Version(
                each["Key"], f"{each['LastModified']:%Y-%m-%dT%H:%M:%S}", each["ETag"].strip('"')
            )
            for page in pages
            for each in page.get("Contents", ())
        }
        new = sorted(listed - self._known, key=lambda each: (each.modified, each.key))
        self._known = listed
        if not new:
            return Tick([], 0, "")
        self._emissions += 1
        emitted = self._spoil(self._emissions, new)
        return Tick(emitted, 1, "")

    def start_over(self) -> None:
        self._known = set()
