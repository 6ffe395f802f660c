"""The checks of a source asset: is anything given up, and does anything wait too long?

Ticks evaluate them, from what they saw. A person may execute them too, as Dagster lets him: that
tells again what the last tick found, since a run cannot see more than that without a listing.
"""

# No "from __future__ import annotations" here: Dagster reads the annotation of `context` as it is.
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg

from dagster_s3inc.batch import GENERATION_TAG, OVERFLOWS_TAG
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.report import describe_overflow
from dagster_s3inc.core.validation import require_positive
from dagster_s3inc.core.words import format_bytes
from dagster_s3inc.instance import latest_evaluation
from dagster_s3inc.source.asset import SourceAsset, key_of

__all__ = [
    "BACKLOG_CHECK",
    "OVERFLOW_CHECK",
    "build_s3_source_checks",
    "evaluate_backlog",
    "evaluate_overflow",
    "is_news",
    "seconds_waited",
]

OVERFLOW_CHECK: Final = "no_file_given_up"
BACKLOG_CHECK: Final = "backlog_age"

_WARN: Final = dg.AssetCheckSeverity.WARN

_BY_TICKS: Final = (
    "Evaluated by the sensor's ticks; executing it tells again what the last one found."
)

_ALL_TOLD_APART: Final = "All files that appeared late could be told apart in this generation."

_FORGOTTEN: Final = (
    "In this generation, more old files changed at a time than the sketch in the cursor can tell "
    "apart; the ticks' history says when. Files that appeared late then were not handed over. "
    "Launch the reset job to have everything processed."
)


def build_s3_source_checks(
    *, source_asset: SourceAsset, max_backlog_age: timedelta | None = None
) -> dg.AssetChecksDefinition:
    """Builds the checks of a source asset; the ticks of its sensor evaluate them.

    `no_file_given_up` fails when more old files changed at a time than the sketch in the cursor
    can tell apart, until a reset. `backlog_age` warns while a file waits that is older than a
    bound. Executing them by hand tells again what the last tick found.

    Args:
        source_asset: What `build_s3_source_asset` made, or its key.
        max_backlog_age: The same as the sensor's; None means that there is no such check.

    Raises:
        ConfigurationError: The bound is no timedelta of more than zero.
    """
    key = key_of(source_asset)
    laws = {OVERFLOW_CHECK: "No file that appeared late was given up for lack of memory."}
    if max_backlog_age is not None:
        require_positive("max_backlog_age", max_backlog_age)
        laws[BACKLOG_CHECK] = f"No file waits that was modified {max_backlog_age} ago or more."
    specs = [
        dg.AssetCheckSpec(name, asset=key, description=f"{law} {_BY_TICKS}")
        for name, law in laws.items()
    ]

    @dg.multi_asset_check(name=f"{key.to_python_identifier()}_checks", specs=specs, can_subset=True)
    def repeat(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for check in context.selected_asset_check_keys:
            yield _repeated(check, latest_evaluation(context.instance, check))

    return repeat


def _repeated(check: dg.AssetCheckKey, last: dg.AssetCheckEvaluation | None) -> dg.AssetCheckResult:
    if last is None:
        return dg.AssetCheckResult(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=False,
            severity=_WARN,
            description="Not known: no tick has evaluated this yet. Is the sensor running?",
        )
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=last.passed,
        severity=last.severity,
        description=last.description,
        metadata=last.metadata,
    )


def evaluate_overflow(
    key: dg.AssetKey, result: ScanResult, *, now: datetime, last: dg.AssetCheckEvaluation | None
) -> dg.AssetCheckEvaluation:
    """Says whether files that appeared late were given up in this generation.

    Args:
        key: The asset.
        result: The scan.
        now: The server's time.
        last: The last evaluation, which knows of earlier overflows what the checkpoint does not.
    """
    checkpoint, overflow = result.checkpoint, result.statistics.overflow
    told: dict[str, Any] = {
        GENERATION_TAG: checkpoint.generation,
        OVERFLOWS_TAG: checkpoint.overflows,
    }
    if not checkpoint.overflows:
        return _evaluation(key, OVERFLOW_CHECK, True, _ALL_TOLD_APART, told)
    before = None
    if (
        last is not None
        and not last.passed
        and _value(last, GENERATION_TAG) == checkpoint.generation
    ):
        before = last
    if overflow is None:
        return before or _evaluation(key, OVERFLOW_CHECK, False, _FORGOTTEN, told)
    told["dagster_s3inc/overflow_since"] = format_time(now)
    if before is not None:
        told["dagster_s3inc/overflow_since"] = _value(before, "dagster_s3inc/overflow_since")
    told["dagster_s3inc/appeared_about"] = overflow.added
    told["dagster_s3inc/gone_about"] = overflow.removed
    told["dagster_s3inc/give_or_take"] = overflow.margin
    severity = dg.AssetCheckSeverity.ERROR
    if overflow.looks_like_removal and (before is None or before.severity is _WARN):
        severity = _WARN
    words = describe_overflow(overflow)
    return _evaluation(key, OVERFLOW_CHECK, False, words, told, severity)


def evaluate_backlog(
    key: dg.AssetKey, result: ScanResult, *, now: datetime, max_age: timedelta
) -> dg.AssetCheckEvaluation:
    """Says whether a file waits that was modified too long ago.

    Args:
        key: The asset.
        result: The scan.
        now: The server's time.
        max_age: The age from which on it is too long.
    """
    seen = result.statistics
    told: dict[str, Any] = {
        "dagster_s3inc/files_waiting": seen.files_waiting,
        "dagster_s3inc/bytes_waiting": seen.bytes_waiting,
        "dagster_s3inc/backlog_seconds": seconds_waited(result, now),
    }
    if seen.oldest_waiting is None:
        return _evaluation(key, BACKLOG_CHECK, True, "No file waits.", told)
    passed = now - seen.oldest_waiting < max_age
    words = (
        f"{seen.files_waiting:,} files ({format_bytes(seen.bytes_waiting)}) wait; the oldest was "
        f"modified at {format_time(seen.oldest_waiting)}."
    )
    if not passed:
        words = (
            f"{words} That is {max_age} ago or more. After a reset, or where old files are there "
            f"at first, this passes by itself. Else more arrives than is handed over: raise "
            f"max_batches_per_tick or the size of batches, or see what holds the runs up."
        )
    return _evaluation(key, BACKLOG_CHECK, passed, words, told, _WARN)


def seconds_waited(result: ScanResult, now: datetime) -> float:
    """How long ago the oldest file that waits was modified; 0 if none waits."""
    oldest = result.statistics.oldest_waiting
    return 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())


def is_news(evaluation: dg.AssetCheckEvaluation, last: dg.AssetCheckEvaluation | None) -> bool:
    """Whether an evaluation says something else than the last one."""
    return last is None or _gist(evaluation) != _gist(last)


def _gist(evaluation: dg.AssetCheckEvaluation) -> tuple[Any, ...]:
    return evaluation.passed, evaluation.severity, _value(evaluation, OVERFLOWS_TAG)


def _value(evaluation: dg.AssetCheckEvaluation, name: str) -> Any:
    value = evaluation.metadata.get(name)
    return None if value is None else value.value


def _evaluation(
    key: dg.AssetKey,
    name: str,
    passed: bool,
    description: str,
    metadata: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key,
        check_name=name,
        passed=passed,
        description=description,
        metadata=metadata,
        severity=severity,
    )
