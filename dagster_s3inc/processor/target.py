"""Where a checkpoint is kept, as it is written in an argument."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.s3.location import S3Location

__all__ = ["checkpoint_target"]

# A scheme has two letters at least, so that the drive of a Windows path is none.
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]+:/|s3:", re.IGNORECASE)


def checkpoint_target(checkpoint_path: str | Path) -> S3Location | Path:
    """Reads where a checkpoint is kept: `s3://BUCKET/KEY` or a local path.

    Raises:
        ConfigurationError: It names neither an object nor a file.
    """
    if not isinstance(checkpoint_path, (str, os.PathLike)):
        raise ConfigurationError(
            f"checkpoint_path must be s3://BUCKET/KEY or a file's path, not {checkpoint_path!r}"
        )
    text = str(checkpoint_path)
    if text.startswith("s3://"):
        location = S3Location.parse(text)
        if not location.key or location.key.endswith("/"):
            raise ConfigurationError(
                f"checkpoint_path {text!r} names no object. Write s3://BUCKET/KEY, for example "
                f"s3://{location.bucket}/checkpoints/orders.json"
            )
        return location
    if _URI.match(text):
        raise ConfigurationError(
            f"checkpoint_path {text!r} is neither s3://BUCKET/KEY nor a file's path. Write an "
            f"object as s3://BUCKET/KEY, as text and not as a Path, and a file without a scheme"
        )
    path = Path(checkpoint_path)
    if not text or path.is_dir():
        raise ConfigurationError(
            f"checkpoint_path {text!r} names no file. Write a file's path or s3://BUCKET/KEY"
        )
    return path
