"""Where a processor keeps its checkpoint: a local file or an S3 object.

Both replace the checkpoint only if nobody else has replaced it since it was read (optimistic
concurrency control), so of two processors that commit, the second gets an error.

For an S3 object, the server has to compare. Servers do that wrongly in two ways, and both are found
out:

- A server that ignores conditions answers like one that found them fulfilled. So the first write
  under each kind of condition (nothing there yet; a certain version there) is sent once more, under
  a condition that cannot be fulfilled. A server that accepts this as well ignores conditions.
- Ceph's gateway compares If-Match with the ETag without its quotes, and so refuses each ETag that
  it has given itself. So after a refusal the object is read. If it is still what was read before,
  the ETag is sent in its other form, and from then on in the form that the server takes.
"""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias
from uuid import uuid4

from botocore.exceptions import ClientError
from filelock import FileLock

from dagster_s3inc.errors import (
    CheckpointConflictError,
    ConditionalWritesError,
    ConfigurationError,
)
from dagster_s3inc.s3.failures import translated_failures
from dagster_s3inc.s3.location import S3Location

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = [
    "CheckpointFile",
    "CheckpointObject",
    "CheckpointStore",
    "StoredText",
    "checkpoint_place",
]

# A scheme has two letters at least, so that the drive of a Windows path is not taken for one.
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]+:/|s3:", re.IGNORECASE)


class StoredText(NamedTuple):
    """What was read.

    Attributes:
        text: The content; None where there is no checkpoint yet.
        version: What the next write must still find; None where there is no checkpoint yet.
    """

    text: str | None
    version: str | None


def checkpoint_place(checkpoint_path: str | Path) -> S3Location | Path:
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
        if location.key and not location.key.endswith("/"):
            return location
        raise ConfigurationError(
            f"checkpoint_path {text!r} names no object. Write s3://BUCKET/KEY, for example "
            f"s3://{location.bucket}/checkpoints/orders.json"
        )
    if _URI.match(text):
        raise ConfigurationError(
            f"checkpoint_path {text!r} is neither s3://BUCKET/KEY nor a file's path. Write an "
            f"object as s3://BUCKET/KEY, as text and not as a Path, and a file without a scheme"
        )
    path = Path(checkpoint_path)
    if text and not path.is_dir():
        return path
    raise ConfigurationError(
        f"checkpoint_path {text!r} names no file. Write a file's path or s3://BUCKET/KEY"
    )


