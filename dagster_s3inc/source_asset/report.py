"""What a tick reports to the source asset.

Three kinds of events, all in the tick's result, so that an evaluation has no side effects:

- A *materialization* where files are requested. For whoever is downstream, data came in; Dagster
  computes freshness from materializations alone, and `AutomationCondition.eager()` reacts to them.
  An asset that reads its batch from a run of the sensor needs no such condition, and could not be
  launched by one, which has no batch to give. Where an asset is launched by both, let its
  condition ignore the source: `AutomationCondition.eager().ignore(AssetSelection.assets(...))`.
- An *observation* where something changed: a batch was requested, was started, ended or failed,
  more or fewer files wait, files were deleted, overwritten or found late, or ticks failed before
  this one. It starts no run. What changes from tick to tick is in observations alone, since the
  overview of an asset shows its latest materialization, however old that is.
- *Check evaluations* with each materialization, and whenever a check says something else than
  last time.

A tick that finds nothing changed reports nothing, or the event log would grow with the clock. But
where ticks keep the asset fresh (its default policy), a materialization is due after a third of the
policy's window, once an hour. It has the data version of the one before, so that
`AutomationCondition.data_version_changed()` does not react to it; `eager()` does. While ticks fail
there is none, and the asset becomes stale.

Dagster stores these events before it stores the tick's run requests. A daemon that is killed
between the two evaluates the tick anew, and reports again. So the numbers of what was requested are
those of one tick and never sums; and two reports of the same batches carry the same report id,
which is the data version too, so that Dagster itself sees no change in the second.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple

import dagster as dg
from xxhash import xxh3_128_hexdigest

from dagster_s3inc.core.scan import ScanResult
from dagster_s3inc.dagster_internals import (
    FailedTicks,
    LatestReports,
    latest_evaluation,
    latest_reports,
)
from dagster_s3inc.runs.batch_states import BatchStates
from dagster_s3inc.s3.scanner import Scan
from dagster_s3inc.source_asset.evaluations import (
    LATE_FILES_CHECK,
    evaluate_backlog,
    evaluate_failed,
    evaluate_late_files,
    evaluate_partitioned,
    is_news,
    linked_runs,
)
from dagster_s3inc.source_asset.numbers import (
    changed,
    numbers_of_cost,
    numbers_of_listing,
    numbers_of_request,
    numbers_of_states,
    without_zeros,
)

__all__ = ["SourceEvent", "SourceReporter", "TickReport"]

SourceEvent = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation

_DATA_VERSION: Final = "dagster/data_version"

# How often in the window of its policy the asset is reported to be fresh.
_REPORTS_IN_WINDOW: Final = 3


class TickReport(NamedTuple):
    """What a tick has to tell.

    Attributes:
        scan: Its scan.
        states: Of the batches that were requested before.
        words: The same in words.
        seconds: How long it took.
        failed_ticks: Those right before it.
        unpartitioned: Which files are in no partition, in words; None where there are no groups,
            and where only a part was listed.
        fresh_for: After how long without a materialization the asset is stale, if ticks are to
            prevent that.
    """

    scan: Scan
    states: BatchStates
    words: str
    seconds: float
    failed_ticks: FailedTicks | None = None
    unpartitioned: str | None = None
    fresh_for: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReporter:
    """What the ticks of one sensor report to its source asset.

    Attributes:
        key: The asset's key.
        max_backlog_age: As the sensor takes it.
        halts: Whether a batch that failed stops the sensor.
    """

    key: dg.AssetKey
    max_backlog_age: timedelta | None = None
    halts: bool = False

    def events(self, instance: dg.DagsterInstance | None, tick: TickReport) -> list[SourceEvent]:
        """The events of one tick. Reads from the instance, and writes nothing.

        Args:
            instance: Knows what was reported last; None in a unit test.
            tick: What it has to tell.
        """
        result = tick.scan.result
        last = LatestReports() if instance is None else latest_reports(instance, self.key)
        states = tick.states.with_requested(result.batches)
        events: list[SourceEvent] = []
        is_materialized = bool(result.batches) or _is_due(tick.fresh_for, last.materialized)
        if is_materialized:
            events.append(self._materialization(tick, last))
        numbers = numbers_of_states(tick.scan, states)
        if self._is_news(tick, numbers, last):
            observed = {
                **_failures(tick),
                **numbers,
                **numbers_of_listing(tick.scan, states),
                **numbers_of_cost(tick.scan, tick.seconds),
            }
            metadata = without_zeros(observed, last.observed)
            events.append(dg.AssetObservation(self.key, description=tick.words, metadata=metadata))
        for evaluation in self._evaluations(instance, tick, states):
            before = _latest(instance, evaluation.asset_check_key)
            if is_materialized or is_news(evaluation, before):
                events.append(evaluation)
        return events

    def _materialization(self, tick: TickReport, last: LatestReports) -> dg.AssetMaterialization:
        result = tick.scan.result
        numbers = numbers_of_request(tick.scan, self.key)
        numbers.update(numbers_of_cost(tick.scan, tick.seconds))
        version = last.tags.get(_DATA_VERSION)
        if result.batches:
            numbers["report id"] = version = _report_id(result)
        return dg.AssetMaterialization(
            self.key,
            description=tick.words,
            metadata=without_zeros(numbers, last.metadata),
            tags=None if version is None else {_DATA_VERSION: version},
        )

    def _is_news(self, tick: TickReport, numbers: dict[str, Any], last: LatestReports) -> bool:
        """Whether there is something to be observed that the last observation does not say."""
        found = tick.scan.result.statistics
        outside = {"files unpartitioned": found.unpartitioned}
        return bool(
            found.gone
            or found.found_late
            or tick.failed_ticks is not None
            or (tick.unpartitioned is not None and changed(outside, last.observed))
            or changed(numbers, last.observed)
        )

    def _evaluations(
        self, instance: dg.DagsterInstance | None, tick: TickReport, states: BatchStates
    ) -> Iterator[dg.AssetCheckEvaluation]:
        scan, key = tick.scan, self.key
        yield evaluate_failed(key, states, halts=self.halts)
        last = _latest(instance, dg.AssetCheckKey(key, LATE_FILES_CHECK))
        yield evaluate_late_files(key, scan.result, last=last)
        if self.max_backlog_age is not None:
            now, max_age = scan.server_time, self.max_backlog_age
            yield evaluate_backlog(key, scan.result, states, now=now, max_age=max_age)
        if tick.unpartitioned is not None:
            files = scan.result.statistics.unpartitioned
            yield evaluate_partitioned(key, files, tick.unpartitioned)


def _latest(
    instance: dg.DagsterInstance | None, check: dg.AssetCheckKey
) -> dg.AssetCheckEvaluation | None:
    return None if instance is None else latest_evaluation(instance, check)


def _failures(tick: TickReport) -> dict[str, Any]:
    """What went wrong: ticks before this one, and the runs of the newest failed batches."""
    numbers: dict[str, Any] = {}
    if tick.failed_ticks is not None:
        numbers["ticks failed before"] = tick.failed_ticks.ticks
        numbers["failing since"] = dg.MetadataValue.timestamp(tick.failed_ticks.since)
    failed = [each.newest.run_id for each in tick.states.failed if not each.is_skipped]
    numbers.update(linked_runs(failed[::-1]))
    return numbers


def _is_due(fresh_for: timedelta | None, materialized: float | None) -> bool:
    """Whether a materialization is due, so that the asset does not become stale."""
    if fresh_for is None:
        return False
    since = time.time() - (materialized or 0)
    return since >= fresh_for.total_seconds() / _REPORTS_IN_WINDOW


def _report_id(result: ScanResult) -> str:
    ids = "\n".join(batch.id for batch in result.batches)
    place = f"{result.checkpoint.generation}-{result.sequence}"
    return f"{place}-{xxh3_128_hexdigest(ids.encode())[:16]}"
