"""The external asset that stands for a prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

import dagster as dg

from dagster_s3inc.dagster_internals import freshness_of
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.runs.run_requests import SOURCE_METADATA
from dagster_s3inc.s3.location import S3Location

__all__ = [
    "KEPT_FRESH",
    "SourceAsset",
    "build_s3_source_asset",
    "kept_fresh_for",
    "key_of",
    "with_interval",
]

SourceAsset = dg.AssetSpec | dg.AssetKey | str | Sequence[str]
"""An asset that stands for a prefix, or its key."""

KEPT_FRESH: Final = "dagster_s3inc/kept_fresh_by_ticks"
"""The metadata of an asset that is stale only if its sensor's ticks fail or stand still."""

_STALE_AFTER: Final = timedelta(hours=3)
_TICKS_MISSED: Final = 3

_DESCRIPTION: Final = """\
The files under `{uri}`.

**Is all well?** The checks say it: they fail while batches failed, files are undecided, or files \
wait too long.

**What waits, runs, failed, is done?** The newest of the Events says it, since each tick that sees \
a change reports an observation.

**What came in?** Each tick that requests files reports a materialization, with its batches and \
links to their runs.

After a crash a tick may report twice. Two reports with the same `report id` are one, so do not \
add reports up: count the runs, of which there are never two."""


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
    freshness_policy: dg.FreshnessPolicy | Literal["ticks"] | None = "ticks",
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
        freshness_policy: When Dagster calls it stale. By default when no tick has succeeded for
            three hours, as while the prefix cannot be listed: ticks that find nothing new report
            a materialization every hour. With a policy of your own they report none, so that
            `FreshnessPolicy.time_window(fail_window=timedelta(days=1))` means that no files
            came in for a day. None means no policy.

    Raises:
        ConfigurationError: The URI is not an S3 URI.
    """
    location = S3Location.parse_prefix(uri)
    by_ticks = {KEPT_FRESH: True} if freshness_policy == "ticks" else {}
    # Only what was given: Dagster warns of options that are new to it, even if they are None.
    optional: dict[str, Any] = {} if owners is None else {"owners": owners}
    return dg.AssetSpec(
        key,
        description=description or _DESCRIPTION.format(uri=location.uri),
        group_name=group_name,
        tags=tags,
        metadata={
            "dagster/uri": location.uri,
            SOURCE_METADATA: location.uri,
            **by_ticks,
            **(metadata or {}),
        },
        kinds={"s3"} if kinds is None else kinds,
        freshness_policy=_policy(0) if freshness_policy == "ticks" else freshness_policy,
        **optional,
    )


def with_interval(spec: dg.AssetSpec, seconds: int) -> dg.AssetSpec:
    """The same asset, not stale between two ticks of a sensor that seldom ticks."""
    if KEPT_FRESH not in spec.metadata:
        return spec
    return spec.replace_attributes(freshness_policy=_policy(seconds))


def kept_fresh_for(context: dg.SensorEvaluationContext, key: dg.AssetKey) -> timedelta | None:
    """After how long without a materialization an asset is stale, if ticks are to prevent that."""
    policy, metadata = freshness_of(context, key)
    return policy if metadata.get(KEPT_FRESH) else None


def _policy(interval_seconds: int) -> dg.FreshnessPolicy:
    window = max(_STALE_AFTER, _TICKS_MISSED * timedelta(seconds=interval_seconds))
    return dg.FreshnessPolicy.time_window(fail_window=window)


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
