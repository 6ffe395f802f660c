"""Reading one object, pinned to the version that was listed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from dagster_s3inc.s3.failures import translated_failures
from dagster_s3inc.s3.location import S3Location

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

__all__ = ["open_object"]


@contextmanager
def open_object(
    client: S3Client, location: S3Location, etag: str | None
) -> Iterator[StreamingBody]:
    """Opens an object's content for reading, as a context manager.

    Args:
        client: The boto3 client.
        location: The object.
        etag: The ETag that it must have, without quotes; None takes whatever is there.

    Yields:
        A binary stream: `read()`, `iter_lines()`, iteration. Closed at the end of the block.

    Raises:
        ObjectChangedError: It has another ETag by now.
        ObjectNotFoundError: It is gone.
        S3RequestError: It could not be read for another reason.
    """
    pin: dict[str, Any] = {} if not etag else {"IfMatch": f'"{etag}"'}
    with translated_failures(f"read {location}"):
        response = client.get_object(Bucket=location.bucket, Key=location.key, **pin)
    # Not `with body`: that gives the connection below it, which has no iter_lines().
    with closing(response["Body"]) as body:
        yield body
