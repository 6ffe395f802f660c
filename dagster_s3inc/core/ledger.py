"""The ledger: what a sensor emitted, as its runs record it.

The ledger's entries are the batches of the sensor's runs of one generation with a sequence below
the checkpoint's, one for each (sequence, batch), whichever job or retry holds it. Runs that repeat
something carry a tag that says so, and are not part of it.

A ledger proves itself: if `total` of what it holds equals the checkpoint's, it is whole. The sum
of mixed hashes does not depend on the order in which runs are read, and a missing or foreign file
goes unnoticed with a chance of 2**-64.

Example. Generation 1 emitted five files in three ticks:

    sequence 0  batch 0b17…  a, b        total: 2 files, mix(a, 1:0:0b17…) + mix(b, 1:0:0b17…)
    sequence 1  batch 5d02…  c, d        total: 4 files
    sequence 2  batch 91c4…  e           total: 5 files

With the run of 5d02… deleted, the ledger holds 3 files and another checksum: it is not whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np
from xxhash import xxh3_64_intdigest

from dagster_s3inc.core.checkpoint import Total
from dagster_s3inc.core.columns import Fingerprints
from dagster_s3inc.core.iblt import mixed

__all__ = ["Ledger", "LedgerEntry", "LedgerProgress", "LedgerReader", "checksum"]

_NOTHING: Final = np.empty(0, np.uint64)


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
    """What a sensor emitted in one generation.

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
        parts, total = [_NOTHING], Total()
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

    def plus(self, fingerprints: Fingerprints, total: Total) -> Ledger:
        """The ledger with what this very tick emits.

        Args:
            fingerprints: Of the files.
            total: Of them.
        """
        return Ledger(
            np.union1d(self.fingerprints, fingerprints),
            self.total.plus(total.files, total.checksum),
            self.oldest_run,
        )


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
