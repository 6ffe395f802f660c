"""All that a scan needs to know about the past; serialized, it is the sensor's cursor.

Two sentences define it:

    At or below `watermark`, every listed object has been emitted, except those that the `emitted`
    digest shows to be missing from it.
    Above `watermark`, exactly the objects in `recent` have been emitted.

Example, with a lookback of an hour and batches of at most two files. Five files of 09:00 to 09:04
lie under the prefix; the server's clock says 10:03:30.

    tick 1  emits 09:00, 09:01   watermark 09:01   recent: none    emitted: 2 fingerprints
    tick 2  emits 09:02, 09:03   watermark 09:03   recent: none    emitted: 4
    tick 3  emits 09:04          watermark 09:03   recent: 09:04   emitted: 4

After tick 3 the file of 09:04 is younger than the lookback, so it is remembered one by one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, NamedTuple

from dagster_s3inc.core.filters import Conditions
from dagster_s3inc.core.iblt import Digest
from dagster_s3inc.core.objects import Position

__all__ = ["CURSOR_RECENT_LIMIT", "Checkpoint", "PartialScan", "Reprocess", "Total"]

CURSOR_RECENT_LIMIT: Final = 512
"""The most fingerprints that a cursor keeps one by one, `late` and `recent` together: 5.5 KB of
base64 in a cursor of at most 32 KB."""


class Total(NamedTuple):
    """Count and checksum of everything emitted in a generation, by which a ledger proves itself.

    Attributes:
        files: How many files, repeats not counted.
        checksum: The sum of the mixed hashes of all of them, modulo 2**64; see `core.late_files`.
    """

    files: int = 0
    checksum: int = 0

    def plus(self, files: int, checksum: int) -> Total:
        """The total with so many files more."""
        return Total(self.files + files, (self.checksum + checksum) % 2**64)


_NOTHING: Final = Total()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialScan:
    """A scan that is spread over several ticks, because its listing takes longer than one.

    Attributes:
        began: The server's time at its beginning.
        horizon: What is older enters the digests when it is emitted or met, and the watermark
            rises to this time at the end. Never later than `began`.
        after: The key up to which the listing has been scanned; it goes on after it.
        objects: How many entries of the listing it has seen.
        listed: The digest of what it has listed up to `after`, at or below the watermark or older
            than the horizon. None where the selection changed on the way.
        met: The fingerprints of `recent` that it has met so far.
        adopts: Whether what is older than the horizon counts as emitted.
        changed: Whether the selection is another than the one by which `emitted` was made.
    """

    began: datetime
    horizon: datetime
    after: str
    objects: int = 0
    listed: Digest | None
    met: frozenset[int] = frozenset()
    adopts: bool = False
    changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reprocess:
    """What is emitted again, or counts as emitted from now on. A value.

    Attributes:
        conditions: Which of the files that were emitted are emitted again. While files are
            undecided, every listed file that meets the conditions is emitted, and those at or
            below the watermark are settled once all of them have been.
        after: The key up to which that has been done, in the order of the keys.
        in_parts: Whether the listing takes longer than a tick and there is no index. What counts
            as emitted is then what the checkpoint says without its digest: everything at or
            below the watermark that is not in `late`.
        accepts: Emit nothing; everything listed at or below the watermark counts as emitted.
    """

    conditions: Conditions = field(default_factory=Conditions)
    after: str = ""
    in_parts: bool = False
    accepts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What has been emitted. A value: every change makes a new one.

    Attributes:
        generation: Counts the beginnings, from 1: a reset of everything adds one.
        sequence: Counts the ticks that emitted something, within a generation.
        watermark: The position below which nothing is remembered one by one. None before the
            first scan that raised it.
        late: Fingerprints of files that were found at or below the watermark and have not been
            emitted yet. There may be more, which the digest shows again.
        recent: The fingerprints of the objects above the watermark that have been emitted and
            were still listed.
        emitted: The digest of what has been emitted at or below the watermark and was still
            listed at the last scan.
        total: Of everything emitted in this generation. None where a ledger cannot be whole: the
            beginning was adopted, or the cursor was set back.
        partial_scan: The scan that goes on in the next tick; None if the last one completed.
        reprocess: What is emitted again, before anything new is; None if nothing is.
        selection: The hash of the filter and the prefix by which `emitted` was made; None at first.
        reset_seen: The moment (ISO 8601, UTC) of the newest reset that has been honoured.
        undecided: How many files at or below the watermark, at most, are not known to have been
            emitted or not; 0 where everything is known. See `core.late_files`.
    """

    generation: int = 1
    sequence: int = 0
    watermark: Position | None = None
    late: frozenset[int] = frozenset()
    recent: frozenset[int] = frozenset()
    emitted: Digest | None = None
    total: Total | None = _NOTHING
    partial_scan: PartialScan | None = None
    reprocess: Reprocess | None = None
    selection: str | None = None
    reset_seen: str | None = None
    undecided: int = 0

    @property
    def has_begun(self) -> bool:
        """Whether anything counts as emitted, or may do so."""
        return bool(self.watermark or self.recent or self.partial_scan)

    @property
    def reprocesses_now(self) -> Reprocess | None:
        """What the next scan emits again; None if it looks for what is new.

        A partial scan is completed first, since only its end shows what was emitted.
        """
        if self.reprocess is None or self.reprocess.accepts or self.partial_scan is not None:
            return None
        return self.reprocess

    @property
    def accepts_now(self) -> bool:
        """Whether the next scan counts what is listed at or below the watermark as emitted."""
        accepts = self.reprocess is not None and self.reprocess.accepts
        return accepts and self.partial_scan is None

    def restarted(
        self, *, generation: int | None = None, reset_seen: str | None = None
    ) -> Checkpoint:
        """The checkpoint that begins a later generation, in which nothing has been emitted.

        Args:
            generation: At least this one; by default the next.
            reset_seen: The moment of the reset that is honoured; by default as it was.
        """
        following = self.generation + 1
        return Checkpoint(
            generation=max(following, generation or following),
            reset_seen=reset_seen or self.reset_seen,
        )

    def reprocessing(self, reprocess: Reprocess, *, reset_seen: str | None) -> Checkpoint:
        """The checkpoint in the same generation that emits some files again.

        Args:
            reprocess: Which files.
            reset_seen: The moment of the reset that is honoured.
        """
        return replace(self, reset_seen=reset_seen, reprocess=reprocess if self.has_begun else None)

    def behind(self, *, generation: int, sequence: int) -> Checkpoint:
        """The checkpoint after it was set back by hand: it goes on behind what was requested.

        Args:
            generation: That of the last run key.
            sequence: That of the last run key.
        """
        return replace(self, generation=generation, sequence=sequence + 1, total=None)
