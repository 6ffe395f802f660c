"""What a reset run shows of what it did, or would do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import dagster as dg

from dagster_s3inc.core.objects import S3Object, format_time
from dagster_s3inc.runs.run_requests import SEQUENCE_TAG
from dagster_s3inc.runs.states import FailedBatch

__all__ = ["SHOWN", "Summary", "batches_table", "files_table"]

SHOWN = 50
"""So many rows a table has at most."""


class Summary(NamedTuple):
    """What a reset run shows.

    Attributes:
        text: One line for the log.
        metadata: What the run shows beside it, by name.
    """

    text: str
    metadata: dict[str, Any]


def files_table(objects: Iterable[S3Object]) -> dg.TableMetadataValue:
    """The first of these objects."""
    rows = ((each.key, format_time(each.last_modified), each.size) for each in objects)
    return _table(["key", "last modified", "bytes"], rows)


def batches_table(batches: Iterable[FailedBatch]) -> dg.TableMetadataValue:
    """The first of these batches, each with its newest run."""
    columns = ["batch", "job", "sequence", "failed runs", "newest run", "status"]
    rows = (
        (
            each.batch.batch_id,
            each.newest.job_name,
            each.newest.tags.get(SEQUENCE_TAG, ""),
            len(each.run_ids),
            each.newest.run_id,
            each.newest.status.value,
        )
        for each in batches
    )
    return _table(columns, rows)


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> dg.TableMetadataValue:
    numbers = {"bytes", "failed runs"}
    columns = [dg.TableColumn(name, "int" if name in numbers else "string") for name in names]
    records = [dg.TableRecord(dict(zip(names, row, strict=True))) for row in islice(rows, SHOWN)]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns))
