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

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.candidates import (
    NO_GROUP,
    Above,
    Candidates,
    OldestCandidates,
    at_or_below,
    place_of,
    sorted_array,
)
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.columns import Columns, Fingerprints
from dagster_s3inc.core.filters import Mask, Rules, Selection
from dagster_s3inc.core.iblt import Digest, DigestBuilder
from dagster_s3inc.core.index import (
    NO_FINGERPRINTS,
    Index,
    Place,
    Segment,
    Stretch,
    members,
    without,
)

__all__ = ["Again", "Classified", "Classifier", "Listed", "Seen"]

_EXAMPLES: Final = 5
_UNPARTITIONED: Final = -2


class Listed(NamedTuple):
    """What matches at or below the watermark, whatever its storage class, one by one.

    Attributes:
        fingerprints: Of each.
        seconds: When each was modified, in seconds since 1970.
        other: The fingerprints of those whose storage class does not count.
    """

    fingerprints: Fingerprints = NO_FINGERPRINTS
    seconds: npt.NDArray[np.uint32] = np.empty(0, np.uint32)
    other: Fingerprints = NO_FINGERPRINTS

    @classmethod
    def joined(cls, parts: Sequence[Listed]) -> Listed:
        """The rows of all parts."""
        return cls(*map(np.concatenate, zip(cls(), *parts, strict=True)))


class Again(NamedTuple):
    """Asks for what was emitted instead of what is new.

    Attributes:
        rules: Tell what is asked for.
        after: Only keys behind this one are.
        takes_late: Whether it is decided later which files at or below the watermark are late.
    """

    rules: Rules
    after: bytes
    takes_late: bool


@dataclass(frozen=True, slots=True, eq=False)
class Classified:
    """One stretch, sorted into what is known and what is new.

    Attributes:
        segment: As it is listed now. Its fingerprints are those that are known; without an index
            also those at or below the watermark of which the digests decide.
        candidates: What is new and matches, in key order; None if nothing is.
        beyond: What is new and matches too, but was modified so late that it is only counted.
        above: What is known above the watermark.
        gone: Fingerprints of the index that are not listed any more.
        carried: Fingerprints of a segment of the index that goes on behind the stretch.
        listed: Without an index: what is listed at or below the watermark.
        left_out: How many rows above the watermark do not match.
        unpartitioned: How many rows match and are in no group.
        examples: The keys of some of them.
    """

    segment: Segment
    candidates: Candidates | None = None
    beyond: tuple[Columns, ...] = ()
    above: tuple[Above, ...] = ()
    gone: Fingerprints = field(default_factory=lambda: NO_FINGERPRINTS)
    carried: Fingerprints = field(default_factory=lambda: NO_FINGERPRINTS)
    listed: Listed = Listed()  # noqa: RUF009 # a value
    left_out: int = 0
    unpartitioned: int = 0
    examples: tuple[str, ...] = ()


