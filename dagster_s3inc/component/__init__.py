"""The factories as a Dagster component: YAML in, definitions out, nothing else."""

from dagster_s3inc.component.component import S3IncrementalComponent

__all__ = ["S3IncrementalComponent"]
