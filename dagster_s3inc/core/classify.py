"""Sorting a listing into what was emitted and what is new, stretch by stretch.

With an index, a row is known if its fingerprint is in the index. Without one, the checkpoint
decides: above the watermark a row is known if it is in `recent`. At or below it, every matching
row counts as known for the moment and enters the digest of what is listed; the digests decide at
the end of the scan (see `late_files`).

Example, with the checkpoint of tick 3 of `core.checkpoint` (watermark 09:03, recent: 09:04), the
file of 09:01 deleted, one of 09:05 written, and one of 08:30 that became visible late:

    listed       with the index                without it
    08:30        new: not in the index         below the watermark: into the digest `listed`
    09:00        known                         into `listed`
    (09:01)      gone: in the index, unlisted
    09:02 09:03  known                         into `listed`
    09:04        known, above the watermark    known: in `recent`
    09:05        new                           new: not in `recent`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.candidates import NO_GROUP, Candidates, OldestCandidates
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.columns import (
    Columns,
    Fingerprints,
    Numbers,
    Rows,
    Texts,
    in_position_order,
    microseconds,
)
from dagster_s3inc.core.filters import Mask, Selection
from dagster_s3inc.core.iblt import Digest, DigestBuilder
from dagster_s3inc.core.index import (
    NO_FINGERPRINTS,
    Index,
    Place,
    Segment,
    Stretch,
    members,
)
from dagster_s3inc.core.objects import Position

__all__ = [
    "Above",
    "Classified",
    "Classifier",
    "Groups",
    "Seen",
    "at_or_below",
    "place_of",
    "sorted_array",
]

Seconds = npt.NDArray[np.uint32]

_EXAMPLES = 5


def _no_fingerprints() -> Fingerprints:
    return NO_FINGERPRINTS


def place_of(position: Position | None) -> Place | None:
    """A position as columns hold it."""
    if position is None:
        return None
    return microseconds(position.last_modified), position.key.encode("utf-8", "surrogatepass")


def sorted_array(fingerprints: frozenset[int]) -> Fingerprints:
    """Fingerprints as `members` takes them."""
    return np.sort(np.fromiter(fingerprints, np.uint64, len(fingerprints)))


def at_or_below(columns: Columns, place: Place | None) -> Mask:
    """Which rows lie at or below a place."""
    if place is None:
        return np.zeros(len(columns), np.bool_)
    mask: Mask = columns.last_modified < place[0]
    ties = np.flatnonzero(columns.last_modified == place[0])
    if len(ties):
        mask[ties] = [key <= place[1] for key in columns.key_bytes(ties)]
    return mask


@dataclass(frozen=True, slots=True, eq=False)
class Above:
    """Objects above the watermark that have been emitted and are listed, one row each.

    Attributes:
        times: Their LastModified, in microseconds.
        keys: Their keys.
        fingerprints: Of each.
        matching: Whether each matches, whatever its storage class.
    """

    times: Numbers
    keys: Texts
    fingerprints: Fingerprints
    matching: Mask

    @classmethod
    def joined(cls, parts: Sequence[Above]) -> Above:
        """The rows of all parts, in position order."""
        if len(parts) == 1:
            [whole] = parts
        else:
            whole = cls(
                np.concatenate([np.empty(0, np.int64), *(each.times for each in parts)]),
                Texts.joined([each.keys for each in parts]),
                np.concatenate([NO_FINGERPRINTS, *(each.fingerprints for each in parts)]),
                np.concatenate([np.empty(0, np.bool_), *(each.matching for each in parts)]),
            )
        return whole.only(
            in_position_order(whole.times, lambda rows: whole.keys.only(rows).to_list())
        )

    @classmethod
    def of(cls, candidates: Candidates) -> Above:
        """Candidates that are emitted now."""
        columns = candidates.columns
        return cls(
            columns.last_modified,
            columns.plain_keys(),
            candidates.fingerprints,
            np.ones(len(candidates), np.bool_),
        )

    def __len__(self) -> int:
        return len(self.keys)

    def place(self, row: int) -> Place:
        """The place of one row in the order of processing."""
        return int(self.times[row]), self.keys[row]

    def only(self, rows: Rows) -> Above:
        """These rows, in this order."""
        return Above(
            self.times[rows], self.keys.only(rows), self.fingerprints[rows], self.matching[rows]
        )


@dataclass(slots=True)
class Groups:
    """The groups that a scan has met, by number, and the keys that are in none."""

    group_of: Callable[[str], str | None] | None
    names: list[str] = field(default_factory=list)
    unpartitioned: int = 0
    examples: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def number(self, columns: Columns) -> npt.NDArray[np.int32]:
        """The group of each row, by number; -2 for a row that is in none."""
        if self.group_of is None:
            return np.full(len(columns), NO_GROUP, np.int32)
        numbers = np.empty(len(columns), np.int32)
        for row, key in enumerate(columns.key_bytes()):
            text = key.decode("utf-8", "surrogatepass")
            name = self.group_of(text)
            if name is None:
                numbers[row] = _UNPARTITIONED
                self.unpartitioned += 1
                if len(self.examples) < _EXAMPLES:
                    self.examples.append(text)
                continue
            found = self._numbers.get(name)
            if found is None:
                found = self._numbers[name] = len(self.names)
                self.names.append(name)
            numbers[row] = found
        return numbers

    def copy(self) -> Groups:
        """A copy that goes on by itself."""
        return replace(
            self,
            names=list(self.names),
            examples=list(self.examples),
            _numbers=dict(self._numbers),
        )


_UNPARTITIONED = -2


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """One stretch, sorted into what is known and what is new.

    Attributes:
        segment: As it is listed now. Its fingerprints are those that are known; without an index
            also those at or below the watermark of which the digests decide.
        candidates: What is new and matches.
        beyond: What is new and matches too, but was modified so late that it is only counted.
        above: What is known above the watermark.
        gone: Fingerprints of the index that are not listed any more.
        carried: Fingerprints of a segment of the index that goes on behind the stretch.
        listed: Without an index: what matches at or below the watermark, whatever its class.
        matching: Those of them whose class counts too.
        seconds: When each of `listed` was modified, in seconds since 1970.
        left_out: How many rows above the watermark do not match.
        held_back: How many rows match and are in no group.
    """

    segment: Segment
    candidates: Candidates | None = None
    beyond: tuple[Columns, ...] = ()
    above: Above | None = None
    gone: Fingerprints = field(default_factory=_no_fingerprints)
    carried: Fingerprints = field(default_factory=_no_fingerprints)
    listed: Fingerprints = field(default_factory=_no_fingerprints)
    matching: Fingerprints = field(default_factory=_no_fingerprints)
    seconds: Seconds = field(default_factory=lambda: np.empty(0, np.uint32))
    left_out: int = 0
    held_back: int = 0


class Classifier:
    """Sorts stretches by what a checkpoint and its index know.

    Args:
        checkpoint: What has been emitted.
        index: The same object by object; None if it is not at hand.
        selection: What counts.
        adopts: Whether what is new above the watermark counts as emitted.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        index: Index | None,
        selection: Selection,
        *,
        adopts: bool = False,
    ) -> None:
        self.index = index
        self.watermark = place_of(checkpoint.watermark)
        self._selection = selection
        self._recent = sorted_array(checkpoint.recent)
        self._late = sorted_array(checkpoint.late)
        self.adopts = adopts
        self.latest: int | None = None
        """What is new and was modified later than this, in microseconds, is only counted."""

    def may_skip(self, segment: Segment) -> bool:
        """Whether a segment need not be read if its bytes are the same as last time."""
        if segment.newest is None:
            return True
        if segment.waiting or self.watermark is None:
            return False
        return segment.newest <= self.watermark

    def classify(
        self, stretch: Stretch, carried: Fingerprints, groups: Groups, number: int
    ) -> Classified:
        """Sorts one stretch.

        Args:
            stretch: What is listed.
            carried: What the stretch before left of a segment of the index that goes on here.
            groups: Numbers the groups.
            number: The number of the segment that the stretch becomes.
        """
        if stretch.unchanged is not None:
            return Classified(stretch.unchanged)
        pool = self._pool(stretch, carried)
        found: list[Fingerprints] = [NO_FINGERPRINTS]
        parts = [self._part(part, pool, groups, number) for part in stretch.parts]
        for part in parts:
            found.append(part.known)
        known = np.concatenate(found)
        left, gone = self._left(stretch, carried, pool, known)
        rows = [columns for columns in stretch.parts if len(columns)]
        candidates = [part.candidates for part in parts if part.candidates is not None]
        listed = _joined([part.listed for part in parts])
        segment = Segment(
            start=stretch.start,
            fingerprints=np.sort(np.concatenate([known, listed, *(p.adopted for p in parts)])),
            content=stretch.content,
            newest=max((_newest(columns) for columns in rows), default=None),
            last_key=rows[-1].key(-1) if rows else b"",
            objects=stretch.objects,
            bytes=sum(int(columns.sizes.sum()) for columns in rows),
            waiting=sum(map(len, candidates))
            + sum(len(part.beyond) + part.held_back for part in parts),
        )
        return Classified(
            segment,
            candidates=Candidates.joined(candidates) if candidates else None,
            beyond=tuple(part.beyond for part in parts if isinstance(part.beyond, Columns)),
            above=Above.joined([part.above for part in parts if part.above is not None]),
            gone=gone,
            carried=left,
            listed=listed,
            matching=_joined([part.matching for part in parts]),
            seconds=np.concatenate([np.empty(0, np.uint32), *(part.seconds for part in parts)]),
            left_out=sum(part.left_out for part in parts),
            held_back=sum(part.held_back for part in parts),
        )

    def _pool(self, stretch: Stretch, carried: Fingerprints) -> Fingerprints:
        """What of the index may be listed in a stretch, sorted."""
        if self.index is None:
            return self._recent
        if not len(carried) and len(stretch.known) == 1:
            return stretch.known[0].fingerprints
        return np.sort(np.concatenate([carried, *(each.fingerprints for each in stretch.known)]))

    def _left(
        self, stretch: Stretch, carried: Fingerprints, pool: Fingerprints, known: Fingerprints
    ) -> tuple[Fingerprints, Fingerprints]:
        """What of the index was not listed: what may still come, and what is gone."""
        if self.index is None or not len(pool):
            return NO_FINGERPRINTS, NO_FINGERPRINTS
        left = np.setdiff1d(pool, known, assume_unique=True)
        if not stretch.continues or not len(left):
            return NO_FINGERPRINTS, left
        last = stretch.known[-1].fingerprints if stretch.known else carried
        comes = members(left, np.sort(last))
        return left[comes], left[~comes]

    def _part(self, part: Columns, pool: Fingerprints, groups: Groups, number: int) -> _Part:
        if self.index is None:
            return self._part_without_index(part, groups, number)
        if len(pool):
            old = part.last_modified <= self.index.newest_emitted
            rows = np.flatnonzero(old)
            prints = part.fingerprints(None if len(rows) == len(part) else rows)
            is_known = members(prints, pool)
            known_rows, known = rows[is_known], prints[is_known]
        else:
            known_rows, known = np.empty(0, np.intp), NO_FINGERPRINTS
        unknown = np.ones(len(part), np.bool_)
        unknown[known_rows] = False
        result = self._unknown(part, np.flatnonzero(unknown), groups, number)
        if len(known_rows):
            chosen = part.only(known_rows)
            above = np.flatnonzero(~at_or_below(chosen, self.watermark))
            if len(above):
                result.above = self._above(chosen.only(above), known[above])
        result.known = known
        return result

    def _part_without_index(self, part: Columns, groups: Groups, number: int) -> _Part:
        below = at_or_below(part, self.watermark)
        rows = np.flatnonzero(~below)
        prints = part.only(rows).fingerprints()
        is_known = members(prints, self._recent)
        known_rows = rows[is_known]
        result = self._unknown(part, rows[~is_known], groups, number)
        result.known = prints[is_known]
        if len(known_rows):
            result.above = self._above(part.only(known_rows), result.known)
        rows = np.flatnonzero(below)
        if not len(rows):
            return result
        chosen = part if len(rows) == len(part) else part.only(rows)
        may, counts = self._selection.may_match(chosen), self._selection.class_counts(chosen)
        numbers = np.full(len(chosen), NO_GROUP, np.int32)
        if groups.group_of is not None:
            asked = np.flatnonzero(may & counts)
            before = groups.unpartitioned
            numbers[asked] = groups.number(chosen.only(asked))
            result.held_back += groups.unpartitioned - before
            may &= numbers != _UNPARTITIONED
        if not may.all():
            rows = np.flatnonzero(may)
            chosen, counts, numbers = chosen.only(rows), counts[rows], numbers[rows]
        prints = chosen.fingerprints()
        late = np.flatnonzero(members(prints, self._late) & counts)
        if len(late):
            candidates = Candidates(
                chosen.only(late),
                prints[late],
                np.full(len(late), number, np.int32),
                numbers[late],
            )
            if result.candidates is not None:
                candidates = Candidates.joined([candidates, result.candidates]).in_key_order()
            result.candidates = candidates
        result.listed, result.matching = prints, prints[counts]
        result.seconds = (chosen.last_modified // 1_000_000).astype(np.uint32)
        return result

    def _unknown(self, part: Columns, rows: Rows, groups: Groups, number: int) -> _Part:
        """Rows that have not been emitted."""
        result = _Part()
        if not len(rows):
            return result
        chosen = part if len(rows) == len(part) else part.only(rows)
        may, counts = self._selection.may_match(chosen), self._selection.class_counts(chosen)
        if self.adopts:
            taken = chosen.only(np.flatnonzero(may))
            result.adopted = taken.fingerprints()
            result.above = self._above(taken, result.adopted)
            result.left_out = len(chosen) - len(taken)
            return result
        result.left_out = int((~(may & counts) & ~at_or_below(chosen, self.watermark)).sum())
        rows = np.flatnonzero(may & counts)
        if not len(rows):
            return result
        chosen = chosen if len(rows) == len(chosen) else chosen.only(rows)
        before = groups.unpartitioned
        numbers = groups.number(chosen)
        result.held_back = groups.unpartitioned - before
        if result.held_back:
            placed = np.flatnonzero(numbers != _UNPARTITIONED)
            chosen, numbers = chosen.only(placed), numbers[placed]
        if self.latest is not None:
            is_beyond = chosen.last_modified > self.latest
            result.beyond = chosen.only(np.flatnonzero(is_beyond))
            rows = np.flatnonzero(~is_beyond)
            chosen, numbers = chosen.only(rows), numbers[rows]
        if len(chosen):
            result.candidates = Candidates(
                chosen,
                chosen.fingerprints(),
                np.full(len(chosen), number, np.int32),
                numbers,
            )
        return result

    def _above(self, columns: Columns, fingerprints: Fingerprints) -> Above:
        return Above(
            columns.last_modified,
            columns.plain_keys().packed(),
            fingerprints,
            self._selection.may_match(columns),
        )


class Seen:
    """Everything that a scan keeps of what it has read.

    Args:
        classifier: Sorts what comes.
        groups: Numbers the groups.
        kept: How many of the oldest candidates are kept; 0 means that no candidate is.
        cells: The sizes of the digests that are made of what is listed, without an index.
        start: The key behind which the scan begins.
        max_index_bytes: If the fingerprints of what is listed take more, they are not kept.
    """

    def __init__(
        self,
        classifier: Classifier,
        groups: Groups,
        *,
        kept: int,
        cells: Sequence[int],
        start: bytes = b"",
        max_index_bytes: int,
    ) -> None:
        self.classifier, self.groups = classifier, groups
        self.oldest = OldestCandidates(kept)
        self._keeps_candidates = kept > 0
        self.last_key = start
        self.carried = NO_FINGERPRINTS
        self.classified: list[Classified] = []
        self.is_too_large = False
        self.listed = [DigestBuilder(each) for each in cells]
        self.matching = DigestBuilder(cells[0]) if cells else None
        self._most, self._size = max_index_bytes, 0

    def classify(self, stretch: Stretch) -> Classified:
        """Sorts a stretch; `add` takes it in."""
        number = len(self.classified)
        return self.classifier.classify(stretch, self.carried, self.groups, number)

    def add(self, classified: Classified) -> None:
        """Takes in a stretch."""
        self.last_key = classified.segment.last_key or self.last_key
        self.carried = classified.carried
        if self._keeps_candidates:
            if classified.candidates is not None:
                self.oldest.add(classified.candidates)
            for columns in classified.beyond:
                self.oldest.dropped.add(columns)
            self.classifier.latest = self.oldest.latest
        if len(classified.listed):
            for digest in self.listed:
                digest.add(classified.listed)
            if self.matching is not None:
                self.matching.add(classified.matching)
        self._size += classified.segment.fingerprints.nbytes
        if self.classifier.index is None and self._size > self._most:
            self.is_too_large = True
        if self.is_too_large:
            empty = NO_FINGERPRINTS
            segment = classified.segment._replace(fingerprints=empty, content=None)
            classified = replace(classified, segment=segment, listed=empty, matching=empty)
        self.classified.append(replace(classified, candidates=None, beyond=()))

    def copy(self, *, unpartitioned: int) -> Seen:
        """A copy that goes on by itself, with so many unpartitioned keys."""
        other = Seen(
            self.classifier,
            self.groups.copy(),
            kept=0,
            cells=(),
            start=self.last_key,
            max_index_bytes=self._most,
        )
        other.groups.unpartitioned = unpartitioned
        other.groups.examples = other.groups.examples[:unpartitioned]
        other.carried, other.classified = self.carried, list(self.classified)
        other.is_too_large, other._size = self.is_too_large, self._size
        other.listed = [each.copy() for each in self.listed]
        other.matching = None if self.matching is None else self.matching.copy()
        return other

    def segments(self) -> list[Segment]:
        """What was listed, in order."""
        return [each.segment for each in self.classified]

    def above(self) -> Above:
        """What is known above the watermark, in position order."""
        return Above.joined([each.above for each in self.classified if each.above is not None])

    def gone(self) -> Fingerprints:
        """What of the index is not listed any more."""
        return _joined([each.gone for each in self.classified])

    def digests(self) -> list[Digest]:
        """Of what is listed at or below the watermark, one of each size."""
        return [each.finish() for each in self.listed]


def _joined(parts: Sequence[Fingerprints]) -> Fingerprints:
    return parts[0] if len(parts) == 1 else np.concatenate([NO_FINGERPRINTS, *parts])


def _newest(columns: Columns) -> Place:
    latest = np.flatnonzero(columns.last_modified == columns.last_modified.max())
    return int(columns.last_modified[latest[0]]), max(columns.key_bytes(latest))


@dataclass(slots=True)
class _Part:
    """One part of a stretch, sorted; see `Classified`."""

    known: Fingerprints = field(default_factory=_no_fingerprints)
    adopted: Fingerprints = field(default_factory=_no_fingerprints)
    above: Above | None = None
    candidates: Candidates | None = None
    beyond: Columns | tuple[()] = ()
    listed: Fingerprints = field(default_factory=_no_fingerprints)
    matching: Fingerprints = field(default_factory=_no_fingerprints)
    seconds: Seconds = field(default_factory=lambda: np.empty(0, np.uint32))
    left_out: int = 0
    held_back: int = 0
