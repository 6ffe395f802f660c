"""What a tick reports to the source asset.

Three kinds of events, all in the tick's result, so that an evaluation has no side effects:

- A *materialization* where files are handed over. For whoever is downstream, data came in; Dagster
  reckons freshness from materializations alone, and `AutomationCondition.eager()` reacts to them.
  An asset that reads its batch from a run of the sensor needs no such condition, and could not be
  launched by one, which has no batch to give. Where an asset is launched by both, let its
  condition ignore the source: `AutomationCondition.eager().ignore(AssetSelection.assets(...))`.
- An *observation* where nothing is handed over, but something happened: files were deleted or
  overwritten, appeared late, were too many to tell apart, or match no partition. It starts no
  run.
- *Check evaluations* with each materialization, and whenever a check says something else than
  last time. Checks are how a state that lasts is told (a backlog that waits); a tick that finds
  nothing new reports nothing, or the event log would grow with the clock.

Dagster stores these events before it stores the tick's run requests. A daemon that is killed
between the two evaluates the tick anew, and reports again. The numbers are therefore those of one
tick and never sums; and two reports of one hand-over carry the same `report_id`, which is the
data version too, so that Dagster itself takes the second for no change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode

import dagster as dg
from xxhash import xxh3_128_hexdigest

from dagster_s3inc.batch import (
    BATCH_ID_TAG,
    BYTES_TAG,
    FILES_TAG,
    GENERATION_TAG,
    OVERFLOWS_TAG,
)
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.instance import latest_evaluation, latest_metadata
from dagster_s3inc.s3.scanning import Look
from dagster_s3inc.source.checks import (
    BACKLOG_CHECK,
    OVERFLOW_CHECK,
    evaluate_backlog,
    evaluate_overflow,
    is_news,
    seconds_waited,
)

__all__ = ["SourceEvent", "SourceReporter"]

SourceEvent = dg.AssetMaterialization | dg.AssetObservation | dg.AssetCheckEvaluation

_DATA_VERSION: Final = "dagster/data_version"
_UNPLACED: Final = "dagster_s3inc/files_unplaced"

# A tick may hand over thousands of batches; the event is stored, and shown, whole.
_BATCHES_SHOWN: Final = 100

_COLUMNS: Final = dg.TableSchema(
    columns=[
        dg.TableColumn("first_key", "string", description="Of the oldest file."),
        dg.TableColumn("last_key", "string", description="Of the newest file."),
        dg.TableColumn("files", "int"),
        dg.TableColumn("bytes", "int"),
        dg.TableColumn("oldest", "string", description="The LastModified of the oldest file."),
        dg.TableColumn("batch_id", "string", description="The tag dagster_s3inc/batch_id of runs."),
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
        look: Look,
        *,
        words: str,
        seconds: float,
        unplaced: int | None = None,
    ) -> list[SourceEvent]:
        """The events of one tick. Reads from the instance, and writes nothing.

        Args:
            instance: Knows what was said last; None in a unit test.
            look: What the tick saw.
            words: The same in words.
            seconds: How long the tick took.
            unplaced: How many files match no partition; None where there are no partitions.
        """
        seen, batches = look.result.statistics, look.result.batches
        metadata = self._numbers(look, seconds, unplaced)
        events: list[SourceEvent] = []
        if batches:
            report_id = _report_id(look.result.checkpoint, batches)
            metadata["dagster_s3inc/report_id"] = report_id
            version = {_DATA_VERSION: report_id}
            events.append(
                dg.AssetMaterialization(
                    self.key, description=words, metadata=metadata, tags=version
                )
            )
        elif seen.gone or seen.revealed or seen.overflow or self._is_news(instance, unplaced):
            events.append(dg.AssetObservation(self.key, description=words, metadata=metadata))
        events.extend(self._evaluations(instance, look))
        return events

    def _is_news(self, instance: dg.DagsterInstance | None, unplaced: int | None) -> bool:
        """Whether another number of files matches no partition than at the last report."""
        if not unplaced or instance is None:
            return bool(unplaced)
        before = latest_metadata(instance, self.key).get(_UNPLACED)
        return before is None or before.value != unplaced

    def _numbers(self, look: Look, seconds: float, unplaced: int | None) -> dict[str, Any]:
        result, seen = look.result, look.result.statistics
        numbers: dict[str, Any] = {
            FILES_TAG: seen.files,
            BYTES_TAG: seen.bytes,
            **_batches(result.batches),
            "dagster_s3inc/files_waiting": seen.files_waiting,
            "dagster_s3inc/bytes_waiting": seen.bytes_waiting,
            "dagster_s3inc/backlog_seconds": seconds_waited(result, look.server_time),
            "dagster_s3inc/files_late": seen.files_late,
            "dagster_s3inc/files_revealed": seen.revealed,
            "dagster_s3inc/files_gone": seen.gone,
        }
        if unplaced is not None:
            numbers[_UNPLACED] = unplaced
        # Where an earlier look sufficed, zero objects listed would be a dip in a plot.
        if seen.objects_listed or not result.batches:
            numbers["dagster_s3inc/objects_listed"] = seen.objects_listed
            numbers["dagster_s3inc/bytes_listed"] = seen.bytes_listed
        return {
            **numbers,
            "dagster_s3inc/list_requests": look.requests,
            "dagster_s3inc/seconds": round(seconds, 3),
            GENERATION_TAG: result.checkpoint.generation,
            OVERFLOWS_TAG: result.checkpoint.overflows,
        }

    def _evaluations(
        self, instance: dg.DagsterInstance | None, look: Look
    ) -> Iterator[dg.AssetCheckEvaluation]:
        result, now = look.result, look.server_time

        def last(check_name: str) -> dg.AssetCheckEvaluation | None:
            if instance is None:
                return None
            return latest_evaluation(instance, dg.AssetCheckKey(self.key, check_name))

        before = last(OVERFLOW_CHECK)
        overflow = evaluate_overflow(self.key, result, now=now, last=before)
        if result.batches or is_news(overflow, before):
            yield overflow
        if self.max_backlog_age is not None:
            backlog = evaluate_backlog(self.key, result, now=now, max_age=self.max_backlog_age)
            if result.batches or is_news(backlog, last(BACKLOG_CHECK)):
                yield backlog


def _batches(batches: Sequence[Batch]) -> dict[str, Any]:
    """The batches in a table, and in the same order the links to their runs, which no table has."""
    if not batches:
        return {}
    shown = batches[:_BATCHES_SHOWN]
    links = [f"{number}. [{each.id}]({_runs_url(each)})" for number, each in enumerate(shown, 1)]
    told: dict[str, Any] = {
        "dagster_s3inc/batch_table": dg.MetadataValue.table(
            [_record(each) for each in shown], schema=_COLUMNS
        ),
        "dagster_s3inc/batch_runs": dg.MetadataValue.md("\n".join(links)),
    }
    if len(shown) < len(batches):
        told["dagster_s3inc/batches_not_shown"] = len(batches) - len(shown)
    return told


def _record(batch: Batch) -> dg.TableRecord:
    first, last = batch.objects[0], batch.objects[-1]
    return dg.TableRecord(
        {
            "first_key": first.key,
            "last_key": last.key,
            "files": len(batch),
            "bytes": batch.bytes,
            "oldest": format_time(first.last_modified),
            "batch_id": batch.id,
        }
    )


def _runs_url(batch: Batch) -> str:
    return "/runs?" + urlencode({"q[0]": f"tag:{BATCH_ID_TAG}={batch.id}"})


def _report_id(checkpoint: Checkpoint, batches: Sequence[Batch]) -> str:
    ids = "\n".join(batch.id for batch in batches)
    return f"{checkpoint.generation}-{xxh3_128_hexdigest(ids.encode())[:16]}"
