"""What a reset run shows of what it did, or would do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import dagster as dg

from dagster_s3inc.core.objects import S3Object, format_time
from dagster_s3inc.runs.run_requests import GENERATION_TAG, SEQUENCE_TAG
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
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "key": each.key,
                    "last modified": format_time(each.last_modified),
                    "bytes": each.size,
                }
            )
            for each in objects
        ],
        schema=_schema(key="string", last_modified="string", bytes="int"),
    )


def batches_table(batches: Iterable[FailedBatch]) -> dg.TableMetadataValue:
    """The first of these batches, each with its newest run."""
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "batch": each.batch.batch_id,
                    "job": each.newest.job_name,
                    "generation": each.newest.tags.get(GENERATION_TAG, ""),
                    "sequence": each.newest.tags.get(SEQUENCE_TAG, ""),
                    "failed runs": len(each.run_ids),
                    "newest run": each.newest.run_id,
                    "status": each.newest.status.value,
                }
            )
            for each in list(batches)[:SHOWN]
        ],
        schema=_schema(
            batch="string",
            job="string",
            generation="string",
            sequence="string",
            failed_runs="int",
            newest_run="string",
            status="string",
        ),
    )


def _schema(**columns: str) -> dg.TableSchema:
    return dg.TableSchema(
        columns=[
            dg.TableColumn(name=name.replace("_", " "), type=type_)
            for name, type_ in columns.items()
        ]
    )
