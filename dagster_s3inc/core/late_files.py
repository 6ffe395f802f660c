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

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from dagster_s3inc.core.checkpoint import Checkpoint, Total
from dagster_s3inc.core.classify import Seconds, sorted_array
from dagster_s3inc.core.columns import Fingerprints
from dagster_s3inc.core.iblt import Digest, decode, estimate
from dagster_s3inc.core.index import NO_FINGERPRINTS, members
from dagster_s3inc.core.ledger import Ledger, LedgerProgress, LedgerReader

__all__ = ["Decision", "ListedRows", "OwnBatches", "Undecided", "Why", "decide"]

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


class ListedRows(NamedTuple):
    """What is listed at or below the watermark, one by one.

    Attributes:
        fingerprints: Of what matches, whatever its storage class.
        matching: Of what matches now.
        seconds: When each of `fingerprints` was modified, in seconds since 1970.
    """

    fingerprints: Fingerprints
    matching: Fingerprints
    seconds: Seconds

    @classmethod
    def joined(cls, parts: Sequence[ListedRows]) -> ListedRows:
        """The rows of all parts."""
        return cls(
            np.concatenate([NO_FINGERPRINTS, *(each.fingerprints for each in parts)]),
            np.concatenate([NO_FINGERPRINTS, *(each.matching for each in parts)]),
            np.concatenate([np.empty(0, np.uint32), *(each.seconds for each in parts)]),
        )


class OwnBatches(NamedTuple):
    """What this very tick emits, where it is in the digest already.

    Attributes:
        fingerprints: Of the files.
        total: Of them.
    """

    fingerprints: Fingerprints
    total: Total


def decide(
    checkpoint: Checkpoint,
    *,
    emitted: Digest | None,
    listed: Sequence[Digest],
    matching: Digest | None,
    rows: ListedRows | Why,
    changed: bool,
    ledger: LedgerReader | None,
    own: OwnBatches | None = None,
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
        own: What this tick emits, if `emitted` holds it.
    """
    is_known = isinstance(rows, ListedRows)
    prints, counting, seconds = rows if isinstance(rows, ListedRows) else ListedRows.joined([])
    waiting = sorted_array(checkpoint.late)
    cells = listed[-1].cells
    if emitted is None:
        return Decision(listed[-1], by="adopted")
    if not changed:
        found = _by_digest(emitted, listed, matching, waiting, prints, counting, is_known=is_known)
        if found is not None:
            return found
    why: Why = "no ledger" if isinstance(rows, ListedRows) else rows
    progress: LedgerProgress | None = None
    if is_known:
        read = None if ledger is None else ledger(checkpoint.generation, checkpoint.sequence)
        if isinstance(read, LedgerProgress):
            why, progress = "reading", read
        elif read is not None:
            why = "not whole"
            total = checkpoint.total
            if own is not None:
                read = read.plus(own.fingerprints, own.total)
            known = None if changed else _by_rule_a(emitted, prints, seconds, read)
            returned = 0
            if known is None and total is not None and read.total == total:
                known = prints[members(prints, read.fingerprints)]
                if not changed:
                    remains = estimate(emitted - Digest.of(known, emitted.cells))
                    returned = remains.removed if remains.removed > remains.margin else 0
            if known is not None:
                decided = _decided(known, prints, counting, emitted, cells, returned)
                return decided._replace(recorded=read.fingerprints) if changed else decided
    size = listed[0].size
    if changed:
        return Decision(emitted, undecided=Undecided(size, size, 0, 0, why, True, progress))
    about = estimate(listed[0] - emitted)
    return Decision(
        emitted,
        undecided=Undecided(
            size, max(0, about.added), max(0, about.removed), about.margin, why, False, progress
        ),
    )


def _by_digest(
    emitted: Digest,
    listed: Sequence[Digest],
    matching: Digest | None,
    waiting: Fingerprints,
    prints: Fingerprints,
    counting: Fingerprints,
    *,
    is_known: bool,
) -> Decision | None:
    """What the difference of the digests shows, if it can be read."""
    # The fingerprints that wait are known to be late; without them there is less to read. Those
    # that are not listed any more are in no digest of what is listed, so they are not taken out.
    apart = waiting[members(waiting, np.sort(prints))] if is_known else NO_FINGERPRINTS
    first = decode(emitted - listed[0].minus(apart))
    second = None
    if matching is not None:
        inside = apart[members(apart, np.sort(counting))]
        second = decode(emitted - matching.minus(inside))
    read = first or second
    if read is None:
        return None
    late = np.union1d(apart, _array(read.removed))
    late_matching = late if second is None else np.union1d(apart, _array(second.removed))
    if is_known:
        # What has changed its class since it was found late waits for another.
        late_matching = late_matching[members(late_matching, np.sort(counting))]
    gone = _array(read.added)
    if first is None and is_known:
        # What was moved to another class is listed all the same, so it is not gone.
        is_moved = members(gone, np.sort(prints))
        known = np.union1d(np.setdiff1d(counting, late_matching), gone[is_moved])
        gone, late = gone[~is_moved], np.setdiff1d(prints, known)
    kept = emitted.minus(gone)
    if len(listed) > 1:
        kept = listed[-1].minus(late)
    return Decision(kept, late, late_matching, gone=len(gone), by="digest")


def _by_rule_a(
    emitted: Digest, prints: Fingerprints, seconds: Seconds, ledger: Ledger
) -> Fingerprints | None:
    """Which of the listed files were emitted, if ledger and digest together show it."""
    recorded = members(prints, ledger.fingerprints)
    tries = [recorded]
    if ledger.oldest_run is None:
        tries.append(np.ones(len(prints), np.bool_))
    else:
        tries.append(recorded | (seconds < ledger.oldest_run // 1_000_000))
    for chosen in tries:
        read = decode(emitted - Digest.of(prints[chosen], emitted.cells))
        if read is not None:
            more = members(prints, np.sort(_array(read.added)))
            less = members(prints, np.sort(_array(read.removed)))
            known: Fingerprints = prints[(chosen & ~less) | more]
            return known
    return None


def _decided(
    known: Fingerprints,
    prints: Fingerprints,
    counting: Fingerprints,
    emitted: Digest,
    cells: int,
    returned: int,
) -> Decision:
    known = np.sort(known)
    late = np.setdiff1d(prints, known)
    return Decision(
        Digest.of(known, cells),
        late,
        np.setdiff1d(counting, known),
        gone=max(0, emitted.size - len(known)),
        by="ledger",
        returned=returned,
    )


def _array(fingerprints: frozenset[int]) -> Fingerprints:
    return np.sort(np.fromiter(fingerprints, np.uint64, len(fingerprints)))
