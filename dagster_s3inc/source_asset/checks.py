"""The checks of a source asset: is anything undecided, and does anything wait too long?

Ticks evaluate them. A person may execute them too, as Dagster allows: that repeats what the last
tick found, since a run would have to list the prefix to find more.
"""

# No "from __future__ import annotations" here: Dagster reads the annotation of `context` as it is.
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg

from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.report import describe_undecided
from dagster_s3inc.core.scan import ScanResult
from dagster_s3inc.core.validation import require_positive
from dagster_s3inc.core.words import count, format_bytes
from dagster_s3inc.dagster_internals import latest_evaluation
from dagster_s3inc.source_asset.asset import SourceAsset, key_of

__all__ = [
    "BACKLOG_CHECK",
    "LATE_FILES_CHECK",
    "build_s3_source_checks",
    "evaluate_backlog",
    "evaluate_late_files",
    "is_news",
    "seconds_waited",
]

LATE_FILES_CHECK: Final = "late_files_decided"
BACKLOG_CHECK: Final = "backlog_age"

_UNDECIDED: Final = "dagster_s3inc/files_undecided"

_WARN: Final = dg.AssetCheckSeverity.WARN
_ERROR: Final = dg.AssetCheckSeverity.ERROR

_BY_TICKS: Final = (
    "Evaluated by the sensor's ticks; executing it repeats what the last of them found."
)
_DECIDED: Final = "Of every file at or below the watermark it is known whether it was requested."


def build_s3_source_checks(
    *, source_asset: SourceAsset, max_backlog_age: timedelta | None = None
) -> dg.AssetChecksDefinition:
    """Builds the checks of a source asset; the ticks of its sensor evaluate them.

    `late_files_decided` fails while there are files at or below the watermark of which the sensor
    cannot know whether it has requested them: as a warning while it still reads its runs, then as
    an error until a reset ends it. `backlog_age` warns while a file waits that is older than a
    bound. Executing them by hand repeats what the last tick found.

    Args:
        source_asset: What `build_s3_source_asset` made, or its key.
        max_backlog_age: The same as the sensor's; None means that there is no such check.

    Raises:
        ConfigurationError: The bound is not a timedelta of more than zero.
    """
    key = key_of(source_asset)
    descriptions = {LATE_FILES_CHECK: _DECIDED}
    if max_backlog_age is not None:
        require_positive("max_backlog_age", max_backlog_age)
        descriptions[BACKLOG_CHECK] = (
            f"No file waits that was modified {max_backlog_age} ago or more."
        )
    specs = [
        dg.AssetCheckSpec(name, asset=key, description=f"{description} {_BY_TICKS}")
        for name, description in descriptions.items()
    ]

    @dg.multi_asset_check(name=f"{key.to_python_identifier()}_checks", specs=specs, can_subset=True)
    def repeat(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        for check in context.selected_asset_check_keys:
            yield _repeated(check, latest_evaluation(context.instance, check))

    return repeat


def _repeated(check: dg.AssetCheckKey, last: dg.AssetCheckEvaluation | None) -> dg.AssetCheckResult:
    unknown = "Not known: no tick has evaluated this yet. Is the sensor running?"
    found = last or _evaluation(check.asset_key, check.name, False, unknown, {}, _WARN)
    return dg.AssetCheckResult(
        asset_key=found.asset_key,
        check_name=found.check_name,
        passed=found.passed,
        severity=found.severity,
        description=found.description,
        metadata=found.metadata,
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
            "dagster_s3inc/appeared_about": undecided.appeared,
            "dagster_s3inc/gone_about": undecided.gone,
            "dagster_s3inc/give_or_take": undecided.margin,
        }
        severity = _WARN if undecided.why == "reading" else _ERROR
        words = describe_undecided(undecided)
        return _evaluation(key, LATE_FILES_CHECK, False, words, numbers, severity)
    if not at_most:
        return _evaluation(key, LATE_FILES_CHECK, True, _DECIDED, {_UNDECIDED: 0})
    if last is not None and not last.passed:
        return last
    words = (
        f"Of at most {count(at_most, 'file')} at or below the watermark it is not known whether "
        f"they were requested. The next complete scan says more."
    )
    return _evaluation(key, LATE_FILES_CHECK, False, words, {_UNDECIDED: at_most}, _WARN)


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
    found = result.statistics
    numbers = {
        "dagster_s3inc/files_waiting": found.files_waiting,
        "dagster_s3inc/bytes_waiting": found.bytes_waiting,
        "dagster_s3inc/backlog_seconds": seconds_waited(result, now),
    }
    if found.oldest_waiting is None:
        return _evaluation(key, BACKLOG_CHECK, True, "No file waits.", numbers)
    passed = now - found.oldest_waiting < max_age
    words = (
        f"{count(found.files_waiting, 'file')} ({format_bytes(found.bytes_waiting)}) "
        f"{'waits' if found.files_waiting == 1 else 'wait'}; the oldest was modified at "
        f"{format_time(found.oldest_waiting)}."
    )
    if not passed:
        words = (
            f"{words} That is {max_age} ago or more. After a reset, or where old files are there "
            f"at first, this passes by itself. Else more arrives than is requested: raise "
            f"max_batches_per_tick or the size of batches, or find out what holds the runs up."
        )
    return _evaluation(key, BACKLOG_CHECK, passed, words, numbers, _WARN)


def seconds_waited(result: ScanResult, now: datetime) -> float:
    """How long ago the oldest file that waits was modified; 0 if none waits."""
    oldest = result.statistics.oldest_waiting
    return 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())


def is_news(evaluation: dg.AssetCheckEvaluation, last: dg.AssetCheckEvaluation | None) -> bool:
    """Whether an evaluation says something else than the last one."""
    return last is None or _gist(evaluation) != _gist(last)


def _gist(evaluation: dg.AssetCheckEvaluation) -> tuple[Any, ...]:
    undecided = evaluation.metadata.get(_UNDECIDED)
    return evaluation.passed, evaluation.severity, undecided and undecided.value


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
        metadata=metadata,
        severity=severity,
    )
