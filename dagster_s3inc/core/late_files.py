"""Which files at or below the watermark were emitted, where there is no index.

The checkpoint keeps a digest of what was emitted at or below the watermark and was still listed.
A scan makes the digest of what is listed there now. The difference of the two names, one by one,
what was never emitted (it appeared late) and what is gone, as long as no more changed than the
digest tells apart. Where it does not, the ledger is read, and proves itself:

a. Let C be what is listed and in the ledger. Subtract its digest from `emitted`. If the
   difference decodes, its positive part was emitted but is not in C, and its negative part is in
   C but does not count as emitted: a version that had gone and came back. So the emitted set is
   known exactly, even where runs are missing. Once more with C and every listed object that was
   modified before the ledger's oldest run, which serves adopted beginnings and ledgers of which
   old runs were deleted.
b. Else, if count and checksum of the ledger equal those in the checkpoint, the ledger is whole:
   what it holds was emitted, and nothing else.
c. Else it is undecided. Nothing at or below the watermark is emitted, and the digest stays as it
   is, so that nothing is given up.

Example. A digest that tells three changes apart; a, b, c, d were emitted, the watermark is at d.

    a is deleted; x appears, older than d       difference: +a -x     decodes: a is gone, x is late
    a to d are replaced by e, f, g, h, x        9 changes             does not decode
        the ledger holds a, b, c, d             C is empty: +a +b +c +d does not decode (rule a)
                                                its total is that of the checkpoint: whole (rule b)
                                                e, f, g, h, x were never emitted: all are late
        the runs were deleted                   undecided (rule c)

What is listed is of two kinds: what matches, and what would but for its storage class. The second
kind may have been emitted before a lifecycle rule moved it, or never. So the difference is taken
against both kinds first, where moves between classes cancel out, and then against what matches
alone, where what was moved shows as if it were gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, Protocol

import numpy as np
from xxhash import xxh3_64_intdigest

from dagster_s3inc.core.batching import ScanLimits
from dagster_s3inc.core.candidates import sorted_array
from dagster_s3inc.core.checkpoint import Checkpoint, Total
from dagster_s3inc.core.classify import Listed, Seen
from dagster_s3inc.core.columns import Fingerprints
from dagster_s3inc.core.filters import Selection
from dagster_s3inc.core.iblt import Digest, decode, estimate, mixed
from dagster_s3inc.core.index import NO_FINGERPRINTS, members, without

__all__ = [
    "Decision",
    "Given",
    "Ledger",
    "LedgerEntry",
    "LedgerProgress",
    "LedgerReader",
    "Undecided",
    "Why",
    "checksum",
    "decide",
    "decide_by_listing",
]


class LedgerEntry(NamedTuple):
    """One batch that a sensor emitted.

    Attributes:
        sequence: That of its run key.
        batch_id: Its id.
        fingerprints: Of its files, in the order of the batch.
        created: When its oldest run was created, in microseconds since 1970.
    """

    sequence: int
    batch_id: str
    fingerprints: Fingerprints
    created: int


class LedgerProgress(NamedTuple):
    """Says that a ledger is still being read.

    Attributes:
        runs: How many runs there are to read.
        runs_read: How many of them have been read.
    """

    runs: int
    runs_read: int


class LedgerReader(Protocol):
    """Reads the ledger of one generation, when a scan finds that it needs it."""

    def __call__(self, generation: int, sequence: int) -> Ledger | LedgerProgress:
        """What was emitted in this generation with a sequence below this one."""


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """What a sensor emitted in one generation, as its runs record it.

    Its entries are the batches of the sensor's runs of one generation with a sequence below the
    checkpoint's, one for each (sequence, batch), whichever job or retry holds it. Runs that repeat
    something carry a tag that says so, and are not part of it.

    A ledger proves itself: if `total` of what it holds equals the checkpoint's, it is whole. The
    sum of mixed hashes does not depend on the order in which runs are read, and a missing or
    foreign file goes unnoticed with a chance of 2**-64.

    Example. Generation 1 emitted five files in three ticks:

        sequence 0  batch 0b17…  a, b        total: 2 files, mix(a, 1:0:0b17…) + mix(b, 1:0:0b17…)
        sequence 1  batch 5d02…  c, d        total: 4 files
        sequence 2  batch 91c4…  e           total: 5 files

    With the run of 5d02… deleted, the ledger holds 3 files and another checksum: it is not whole.

    Attributes:
        fingerprints: All of them, sorted, each once.
        total: Of the entries.
        oldest_run: When the oldest of the runs was created, in microseconds since 1970; None if
            there is no run.
    """

    fingerprints: Fingerprints
    total: Total
    oldest_run: int | None

    @classmethod
    def of(cls, entries: Iterable[LedgerEntry], generation: int) -> Ledger:
        """Puts the entries together; of those with equal sequence and batch, the first counts."""
        seen: set[tuple[int, str]] = set()
        parts, total = [NO_FINGERPRINTS], Total()
        oldest: int | None = None
        for each in entries:
            if oldest is None or each.created < oldest:
                oldest = each.created
            if (each.sequence, each.batch_id) in seen:
                continue
            seen.add((each.sequence, each.batch_id))
            parts.append(each.fingerprints)
            sum_ = checksum(each.fingerprints, generation, each.sequence, each.batch_id)
            total = total.plus(len(each.fingerprints), sum_)
        return cls(np.unique(np.concatenate(parts)), total, oldest)


def checksum(fingerprints: Fingerprints, generation: int, sequence: int, batch_id: str) -> int:
    """The sum, modulo 2**64, of the hashes of these files in one batch.

    Args:
        fingerprints: Of the files of the batch.
        generation: That of the batch's run key.
        sequence: That of the batch's run key.
        batch_id: The batch.
    """
    place = xxh3_64_intdigest(f"{generation}:{sequence}:{batch_id}".encode())
    return int(mixed(fingerprints ^ np.uint64(place)).sum(dtype=np.uint64))


Why = Literal["reading", "not whole", "no ledger", "too large", "part of a listing"]


class Undecided(NamedTuple):
    """What is not known of the files at or below the watermark.

    Attributes:
        listed: How many are listed there and match, whatever their storage class.
        appeared: About how many of them were never emitted.
        gone: About how many that were emitted are gone.
        margin: In 95 of 100 cases neither of the two numbers is off by more.
        why: Why the ledger does not decide: it is still being read, it is not whole, there is
            none, the bucket is larger than the index may be, or no process saw the whole of a
            partial scan.
        selection_changed: Whether the filter or the prefix changed, so that the numbers are not
            known: `appeared` is then `listed`.
        progress: How far the ledger has been read.
    """

    listed: int
    appeared: int
    gone: int
    margin: int
    why: Why
    selection_changed: bool = False
    progress: LedgerProgress | None = None


class Decision(NamedTuple):
    """What is known of the files at or below the watermark.

    Attributes:
        emitted: The digest of what was emitted and is listed; as it was if it is undecided.
        late: Of what is listed, the fingerprints that were not emitted, sorted.
        late_matching: Those of them whose storage class counts.
        gone: How many were emitted and are not listed any more.
        by: What decided.
        returned: About how many versions had gone, came back and count as emitted (rule b).
        recorded: Where the selection changed, everything that the whole ledger holds, sorted: what
            of it lies above the watermark was emitted too.
        undecided: What is not known; None if everything is.
    """

    emitted: Digest
    late: Fingerprints = NO_FINGERPRINTS
    late_matching: Fingerprints = NO_FINGERPRINTS
    gone: int = 0
    by: Literal["index", "digest", "ledger", "adopted"] | None = None
    returned: int = 0
    recorded: Fingerprints = NO_FINGERPRINTS
    undecided: Undecided | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What a scan was given: the arguments of `scan` of the same names."""

    checkpoint: Checkpoint
    selection: Selection
    limits: ScanLimits
    now: datetime
    ledger: LedgerReader | None
    max_index_bytes: int

    def changed(self, base: Checkpoint) -> bool:
        """Whether the selection is another than the one by which `emitted` was made."""
        return base.selection not in (None, self.selection.hash)


