"""A code location whose source asset stands upstream of an asset that reads the batches."""

import os
from datetime import timedelta

import dagster as dg
from dagster_aws.s3 import S3Resource

from dagster_s3inc import BatchPolicy, S3Batch, build_s3_incremental_definitions


@dg.asset(deps=["landing_files"], automation_condition=dg.AutomationCondition.eager())
def orders(batch: S3Batch) -> dg.MaterializeResult:
    """What the sensor launches; Dagster's automation looks at it, too."""
    return dg.MaterializeResult(metadata=batch.metadata())


ingest = dg.define_asset_job("ingest", selection=[orders])

defs = dg.Definitions.merge(
    dg.Definitions(assets=[orders], jobs=[ingest], executor=dg.in_process_executor),
    build_s3_incremental_definitions(
        name="landing",
        uri=os.environ["TEST_URI"],
        job=ingest,
        batch=BatchPolicy(max_files=2),
        max_backlog_age=timedelta(hours=1),
        default_status=dg.DefaultSensorStatus.RUNNING,
        s3=S3Resource(
            endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"],
            region_name=os.environ["AWS_DEFAULT_REGION"],
        ),
    ),
)
