"""The S3 client for those who bring none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from dagster_s3inc.s3.failures import translated_failures
from dagster_s3inc.s3.lanes import LANES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["make_client"]


def make_client() -> S3Client:
    """Makes a boto3 client from the environment.

    Credentials, region, endpoint and the number of tries are taken as boto3 always takes them
    (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL_S3`, `AWS_MAX_ATTEMPTS` …). Retries are
    adaptive, which slows down when the server asks for it, unless `AWS_RETRY_MODE` says otherwise.
    There is a connection for each lane of a listing.

    Raises:
        S3RequestError: The environment's settings make no client.
    """
    # An unknown mode is refused by botocore, which names those that exist.
    retries: Any = {"mode": os.environ.get("AWS_RETRY_MODE") or "adaptive"}
    config = Config(retries=retries, max_pool_connections=LANES)
    with translated_failures("make an S3 client from the environment"):
        return boto3.client("s3", config=config)