class Classifier:
    """Sorts stretches by what a checkpoint and its index know.

    Args:
        checkpoint: What has been emitted.
        index: The same object by object; None if it is not at hand.
        selection: What counts.
        adopts: Whether what is new above the watermark counts as emitted.
        again: Makes candidates of what was emitted; None if they are what is new.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        index: Index | None,
        selection: Selection,
        *,
        adopts: bool = False,
        again: Again | None = None,
    ) -> None:
        self.index = index
        self.watermark = place_of(checkpoint.watermark)
        self.adopts, self._again = adopts, again
        self._selection = selection
        self._recent = sorted_array(checkpoint.recent)
        self._late = sorted_array(checkpoint.late)
        self.names: list[str] = []
        """The names of the groups that were met, by number."""
        self._numbers: dict[str, int] = {}
        self.latest: int | None = None
        """What is new and was modified later than this, in microseconds, is only counted."""
        self.covers_all = True
        """Whether all that counts at or below the watermark is asked for again."""

    def may_skip(self, segment: Segment) -> bool:
        """Whether a segment need not be read if its bytes are the same as last time."""
        if self._again is not None:
            return False
        if segment.newest is None:
            return True
        if segment.waiting or self.watermark is None:
            return False
        return segment.newest <= self.watermark

    def classify(self, stretch: Stretch, carried: Fingerprints, number: int) -> Classified:
        """Sorts one stretch.

        Args:
            stretch: What is listed.
            carried: What the stretch before left of a segment of the index that goes on here.
            number: The number of the segment that the stretch becomes.
        """
        if stretch.unchanged is not None:
            return Classified(stretch.unchanged)
        pool, found = self._pool(stretch, carried), _Found(number)
        rows = [columns for columns in stretch.parts if len(columns)]
        for part in rows:
            self._sort(part, pool, found)
        known = np.concatenate([NO_FINGERPRINTS, *found.known])
        left, gone = self._left(stretch, carried, pool, known)
        listed = found.listed[0] if len(found.listed) == 1 else Listed.joined(found.listed)
        candidates = Candidates.joined(found.candidates) if found.candidates else None
        segment = Segment(
            start=stretch.start,
            fingerprints=np.sort(np.concatenate([known, listed.fingerprints])),
            content=stretch.content,
            newest=max(map(_newest, rows), default=None),
            last_key=rows[-1].key(-1) if rows else b"",
            objects=stretch.objects,
            bytes=sum(int(columns.sizes.sum()) for columns in rows),
            waiting=sum(map(len, found.candidates))
            + sum(map(len, found.beyond))
            + found.unpartitioned,
        )
        return Classified(
            segment,
            candidates,
            beyond=tuple(found.beyond),
            above=tuple(found.above),
            gone=gone,
            carried=left,
            listed=listed,
            left_out=found.left_out,
            unpartitioned=found.unpartitioned,
            examples=tuple(found.examples),
        )

    def _pool(self, stretch: Stretch, carried: Fingerprints) -> Fingerprints:
        """What may be known of a stretch, sorted."""
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
        left = without(pool, known)
        if not stretch.continues or not len(left):
            return NO_FINGERPRINTS, left
        last = stretch.known[-1].fingerprints if stretch.known else carried
        comes = members(left, np.sort(last))
        return left[comes], left[~comes]

    def _sort(self, part: Columns, pool: Fingerprints, found: _Found) -> None:
        """Sorts some rows, which are not none."""
        below = at_or_below(part, self.watermark)
        may_be_known = ~below
        if self.index is not None:
            may_be_known = part.last_modified <= self.index.newest_emitted
        asked = np.flatnonzero(may_be_known) if len(pool) else np.empty(0, np.intp)
        prints = part.fingerprints(None if len(asked) == len(part) else asked)
        is_known = members(prints, pool)
        known = asked[is_known]
        found.known.append(prints[is_known])
        above = ~below[known]
        if above.any():
            self._note_above(part.only(known[above]), prints[is_known][above], found)
        if self._again is None:
            rest = np.ones(len(part), np.bool_)
            rest[known] = False
        else:
            rest = below.copy() if self.index is None else np.zeros(len(part), np.bool_)
            rest[known] = True
        rows = np.flatnonzero(rest)
        if len(rows) == len(part):
            self._choose(part, below, found)
        elif len(rows):
            self._choose(part.only(rows), below[rows], found)

    def _choose(self, rows: Columns, below: Mask, found: _Found) -> None:
        """Finds the candidates, and what is listed at or below the watermark without an index."""
        may = self._selection.may_match(rows)
        counts = may & self._selection.class_counts(rows)
        if self._again is None:
            found.left_out += int((~(may if self.adopts else counts) & ~below).sum())
        if self.adopts:
            taken = np.flatnonzero(may & ~below)
            adopted = rows.only(taken)
            prints = adopted.fingerprints()
            found.known.append(prints)
            self._note_above(adopted, prints, found)
            may, counts = may & below, counts & below
        groups = self._placed(rows, may, counts, found)
        listed = may & below if self.index is None else np.zeros(len(rows), np.bool_)
        new = counts & ~listed if self._again is None else counts & self._asked(rows)
        if self.latest is not None:
            late = new & (rows.last_modified > self.latest)
            found.beyond.append(rows.only(np.flatnonzero(late)))
            new &= ~late
        chosen = np.flatnonzero(new | listed)
        if not len(chosen):
            return
        if len(chosen) < len(rows):
            rows, groups = rows.only(chosen), groups[chosen]
            new, listed, counts = new[chosen], listed[chosen], counts[chosen]
        prints = rows.fingerprints()
        if self.index is None and listed.any():
            seconds = (rows.last_modified[listed] // 1_000_000).astype(np.uint32)
            found.listed.append(Listed(prints[listed], seconds, prints[listed & ~counts]))
            is_late = listed & members(prints, self._late)
            if self._again is None:
                new |= is_late & counts
            else:
                self.covers_all = self.covers_all and bool(new[listed & counts].all())
                new &= ~is_late | self._again.takes_late
        chosen = np.flatnonzero(new)
        if len(chosen):
            numbers = np.full(len(chosen), found.number, np.int32)
            found.candidates.append(
                Candidates(rows.only(chosen), prints[chosen], numbers, groups[chosen])
            )

    def _placed(
        self, rows: Columns, may: Mask, counts: Mask, found: _Found
    ) -> npt.NDArray[np.int32]:
        """The number of the group of each row. Those in no group match no more."""
        numbers = np.full(len(rows), NO_GROUP, np.int32)
        group_of = self._selection.group_of
        if group_of is not None:
            asked = np.flatnonzero(counts)
            names = [
                group_of(key.decode("utf-8", "surrogatepass")) for key in rows.key_bytes(asked)
            ]
            numbers[asked] = [self._number(name) for name in names]
            nowhere = np.flatnonzero(numbers == _UNPARTITIONED)
            may[nowhere] = counts[nowhere] = False
            found.unpartitioned += len(nowhere)
            keys = rows.key_bytes(nowhere[: _EXAMPLES - len(found.examples)])
            found.examples += [key.decode("utf-8", "surrogatepass") for key in keys]
        return numbers

    def _number(self, name: str | None) -> int:
        if name is None:
            return _UNPARTITIONED
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]

    def _asked(self, rows: Columns) -> Mask:
        """Which rows are asked for again, if they were emitted."""
        again = self._again
        if again is None:
            return np.ones(len(rows), np.bool_)
        mask = again.rules.may_count(rows)
        if again.after:
            asked = np.flatnonzero(mask)
            mask[asked] = [key > again.after for key in rows.key_bytes(asked)]
        return mask

    def _note_above(self, rows: Columns, prints: Fingerprints, found: _Found) -> None:
        matching = self._selection.may_match(rows)
        keys = rows.plain_keys().packed()
        found.above.append(Above(rows.last_modified, keys, prints, matching))


@dataclass(slots=True)
class _Found:
    """What is found in one stretch; see `Classified`."""

    number: int
    known: list[Fingerprints] = field(default_factory=list)
    above: list[Above] = field(default_factory=list)
    candidates: list[Candidates] = field(default_factory=list)
    beyond: list[Columns] = field(default_factory=list)
    listed: list[Listed] = field(default_factory=list)
    left_out: int = 0
    unpartitioned: int = 0
    examples: list[str] = field(default_factory=list)


class Seen:
    """Everything that a scan keeps of what it has read.

    Args:
        classifier: Sorts what comes.
        kept: How many of the oldest candidates are kept; 0 means that no candidate is.
        cells: The sizes of the digests that are made of what is listed, without an index.
        start: The key behind which the scan begins.
        max_index_bytes: If the fingerprints of what is listed take more, they are not kept.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        kept: int = 0,
        cells: Sequence[int] = (),
        start: bytes = b"",
        max_index_bytes: int,
    ) -> None:
        self.classifier, self.names = classifier, classifier.names
        self.oldest = OldestCandidates(kept)
        self._keeps_candidates = kept > 0
        self.last_key = start
        self.carried = NO_FINGERPRINTS
        self.classified: list[Classified] = []
        self.is_too_large = False
        self._listed = [DigestBuilder(each) for each in cells]
        self._other = [DigestBuilder(each) for each in cells[:1]]
        self._most, self._size = max_index_bytes, 0

    def classify(self, stretch: Stretch) -> Classified:
        """Sorts a stretch; `add` takes it in."""
        return self.classifier.classify(stretch, self.carried, len(self.classified))

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
        for digest in self._listed:
            digest.add(classified.listed.fingerprints)
        for digest in self._other:
            digest.add(classified.listed.other)
        self._size += classified.segment.fingerprints.nbytes
        if self.classifier.index is None and self._size > self._most:
            self.is_too_large = True
        if self.is_too_large:
            segment = classified.segment._replace(fingerprints=NO_FINGERPRINTS, content=None)
            classified = replace(classified, segment=segment, listed=Listed())
        self.classified.append(replace(classified, candidates=None, beyond=()))

    def copy(self) -> Seen:
        """A copy that goes on by itself, and keeps no candidates."""
        other = copy.copy(self)
        other._keeps_candidates = False
        other.classified = list(self.classified)
        other._listed = [each.copy() for each in self._listed]
        other._other = [each.copy() for each in self._other]
        return other

    def segments(self) -> list[Segment]:
        """What was listed, in order."""
        return [each.segment for each in self.classified]

    def above(self) -> Above:
        """What is known above the watermark, in position order."""
        return Above.joined([above for each in self.classified for above in each.above])

    def gone(self) -> Fingerprints:
        """What of the index is not listed any more."""
        return np.concatenate([NO_FINGERPRINTS, *(each.gone for each in self.classified)])

    def listed(self) -> Listed:
        """What is listed at or below the watermark, without an index."""
        return Listed.joined([each.listed for each in self.classified])

    def digests(self) -> list[Digest]:
        """Of what is listed at or below the watermark, one of each size."""
        return [each.finish() for each in self._listed]

    def matching(self) -> Digest:
        """The first digest without what has a storage class that does not count."""
        return self._listed[0].finish() - self._other[0].finish()


def _newest(columns: Columns) -> Place:
    latest = np.flatnonzero(columns.last_modified == columns.last_modified.max())
    return int(columns.last_modified[latest[0]]), max(columns.key_bytes(latest))
