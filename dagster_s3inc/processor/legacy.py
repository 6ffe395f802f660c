"""Reading the checkpoint of the package that came before this one."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint
from dagster_s3inc.core.objects import Position
from dagster_s3inc.errors import CheckpointFormatError

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
        key, seconds = document["Key"], document["LastModified"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return decode_checkpoint(text)
    try:
        last_modified = datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        wrong = f"LastModified must be seconds since 1970, a number, not {seconds!r}"
        raise _refusal(wrong) from error
    if not isinstance(key, str):
        raise _refusal(f"Key must be a string, not {key!r}")
    return Checkpoint(floor=Position(last_modified, key))


def _refusal(wrong: str) -> CheckpointFormatError:
    return CheckpointFormatError(
        f"The stored checkpoint cannot be read. It has the form of the package that came before, "
        f"but {wrong}. It was left as it is. Mend it, or call reset_checkpoint() on a processor to "
        f"start over with every file."
    )
