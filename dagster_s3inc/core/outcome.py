"""What a scan gives: batches, the checkpoint that follows, the index, and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.candidates import NO_GROUP, Above, Candidates, Dropped, position_of
from dagster_s3inc.core.checkpoint import Checkpoint, PartialScan, Reprocess
from dagster_s3inc.core.classify import Listed, Seen
from dagster_s3inc.core.columns import Fingerprints, moment
from dagster_s3inc.core.index import NO_FINGERPRINTS, Index, Segment, members, size_of, united
from dagster_s3inc.core.late_files import Decision, Undecided, checksum
from dagster_s3inc.core.objects import Position, S3Object

__all__ = [
    "Backlog",
    "Building",
    "ScanResult",
    "ScanStatistics",
    "concluded",
    "finished",
    "index_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanStatistics:
    """What a scan saw and did, in numbers.

    Attributes:
        objects_listed: Entries of the listing; 0 if the scan needed no listing.
        bytes_listed: The sum of their sizes.
        newest: The greatest position in the listing; None if it was empty.
        left_out: Objects above the watermark that do not match.
        files: Objects emitted.
        bytes: The sum of their sizes.
        files_late: Those of them that lay at or below the watermark.
        files_waiting: Objects that are new and were not emitted.
        bytes_waiting: The sum of their sizes.
        oldest_waiting: The LastModified of the oldest of these.
        lookback: How far the watermark is behind the server's clock: the lookback asked for, or
            less where more was emitted than `recent` can hold.
        found_late: Late files that this scan found and the next one emits.
        gone: Objects that were emitted and are not listed any more: deleted or overwritten.
        unpartitioned: Objects that match and are in no group.
        unpartitioned_keys: The keys of some of them.
        selection_changed: Whether the filter or the prefix is another than at the last scan.
        decided_by: How it was found what had been emitted at or below the watermark: by the
            index, the digest, the ledger, or because what is listed counts as emitted.
        returned: About how many versions had gone, came back and count as emitted.
        undecided: What is not known of the files at or below the watermark.
        partial_scan: Where the listing goes on in the next tick, if it was cut off. All other
            numbers are then of the part that was scanned.
        reprocess: What was to be emitted again, and how far that had come; all other numbers are
            then of that. None if the scan was for what is new.
    """

    objects_listed: int = 0
    bytes_listed: int = 0
    newest: Position | None = None
    left_out: int = 0
    files: int = 0
    bytes: int = 0
    files_late: int = 0
    files_waiting: int = 0
    bytes_waiting: int = 0
    oldest_waiting: datetime | None = None
    lookback: timedelta
    found_late: int = 0
    gone: int = 0
    unpartitioned: int = 0
    unpartitioned_keys: tuple[str, ...] = ()
    selection_changed: bool = False
    decided_by: Literal["index", "digest", "ledger", "adopted"] | None = None
    returned: int = 0
    undecided: Undecided | None = None
    partial_scan: PartialScan | None = None
    reprocess: Reprocess | None = None

    @classmethod
    def of(cls, seen: Seen, **others: Any) -> ScanStatistics:
        """Those of what was listed, and others."""
        segments = seen.segments()
        places = [each.newest for each in segments if each.newest is not None]
        examples = [key for each in seen.classified for key in each.examples]
        return cls(
            objects_listed=sum(each.objects for each in segments),
            bytes_listed=sum(each.bytes for each in segments),
            newest=position_of(max(places, default=None)),
            left_out=sum(each.left_out for each in seen.classified),
            unpartitioned=sum(each.unpartitioned for each in seen.classified),
            unpartitioned_keys=tuple(examples[:5]),
            **others,
        )

    def with_decision(self, decision: Decision, *, found_late: int, gone: int) -> ScanStatistics:
        """With what was decided, and so many more that are gone."""
        return replace(
            self,
            found_late=found_late,
            gone=gone + decision.gone,
            decided_by=decision.by,
            returned=decision.returned,
            undecided=decision.undecided,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Backlog:
    """What a scan found and did not emit, so that the next can go on without listing.

    Attributes:
        follows: The checkpoint to which it belongs.
        segments: Those of the index that belongs to it; None if there is none.
        selection: The hash of the selection.
        candidates: What waits, in position order; the oldest where there is more than is kept.
        dropped: What waits beyond these.
        found_late: Late files that are known and not among the candidates.
        above: What has been emitted above the watermark and is listed.
        names: The names of the groups, by number.
        now: The server's time at the scan.
        statistics: Of the scan.
    """

    follows: Checkpoint
    segments: Sequence[Segment] | None
    selection: str
    candidates: Candidates
    dropped: Dropped
    found_late: Fingerprints
    above: Above
    names: list[str]
    now: datetime
    statistics: ScanStatistics


@dataclass(frozen=True, slots=True, eq=False)
class Building:
    """What a partial scan without an index has listed so far, of which the index is made.

    Attributes:
        selection: The hash of the selection.
        segments: In key order. Their fingerprints are those that may have been emitted.
        rows: What is listed at or below the watermark to be.
    """

    selection: str
    segments: tuple[Segment, ...]
    rows: tuple[Listed, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What is emitted, and the checkpoint to be kept once it has been.

    Attributes:
        batches: In the order of their oldest objects, at most `max_batches`.
        sequence: That of these batches; part of their run keys.
        repeats: Whether these files were emitted before.
        checkpoint: Follows the one that the scan was given. As long as it is not stored, the
            next scan finds the same objects again.
        index: What belongs to that checkpoint; None where it must be built anew.
        statistics: What the scan saw.
        backlog: What waits, to be emitted without listing again; None where there is nothing, or
            where only a listing can show it.
        building: During a partial scan without an index, what it has listed so far.
    """

    batches: tuple[Batch, ...]
    sequence: int
    repeats: bool = False
    checkpoint: Checkpoint
    index: Index | None = None
    statistics: ScanStatistics
    backlog: Backlog | None = None
    building: Building | None = None

    @property
    def objects(self) -> tuple[S3Object, ...]:
        """All objects of all batches, batch after batch."""
        return tuple(member for batch in self.batches for member in batch.objects)


