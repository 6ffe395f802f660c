"""Scans that are right by other means, or wrong on purpose: they test the world itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from random import Random
from types import SimpleNamespace
from typing import Any

from dagster_s3inc.core.batching import Batch, ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint, PartialScan
from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.filters import Selection
from dagster_s3inc.core.late_files import LedgerReader
from dagster_s3inc.core.objects import S3Object
from tests.core.model.engine import Pages, Process, RealEngine

__all__ = ["ExactEngine", "ForgetfulEngine", "LosingEngine", "UnorderedEngine"]


class ExactEngine(RealEngine):
    """Remembers everything in a cursor without bounds."""

    is_bounded = False

    def scan(
        self,
        process: Process,  # the protocol's, as below
        given: str | None,
        checkpoint: Checkpoint,
        pages: Callable[[str, str], Pages],
        *,
        prefix: str,
        now: datetime,
        clock: float,
        selection: Selection,
        limits: ScanLimits,
        adopt: bool,
        ledger: LedgerReader,
    ) -> Any:
        listed, rest = _read(pages(prefix, _after(checkpoint)))
        matching = [
            each
            for each, counts in zip(
                listed, selection.matches(Columns.of(listed)).tolist(), strict=True
            )
            if counts and (selection.group_of is None or selection.group_of(each.key) is not None)
        ]
        after, repeats, emitted = checkpoint, False, []
        if checkpoint.reprocess is not None and checkpoint.partial_scan is None:
            if checkpoint.reprocess.accepts:
                adopt = True
                after = replace(after, reprocess=None)
            else:
                return self._reprocess(checkpoint, matching, rest, limits)
        if adopt:
            found = frozenset(each.fingerprint for each in matching)
            after = replace(after, recent=after.recent | found, total=None)
        else:
            emitted = self.choose([each for each in matching if self.is_new(each, after)], limits)
        return self._result(checkpoint, after, emitted, listed, rest, limits, now, repeats)

    def is_new(self, entry: S3Object, checkpoint: Checkpoint) -> bool:
        return entry.fingerprint not in checkpoint.recent

    def choose(self, new: list[S3Object], limits: ScanLimits) -> list[S3Object]:
        return sorted(new)[: limits.max_batches * limits.policy.max_files]

    def _result(
        self,
        before: Checkpoint,
        after: Checkpoint,
        emitted: list[S3Object],
        listed: list[S3Object],
        rest: str | None,
        limits: ScanLimits,
        now: datetime,
        repeats: bool,
    ) -> Any:
        batches = self._batches(emitted, limits)
        chosen = [each for batch in batches for each in batch.objects]
        recent = after.recent | {each.fingerprint for each in chosen}
        partial = after.partial_scan
        met = partial.met if partial is not None else frozenset()
        met |= {each.fingerprint for each in listed} & recent
        partial = None
        if rest is None:
            recent &= met
        else:
            key = rest
            partial = PartialScan(began=now, horizon=now, after=key, listed=None, met=met)
        after = replace(
            after,
            recent=recent,
            partial_scan=partial,
            sequence=before.sequence + bool(batches),
        )
        return _result_of(batches, before, after, repeats=repeats)

    def _reprocess(
        self,
        checkpoint: Checkpoint,
        matching: list[S3Object],
        rest: str | None,
        limits: ScanLimits,
    ) -> Any:
        reprocess = checkpoint.reprocess
        assert reprocess is not None
        due = [
            each
            for each in matching
            if each.key.startswith(reprocess.conditions.prefix)
            and each.fingerprint in checkpoint.recent
        ]
        room = limits.max_batches * limits.policy.max_files
        batches = self._batches(due[:room], limits)
        chosen = [each for batch in batches for each in batch.objects]
        following = None
        if len(chosen) < len(due):
            following = replace(reprocess, after=chosen[-1].key) if chosen else reprocess
        elif rest is not None:
            following = replace(reprocess, after=rest)
        after = replace(
            checkpoint, reprocess=following, sequence=checkpoint.sequence + bool(batches)
        )
        return _result_of(batches, checkpoint, after, repeats=True)

    @staticmethod
    def _batches(emitted: list[S3Object], limits: ScanLimits) -> tuple[Batch, ...]:
        policy, batches = limits.policy, []
        waiting: list[S3Object] = []
        for each in emitted:
            size = sum(one.size for one in waiting) + each.size
            heavy = policy.max_bytes is not None and size > policy.max_bytes
            if waiting and (len(waiting) == policy.max_files or heavy):
                batches.append(Batch.of(waiting))
                waiting = []
            waiting.append(each)
        if waiting:
            batches.append(Batch.of(waiting))
        return tuple(batches[: limits.max_batches])


class ForgetfulEngine(ExactEngine):
    """Forgets now and then that it emitted something."""

    def is_new(self, entry: S3Object, checkpoint: Checkpoint) -> bool:
        forgets = Random(entry.fingerprint + checkpoint.sequence).random() < 0.01  # noqa: S311
        return forgets or super().is_new(entry, checkpoint)


class LosingEngine(ExactEngine):
    """Never sees one of fifty files."""

    def is_new(self, entry: S3Object, checkpoint: Checkpoint) -> bool:
        return entry.fingerprint % 50 != 0 and super().is_new(entry, checkpoint)


class UnorderedEngine(ExactEngine):
    """Emits in the order of the keys."""

    def choose(self, new: list[S3Object], limits: ScanLimits) -> list[S3Object]:
        return new[: limits.max_batches * limits.policy.max_files]


def _after(checkpoint: Checkpoint) -> str:
    if checkpoint.partial_scan is not None:
        return checkpoint.partial_scan.after
    return "" if checkpoint.reprocess is None else checkpoint.reprocess.after


def _read(pages: Pages) -> tuple[list[S3Object], str | None]:
    """What comes in time, and the key behind which more would come."""
    listed = [each for page in pages.pages[: pages.in_time] for each in page.parsed().objects()]
    is_cut = pages.in_time < len(pages.pages) and listed
    return listed, listed[-1].key if is_cut else None


def _result_of(
    batches: tuple[Batch, ...], before: Checkpoint, after: Checkpoint, *, repeats: bool
) -> Any:
    statistics = SimpleNamespace(
        undecided=None, decided_by="index", selection_changed=False, returned=0
    )
    return SimpleNamespace(
        batches=batches,
        sequence=before.sequence,
        repeats=repeats,
        checkpoint=after,
        statistics=statistics,
        index=None,
        building=None,
        backlog=None,
    )
