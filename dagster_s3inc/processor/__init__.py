"""The package without Dagster: a plain class, with its checkpoint in S3 or in a local file."""

from dagster_s3inc.processor.processor import S3IncrementalProcessor

__all__ = ["S3IncrementalProcessor"]