def decide_by_listing(given: Given, base: Checkpoint, seen: Seen) -> Decision:
    """Decides what was emitted at or below the watermark of a whole listing, without an index."""
    emitted = base.emitted
    if emitted is None and base.watermark is None and not seen.classifier.adopts:
        emitted = Digest.empty(given.limits.cells)
    return decide(
        base,
        emitted=emitted,
        listed=seen.digests(),
        matching=seen.matching(),
        rows="too large" if seen.is_too_large else seen.listed(),
        changed=given.changed(base),
        ledger=given.ledger,
    )


def decide(
    checkpoint: Checkpoint,
    *,
    emitted: Digest | None,
    listed: Sequence[Digest],
    matching: Digest | None,
    rows: Listed | Why,
    changed: bool,
    ledger: LedgerReader | None,
    own: Fingerprints = NO_FINGERPRINTS,
) -> Decision:
    """Compares what was emitted at or below the watermark with what is listed there.

    Args:
        checkpoint: Tells the generation and the sequence, `late` and `total`.
        emitted: The digest of what was emitted; None means that what is listed counts so.
        listed: The digests of what is listed, whatever its class: in as many cells as `emitted`
            has, and in as many as the next one is to have if that differs.
        matching: That of what matches, in as many cells as `emitted`; None if it is not known.
        rows: What is listed one by one; or why that is not known.
        changed: Whether the selection is another than that of `emitted`.
        ledger: Reads the ledger; None if there is none.
        own: What this very tick emits, if `emitted` holds it. No total holds it yet.
    """
    if emitted is None:
        return Decision(listed[-1], by="adopted")
    known_rows = rows if isinstance(rows, Listed) else None
    if not changed:
        late = sorted_array(checkpoint.late)
        found = _by_digest(emitted, listed, matching, late, known_rows)
        if found is not None:
            return found
    why: Why = "no ledger" if isinstance(rows, Listed) else rows
    progress: LedgerProgress | None = None
    if known_rows is not None and ledger is not None:
        read = ledger(checkpoint.generation, checkpoint.sequence)
        if isinstance(read, LedgerProgress):
            why, progress = "reading", read
        else:
            why = "not whole"
            by_ledger = _by_ledger(
                checkpoint, emitted, known_rows, read, own, changed=changed, cells=listed[-1].cells
            )
            if by_ledger is not None:
                return by_ledger
    size = listed[0].size
    appeared, gone, margin = size, 0, 0
    if not changed:
        appeared, gone, margin = estimate(listed[0] - emitted)
    undecided = Undecided(size, max(0, appeared), max(0, gone), margin, why, changed, progress)
    return Decision(emitted, undecided=undecided)


