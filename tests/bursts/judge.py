"""Judges what was emitted against what was listed.

A showing is an uninterrupted time for which completed scans find a version listed. A version that
goes and comes back with no scan in between has one showing; one that a scan found gone, and that
comes back, has two. Every showing is to be emitted exactly once. A showing that only one completed
scan has seen may be missed: nobody could emit what was gone when it was looked for again.

Example, of a version that is rolled back to:

    tick 1  v1 listed             showing 1 of v1     emitted v1
    tick 2  v2 listed, v1 hidden  showing 1 of v2     emitted v2
    tick 3  v1 listed again       showing 2 of v1     emitted v1: once for each showing

The judge knows the listing from the server, which says what it served, and not from the scans.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from tests.bursts.bucket import Bucket, Span, Version

# A showing that fewer completed scans have seen may be missed.
SCANS_TO_BE_SURE = 2


@dataclass(slots=True)
class Showing:
    """An uninterrupted time of being listed.

    Attributes:
        first_tick: When it was seen first.
        began: The number of the completed scans before it.
        ended: The number of the completed scans before the one that found it gone.
        emitted: The ticks that emitted it.
    """

    first_tick: int
    began: int
    ended: int | None = None
    emitted: tuple[int, ...] = ()


class Wrong(NamedTuple):
    """A version that was lost, emitted twice, or emitted though never shown.

    Attributes:
        what: Which of these.
        version: The version.
        first_tick: When it was seen first; 0 if never.
        emitted: The ticks that emitted it.
    """

    what: str
    version: Version
    first_tick: int
    emitted: tuple[int, ...]

    def __str__(self) -> str:
        key, modified, etag = self.version
        ticks = ", ".join(map(str, self.emitted)) or "none"
        return (
            f"{self.what}: {key!r} of {modified}, etag {etag.lstrip('0')}; "
            f"first listed in tick {self.first_tick}, emitted in ticks: {ticks}"
        )


class Judge:
    """Follows a bucket and what is emitted of it."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._showings: dict[Version, list[Showing]] = {}
        self._foreign: dict[Version, list[int]] = {}
        self._covered: list[Span] = []
        self._scans = 0
        self.count = 0
        self.emitted = 0

    def tick(self, number: int, served: Iterable[Span], emitted: Iterable[Version]) -> None:
        """Takes in one tick: first where it has listed, then what it has emitted."""
        spans = list(served)
        if spans:
            self._look(number, spans)
        for version in emitted:
            self.emitted += 1
            showings = self._showings.get(version)
            if showings is None:
                self._foreign.setdefault(version, []).append(number)
            else:
                showings[-1].emitted += (number,)

    def start_over(self) -> None:
        """Everything that shows is to be emitted once more: a new generation begins."""
        for version in list(self._showings):
            last = self._showings[version][-1]
            if last.ended is None:
                self._showings[version] = [Showing(last.first_tick, self._scans)]
            else:
                del self._showings[version]
        self._foreign.clear()

    def lost(self) -> list[Wrong]:
        """What was never emitted, although enough scans have seen it."""
        return _in_order(
            Wrong("lost", version, each.first_tick, ())
            for version, showings in self._showings.items()
            for each in showings
            if not each.emitted
            and (self._scans if each.ended is None else each.ended) - each.began >= SCANS_TO_BE_SURE
        )

    def twice(self) -> list[Wrong]:
        """What was emitted more than once while it showed, or without ever having shown."""
        repeated = [
            Wrong("twice", version, each.first_tick, each.emitted)
            for version, showings in self._showings.items()
            for each in showings
            if len(each.emitted) > 1
        ]
        foreign = (
            Wrong("never listed", version, 0, tuple(ticks))
            for version, ticks in self._foreign.items()
        )
        return _in_order([*repeated, *foreign])

    def _look(self, number: int, spans: list[Span]) -> None:
        is_whole = _covers_all(spans)
        for version in self._bucket.take_touched(None if is_whole else spans):
            self._see(number, version)
        self._covered += spans
        if is_whole or _covers_all(self._covered):
            self._scans += 1
            self._covered = []

    def _see(self, number: int, version: Version) -> None:
        showings = self._showings.setdefault(version, [])
        is_open = bool(showings) and showings[-1].ended is None
        if self._bucket.shows(version):
            if not is_open:
                showings.append(Showing(number, self._scans))
                self.count += 1
        elif is_open:
            showings[-1].ended = self._scans
        elif not showings:
            # It came and went with no scan in between.
            del self._showings[version]


def _in_order(wrong: Iterable[Wrong]) -> list[Wrong]:
    """By the ticks in which it was first listed, then by keys."""
    return sorted(wrong, key=lambda each: (each.first_tick, each.version))


def _covers_all(spans: Iterable[Span]) -> bool:
    """Whether these spans together are the whole listing."""
    upto = ""
    for span in sorted(spans, key=lambda each: each.after):
        if span.after > upto:
            return False
        if span.upto is None:
            return True
        upto = max(upto, span.upto)
    return False
