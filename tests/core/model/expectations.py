"""What must hold of one scan, and what its cursor stands for afterwards."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from dagster_s3inc.core.batching import ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.outcome import ScanResult
from tests.core.model.knowledge import Decided, Knowledge, Reading

__all__ = [
    "PromiseError",
    "Scanned",
    "check",
    "check_text",
    "described",
    "following",
    "is_below",
    "named",
    "require",
]

_CELL_BYTES = 14


class PromiseError(AssertionError):
    """The package broke a promise.

    Attributes:
        kind: Which, in a word.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


def require(holds: bool, kind: str, text: str) -> None:
    """Raises `PromiseError` if something does not hold."""
    if not holds:
        raise PromiseError(kind, text)


@dataclass(frozen=True)
class Scanned:
    """One scan, with all that the world knows of it.

    Attributes:
        before: The checkpoint given.
        known: What it stands for.
        result: What the scan returned.
        listed: What the pages held, by fingerprint.
        versions: Every version that was ever listed, by fingerprint.
        prefix: All keys that were asked for begin with this.
        start: The listing began behind this key.
        is_cut: Whether the listing was cut off.
        counts: Tells whether an object counts.
        limits: Those given.
        indexed: Whether the process had the index of the cursor given.
        adopts: Whether what is listed was to count as emitted.
        went_on: Whether it emitted what an earlier scan had found, without a listing.
        excused: Why files may be undecided; empty if they may not.
        life: The process.
        recorded: What the runs record, where rule b settled that this was emitted; else empty.
    """

    before: Checkpoint
    known: Knowledge
    result: ScanResult
    listed: Mapping[int, S3Object]
    versions: Mapping[int, S3Object]
    prefix: str
    start: str
    is_cut: bool
    counts: Callable[[S3Object], bool]
    limits: ScanLimits
    indexed: bool
    adopts: bool
    went_on: bool
    excused: str
    life: object
    recorded: frozenset[int]

    @property
    def after(self) -> Checkpoint:
        """The checkpoint returned."""
        return self.result.checkpoint

    @property
    def is_complete(self) -> bool:
        """Whether it came to the end of the listing and looked for what is new."""
        goes_on = self.after.partial_scan is not None or self.went_on
        return not goes_on and not self.is_reprocessing

    @property
    def is_partial(self) -> bool:
        """Whether it was, or is now, a part of a scan."""
        return self.before.partial_scan is not None or self.after.partial_scan is not None

    @property
    def is_reprocessing(self) -> bool:
        """Whether it emitted again, and did not look for what is new."""
        return self.result.repeats

    @property
    def settles(self) -> bool:
        """Whether it counts all that is listed at or below the watermark as emitted from now on.

        So it is where files are undecided, and all of them are to be emitted again.
        """
        return self.is_reprocessing and self.after.emitted != self.before.emitted

    @property
    def repeats_all(self) -> bool:
        """Whether it emits what meets the conditions, whether it was emitted before or not.

        So it does where files are undecided, where neither an index nor a whole listing tells,
        and where the ledger tells, in which a version that came back counts as emitted.
        """
        following = self.after.reprocess
        in_parts = self.is_cut or (following is not None and following.in_parts)
        before = self.before.reprocess
        in_parts = in_parts or (before is not None and before.in_parts)
        return self.is_reprocessing and (
            in_parts
            or self.before.undecided > 0
            or self.settles
            or not self.is_decided()
            or bool(self.recorded)
        )

    @cached_property
    def emitted(self) -> list[S3Object]:
        """Everything in the batches, in their order."""
        return [each for batch in self.result.batches for each in batch.objects]

    @cached_property
    def fingerprints(self) -> list[int]:
        """Those of `emitted`."""
        return [each for batch in self.result.batches for each in batch.fingerprints]

    @cached_property
    def ranged(self) -> frozenset[int]:
        """What was listed where the scan looked; of a part, only up to where it came."""
        return frozenset(each for each, entry in self.listed.items() if self.is_in_range(entry))

    @cached_property
    def new(self) -> dict[int, S3Object]:
        """What matches, is listed, and does not surely count as emitted."""
        return {
            each: entry
            for each, entry in self.listed.items()
            if each not in self.known.must and self.counts(entry)
        }

    def is_in_range(self, entry: S3Object) -> bool:
        """Whether the scan looked at this key."""
        before, after = self.before.partial_scan, self.after.partial_scan
        if before is not None and entry.key <= before.after:
            return False
        return entry.key.startswith(self.prefix) and (after is None or entry.key <= after.after)

    def should_list(self, entry: S3Object) -> bool:
        """Whether an object would have been listed if it were there."""
        last = next(reversed(self.listed.values())).key if self.is_cut and self.listed else None
        in_time = last is None or entry.key <= last
        return entry.key.startswith(self.prefix) and entry.key > self.start and in_time

    def is_old(self, fingerprint: int) -> bool:
        """Whether a version lies at or below the watermark that follows."""
        return is_below(self.versions[fingerprint], self.after.watermark)

    def is_decided(self) -> bool:
        """Whether it is known of each file whether it was emitted."""
        return self.result.statistics.undecided is None


