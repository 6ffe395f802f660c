"""Where a processor keeps its checkpoint: a local file or an S3 object.

Both replace the checkpoint only if nobody else has replaced it since it was read (optimistic
concurrency control), so of two processors that commit, the second gets an error.

For an S3 object this is the server's doing, and a server that ignores the condition answers as one
that found it fulfilled. So the first write under each kind of condition (nothing there yet; a
certain version there) is sent once more, under a condition of that kind that cannot be fulfilled.
A server that accepts this as well has just shown that it does not look.
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

from dagster_s3inc.errors import CheckpointConflictError, ConditionalWritesError
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
    """One S3 object, written with If-None-Match or If-Match.

    Args:
        client: The boto3 client.
        location: The object.
        conditional: Whether to write so. If not, the object is compared with what was read, and
            written just after: a write that comes between the two is overwritten.
    """

    # 409 is what S3 answers to one of two conditional writes that meet, 404 what it answers to
    # If-Match on an object that has been deleted since.
    _LOST: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey"})
    _NONCE: Final = "dagster-s3inc-write"
    # No content has this ETag: as an MD5 nobody knows one, and others are of another length.
    _NO_ETAG: Final = f'"{"0" * 32}"'

    def __init__(self, client: S3Client, location: S3Location, *, conditional: bool = True) -> None:
        self.name = location.uri
        self._client = client
        self._location = location
        self._conditional = conditional
        self._writer = uuid4().hex
        self._honoured: set[str] = set()
        self._ignored = False

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
        """Replaces the object.

        Raises:
            CheckpointConflictError: As for every store.
            ConditionalWritesError: The server ignores or refuses conditions. If it ignores them,
                the first write of this store has been made, and no other is tried.
            S3RequestError: It could not be written. The same write can be tried again, even if
                this one got through and only its answer was lost.
        """
        with translated_failures(f"write the checkpoint {self.name}"):
            if not self._conditional:
                if self.read().version != replacing:
                    raise _conflict(self.name)
                self._put(text)
                return
            if self._ignored:
                raise _ignored(self.name)
            condition = {"IfNoneMatch": "*"} if replacing is None else {"IfMatch": replacing}
            # What was refused may still be there: botocore sends a request again whose answer was
            # lost on the way, and the second one fails on what the first one wrote.
            if not self._put(text, condition) and self._current_nonce() != self._nonce(text):
                raise _conflict(self.name)
            self._require_refusal(text, *condition)

    def _require_refusal(self, text: str, kind: str) -> None:
        if kind in self._honoured:
            return
        impossible = {"IfNoneMatch": "*", "IfMatch": self._NO_ETAG}[kind]
        if self._put(text, {kind: impossible}):
            self._ignored = True
            raise _ignored(self.name)

    def _put(self, text: str, condition: dict[str, Any] | None = None) -> bool:
        """Sends a write; False if the server refused it because of the condition."""
        condition = condition or {}
        try:
            self._client.put_object(
                Bucket=self._location.bucket,
                Key=self._location.key,
                Body=text.encode("utf-8"),
                ContentType="application/json",
                Metadata={self._NONCE: self._nonce(text)},
                **condition,
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if condition and code in self._LOST:
                self._honoured.update(condition)
                return False
            if condition and code in ("NotImplemented", "501"):
                raise _without_conditions(
                    self.name, f"refuses conditional writes ({error}), so nothing was written"
                ) from error
            raise
        return True

    def _nonce(self, text: str) -> str:
        """Tells this store's write of this text from every other."""
        return f"{self._writer}-{_digest(text.encode('utf-8'))}"

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


def _ignored(name: str) -> ConditionalWritesError:
    return _without_conditions(
        name,
        "ignores the condition of a conditional write (If-None-Match, If-Match): it accepted one "
        "that it had to refuse. The first write was made; if another processor had written the "
        "checkpoint in the meantime, that is overwritten",
    )


def _without_conditions(name: str, finding: str) -> ConditionalWritesError:
    return ConditionalWritesError(
        f"The server of the checkpoint {name} {finding}. Two processors on this checkpoint could "
        f"not be told apart there. Keep the checkpoint in a local file, or on a server with "
        f"conditional writes; or use a single processor and pass conditional_writes=False."
    )
