"""The prefix that a sensor scans, as an asset with checks, and what ticks report to it."""

from dagster_s3inc.source_asset.asset import (
    SourceAsset,
    build_s3_source_asset,
    kept_fresh_for,
    key_of,
    with_interval,
)
from dagster_s3inc.source_asset.checks import build_s3_source_checks
from dagster_s3inc.source_asset.numbers import describe_states
from dagster_s3inc.source_asset.report import SourceEvent, SourceReporter, TickReport

__all__ = [
    "SourceAsset",
    "SourceEvent",
    "SourceReporter",
    "TickReport",
    "build_s3_source_asset",
    "build_s3_source_checks",
    "describe_states",
    "kept_fresh_for",
    "key_of",
    "with_interval",
]