def is_below(entry: S3Object, watermark: Position | None) -> bool:
    """Whether an object lies at or below the watermark."""
    return watermark is not None and entry.position <= watermark


def check(scanned: Scanned) -> None:
    """What must hold of one scan.

    Raises:
        PromiseError: Something does not.
    """
    _check_batches(scanned)
    _check_cursor(scanned)
    _check_undecided(scanned)
    if scanned.is_reprocessing:
        _check_repeated(scanned)
        return
    twice = [scanned.versions[each] for each in scanned.fingerprints if each in scanned.known.must]
    require(not twice, "TWICE", f"the cursor knows them: {named(twice)}")
    if not scanned.is_partial:
        _check_order(scanned)


def _check_batches(scanned: Scanned) -> None:
    policy, emitted = scanned.limits.policy, scanned.fingerprints
    require(len(scanned.result.batches) <= scanned.limits.max_batches, "LIMITS", "batches")
    require(len(set(emitted)) == len(emitted), "TWICE", "in one scan")
    for batch in scanned.result.batches:
        require(1 <= len(batch) <= policy.max_files, "LIMITS", "files of a batch")
        heavy = policy.max_bytes is not None and batch.bytes > policy.max_bytes
        require(not heavy or len(batch) == 1, "LIMITS", "bytes of a batch")
    for fingerprint, entry in zip(emitted, scanned.emitted, strict=True):
        require(scanned.listed.get(fingerprint) == entry, "UNLISTED", str(entry))
        require(scanned.counts(entry), "FILTERED", str(entry))


def _check_cursor(scanned: Scanned) -> None:
    before, after, limits = scanned.before, scanned.after, scanned.limits
    if before.watermark is not None:
        require(
            after.watermark is not None and after.watermark >= before.watermark,
            "WATERMARK",
            f"fell from {before.watermark} to {after.watermark}",
        )
    allowed = max(limits.recent_limit, len(before.recent) + len(before.late))
    kept = len(after.recent) + len(after.late)
    require(kept <= allowed, "BOUND", f"{len(after.recent)} recent, {len(after.late)} late")
    require(after.generation == before.generation, "SEQUENCE", "another generation")
    emits = bool(scanned.result.batches)
    require(
        after.sequence == before.sequence + emits,
        "SEQUENCE",
        f"from {before.sequence} to {after.sequence} with {len(scanned.result.batches)} batches",
    )
    require(not emits or scanned.result.sequence == before.sequence, "SEQUENCE", "of the batches")


def _check_undecided(scanned: Scanned) -> None:
    undecided = scanned.result.statistics.undecided
    if undecided is None or undecided.progress is not None:
        return
    require(bool(scanned.excused), "UNDECIDED", f"without a reason: {undecided}")


def _check_repeated(scanned: Scanned) -> None:
    reprocess = scanned.before.reprocess
    if reprocess is None or reprocess.conditions is None:
        require(not scanned.emitted, "REPEATED", "nothing was to be")
        return
    start = reprocess.conditions.prefix
    for fingerprint, entry in zip(scanned.fingerprints, scanned.emitted, strict=True):
        require(entry.key.startswith(start), "REPEATED", f"which was not asked for: {entry}")
        require(fingerprint not in scanned.known.repeated, "TWICE", f"reprocessed: {entry}")
        may = scanned.repeats_all or fingerprint in scanned.known.may
        require(may, "REPEATED", f"which was never emitted: {named([entry])}")
    if scanned.after.reprocess is None and scanned.known.due is not None:
        lost = [scanned.versions[each] for each in _due(scanned, scanned.known.due)]
        require(not lost, "LOST", f"not reprocessed: {named(lost)}")


