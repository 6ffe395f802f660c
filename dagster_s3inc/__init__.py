"""Process each new or modified S3 file once, in batches, with Dagster."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from dagster_shared.libraries import DagsterLibraryRegistry

if TYPE_CHECKING:
    from dagster_s3inc.component import S3IncrementalComponent
    from dagster_s3inc.core.batching import BatchPolicy
    from dagster_s3inc.core.filters import ObjectFilter
    from dagster_s3inc.definitions import build_s3_incremental_definitions
    from dagster_s3inc.errors import S3IncError
    from dagster_s3inc.processor import S3IncrementalProcessor
    from dagster_s3inc.reset import build_s3_reset_job
    from dagster_s3inc.runs import S3Batch, S3File, find_runs, s3_batch
    from dagster_s3inc.sensor import build_s3_incremental_sensor
    from dagster_s3inc.source_asset import build_s3_source_asset, build_s3_source_checks

__version__ = "0.2.0"

__all__ = [
    "BatchPolicy",
    "ObjectFilter",
    "S3Batch",
    "S3File",
    "S3IncError",
    "S3IncrementalComponent",
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

# Each name is imported when it is first asked for: a program that uses the processor alone does
# not load Dagster, which takes seconds and some 80 MB.
_MODULES: Final = {
    "BatchPolicy": "core.batching",
    "ObjectFilter": "core.filters",
    "S3Batch": "runs",
    "S3File": "runs",
    "S3IncError": "errors",
    "S3IncrementalComponent": "component",
    "S3IncrementalProcessor": "processor",
    "build_s3_incremental_definitions": "definitions",
    "build_s3_incremental_sensor": "sensor",
    "build_s3_reset_job": "reset",
    "build_s3_source_asset": "source_asset",
    "build_s3_source_checks": "source_asset",
    "find_runs": "runs",
    "s3_batch": "runs",
}

DagsterLibraryRegistry.register("dagster-s3inc", __version__, is_dagster_package=False)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
