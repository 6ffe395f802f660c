"""The S3 client for those who bring none."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.s3.failures import translated_failures
from dagster_s3inc.s3.lanes import LANES

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["make_client"]


def make_client(*, endpoint_url: str | None = None) -> S3Client:
    """Makes a boto3 client from the environment.

    Credentials, region, endpoint and the number of tries are taken as boto3 always takes them
    (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL_S3`, `AWS_MAX_ATTEMPTS` …). Retries are
    adaptive, which slows down when the server asks for it, unless `AWS_RETRY_MODE` says otherwise.
    There is a connection for each lane of a listing.

    Args:
        endpoint_url: The server; by default the environment's.

    Raises:
        ConfigurationError: The endpoint is no URL.
        S3RequestError: The environment's settings make no client.
    """
    # An unknown mode is refused by botocore, which names those that exist.
    retries: Any = {"mode": os.environ.get("AWS_RETRY_MODE") or "adaptive"}
    with translated_failures("make an S3 client from the environment"):
        config = Config(retries=retries, max_pool_connections=LANES)
        try:
            return boto3.client("s3", endpoint_url=endpoint_url, config=config)
        except ValueError as error:
            if isinstance(error, BotoCoreError):
                raise
            raise ConfigurationError(
                f"The endpoint URL is not valid. Write http://HOST:PORT or https://HOST. "
                f"(botocore: {error})"
            ) from error
