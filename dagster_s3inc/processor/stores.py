"""Where a processor keeps its checkpoint: a local file or an S3 object.

Both replace the checkpoint only if nobody else has replaced it since it was read (optimistic
concurrency control), so of two processors that commit, the second gets an error.
"""

from __future__ import annotations

import os
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from uuid import uuid4

from botocore.exceptions import ClientError
from filelock import FileLock

from dagster_s3inc.errors import CheckpointConflictError
from dagster_s3inc.s3.failures import translated_failures
from dagster_s3inc.s3.location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["CheckpointFile", "CheckpointObject", "CheckpointStore", "Stored"]


class Stored(NamedTuple):
    """What was read.

    Attributes:
        text: The content; None where there is no checkpoint yet.
        version: What the next write must still find; None where there is no checkpoint yet.
    """

    text: str | None
    version: str | None


class CheckpointStore(Protocol):
    """A place for one text, with compare-and-replace."""

    @property
    def name(self) -> str:
        """The place, for messages."""

    def read(self) -> Stored:
        """Reads the text and its version."""

    def write(self, text: str, *, replacing: str | None) -> None:
        """Writes the text if the stored version is still `replacing`.

        Raises:
            CheckpointConflictError: It is of another version by now; nothing was written.
        """


class CheckpointFile:
    """One local file, replaced atomically under a lock file beside it (`NAME.lock`)."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._lock = FileLock(f"{path}.lock")

    def read(self) -> Stored:
        """Reads the file; raises OSError where it cannot be read."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return Stored(None, None)
        return Stored(content.decode("utf-8", "replace"), _digest(content))

    def write(self, text: str, *, replacing: str | None) -> None:
        """Replaces the file; folders that are missing are made."""
        content = text.encode("utf-8")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            if self.read().version != replacing:
                raise _conflict(self.name)
            temporary = self._path.with_name(f"{self._path.name}.new")
            with temporary.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(self._path)


class CheckpointObject:
    """One S3 object, written with If-None-Match or If-Match."""

    # 409 is what S3 answers to one of two conditional writes that meet, 404 what it answers to
    # If-Match on an object that has been deleted since.
    _LOST: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"})
    _NONCE: Final = "dagster-s3inc-write"

    def __init__(self, client: S3Client, location: S3Location) -> None:
        self.name = location.uri
        self._client = client
        self._location = location

    def read(self) -> Stored:
        """Reads the object; raises S3RequestError where it cannot be read."""
        with translated_failures(f"read the checkpoint {self.name}"):
            try:
                response = self._client.get_object(
                    Bucket=self._location.bucket, Key=self._location.key
                )
            except self._client.exceptions.NoSuchKey:
                return Stored(None, None)
            return Stored(response["Body"].read().decode("utf-8", "replace"), response["ETag"])

    def write(self, text: str, *, replacing: str | None) -> None:
        """Replaces the object; raises S3RequestError where it cannot be written."""
        # botocore sends a request again whose answer was lost on the way. The second one then
        # fails on what the first one wrote; the nonce tells that from someone else's write.
        nonce = uuid4().hex
        condition: dict[str, Any] = {"IfNoneMatch": "*"}
        if replacing is not None:
            condition = {"IfMatch": replacing}
        with translated_failures(f"write the checkpoint {self.name}"):
            try:
                self._client.put_object(
                    Bucket=self._location.bucket,
                    Key=self._location.key,
                    Body=text.encode("utf-8"),
                    ContentType="application/json",
                    Metadata={self._NONCE: nonce},
                    **condition,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in self._LOST:
                    raise
                if self._current_nonce() != nonce:
                    raise _conflict(self.name) from error

    def _current_nonce(self) -> str | None:
        try:
            head = self._client.head_object(Bucket=self._location.bucket, Key=self._location.key)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_FOUND:
                return None
            raise
        return head["Metadata"].get(self._NONCE)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def _conflict(name: str) -> CheckpointConflictError:
    return CheckpointConflictError(
        f"The checkpoint {name} was written by someone else since this processor read it, so "
        f"nothing was written. Another processor uses the same checkpoint, or it was reset. "
        f"Undo what you made of these files, and call get_new_files() for what is new now."
    )
