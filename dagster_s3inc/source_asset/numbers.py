"""The numbers of a report: what matters first, in words, and no constant zeros.

Dagster plots each number over time, so one that is always zero would be an empty plot. It is left
out, unless the last report had another: then its plot goes down to zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import dagster as dg

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.objects import format_time
from dagster_s3inc.core.words import count, readable
from dagster_s3inc.runs.batch_states import BatchStates, State
from dagster_s3inc.runs.run_requests import BATCH_ID_TAG
from dagster_s3inc.s3.scanner import Scan

__all__ = [
    "changed",
    "describe_states",
    "numbers_of_cost",
    "numbers_of_listing",
    "numbers_of_request",
    "numbers_of_states",
    "without_zeros",
]

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


def numbers_of_states(scan: Scan, states: BatchStates) -> dict[str, Any]:
    """How many files and batches wait, and are in each state.

    Args:
        scan: The tick's scan.
        states: Of all batches, those of this tick included.
    """
    found = scan.result.statistics
    numbers: dict[str, Any] = {
        "files waiting": found.files_waiting,
        "bytes waiting": found.bytes_waiting,
    }
    for state in State:
        if state is not State.DONE or states.is_complete:
            amount = states.amount(state)
            numbers[f"files {state.value}"] = amount.files
            numbers[f"batches {state.value}"] = amount.batches
    return numbers


def describe_states(states: BatchStates) -> str:
    """Says what has become of the batches that earlier ticks requested; empty if there are none."""
    parts = [
        f"{count(amount.files, 'file')} in {count(amount.batches, 'batch', 'batches')} "
        f"{state.value}"
        for state in State
        if (amount := states.amount(state)).batches
    ]
    if not states.is_complete:
        parts.append("more of the runs are still to be counted")
    return f"Of what was requested before: {'; '.join(parts)}." if parts else ""


def numbers_of_listing(scan: Scan, states: BatchStates) -> dict[str, Any]:
    """What a listing found beside new files.

    Args:
        scan: The tick's scan.
        states: Of all batches, those of this tick included.
    """
    found = scan.result.statistics
    ages = [
        int((scan.server_time - each).total_seconds())
        for each in (found.oldest_waiting, states.oldest_queued)
        if each is not None
    ]
    return {
        "backlog seconds": max([0, *ages]),
        "files found late": found.found_late,
        "files gone": found.gone,
        "files undecided": scan.result.checkpoint.undecided,
        "files unpartitioned": found.unpartitioned,
    }


def numbers_of_request(scan: Scan, key: dg.AssetKey) -> dict[str, Any]:
    """What a tick requested; nothing where it requested nothing.

    Args:
        scan: The tick's scan.
        key: The asset's key, on whose page the links are.
    """
    result, found = scan.result, scan.result.statistics
    if not result.batches:
        return {}
    return {
        "files requested": found.files,
        "bytes requested": found.bytes,
        **_batches(result.batches, key),
        "files late": found.files_late,
    }


def numbers_of_cost(scan: Scan, seconds: float) -> dict[str, Any]:
    """What a tick took."""
    found, numbers = scan.result.statistics, dict[str, Any]()
    # Where an earlier listing sufficed, zero objects listed would be a dip in a plot.
    if scan.requests:
        numbers["objects listed"] = found.objects_listed
        numbers["bytes listed"] = found.bytes_listed
        numbers["LIST requests"] = scan.requests
    numbers["seconds"] = round(seconds, 3)
    numbers["generation"] = scan.result.checkpoint.generation
    return numbers


def without_zeros(
    numbers: Mapping[str, Any], last: Mapping[str, dg.MetadataValue]
) -> dict[str, Any]:
    """Leaves zeros out, but for those that were something else in the last report."""
    return {
        name: value
        for name, value in numbers.items()
        if not isinstance(value, (int, float)) or value or _number(last, name)
    }


def changed(numbers: Mapping[str, Any], last: Mapping[str, dg.MetadataValue]) -> bool:
    """Whether any of these numbers is another than in the last report."""
    return any(value != _number(last, name) for name, value in numbers.items())


def _number(metadata: Mapping[str, dg.MetadataValue], name: str) -> Any:
    return metadata[name].value if name in metadata else 0


def _batches(batches: Sequence[Batch], key: dg.AssetKey) -> dict[str, Any]:
    """The batches in a table, and in the same order the links to their runs, which no table has."""
    if not batches:
        return {}
    shown = batches[:_BATCHES_SHOWN]
    # From the asset's page, /assets/A/B, and so wherever the UI is mounted (--path-prefix).
    runs = "../" * len(key.path) + "runs?"
    links = [
        f"{number}. [{each.id}]({runs}{urlencode({'q[0]': f'tag:{BATCH_ID_TAG}={each.id}'})})"
        for number, each in enumerate(shown, 1)
    ]
    records = [_record(each) for each in shown]
    described: dict[str, Any] = {
        "batches": dg.MetadataValue.table(records, schema=_COLUMNS),
        "runs of the batches": dg.MetadataValue.md("\n".join(links)),
    }
    if len(shown) < len(batches):
        described["batches not shown"] = len(batches) - len(shown)
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
