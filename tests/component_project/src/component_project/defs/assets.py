"""The assets that read the files."""

import dagster as dg
from dagster_aws.s3 import S3Resource

from dagster_s3inc import S3Batch


@dg.asset
def orders(batch: S3Batch, s3: S3Resource) -> dg.MaterializeResult:
    """Counts the lines of the new files."""
    client, lines = s3.get_client(), 0
    for file in batch:
        with batch.open(file, client) as stream:
            lines += sum(1 for _ in stream.iter_lines())
    return dg.MaterializeResult(metadata={"files": len(batch), "lines": lines})


@dg.asset(partitions_def=dg.DailyPartitionsDefinition("2026-01-01"))
def payments(context: dg.AssetExecutionContext, batch: S3Batch) -> dg.MaterializeResult:
    """Takes the files of one day."""
    return dg.MaterializeResult(metadata={"day": context.partition_key, "files": len(batch)})
