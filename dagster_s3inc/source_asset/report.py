"""What a tick reports to the source asset.

Three kinds of events, all in the tick's result, so that an evaluation has no side effects:

- A *materialization* where files are requested. For whoever is downstream, data came in; Dagster
  computes freshness from materializations alone, and `AutomationCondition.eager()` reacts to them.
  An asset that reads its batch from a run of the sensor needs no such condition, and could not be
  launched by one, which has no batch to give. Where an asset is launched by both, let its
  condition ignore the source: `AutomationCondition.eager().ignore(AssetSelection.assets(...))`.
- An *observation* where nothing is requested, but something happened: files were deleted or
  overwritten, were found late, or match no partition. It starts no run.
- *Check evaluations* with each materialization, and whenever a check says something else than
  last time. A state that lasts, such as a backlog, is a matter of checks: a tick that finds nothing
  new reports nothing, or the event log would grow with the clock.

Dagster stores these events before it stores the tick's run requests. A daemon that is killed
between the two evaluates the tick anew, and reports again. So the numbers are those of one tick and
never sums; and two reports of the same batches carry the same `report_id`, which is the data
version too, so that Dagster itself sees no change in the second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

import dagster as dg
from xxhash import xxh3_128_hexdigest

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.scan import ScanResult
from dagster_s3inc.core.words import readable
from dagster_s3inc.dagster_internals import latest_evaluation, latest_metadata
from dagster_s3inc.runs.run_requests import BATCH_ID_TAG
from dagster_s3inc.s3.scanner import Scan
from dagster_s3inc.source_asset.checks import (
    BACKLOG_CHECK,
    LATE_FILES_CHECK,
    evaluate_backlog,
    evaluate_late_files,
    is_news,
    seconds_waited,
)

__all__ = ["SourceEvent", "SourceReporter"]

SourceEvent = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation

_DATA_VERSION: Final = "dagster/data_version"
_OWN: Final = "dagster_s3inc/"
_UNPARTITIONED: Final = "files_unpartitioned"

# A tick may request thousands of batches; the event is stored, and shown, whole.
_BATCHES_SHOWN: Final = 100

_COLUMNS: Final = dg.TableSchema(
    columns=[
        dg.TableColumn("first_key", "string", description="Of the oldest file."),
        dg.TableColumn("last_key", "string", description="Of the newest file."),
        dg.TableColumn("files", "int"),
        dg.TableColumn("bytes", "int"),
        dg.TableColumn("oldest", "string", description="The LastModified of the oldest file."),
        dg.TableColumn("batch_id", "string", description=f"The tag {BATCH_ID_TAG} of runs."),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReporter:
    """What the ticks of one sensor report to its source asset.

    Attributes:
        key: The asset's key.
        max_backlog_age: As the sensor takes it.
    """

    key: dg.AssetKey
    max_backlog_age: timedelta | None = None

    def events(
        self,
        instance: dg.DagsterInstance | None,
        scan: Scan,
        *,
        words: str,
        seconds: float,
        unpartitioned: int | None = None,
    ) -> list[SourceEvent]:
        """The events of one tick. Reads from the instance, and writes nothing.

        Args:
            instance: Knows what was reported last; None in a unit test.
            scan: The tick's scan.
            words: The same in words.
            seconds: How long the tick took.
            unpartitioned: How many files match no partition; None where there are no groups.
        """
        result = scan.result
        found, batches = result.statistics, result.batches
        metadata = _numbers(scan, seconds, unpartitioned)
        events: list[SourceEvent] = []
        if batches:
            report_id = _report_id(result)
            metadata[f"{_OWN}report_id"] = report_id
            version = {_DATA_VERSION: report_id}
            events.append(
                dg.AssetMaterialization(
                    self.key, description=words, metadata=metadata, tags=version
                )
            )
        elif found.gone or found.found_late or self._is_news(instance, unpartitioned):
            events.append(dg.AssetObservation(self.key, description=words, metadata=metadata))
        events.extend(self._evaluations(instance, scan))
        return events

    def _is_news(self, instance: dg.DagsterInstance | None, unpartitioned: int | None) -> bool:
        """Whether another number of files matches no partition than at the last report."""
        if not unpartitioned or instance is None:
            return bool(unpartitioned)
        before = latest_metadata(instance, self.key).get(_OWN + _UNPARTITIONED)
        return before is None or before.value != unpartitioned

    def _evaluations(
        self, instance: dg.DagsterInstance | None, scan: Scan
    ) -> Iterator[dg.AssetCheckEvaluation]:
        result = scan.result

        def last(check_name: str) -> dg.AssetCheckEvaluation | None:
            if instance is None:
                return None
            return latest_evaluation(instance, dg.AssetCheckKey(self.key, check_name))

        before = last(LATE_FILES_CHECK)
        late = evaluate_late_files(self.key, result, last=before)
        if result.batches or is_news(late, before):
            yield late
        if self.max_backlog_age is not None:
            backlog = evaluate_backlog(
                self.key, result, now=scan.server_time, max_age=self.max_backlog_age
            )
            if result.batches or is_news(backlog, last(BACKLOG_CHECK)):
                yield backlog


def _numbers(scan: Scan, seconds: float, unpartitioned: int | None) -> dict[str, Any]:
    result, found = scan.result, scan.result.statistics
    numbers: dict[str, Any] = {
        "files": found.files,
        "bytes": found.bytes,
        **_batches(result.batches),
        "files_waiting": found.files_waiting,
        "bytes_waiting": found.bytes_waiting,
        "backlog_seconds": seconds_waited(result, scan.server_time),
        "files_late": found.files_late,
        "files_found_late": found.found_late,
        "files_gone": found.gone,
        "files_undecided": result.checkpoint.undecided,
    }
    if unpartitioned is not None:
        numbers[_UNPARTITIONED] = unpartitioned
    # Where an earlier listing sufficed, zero objects listed would be a dip in a plot.
    if found.objects_listed or not result.batches:
        numbers["objects_listed"] = found.objects_listed
        numbers["bytes_listed"] = found.bytes_listed
    numbers["list_requests"] = scan.requests
    numbers["seconds"] = round(seconds, 3)
    numbers["generation"] = result.checkpoint.generation
    return {f"{_OWN}{name}": value for name, value in numbers.items()}


def _batches(batches: Sequence[Batch]) -> Mapping[str, Any]:
    """The batches in a table, and in the same order the links to their runs, which no table has."""
    if not batches:
        return {}
    shown = batches[:_BATCHES_SHOWN]
    links = [f"{number}. [{each.id}]({_runs_url(each)})" for number, each in enumerate(shown, 1)]
    records = [_record(each) for each in shown]
    described: dict[str, Any] = {
        "batch_table": dg.MetadataValue.table(records, schema=_COLUMNS),
        "batch_runs": dg.MetadataValue.md("\n".join(links)),
    }
    if len(shown) < len(batches):
        described["batches_not_shown"] = len(batches) - len(shown)
    return described


def _record(batch: Batch) -> dg.TableRecord:
    first, last = batch.objects[0], batch.objects[-1]
    return dg.TableRecord(
        {
            "first_key": readable(first.key),
            "last_key": readable(last.key),
            "files": len(batch),
            "bytes": batch.bytes,
            "oldest": format_time(first.last_modified),
            "batch_id": batch.id,
        }
    )


def _runs_url(batch: Batch) -> str:
    return "/runs?" + urlencode({"q[0]": f"tag:{BATCH_ID_TAG}={batch.id}"})


def _report_id(result: ScanResult) -> str:
    ids = "\n".join(batch.id for batch in result.batches)
    place = f"{result.checkpoint.generation}-{result.sequence}"
    return f"{place}-{xxh3_128_hexdigest(ids.encode())[:16]}"
