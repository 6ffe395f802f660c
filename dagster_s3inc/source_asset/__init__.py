"""The prefix that a sensor scans, as an asset with checks, and what ticks report to it."""

from dagster_s3inc.source_asset.asset import SourceAsset, build_s3_source_asset, key_of
from dagster_s3inc.source_asset.checks import build_s3_source_checks
from dagster_s3inc.source_asset.report import SourceEvent, SourceReporter

__all__ = [
    "SourceAsset",
    "SourceEvent",
    "SourceReporter",
    "build_s3_source_asset",
    "build_s3_source_checks",
    "key_of",
]
