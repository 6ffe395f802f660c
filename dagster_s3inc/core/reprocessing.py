"""Emitting again what was emitted before, as far as it meets some conditions.

This goes through the keys in their order, and remembers only the key to which it has come. What
the checkpoint says of emitted files does not change on the way, and new files wait until the end.

While it is undecided which files were emitted, every listed file that meets the conditions is
emitted. If all that is listed at or below the watermark meets them, that settles it: from then on
all of it counts as emitted.

Example. a to e were emitted, a reset asks for what begins with b or later, a tick has room for
two files:

    tick 1  emits b, c    after: c
    tick 2  emits d, e    done; the next tick looks for what is new
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

import numpy as np

from dagster_s3inc.core.batching import ScanLimits, choose, most_that_fit
from dagster_s3inc.core.candidates import Candidates
from dagster_s3inc.core.checkpoint import Checkpoint, Reprocess
from dagster_s3inc.core.classify import Classifier, Groups, Seen, at_or_below, sorted_array
from dagster_s3inc.core.columns import Columns, Rows, microseconds, moment
from dagster_s3inc.core.filters import Mask, Selection
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.index import Index, Stretch, members, stretches
from dagster_s3inc.core.late_files import Undecided, decide
from dagster_s3inc.core.ledger import LedgerReader
from dagster_s3inc.core.outcome import ScanResult, ScanStatistics, batches_of, newest_of, rows_of
from dagster_s3inc.core.page import Page, Rest

__all__ = ["emitted_before", "scan_again"]

_UNPARTITIONED: Final = -2


def scan_again(
    checkpoint: Checkpoint,
    pages: Iterable[Page | Rest],
    *,
    now: datetime,
    selection: Selection,
    limits: ScanLimits,
    index: Index | None,
    ledger: LedgerReader | None,
    max_index_bytes: int,
) -> ScanResult:
    """Goes on with the `reprocess` of a checkpoint.

    Args:
        checkpoint: What has been emitted.
        pages: With an index, or where the listing is read in parts, what is listed behind the key
            to which this has come, less than the prefix if the conditions say so. Else the whole
            listing. Or the beginning of either, and a `Rest`.
        now: The server's time.
        selection: What counts.
        limits: What may be emitted.
        index: The index that belongs to the checkpoint; None if it is not at hand.
        ledger: Reads the sensor's runs.
        max_index_bytes: A larger index is not made.
    """
    reprocess = checkpoint.reprocess or Reprocess()
    again = _Again(
        checkpoint,
        reprocess,
        selection,
        index,
        cells=limits.cells,
        max_index_bytes=max_index_bytes,
    )
    enough = limits.max_batches * limits.policy.max_files
    rest = again.read(pages, enough)
    found = again.found()
    following, undecided = checkpoint, None
    if again.is_whole and rest is None:
        found, following, undecided = _decided(again, reprocess, found, ledger, selection, limits)
        if undecided is not None and undecided.why == "reading":
            # The next tick knows more.
            return _waiting(checkpoint, again, undecided, limits)

    def attempt(number: int) -> tuple[Candidates, tuple[Rows, ...]] | None:
        some = found.only(np.arange(number)).in_position_order()
        choice = choose(
            some,
            limits.policy,
            max_batches=limits.max_batches,
            names=again.groups.names,
            request_size=limits.request_size,
        )
        return (some, choice.batches) if choice.is_all else None

    count, made = most_that_fit(len(found), attempt)
    while count and limits.policy.linger is not None:
        # A part emits all up to its key, so it ends before what lingers.
        some = found.only(np.arange(count)).in_position_order()
        choice = choose(
            some,
            limits.policy,
            max_batches=limits.max_batches,
            names=again.groups.names,
            request_size=limits.request_size,
            now=microseconds(now),
        )
        made = some, choice.batches
        if not len(choice.held):
            break
        count -= len(choice.held)
    batches = () if made is None or not count else batches_of(*made, again.groups.names)
    goes_on: Reprocess | None = None
    if count < len(found):
        after = found.columns.key(count - 1).decode("utf-8") if count else reprocess.after
        goes_on = replace(reprocess, after=after)
    elif again.stopped_at is not None:
        goes_on = replace(reprocess, after=again.stopped_at.decode("utf-8"))
    elif rest is not None:
        goes_on = replace(reprocess, after=max(reprocess.after, rest.after.decode("utf-8")))
    if goes_on is not None and rest is not None and index is None:
        goes_on = replace(goes_on, in_parts=True)
    waiting = found.only(np.arange(count, len(found)))
    segments = again.seen.segments()
    statistics = ScanStatistics(
        objects_listed=again.objects,
        bytes_listed=again.bytes,
        newest=newest_of(segments),
        files=sum(map(len, batches)),
        bytes=sum(batch.bytes for batch in batches),
        files_waiting=len(waiting),
        bytes_waiting=int(waiting.columns.sizes.sum()),
        oldest_waiting=moment(waiting.columns.last_modified.min()) if len(waiting) else None,
        lookback=limits.lookback,
        undecided=undecided,
        reprocess=reprocess,
    )
    return ScanResult(
        batches=batches,
        sequence=checkpoint.sequence,
        repeats=True,
        checkpoint=replace(
            following, reprocess=goes_on, sequence=checkpoint.sequence + bool(batches)
        ),
        index=index,
        statistics=statistics,
    )


def _waiting(
    checkpoint: Checkpoint, again: _Again, undecided: Undecided, limits: ScanLimits
) -> ScanResult:
    statistics = ScanStatistics(
        objects_listed=again.objects,
        bytes_listed=again.bytes,
        lookback=limits.lookback,
        undecided=undecided,
        reprocess=checkpoint.reprocess,
    )
    return ScanResult(
        batches=(),
        sequence=checkpoint.sequence,
        repeats=True,
        checkpoint=checkpoint,
        statistics=statistics,
    )


def emitted_before(
    checkpoint: Checkpoint,
    pages: Iterable[Page],
    *,
    selection: Selection,
    index: Index | None = None,
) -> Iterable[Columns]:
    """Yields what a reset would emit again, in the order of the listing.

    Args:
        checkpoint: With the `reprocess`; one that has not begun stands for everything.
        pages: The whole listing.
        selection: What counts.
        index: The index that belongs to the checkpoint, if it is at hand.
    """
    reprocess = checkpoint.reprocess
    again = None
    if reprocess is not None:
        again = _Again(checkpoint, reprocess, selection, index, cells=0, max_index_bytes=0)
    groups = Groups(selection.group_of)
    for stretch in stretches(pages, index, may_skip=lambda _: False):
        if isinstance(stretch, Rest):
            return
        for part in stretch.parts:
            mask = selection.matches(part) if again is None else again.meets(part, stretch)
            rows = np.flatnonzero(mask)
            chosen = part.only(rows)
            placed = np.flatnonzero(groups.number(chosen) != _UNPARTITIONED)
            yield chosen.only(placed)


def _decided(
    again: _Again,
    reprocess: Reprocess,
    found: Candidates,
    ledger: LedgerReader | None,
    selection: Selection,
    limits: ScanLimits,
) -> tuple[Candidates, Checkpoint, Undecided | None]:
    """What of the found was emitted, the checkpoint if this settles it, and what is not known."""
    checkpoint, seen = again.checkpoint, again.seen
    emitted = checkpoint.emitted
    if emitted is None and checkpoint.watermark is None:
        emitted = Digest.empty(limits.cells)
    decision = decide(
        checkpoint,
        emitted=emitted,
        listed=seen.digests(),
        matching=None if seen.matching is None else seen.matching.finish(),
        rows="too large" if seen.is_too_large else rows_of(seen),
        changed=checkpoint.selection not in (None, selection.hash),
        ledger=ledger,
    )
    if decision.undecided is None:
        late = np.flatnonzero(members(found.fingerprints, decision.late))
        return found.without(late), checkpoint, None
    if again.covers_all and not reprocess.after:
        settled = replace(
            checkpoint,
            emitted=seen.digests()[-1],
            late=frozenset(),
            total=None,
            selection=selection.hash,
            undecided=0,
        )
        return found, settled, None
    return found, checkpoint, decision.undecided


class _Again:
    """Reads what meets the conditions and was emitted, in the order of the keys."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        reprocess: Reprocess,
        selection: Selection,
        index: Index | None,
        *,
        cells: int,
        max_index_bytes: int,
    ) -> None:
        self.checkpoint = checkpoint
        self._selection = selection
        self._rules = reprocess.conditions.rules(selection.prefix)
        self._after = reprocess.after.encode("utf-8")
        self._index = index
        self.is_whole = index is None and not reprocess.in_parts
        self._recent = sorted_array(checkpoint.recent)
        self._late = sorted_array(checkpoint.late)
        self.groups = Groups(selection.group_of)
        emitted = checkpoint.emitted
        size = cells if emitted is None else emitted.cells
        self.seen = Seen(
            Classifier(checkpoint, index, selection),
            Groups(selection.group_of),
            kept=0,
            cells=[size] if size and index is None else [],
            max_index_bytes=max_index_bytes,
        )
        self.covers_all = True
        self.objects, self.bytes = 0, 0
        self.stopped_at: bytes | None = None
        """The key after which nothing more was kept; None if everything was."""
        self._found: list[Candidates] = []
        self._count = 0

    def read(self, pages: Iterable[Page | Rest], enough: int) -> Rest | None:
        """Reads a listing; keeps a little more than `enough` of what is to be emitted."""
        for stretch in stretches(
            pages,
            self._index,
            after=b"" if self.is_whole else self._after,
            may_skip=lambda _: False,
        ):
            if isinstance(stretch, Rest):
                return stretch
            if self._count > enough and not self.is_whole:
                return Rest(self._found[-1].columns.key(-1))
            self.objects += stretch.objects
            self.bytes += sum(int(part.sizes.sum()) for part in stretch.parts)
            if self.is_whole:
                self.seen.add(replace(self.seen.classify(stretch), candidates=None))
                self.covers_all = self.covers_all and all(map(self._is_covered, stretch.parts))
            for part in stretch.parts:
                self._take(part, stretch, enough)
        return None

    def found(self) -> Candidates:
        """What is to be emitted, in the order of the keys."""
        return Candidates.joined(self._found)

    def meets(self, part: Columns, stretch: Stretch) -> Mask:
        """Which rows meet the conditions and count as emitted."""
        matching = self._selection.matches(part)
        mask: Mask = matching & self._rules.may_count(part)
        if self._after and self.is_whole and mask.any():
            rows = np.flatnonzero(mask)
            mask[rows] = [key > self._after for key in part.key_bytes(rows)]
        below = at_or_below(part, self.seen.classifier.watermark)
        rows = np.flatnonzero(mask)
        if not len(rows):
            return mask
        prints = part.fingerprints(rows)
        if self._index is not None:
            known = np.zeros(len(rows), np.bool_)
            for segment in self._index.reaching(stretch.start, stretch.end):
                known |= members(prints, segment.fingerprints)
        else:
            # Where the whole is listed, it is decided at its end what is late.
            late = members(prints, self._late) & (not self.is_whole)
            known = np.where(below[rows], ~late, members(prints, self._recent))
        mask[rows] = known
        return mask

    def _is_covered(self, part: Columns) -> bool:
        """Whether all that matches at or below the watermark meets the conditions."""
        asked = self._selection.matches(part) & at_or_below(part, self.seen.classifier.watermark)
        return not (asked & ~self._rules.may_count(part)).any()

    def _take(self, part: Columns, stretch: Stretch, enough: int) -> None:
        if self._count > enough:
            self.stopped_at = self._found[-1].columns.key(-1)
            return
        rows = np.flatnonzero(self.meets(part, stretch))
        if not len(rows):
            return
        chosen = part.only(rows)
        numbers = self.groups.number(chosen)
        placed = np.flatnonzero(numbers != _UNPARTITIONED)
        if not len(placed):
            return
        chosen = chosen.only(placed).packed()
        self._found.append(
            Candidates(
                chosen,
                chosen.fingerprints(),
                np.zeros(len(placed), np.int32),
                numbers[placed].astype(np.int32),
            )
        )
        self._count += len(placed)
