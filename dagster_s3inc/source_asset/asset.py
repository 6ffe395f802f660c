"""The external asset that stands for a prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg

from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.runs.run_requests import SOURCE_METADATA
from dagster_s3inc.s3.location import S3Location

__all__ = ["SourceAsset", "build_s3_source_asset", "key_of"]

SourceAsset = dg.AssetSpec | dg.AssetKey | str | Sequence[str]
"""An asset that stands for a prefix, or its key."""

_DESCRIPTION: Final = """\
The files under `{uri}`.

Each tick of the sensor that requests files reports a materialization: numbers of that tick \
alone, and its batches with links to their runs. A tick that requests nothing, but finds that \
files were deleted or appeared late, reports an observation.

After a crash a tick may report twice. Two reports with the same `dagster_s3inc/report_id` are \
one, so do not add reports up: count the runs, of which there are never two."""


def build_s3_source_asset(
    *,
    key: dg.AssetKey | str | Sequence[str],
    uri: str,
    description: str | None = None,
    group_name: str | None = None,
    owners: Sequence[str] | None = None,
    tags: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    kinds: set[str] | None = None,
    freshness_policy: dg.FreshnessPolicy | None = None,
) -> dg.AssetSpec:
    """Builds the external asset that stands for a prefix, upstream of the assets that read it.

    Give it to `build_s3_incremental_definitions` as `source_asset`; or put it into your
    definitions, and give it to `build_s3_incremental_sensor`, which then reports to it. Assets
    that read the files name it in their `deps`.

    Args:
        key: The asset's key.
        uri: What the sensor scans, as `s3://BUCKET/PREFIX`.
        description: Shown in the UI; by default it says how to read the sensor's reports.
        group_name: As `dagster.AssetSpec` takes it.
        owners: As `dagster.AssetSpec` takes them.
        tags: As `dagster.AssetSpec` takes them.
        metadata: As `dagster.AssetSpec` takes it; the URI is added.
        kinds: As `dagster.AssetSpec` takes them; by default `{"s3"}`.
        freshness_policy: When Dagster calls it stale, as in
            `FreshnessPolicy.time_window(fail_window=timedelta(days=1))`: no files came in for
            a day.

    Raises:
        ConfigurationError: The URI is not an S3 URI.
    """
    location = S3Location.parse_prefix(uri)
    return dg.AssetSpec(
        key,
        description=description or _DESCRIPTION.format(uri=location.uri),
        group_name=group_name,
        owners=owners,
        tags=tags,
        metadata={"dagster/uri": location.uri, SOURCE_METADATA: location.uri, **(metadata or {})},
        kinds={"s3"} if kinds is None else kinds,
        freshness_policy=freshness_policy,
    )


def key_of(source_asset: SourceAsset) -> dg.AssetKey:
    """The key of an asset that stands for a prefix.

    Raises:
        ConfigurationError: It is neither such an asset nor a key.
    """
    if isinstance(source_asset, dg.AssetSpec):
        return source_asset.key
    parts = [source_asset] if isinstance(source_asset, str) else source_asset
    if not isinstance(parts, dg.AssetKey) and not _is_key(parts):
        raise ConfigurationError(
            f"source_asset must be what build_s3_source_asset makes, or the key of such an asset, "
            f"not {source_asset!r}"
        )
    return dg.AssetKey.from_coercible(source_asset)


def _is_key(parts: object) -> bool:
    return (
        isinstance(parts, (list, tuple))
        and bool(parts)
        and all(isinstance(each, str) and each for each in parts)
    )