def concluded(
    base: Checkpoint,
    following: Checkpoint,
    statistics: ScanStatistics,
    *,
    batches: Sequence[Candidates] = (),
    names: Sequence[str] = (),
    waiting: Candidates | None = None,
    dropped: Dropped | None = None,
    repeats: bool = False,
    **others: Any,
) -> ScanResult:
    """The result of a scan.

    Args:
        base: The checkpoint that it started from.
        following: The one that follows, but for its sequence and its total.
        statistics: What was seen.
        batches: The rows of each batch.
        names: The names of the groups, by number.
        waiting: What waits.
        dropped: What waits beyond these.
        repeats: Whether this was emitted before, so that no total counts it.
        others: The other fields of the result.
    """
    made = tuple(_batch(rows, names) for rows in batches)
    total = base.total
    if total is not None and not repeats:
        for batch in made:
            prints = np.array(batch.fingerprints, np.uint64)
            sum_ = checksum(prints, base.generation, base.sequence, batch.id)
            total = total.plus(len(batch), sum_)
    waiting = Candidates.joined([]) if waiting is None else waiting
    dropped = dropped or Dropped()
    modified = waiting.columns.last_modified
    return ScanResult(
        batches=made,
        sequence=base.sequence,
        repeats=repeats,
        checkpoint=replace(following, sequence=base.sequence + bool(made), total=total),
        statistics=replace(
            statistics,
            files=sum(map(len, made)),
            bytes=sum(batch.bytes for batch in made),
            files_waiting=len(waiting) + dropped.files,
            bytes_waiting=int(waiting.columns.sizes.sum()) + dropped.bytes,
            oldest_waiting=moment(modified.min()) if len(waiting) else None,
        ),
        **others,
    )


def _batch(rows: Candidates, names: Sequence[str]) -> Batch:
    group = int(rows.groups[0])
    return Batch(
        tuple(rows.columns.objects()),
        tuple(rows.fingerprints.tolist()),
        None if group == NO_GROUP else names[group],
    )


def finished(
    segments: Sequence[Segment],
    *,
    late: Fingerprints = NO_FINGERPRINTS,
    dropped: Fingerprints = NO_FINGERPRINTS,
    emitted: Candidates,
) -> list[Segment]:
    """Segments after it has been decided what was emitted, and what is.

    Args:
        segments: As they were classified.
        late: Sorted; these have not been emitted after all, and wait.
        dropped: Sorted; these need not be remembered any more.
        emitted: What is emitted now. Each row has the number of its segment.
    """
    done = list(segments)
    if len(late) or len(dropped):
        for number, each in enumerate(done):
            waits = members(each.fingerprints, late)
            goes = waits | members(each.fingerprints, dropped)
            if goes.any():
                waiting = each.waiting + int(waits.sum())
                kept = each.fingerprints[~goes]
                done[number] = each._replace(fingerprints=kept, waiting=waiting)
    if len(emitted):
        order = np.argsort(emitted.segments, kind="stable")
        numbers = emitted.segments[order]
        borders = np.flatnonzero(np.diff(numbers)) + 1
        for rows in np.split(order, borders):
            number = int(emitted.segments[rows[0]])
            each = done[number]
            prints = united(each.fingerprints, emitted.fingerprints[rows])
            waiting = max(0, each.waiting - len(rows))
            done[number] = each._replace(fingerprints=prints, waiting=waiting)
    return done


def index_of(
    segments: Sequence[Segment], selection: str, newest_emitted: int, most: int
) -> Index | None:
    """The index of these segments; None if it would take more bytes than this."""
    if size_of(segments) > most:
        return None
    return Index(tuple(segments), selection, newest_emitted)
