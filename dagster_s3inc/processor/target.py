"""Where a checkpoint is kept, as it is written in an argument."""

from __future__ import annotations

from pathlib import Path

from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.s3.location import S3Location

__all__ = ["checkpoint_target"]


def checkpoint_target(checkpoint_path: str | Path) -> S3Location | Path:
    """Reads where a checkpoint is kept: `s3://BUCKET/KEY` or a local path.

    Raises:
        ConfigurationError: It names neither an object nor a file.
    """
    text = str(checkpoint_path)
    if text.startswith("s3://"):
        location = S3Location.parse(text)
        if not location.key or location.key.endswith("/"):
            raise ConfigurationError(
                f"checkpoint_path {text!r} names no object. Write s3://BUCKET/KEY, for example "
                f"s3://{location.bucket}/checkpoints/orders.json"
            )
        return location
    path = Path(checkpoint_path)
    if not text or path.is_dir():
        raise ConfigurationError(
            f"checkpoint_path {text!r} names no file. Write a file's path or s3://BUCKET/KEY"
        )
    return path
