"""A ListObjectsV2 request, as the server reads it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["Query", "QueryError", "token_after"]

_MOST_KEYS: Final = 1000

# Further ones change the answer in ways that are not known here; none is silently ignored.
_KNOWN: Final = frozenset(
    {
        "list-type",
        "prefix",
        "delimiter",
        "max-keys",
        "start-after",
        "continuation-token",
        "encoding-type",
    }
)


class QueryError(Exception):
    """The request is none that this server answers.

    Attributes:
        code: As S3 calls it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Query:
    """A request's parameters, as `parse` reads them.

    Attributes:
        prefix: What the keys start with.
        delimiter: Rolls keys up that have it after the prefix; None does not.
        max_keys: The most keys and common prefixes together.
        start_after: What the first key must be greater than.
        token: The continuation token.
        url: Whether texts are percent-encoded.
    """

    prefix: str = ""
    delimiter: str | None = None
    max_keys: int = _MOST_KEYS
    start_after: str | None = None
    token: str | None = None
    url: bool = False

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Query:
        """Reads decoded parameters.

        Raises:
            QueryError: A parameter is unknown, or its value is not valid.
        """
        unknown = set(given) - _KNOWN
        if given.get("list-type") != "2" or unknown:
            raise QueryError("NotImplemented", f"Not a ListObjectsV2 known here: {dict(given)}")
        most = given.get("max-keys", str(_MOST_KEYS))
        if not most.isdecimal():
            raise QueryError("InvalidArgument", f"max-keys is {most!r}")
        if given.get("encoding-type", "url") != "url":
            raise QueryError("InvalidArgument", f"encoding-type is {given['encoding-type']!r}")
        return cls(
            prefix=given.get("prefix", ""),
            delimiter=given.get("delimiter") or None,
            max_keys=min(int(most), _MOST_KEYS),
            start_after=given.get("start-after"),
            token=given.get("continuation-token"),
            url="encoding-type" in given,
        )

    @property
    def after(self) -> str:
        """What everything listed is greater than; a token is stronger than StartAfter.

        Raises:
            QueryError: The token is none that was given out.
        """
        if self.token is None:
            return self.start_after or ""
        try:
            return base64.b64decode(self.token, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            message = "The continuation token provided is incorrect"
            raise QueryError("InvalidArgument", message) from None


def token_after(last: str) -> str:
    """The token with which a listing goes on after this key or common prefix."""
    return base64.b64encode(last.encode()).decode()
