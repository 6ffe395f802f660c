"""The text of a processor's checkpoint: an account for each storage class that was asked for.

    {"version":2,"storage_classes":{"STANDARD":{...},"GLACIER":{...},"":{...}}}

Each account is a checkpoint, written as a sensor's cursor is; `""` is that of `storage_class=None`.
A class that was never asked for has no account, so all of its files are new. To an account, a file
that a lifecycle rule moved into its class is new as well, whatever the other accounts say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Final, NoReturn

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.cursor_format import VERSION, decode_checkpoint, encode_checkpoint
from dagster_s3inc.core.objects import Position
from dagster_s3inc.errors import CheckpointFormatError, CheckpointVersionError

__all__ = ["CheckpointDocument"]

_ACCOUNTS: Final = "storage_classes"
_START_OVER: Final = (
    "It was left as it is. Fix it, or call reset_checkpoint() on a processor to start over with "
    "every file."
)


@dataclass(frozen=True, slots=True)
class CheckpointDocument:
    """The checkpoints of one processor. A value.

    Attributes:
        accounts: By storage class, as parsed JSON. An account is decoded only when it is needed,
            so the others are written as they were read.
    """

    accounts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None, storage_class: str | None = "STANDARD") -> CheckpointDocument:
        """Reads a stored checkpoint, or one of the form that preceded this package.

        That form is `{"Key": …, "LastModified": <epoch seconds>, "last_ingestion_run": …}`: the
        last object that was emitted. Everything up to its position counts as emitted. It does not
        say of which storage class, so it becomes the account of the class that is asked for.

        Args:
            text: As it is stored; None if nothing is.
            storage_class: The class that is asked for.

        Raises:
            CheckpointVersionError: It is of a version that this release does not know.
            CheckpointFormatError: It is neither.
        """
        if text is None:
            return cls()
        if not text.strip():
            _refuse("it is empty")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            _refuse(f"it is not JSON: {text[:60]!r}")
        if isinstance(document, dict) and {"Key", "LastModified"} <= document.keys():
            before = _legacy(document["Key"], document["LastModified"])
            return cls().with_account(storage_class, before)
        if not isinstance(document, dict) or "version" not in document:
            _refuse(f"it has no field 'version': {text[:60]!r}")
        if document["version"] is True or document["version"] != VERSION:
            raise CheckpointVersionError(
                f"The stored checkpoint is of version {document['version']!r}; this release of "
                f"dagster_s3inc reads version {VERSION}. {_START_OVER} Or install the release that "
                f"wrote it."
            )
        accounts = document.get(_ACCOUNTS)
        if not isinstance(accounts, dict):
            _refuse(f"it has no field {_ACCOUNTS!r}, so it may be a sensor's cursor")
        return cls(accounts)

    def account(self, storage_class: str | None) -> Checkpoint | None:
        """The checkpoint of a storage class; None if it was never asked for.

        Raises:
            CheckpointFormatError: It cannot be read.
        """
        account = self.accounts.get(storage_class or "")
        return None if account is None else decode_checkpoint(json.dumps(account))

    def with_account(self, storage_class: str | None, checkpoint: Checkpoint) -> CheckpointDocument:
        """The document with another checkpoint for this class; the others stay as they are."""
        account = json.loads(encode_checkpoint(checkpoint))
        return CheckpointDocument({**self.accounts, storage_class or "": account})

    def restarted(self) -> CheckpointDocument:
        """The document that starts all accounts over; it differs from every one before it."""
        restarted = CheckpointDocument()
        for storage_class in self.accounts or ("STANDARD",):
            try:
                before = self.account(storage_class) or Checkpoint()
            except CheckpointFormatError:
                before = Checkpoint()
            restarted = restarted.with_account(storage_class, before.restarted())
        return restarted

    def encoded(self) -> str:
        """The text that is stored: one line of ASCII JSON."""
        document = {"version": VERSION, _ACCOUNTS: dict(self.accounts)}
        return json.dumps(document, separators=(",", ":"))


def _legacy(key: Any, seconds: Any) -> Checkpoint:
    try:
        last_modified = datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, TypeError, OverflowError, OSError):
        _refuse(
            f"it has the form of the package that came before, but LastModified must be seconds "
            f"since 1970, a number, not {seconds!r}"
        )
    if not isinstance(key, str):
        _refuse(
            f"it has the form of the package that came before, but Key must be a string, not "
            f"{key!r}"
        )
    return Checkpoint(watermark=Position(last_modified, key), total=None)


def _refuse(reason: str) -> NoReturn:
    raise CheckpointFormatError(f"The stored checkpoint cannot be read: {reason}. {_START_OVER}")
