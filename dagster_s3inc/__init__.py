"""Process each new or modified S3 file once, in batches, with Dagster."""

from dagster_shared.libraries import DagsterLibraryRegistry

from dagster_s3inc.batch import S3Batch, S3File, s3_batch
from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.definitions import build_s3_incremental_definitions
from dagster_s3inc.errors import S3IncError
from dagster_s3inc.processor import S3IncrementalProcessor
from dagster_s3inc.reset import build_s3_reset_job
from dagster_s3inc.runs import find_runs
from dagster_s3inc.sensor import build_s3_incremental_sensor
from dagster_s3inc.source import build_s3_source_asset, build_s3_source_checks

__version__ = "0.1.0"

__all__ = [
    "BatchPolicy",
    "ObjectFilter",
    "S3Batch",
    "S3File",
    "S3IncError",
    "S3IncrementalProcessor",
    "__version__",
    "build_s3_incremental_definitions",
    "build_s3_incremental_sensor",
    "build_s3_reset_job",
    "build_s3_source_asset",
    "build_s3_source_checks",
    "find_runs",
    "s3_batch",
]

DagsterLibraryRegistry.register("dagster-s3inc", __version__, is_dagster_package=False)
