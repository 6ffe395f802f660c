"""A code location in which each state of a prefix can be brought about, one after the other.

Runs wait while a file `hold` exists. A batch with a key that ends in `bad` fails, unless a file
`fixed` exists.
"""

import os
import time
from datetime import timedelta
from pathlib import Path

import dagster as dg

from dagster_s3inc import (
    S3Batch,
    build_s3_incremental_definitions,
    build_s3_source_asset,
)

URI = os.environ["TEST_URI"]
SWITCHES = Path(os.environ["TEST_SWITCHES"])


@dg.asset(group_name="shop", deps=["landing_files"])
def orders(batch: S3Batch) -> dg.MaterializeResult:
    """Reads nothing, but as long as the test wants."""
    while (SWITCHES / "hold").exists():
        time.sleep(0.1)
    bad = [file.key for file in batch if file.key.endswith("bad")]
    if bad and not (SWITCHES / "fixed").exists():
        raise dg.Failure(f"cannot read {bad[0]}", allow_retries=False)
    return dg.MaterializeResult(metadata=batch.metadata())


defs = dg.Definitions.merge(
    build_s3_incremental_definitions(
        name="landing",
        uri=URI,
        assets=[orders],
        target=orders,
        source_asset=build_s3_source_asset(key="landing_files", uri=URI, group_name="shop"),
        group_by=r"dt=(?P<day>[^/]+)/",
        max_in_flight=3,
        on_failure="halt",
        max_backlog_age=timedelta(hours=12),
        # So that sixty files that appear late, after the process has ended, are too many to tell.
        lookback=timedelta(0),
        late_file_capacity=12,
        minimum_interval_seconds=2,
        default_status=dg.DefaultSensorStatus.RUNNING,
    ),
    dg.Definitions(executor=dg.in_process_executor),
)
