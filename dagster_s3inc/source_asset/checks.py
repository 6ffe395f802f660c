"""The checks of a source asset: did batches fail, do files wait too long, is anything undecided?

Ticks evaluate them. A person may execute them too, as Dagster allows: that repeats what the last
tick found, since a run would have to list the prefix to find more.
"""

# No "from __future__ import annotations" here: Dagster reads the annotation of `context` as it is.
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import dagster as dg

from dagster_s3inc.core.validation import require_positive
from dagster_s3inc.dagster_internals import latest_evaluation
from dagster_s3inc.source_asset.asset import SourceAsset, key_of
from dagster_s3inc.source_asset.evaluations import (
    BACKLOG_CHECK,
    DECIDED,
    FAILED_CHECK,
    LATE_FILES_CHECK,
    NONE_FAILED,
    PARTITIONED,
    PARTITIONED_CHECK,
)

__all__ = ["build_s3_source_checks"]

_BY_TICKS: Final = (
    "Evaluated by the sensor's ticks; executing it repeats what the last of them found."
)
_UNKNOWN: Final = "Not known: no tick has evaluated this yet. Is the sensor running?"


def build_s3_source_checks(
    *,
    source_asset: SourceAsset,
    max_backlog_age: timedelta | None = None,
    has_partitions: bool = False,
) -> dg.AssetChecksDefinition:
    """Builds the checks of a source asset; the ticks of its sensor evaluate them.

    - `batches_failed` fails while batches of this generation are failed: as an error while the
      sensor halts because of them, as a warning while they are passed over.
    - `late_files_decided` fails while there are files at or below the watermark of which the
      sensor cannot know whether it has requested them: as a warning while it still reads its runs,
      then as an error until a reset ends it.
    - `backlog_age` warns while a file waits, or is queued, that is older than a bound.
    - `files_partitioned` warns while files are in no partition, or in no group.

    Executing them by hand repeats what the last tick found.

    Args:
        source_asset: What `build_s3_source_asset` made, or its key.
        max_backlog_age: The same as the sensor's; None means that there is no such check.
        has_partitions: Whether the sensor has `group_by`; else there is no `files_partitioned`.

    Raises:
        ConfigurationError: The bound is not a timedelta of more than zero.
    """
    key = key_of(source_asset)
    descriptions = {FAILED_CHECK: NONE_FAILED, LATE_FILES_CHECK: DECIDED}
    if max_backlog_age is not None:
        require_positive("max_backlog_age", max_backlog_age)
        descriptions[BACKLOG_CHECK] = (
            f"No file waits or is queued that was modified {max_backlog_age} ago or more."
        )
    if has_partitions:
        descriptions[PARTITIONED_CHECK] = PARTITIONED
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
    return dg.AssetCheckResult(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=last is not None and last.passed,
        severity=dg.AssetCheckSeverity.WARN if last is None else last.severity,
        description=_UNKNOWN if last is None else last.description,
        metadata={} if last is None else last.metadata,
    )
