"""Reading the checkpoint of the package that came before this one."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint
from dagster_s3inc.core.objects import Position

__all__ = ["decode_any_checkpoint"]


def decode_any_checkpoint(text: str) -> Checkpoint:
    """Reads a checkpoint of this package, or one of the form that preceded it.

    That form is `{"Key": …, "LastModified": <epoch seconds>, "last_ingestion_run": …}`: the last
    object handed over. Everything up to its position counts as handed over.

    Raises:
        CheckpointFormatError: It is neither.
    """
    try:
        document = json.loads(text)
        last_modified = datetime.fromtimestamp(document["LastModified"], timezone.utc)
        key = document["Key"]
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        return decode_checkpoint(text)
    if not isinstance(key, str):
        return decode_checkpoint(text)
    return Checkpoint(floor=Position(last_modified, key))
