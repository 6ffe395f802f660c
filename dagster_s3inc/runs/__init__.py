"""The runs of a sensor: what each receives, how it is requested, and what the runs show."""

from dagster_s3inc.runs.batch import S3Batch, S3File, s3_batch
from dagster_s3inc.runs.runs_of_file import FileRun, FoundRuns, find_runs

__all__ = ["FileRun", "FoundRuns", "S3Batch", "S3File", "find_runs", "s3_batch"]
