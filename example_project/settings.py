"""Where things are: read from the environment, so that definitions and program agree."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = [
    "DEFAULT_URI",
    "ENDPOINT_VARIABLES",
    "ROOT",
    "STATE",
    "URI_VARIABLE",
    "WAREHOUSE_VARIABLE",
    "landing_uri",
    "warehouse_path",
]

URI_VARIABLE = "EXAMPLE_S3_URI"
WAREHOUSE_VARIABLE = "EXAMPLE_WAREHOUSE"

ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""By these boto3 itself finds an S3 server other than AWS."""

DEFAULT_URI = "s3://example-landing/orders/"

ROOT = Path(__file__).resolve().parent.parent
STATE = Path(os.environ.get("EXAMPLE_STATE") or ROOT / ".state")


def landing_uri() -> str:
    """The folder in S3 where the order files land, as `s3://BUCKET/FOLDER/`."""
    uri = os.environ.get(URI_VARIABLE) or DEFAULT_URI
    # A prefix is taken literally: without the slash, s3://b/orders would cover s3://b/orders-old/.
    return uri if uri.endswith("/") else f"{uri}/"


def warehouse_path() -> Path:
    """The DuckDB file."""
    named = os.environ.get(WAREHOUSE_VARIABLE)
    return Path(named) if named else STATE / "demo" / "warehouse.duckdb"