class CheckpointFile:
    """One local file, replaced atomically under a lock file beside it (`NAME.lock`)."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self._lock = FileLock(f"{path}.lock")

    def read(self) -> StoredText:
        """Reads the file; raises OSError where it cannot be read."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return StoredText(None, None)
        return StoredText(content.decode("utf-8", "replace"), _sha256(content))

    def write(self, text: str, *, replacing: str | None) -> None:
        """Writes the file if its version is still `replacing`; makes the folders that are missing.

        Raises:
            CheckpointConflictError: It is of another version by now; nothing was written.
        """
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
    _MET: Final = "ConditionalRequestConflict"
    _REFUSED: Final = frozenset({"PreconditionFailed", _MET, "NoSuchKey"})
    # One more for a write that meets another, one more for the other form of the ETag.
    _TRIES: Final = 3
    _NONCE: Final = "dagster-s3inc-write"
    # No content has this ETag: nobody knows a text of this MD5, and other ETags have other lengths.
    _NO_ETAG: Final = f'"{"0" * 32}"'

    def __init__(self, client: S3Client, location: S3Location, *, conditional: bool = True) -> None:
        self.name = location.uri
        self._client = client
        self._place: dict[str, Any] = {"Bucket": location.bucket, "Key": location.key}
        self._conditional = conditional
        self._writer = uuid4().hex
        self._in_quotes = True
        self._honoured: set[str] = set()
        self._ignores: ConditionalWritesError | None = None

    def read(self) -> StoredText:
        """Reads the object; raises S3RequestError where it cannot be read."""
        with translated_failures(f"read the checkpoint {self.name}"):
            response = self._get()
            if response is None:
                return StoredText(None, None)
            return StoredText(response["Body"].read().decode("utf-8", "replace"), response["ETag"])

    def write(self, text: str, *, replacing: str | None) -> None:
        """Writes the object if its version is still `replacing`.

        Raises:
            CheckpointConflictError: It is of another version by now; nothing was written.
            ConditionalWritesError: The server refuses, ignores or misreads conditions. If it
                ignores them, the first write of this store has been made, and no other is tried.
            S3RequestError: It could not be written. The same write can be tried again, even if
                this one got through and only its answer was lost.
        """
        with translated_failures(f"write the checkpoint {self.name}"):
            if self._conditional:
                self._write_if_unchanged(text, replacing)
            elif self.read().version == replacing:
                self._put(text)
            else:
                raise _conflict(self.name)

    def _write_if_unchanged(self, text: str, replacing: str | None) -> None:
        if self._ignores is not None:
            raise self._ignores
        kind, impossible = ("IfNoneMatch", "*") if replacing is None else ("IfMatch", self._NO_ETAG)
        for _ in range(self._TRIES):
            expected = replacing or "*"
            refusal = self._put(text, kind, expected if self._in_quotes else expected.strip('"'))
            if refusal is None:
                if kind not in self._honoured and self._put(text, kind, impossible) is None:
                    self._ignores = self._without_conditions(
                        f"ignores the condition of a conditional write ({kind}): it accepted one "
                        f"that it had to refuse. The first write was made; if another processor "
                        f"had written the checkpoint in the meantime, that is overwritten"
                    )
                    raise self._ignores
                return
            stored = self._get() or {"ETag": None, "Metadata": {}}
            # What was refused may be there all the same: botocore sends a request again whose
            # answer was lost, and the second one fails on what the first one wrote.
            if stored["Metadata"].get(self._NONCE) == self._nonce(text):
                return
            if stored["ETag"] != replacing:
                raise _conflict(self.name)
            if refusal != self._MET and replacing is not None:
                self._in_quotes = not self._in_quotes
        if refusal == self._MET:
            raise _conflict(self.name)
        raise self._without_conditions(
            f"refuses a write under the condition that nobody else has written ({kind}), although "
            f"nobody has: what is stored is what was read. Nothing was written"
        )

    def _put(self, text: str, kind: str | None = None, expected: str = "") -> str | None:
        """Sends a write; gives the error code if the server refused it because of the condition."""
        condition: dict[str, Any] = {} if kind is None else {kind: expected}
        try:
            self._client.put_object(
                Body=text.encode("utf-8"),
                ContentType="application/json",
                Metadata={self._NONCE: self._nonce(text)},
                **self._place,
                **condition,
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if kind is not None and code in self._REFUSED:
                self._honoured.add(kind)
                return code
            if kind is not None and code in ("NotImplemented", "501"):
                raise self._without_conditions(
                    f"refuses conditional writes ({error}), so nothing was written"
                ) from error
            raise
        return None

    def _get(self) -> Any:
        try:
            return self._client.get_object(**self._place)
        except self._client.exceptions.NoSuchKey:
            return None

    def _nonce(self, text: str) -> str:
        """Tells this store's write of this text from every other."""
        return f"{self._writer}-{_sha256(text.encode('utf-8'))}"

    def _without_conditions(self, finding: str) -> ConditionalWritesError:
        return ConditionalWritesError(
            f"The server of the checkpoint {self.name} {finding}. Two processors on this "
            f"checkpoint could not be told apart there. Keep the checkpoint in a local file, or on "
            f"a server with conditional writes; or use a single processor and pass "
            f"conditional_writes=False."
        )


CheckpointStore: TypeAlias = CheckpointFile | CheckpointObject
"""A place for one text, with compare-and-replace."""


def _sha256(content: bytes) -> str:
    return sha256(content).hexdigest()


def _conflict(name: str) -> CheckpointConflictError:
    return CheckpointConflictError(
        f"The checkpoint {name} was written by someone else since this processor read it, so "
        f"nothing was written. Another processor uses the same checkpoint, or it was reset. "
        f"Undo what you made of these files, and call get_new_files() for what is new now."
    )
