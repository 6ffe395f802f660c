"""The engine as a plain class, without Dagster."""

from dagster_s3inc.processor.processor import S3IncrementalProcessor

__all__ = ["S3IncrementalProcessor"]