def _by_digest(
    emitted: Digest,
    listed: Sequence[Digest],
    matching: Digest | None,
    waiting: Fingerprints,
    rows: Listed | None,
) -> Decision | None:
    """What the difference of the digests shows, if it can be read."""
    # The fingerprints that wait are known to be late; without them there is less to read. Those
    # that are not listed any more are in no digest of what is listed, so they are not taken out.
    apart = NO_FINGERPRINTS
    if rows is not None:
        apart = waiting[members(waiting, np.sort(rows.fingerprints))]
    first, second = decode(emitted - listed[0].minus(apart)), None
    if matching is not None:
        inside = apart if rows is None else without(apart, rows.other)
        second = decode(emitted - matching.minus(inside))
    read = first or second
    if read is None:
        return None
    gone, late = _array(read.added), np.union1d(apart, _array(read.removed))
    late_matching = late if second is None else np.union1d(apart, _array(second.removed))
    if rows is not None:
        # What has changed its class since it was found late waits for another.
        late_matching = without(late_matching, rows.other)
        if first is None:
            # What was moved to another class is listed all the same, so it is not gone.
            is_moved = members(gone, np.sort(rows.fingerprints))
            late = without(np.union1d(late_matching, rows.other), gone[is_moved])
            gone = gone[~is_moved]
    kept = listed[-1].minus(late) if len(listed) > 1 else emitted.minus(gone)
    return Decision(kept, late, late_matching, gone=len(gone), by="digest")


def _by_ledger(
    checkpoint: Checkpoint,
    emitted: Digest,
    rows: Listed,
    ledger: Ledger,
    own: Fingerprints,
    *,
    changed: bool,
    cells: int,
) -> Decision | None:
    """What the ledger proves, by rule a or b."""
    recorded = np.union1d(ledger.fingerprints, own)
    known = None if changed else _by_rule_a(emitted, rows, recorded, ledger.oldest_run)
    returned = 0
    if known is None and checkpoint.total is not None and ledger.total == checkpoint.total:
        known = rows.fingerprints[members(rows.fingerprints, recorded)]
        if not changed:
            remains = estimate(emitted - Digest.of(known, emitted.cells))
            returned = remains.removed if remains.removed > remains.margin else 0
    if known is None:
        return None
    decided = _decided(np.sort(known), rows, emitted, cells)._replace(returned=returned)
    return decided._replace(recorded=recorded) if changed else decided


def _by_rule_a(
    emitted: Digest, rows: Listed, recorded: Fingerprints, oldest_run: int | None
) -> Fingerprints | None:
    """Which of the listed files were emitted, if ledger and digest together show it."""
    prints = rows.fingerprints
    in_ledger = members(prints, recorded)
    before = np.ones(len(prints), np.bool_)
    if oldest_run is not None:
        before = rows.seconds < oldest_run // 1_000_000
    for chosen in (in_ledger, in_ledger | before):
        read = decode(emitted - Digest.of(prints[chosen], emitted.cells))
        if read is not None:
            more = members(prints, _array(read.added))
            less = members(prints, _array(read.removed))
            known: Fingerprints = prints[(chosen & ~less) | more]
            return known
    return None


def _decided(known: Fingerprints, rows: Listed, emitted: Digest, cells: int) -> Decision:
    late = np.sort(without(rows.fingerprints, known))
    return Decision(
        Digest.of(known, cells),
        late,
        without(late, rows.other),
        gone=max(0, emitted.size - len(known)),
        by="ledger",
    )


def _array(fingerprints: frozenset[int]) -> Fingerprints:
    return np.sort(np.fromiter(fingerprints, np.uint64, len(fingerprints)))
