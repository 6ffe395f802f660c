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

import numpy as np

from dagster_s3inc.core.batching import choose, most_that_fit
from dagster_s3inc.core.candidates import Candidates
from dagster_s3inc.core.checkpoint import Checkpoint, Reprocess
from dagster_s3inc.core.classify import Again, Classifier, Seen
from dagster_s3inc.core.columns import Columns, microseconds
from dagster_s3inc.core.filters import Selection
from dagster_s3inc.core.index import Index, members, stretches
from dagster_s3inc.core.late_files import Given, Undecided, decide_by_listing
from dagster_s3inc.core.outcome import ScanResult, ScanStatistics, concluded
from dagster_s3inc.core.page import Page, Rest

__all__ = ["emitted_before", "scan_again"]


def scan_again(given: Given, pages: Iterable[Page | Rest], index: Index | None) -> ScanResult:
    """Goes on with the `reprocess` of a checkpoint.

    Args:
        given: What the scan was given.
        pages: With an index, or where the listing is read in parts, what is listed behind the key
            to which this has come, less than the prefix if the conditions say so. Else the whole
            listing. Or the beginning of either, and a `Rest`.
        index: The index that belongs to the checkpoint; None if it is not at hand.
    """
    checkpoint, limits = given.checkpoint, given.limits
    reprocess = checkpoint.reprocess or Reprocess()
    again = _Again(given, reprocess, index)
    rest = again.read(pages, limits.max_batches * limits.policy.max_files)
    found, following, undecided = Candidates.joined(again.found), checkpoint, None
    if again.is_whole and rest is None:
        found, following, undecided = _decided(given, again.seen, reprocess, found)
    statistics = ScanStatistics.of(
        again.seen, lookback=limits.lookback, undecided=undecided, reprocess=reprocess
    )
    statistics = replace(statistics, left_out=0, unpartitioned=0, unpartitioned_keys=())
    if undecided is not None and undecided.why == "reading":
        # The next tick knows more.
        return concluded(checkpoint, checkpoint, statistics, repeats=True)
    chosen = _most(given, found, again.seen.names)
    count = sum(map(len, chosen))
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
    return concluded(
        checkpoint,
        replace(following, reprocess=goes_on),
        statistics,
        batches=chosen,
        names=again.seen.names,
        waiting=found.only(np.arange(count, len(found))),
        repeats=True,
        index=index,
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
    if checkpoint.reprocess is None:
        index, classifier = None, Classifier(Checkpoint(), None, selection)
    else:
        again = _asked(checkpoint.reprocess, selection, index)
        classifier = Classifier(checkpoint, index, selection, again=again)
    seen = Seen(classifier, max_index_bytes=0)
    for stretch in stretches(pages, index, may_skip=lambda _: False):
        if isinstance(stretch, Rest):
            return
        classified = seen.classify(stretch)
        seen.carried = classified.carried
        if classified.candidates is not None:
            yield classified.candidates.columns


def _asked(reprocess: Reprocess, selection: Selection, index: Index | None) -> Again:
    is_whole = index is None and not reprocess.in_parts
    rules = reprocess.conditions.rules(selection.prefix)
    return Again(rules, reprocess.after.encode("utf-8") if is_whole else b"", is_whole)


def _decided(
    given: Given, seen: Seen, reprocess: Reprocess, found: Candidates
) -> tuple[Candidates, Checkpoint, Undecided | None]:
    """What of the found was emitted, the checkpoint if this settles it, and what is not known."""
    checkpoint = given.checkpoint
    decision = decide_by_listing(given, checkpoint, seen)
    if decision.undecided is None:
        late = np.flatnonzero(members(found.fingerprints, decision.late))
        return found.without(late), checkpoint, None
    if not seen.classifier.covers_all or reprocess.after:
        return found, checkpoint, decision.undecided
    settled = replace(
        checkpoint,
        emitted=seen.digests()[-1],
        late=frozenset(),
        total=None,
        selection=given.selection.hash,
        undecided=0,
    )
    return found, settled, None


def _most(given: Given, found: Candidates, names: list[str]) -> list[Candidates]:
    """The batches of the first of the found that the limits allow; all up to some key."""

    def attempt(number: int) -> list[Candidates] | None:
        some = found.only(np.arange(number)).in_position_order()
        choice = choose(some, given.limits, names)
        return [some.only(rows) for rows in choice.batches] if choice.is_all else None

    count, made = most_that_fit(len(found), attempt)
    while count and given.limits.policy.linger is not None:
        # It ends before what lingers.
        some = found.only(np.arange(count)).in_position_order()
        choice = choose(some, given.limits, names, now=microseconds(given.now))
        if not len(choice.held):
            return [some.only(rows) for rows in choice.batches]
        count -= len(choice.held)
    return (made or []) if count else []


class _Again:
    """Reads what meets the conditions and was emitted, in the order of the keys."""

    def __init__(self, given: Given, reprocess: Reprocess, index: Index | None) -> None:
        checkpoint, selection = given.checkpoint, given.selection
        asked = _asked(reprocess, selection, index)
        self._index = index
        self.is_whole = asked.takes_late
        emitted = checkpoint.emitted
        size = given.limits.cells if emitted is None else emitted.cells
        self.seen = Seen(
            Classifier(checkpoint, index, selection, again=asked),
            cells=[size] if self.is_whole else [],
            start=b"" if self.is_whole else reprocess.after.encode("utf-8"),
            max_index_bytes=given.max_index_bytes,
        )
        if index is not None and self.seen.last_key:
            self.seen.carried = index.around(self.seen.last_key)
        self.stopped_at: bytes | None = None
        """The key after which nothing more was kept; None if everything was."""
        self.found: list[Candidates] = []
        self._count = 0

    def read(self, pages: Iterable[Page | Rest], enough: int) -> Rest | None:
        """Reads a listing; keeps a little more than `enough` of what is to be emitted."""
        seen = self.seen
        after = seen.last_key
        for stretch in stretches(pages, self._index, after=after, may_skip=lambda _: False):
            if isinstance(stretch, Rest):
                return stretch
            if self._count > enough and not self.is_whole:
                return Rest(self.found[-1].columns.key(-1))
            classified = seen.classify(stretch)
            seen.add(classified)
            if classified.candidates is None:
                continue
            if self._count > enough:
                self.stopped_at = self.found[-1].columns.key(-1)
            else:
                self.found.append(classified.candidates.packed())
                self._count += len(classified.candidates)
        return None