def _due(scanned: Scanned, due: Iterable[int]) -> frozenset[int]:
    """What of this is still to be reprocessed, as far as is certain."""
    emitted = frozenset(scanned.fingerprints)
    left = {each: scanned.versions[each] for each in due if each not in emitted}
    return frozenset(
        each
        for each, entry in left.items()
        if scanned.counts(entry) and (each in scanned.listed or not scanned.should_list(entry))
    )


def _check_order(scanned: Scanned) -> None:
    """A scan that completes emits the oldest first, and all that its limits allow."""
    batches, limits = scanned.result.batches, scanned.limits
    for batch in batches:
        require(list(batch.objects) == sorted(batch.objects), "ORDER", named(batch.objects))
    grouped = any(batch.group is not None for batch in batches)
    first = [batch.objects[0] if grouped else batch.objects for batch in batches]
    require(first == sorted(first), "ORDER", named(scanned.emitted))
    lingers = limits.policy.linger is not None
    if lingers or scanned.adopts or scanned.went_on or not limits.max_batches:
        return
    watermark, late = scanned.before.watermark, scanned.before.late
    unsure, emitted = scanned.known.may | scanned.recorded, set(scanned.fingerprints)
    waiting = [
        entry
        for each, entry in scanned.new.items()
        if scanned.indexed or not is_below(entry, watermark) or each in late
        if each not in unsure and each not in emitted
    ]
    passed = [
        entry
        for entry in waiting
        if is_below(entry, scanned.after.watermark) and not is_below(entry, watermark)
    ]
    require(not passed, "WATERMARK", f"it passes what waits: {named(passed)}")
    if not batches:
        require(not waiting, "LOST", f"nothing is emitted of {named(waiting)}")
        return
    if not grouped:
        last = scanned.emitted[-1].position
        passed = [entry for entry in waiting if entry.position < last]
        require(not passed, "ORDER", f"older ones wait: {named(passed)}")
    if len(batches) < limits.max_batches and limits.request_size is None:
        require(not waiting, "LOST", f"there was room for {named(waiting)}")


