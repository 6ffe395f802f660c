"""What ticks find when they evaluate the checks of a source asset.

A tick stores an evaluation only where it says something else than the last one, or beside a
materialization: a state that lasts is stored once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg

from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.report import describe_undecided
from dagster_s3inc.core.scan import ScanResult
from dagster_s3inc.core.words import count, format_bytes
from dagster_s3inc.runs.batch_states import BatchStates, State
from dagster_s3inc.runs.run_requests import BATCH_ID_TAG, FILES_TAG
from dagster_s3inc.runs.states import describe_halt, name_runs

__all__ = [
    "BACKLOG_CHECK",
    "DECIDED",
    "FAILED_CHECK",
    "LATE_FILES_CHECK",
    "NONE_FAILED",
    "PARTITIONED",
    "PARTITIONED_CHECK",
    "evaluate_backlog",
    "evaluate_failed",
    "evaluate_late_files",
    "evaluate_partitioned",
    "is_news",
    "linked_runs",
]

FAILED_CHECK: Final = "batches_failed"
LATE_FILES_CHECK: Final = "late_files_decided"
PARTITIONED_CHECK: Final = "files_partitioned"
BACKLOG_CHECK: Final = "backlog_age"

NONE_FAILED: Final = "No batch of this generation has failed."
DECIDED: Final = "Of every file at or below the watermark it is known whether it was requested."
PARTITIONED: Final = "Every file is in a partition, or in a group."

_NO_BACKLOG: Final = "No file waits, and none is queued."
_UNDECIDED: Final = "files undecided"
_OUTSIDE: Final = "files unpartitioned"
_FAILED_RUNS: Final = "failed runs"

_WAITING: Final = "files waiting"
_QUEUED: Final = "files queued"

# Where one of these changes, an evaluation is stored although it passes or fails as before.
_GIST: Final = (_UNDECIDED, _OUTSIDE, _FAILED_RUNS, _WAITING, _QUEUED)

_RUNS_LINKED: Final = 3
_RUNS_LISTED: Final = 20

_WARN: Final = dg.AssetCheckSeverity.WARN
_ERROR: Final = dg.AssetCheckSeverity.ERROR


def evaluate_failed(
    key: dg.AssetKey, states: BatchStates, *, halts: bool
) -> dg.AssetCheckEvaluation:
    """Says which batches failed, and what to do.

    Args:
        key: The asset.
        states: Of the batches.
        halts: Whether a failed batch stops those that would follow.
    """
    skipped = states.amount(State.SKIPPED)
    failed = [each for each in states.failed if not each.is_skipped]
    repairing = [by for each in failed if (by := states.repairing(each))]
    if not halts:
        failed = [
            each
            for each in failed
            if not states.repairing(each) and not each.newest.is_complete_and_waiting_to_retry
        ]
    numbers: dict[str, Any] = {"batches failed": len({each.batch.batch_id for each in failed})}
    if skipped.batches:
        numbers["batches skipped"] = skipped.batches
    if not failed:
        skip = f"{count(skipped.batches, 'failed batch was', 'failed batches were')} skipped."
        words = f"{NONE_FAILED[:-1]}, but {skip}" if skipped.batches else NONE_FAILED
        return _evaluation(key, FAILED_CHECK, True, words, numbers)
    runs = [each.newest for each in failed]
    files = sum(
        {run.tags.get(BATCH_ID_TAG): int(run.tags.get(FILES_TAG, 0)) for run in runs}.values()
    )
    numbers["files failed"] = files
    numbers.update(linked_runs([run.run_id for run in runs]))
    numbers[_FAILED_RUNS] = " ".join(run.run_id for run in runs[:_RUNS_LISTED])
    if halts and repairing:
        numbers["repairing run"] = dg.MetadataValue.dagster_run(repairing[0])
        words = (
            f"{describe_halt(runs[0])}. Run {repairing[0]} is to process the files of a failed "
            f"batch again: if it succeeds, this ends by itself."
        )
        return _evaluation(key, FAILED_CHECK, False, words, numbers, _WARN)
    if halts:
        return _evaluation(key, FAILED_CHECK, False, f"{describe_halt(runs[0])}.", numbers)
    words = (
        f"{count(numbers['batches failed'], 'batch', 'batches')} of this generation failed "
        f"({name_runs([run.run_id for run in reversed(runs)])}), and later ones go on without: "
        f"{count(files, 'file')} {'is' if files == 1 else 'are'} not processed. Find the cause on "
        f"the run's page. Then re-execute the run, or launch the reset job with what: failed. Or "
        f"give the files up, with what: skip_failed."
    )
    return _evaluation(key, FAILED_CHECK, False, words, numbers, _WARN)


def linked_runs(run_ids: Sequence[str]) -> dict[str, dg.MetadataValue]:
    """Links to the first of these failed runs, wherever the UI is mounted."""
    shown = enumerate(run_ids[:_RUNS_LINKED], 1)
    return {
        "failed run" if number == 1 else f"failed run {number}": dg.MetadataValue.dagster_run(each)
        for number, each in shown
    }


def evaluate_partitioned(key: dg.AssetKey, files: int, words: str) -> dg.AssetCheckEvaluation:
    """Says how many files are in no partition, or in no group.

    Args:
        key: The asset.
        files: How many.
        words: Which, and what to do.
    """
    return _evaluation(
        key,
        PARTITIONED_CHECK,
        not files,
        words if files else PARTITIONED,
        {_OUTSIDE: files},
        _WARN,
    )


def evaluate_late_files(
    key: dg.AssetKey, result: ScanResult, *, last: dg.AssetCheckEvaluation | None
) -> dg.AssetCheckEvaluation:
    """Says whether files are undecided: listed, but it is not known if they were requested.

    Args:
        key: The asset.
        result: The scan.
        last: The last evaluation. It knows the numbers where this scan did not reach the end of
            the listing.
    """
    at_most, undecided = result.checkpoint.undecided, result.statistics.undecided
    if undecided is not None:
        numbers = {
            _UNDECIDED: at_most,
            "appeared, about": undecided.appeared,
            "gone, about": undecided.gone,
            "give or take": undecided.margin,
        }
        severity = _WARN if undecided.why == "reading" else _ERROR
        words = describe_undecided(undecided)
        return _evaluation(key, LATE_FILES_CHECK, False, words, numbers, severity)
    if not at_most:
        return _evaluation(key, LATE_FILES_CHECK, True, DECIDED, {_UNDECIDED: 0})
    if last is not None and not last.passed:
        return last
    words = (
        f"Of at most {count(at_most, 'file')} at or below the watermark it is not known whether "
        f"they were requested. The next complete scan says more."
    )
    return _evaluation(key, LATE_FILES_CHECK, False, words, {_UNDECIDED: at_most}, _WARN)


def evaluate_backlog(
    key: dg.AssetKey,
    result: ScanResult,
    states: BatchStates,
    *,
    now: datetime,
    max_age: timedelta,
) -> dg.AssetCheckEvaluation:
    """Says whether a file waits, or is queued, that was modified too long ago.

    Args:
        key: The asset.
        result: The scan.
        states: Of all batches, those of this tick included.
        now: The server's time.
        max_age: The age from which on it is too long.
    """
    found, queued = result.statistics, states.amount(State.QUEUED)
    times = [each for each in (found.oldest_waiting, states.oldest_queued) if each is not None]
    numbers = {
        _WAITING: found.files_waiting,
        "bytes waiting": found.bytes_waiting,
        _QUEUED: queued.files,
        "batches queued": queued.batches,
    }
    if not times:
        return _evaluation(key, BACKLOG_CHECK, True, _NO_BACKLOG, numbers)
    oldest = min(times)
    numbers["backlog seconds"] = int(max(0.0, (now - oldest).total_seconds()))
    waiting = (
        f"{count(found.files_waiting, 'file')} ({format_bytes(found.bytes_waiting)}) "
        f"{'waits' if found.files_waiting == 1 else 'wait'} to be requested"
    )
    in_queue = (
        f"{count(queued.files, 'file')} in {count(queued.batches, 'batch', 'batches')} "
        f"{'is' if queued.files == 1 else 'are'} queued"
    )
    parts = [waiting] * bool(found.files_waiting) + [in_queue] * bool(queued.batches)
    words = f"{', '.join(parts)}; the oldest was modified at {format_time(oldest)}."
    passed = now - oldest < max_age
    if not passed:
        words = (
            f"{words} That is {max_age} ago or more. After a reset, or where old files are there "
            f"at first, this passes by itself. Else more arrives than is processed: raise "
            f"max_batches_per_tick or the size of batches, let more runs go on side by side, or "
            f"find out what holds the runs up."
        )
    return _evaluation(key, BACKLOG_CHECK, passed, words, numbers, _WARN)


def is_news(evaluation: dg.AssetCheckEvaluation, last: dg.AssetCheckEvaluation | None) -> bool:
    """Whether an evaluation says something else than the last one."""
    return last is None or _gist(evaluation) != _gist(last)


def _gist(evaluation: dg.AssetCheckEvaluation) -> tuple[Any, ...]:
    numbers = map(evaluation.metadata.get, _GIST)
    return (evaluation.passed, evaluation.severity, *(each and each.value for each in numbers))


def _evaluation(
    key: dg.AssetKey,
    name: str,
    passed: bool,
    description: str,
    metadata: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = _ERROR,
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=name,
        passed=passed,
        description=description,
        metadata={name: value for name, value in metadata.items() if value != 0},
        severity=severity,
    )
