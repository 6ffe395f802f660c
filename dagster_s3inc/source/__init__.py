"""What a sensor scans: a prefix, the objects that count, and the groups that they belong to."""

from dagster_s3inc.source.grouping import GroupBy, Grouping
from dagster_s3inc.source.source import Source

__all__ = ["GroupBy", "Grouping", "Source"]