def check_text(text: str, limits: ScanLimits, checkpoint: Checkpoint) -> None:
    """The cursor is bounded, and is JSON whose first fields a person can read."""
    document = json.loads(text)
    require(text.isascii() and "\n" not in text, "CURSOR", "one line of ASCII")
    first = list(document)[:4]
    require(first == ["version", "generation", "sequence", "watermark"], "CURSOR", str(first))
    fingerprints = len(checkpoint.recent) + len(checkpoint.late)
    if checkpoint.partial_scan is not None:
        fingerprints += len(checkpoint.partial_scan.met)
    cells = 4 * -(-limits.late_file_capacity * 3 // 8) + 8
    # A fingerprint and a cell in base64, and what is fixed.
    bound = 2000 + 11 * fingerprints + 2 * (cells * _CELL_BYTES * 4 // 3 + 100)
    require(len(text) <= bound, "CURSOR", f"{len(text)} characters where {bound} are the most")


def following(scanned: Scanned, runs: Mapping[int, tuple[Decided, ...]]) -> Knowledge:
    """What the cursor that the scan returns stands for.

    Args:
        scanned: The scan.
        runs: The runs by which what it emits is emitted.
    """
    if scanned.is_reprocessing:
        return _after_reprocessing(scanned)
    known = scanned.known
    emitted = frozenset(scanned.fingerprints)
    must, may = known.must | emitted, known.may | emitted
    reading = known.reading or Reading(life=scanned.life)
    life = scanned.life if reading.life is scanned.life else None
    seen = reading.seen | scanned.ranged
    versions = scanned.versions
    if scanned.went_on:
        return replace(known, must=must, may=may, runs={**known.runs, **runs})
    if not scanned.is_complete:
        must -= {each for each in must - seen if scanned.is_in_range(versions[each])}
    else:
        must -= {each for each in must - seen if versions[each].key.startswith(scanned.prefix)}
        may -= set(_found_gone(scanned, may - seen))
    adopted = frozenset(_adopted(scanned))
    if scanned.is_complete and not scanned.is_partial:
        must |= adopted
    changed = scanned.result.statistics.selection_changed
    settled = {each for each in scanned.recorded & seen if changed or scanned.is_old(each)}
    return replace(
        known,
        must=must,
        may=may | adopted | settled,
        runs={**known.runs, **runs},
        reading=None if scanned.is_complete else Reading(seen, life),
        whole=known.whole and not (scanned.adopts or adopted),
        due=None,
        repeated=frozenset(),
    )


def _found_gone(scanned: Scanned, missing: Iterable[int]) -> Iterable[int]:
    """What this scan found to be gone."""
    knows_below = scanned.is_decided() and not _selection_changed(scanned)
    for each in missing:
        entry = scanned.versions[each]
        is_known = not scanned.is_old(each) or (knows_below and scanned.counts(entry))
        if is_known and entry.key.startswith(scanned.prefix):
            yield each


def _selection_changed(scanned: Scanned) -> bool:
    partial = scanned.before.partial_scan
    return scanned.result.statistics.selection_changed or (partial is not None and partial.changed)


def _adopted(scanned: Scanned) -> Iterable[int]:
    """What counts as emitted from now on, whether it was or not."""
    watermark, partial = scanned.before.watermark, scanned.before.partial_scan
    adopts = scanned.adopts if partial is None else partial.adopts
    if adopts:
        for each in scanned.ranged:
            if watermark is None or is_below(scanned.versions[each], watermark):
                yield each


def _after_reprocessing(scanned: Scanned) -> Knowledge:
    known, emitted = scanned.known, frozenset(scanned.fingerprints)
    settled: frozenset[int] = frozenset()
    if scanned.settles:
        settled = frozenset(
            each
            for each, entry in scanned.listed.items()
            if is_below(entry, scanned.before.watermark)
        )
        above = {each for each in known.must if not scanned.is_old(each)}
        known = replace(
            known, must=known.must & (settled | above), may=known.may | settled, whole=False
        )
    if scanned.after.reprocess is None:
        return replace(known, due=None, repeated=frozenset())
    due = known.due
    if due is None:
        conditions = scanned.before.reprocess and scanned.before.reprocess.conditions
        start = "" if conditions is None else conditions.prefix
        due = frozenset(
            each
            for each in (known.must & scanned.listed.keys()) | settled
            if scanned.versions[each].key.startswith(start)
        )
    return replace(known, due=_due(scanned, due), repeated=known.repeated | emitted)


def named(entries: Iterable[S3Object]) -> str:
    """The first of these, in a few words."""
    listed = sorted(entries)
    shown = ", ".join(f"{e.key} {e.etag} {e.last_modified:%H:%M:%S}" for e in listed[:3])
    return f"{shown} and {len(listed) - 3} more" if len(listed) > 3 else shown


def described(scanned: Scanned) -> str:
    """A line that says what a scan did."""
    before, after, statistics = scanned.before, scanned.after, scanned.result.statistics
    words = [
        f"{before.generation}:{before.sequence}",
        "went on" if scanned.went_on else "index" if scanned.indexed else "no index",
        f"lists {len(scanned.listed)}, new {len(scanned.new)}",
        f"room {scanned.limits.max_batches}x{scanned.limits.policy.max_files}",
        f"emits {len(scanned.emitted)} ({named(scanned.emitted)})",
        f"watermark {_short(before.watermark)} -> {_short(after.watermark)}",
        f"recent {len(before.recent)} -> {len(after.recent)}",
        f"late {len(before.late)} -> {len(after.late)}",
    ]
    if statistics.decided_by not in (None, "index"):
        words.append(f"decided by {statistics.decided_by}")
    if statistics.undecided is not None:
        words.append(f"UNDECIDED: {statistics.undecided.why}")
    for checkpoint in (before, after):
        if checkpoint.partial_scan is not None:
            words.append(f"partial after {checkpoint.partial_scan.after!r}")
        if checkpoint.reprocess is not None:
            words.append(f"reprocess {checkpoint.reprocess}")
    if scanned.limits.policy.linger is not None:
        words.append("lingers")
    if scanned.limits.policy.max_bytes is not None:
        words.append("heavy")
    if scanned.adopts:
        words.append("ADOPTS")
    return "; ".join(words)


def _short(position: Position | None) -> str:
    return "none" if position is None else f"{position.last_modified:%H:%M:%S} {position.key}"
