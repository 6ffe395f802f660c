"""The S3 client for those who bring none."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.utils import is_valid_endpoint_url, is_valid_ipv6_endpoint_url

from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.s3.failures import translated_failures
from dagster_s3inc.s3.listing import MAX_CONCURRENT_REQUESTS

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["explained_endpoint", "make_client", "pool_warning", "require_endpoint"]

# How botocore and urllib begin; neither has an error of its own for this.
_NO_URL: Final = ("Invalid endpoint", "Invalid IPv6 URL")

# Of how many connections it was said that they are few.
_said: set[int] = set()


def make_client(*, endpoint_url: str | None = None) -> S3Client:
    """Makes a boto3 client from the environment.

    Credentials, region, endpoint and the number of tries are taken as boto3 always takes them
    (`AWS_ACCESS_KEY_ID`, `AWS_REGION`, `AWS_ENDPOINT_URL_S3`, `AWS_MAX_ATTEMPTS` …). Retries are
    adaptive, which slows down when the server asks for it, unless `AWS_RETRY_MODE` says otherwise.
    There is a connection for each concurrent request of a listing.

    Args:
        endpoint_url: The server; by default the environment's.

    Raises:
        ConfigurationError: The endpoint is not a URL.
        S3RequestError: The environment's settings make no client.
    """
    # An unknown mode is refused by botocore, which names those that exist.
    retries: Any = {"mode": os.environ.get("AWS_RETRY_MODE") or "adaptive"}
    with explained_endpoint("make an S3 client from the environment"):
        config = Config(retries=retries, max_pool_connections=MAX_CONCURRENT_REQUESTS)
        return boto3.client("s3", endpoint_url=endpoint_url, config=config)


def pool_warning(client: S3Client, max_concurrent_requests: int) -> str | None:
    """Says that a client bounds the concurrent requests; None if it does not.

    A process says this once for each number of connections, however many clients have so few.
    """
    config: Any = client.meta.config
    connections: int = config.max_pool_connections
    if max_concurrent_requests <= connections or connections in _said:
        return None
    _said.add(connections)
    return (
        f"The S3 client keeps {connections} connections, so a listing sends at most "
        f"{connections} requests at a time, not {max_concurrent_requests}. Where the server is "
        f"far away, bring a client with "
        f"botocore.config.Config(max_pool_connections={max_concurrent_requests})"
    )


@contextmanager
def explained_endpoint(action: str) -> Iterator[None]:
    """Explains the errors of a client that is being made while the block runs.

    Args:
        action: What is being done, as for `translated_failures`.

    Raises:
        ConfigurationError: The endpoint is not a URL.
        S3RequestError: Other settings make no client.
    """
    with translated_failures(action):
        try:
            yield
        except ValueError as error:
            if isinstance(error, BotoCoreError) or not str(error).startswith(_NO_URL):
                raise
            raise ConfigurationError(
                f"The endpoint URL is not valid. Write http://HOST:PORT or https://HOST. "
                f"(botocore: {error})"
            ) from error


def require_endpoint(endpoint_url: str) -> None:
    """Refuses an endpoint of which botocore would make no client.

    Raises:
        ConfigurationError: It is not a URL.
    """
    with explained_endpoint(f"use the endpoint {endpoint_url}"):
        if not is_valid_endpoint_url(endpoint_url) and not is_valid_ipv6_endpoint_url(endpoint_url):
            raise ValueError(f"Invalid endpoint: {endpoint_url}")
