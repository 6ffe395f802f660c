"""`s3://` locations, taken literally."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dagster_s3inc.errors import ConfigurationError

__all__ = ["S3Location"]

_SCHEME: Final = "s3://"

# What botocore accepts as a bucket name, access point aliases among them.
_BUCKET: Final = re.compile(r"[A-Za-z0-9._-]{3,255}")


@dataclass(frozen=True, slots=True)
class S3Location:
    """A bucket, and a key or the prefix of keys in it.

    The key is what stands after the bucket's slash, character for character: `#`, `?`, `%20`,
    spaces and any other text mean themselves; nothing is decoded, nothing normalised. As a prefix
    it is a plain start of text: `s3://lake/logs` also covers `s3://lake/logs-old/x`. End it in `/`
    to mean a folder.

    Attributes:
        bucket: The bucket's name, or an access point's alias.
        key: A key or a prefix; empty means the whole bucket.
    """

    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, uri: str) -> S3Location:
        """Reads `s3://BUCKET` or `s3://BUCKET/KEY`.

        Raises:
            ConfigurationError: It is not such a URI; the message shows one.
        """
        if not isinstance(uri, str) or not uri.startswith(_SCHEME):
            raise ConfigurationError(
                f"{uri!r} is not an S3 URI. Write s3://BUCKET/PREFIX, for example "
                f"s3://my-bucket/landing/"
            )
        bucket, _, key = uri[len(_SCHEME) :].partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise ConfigurationError(
                f"{uri!r} has no valid bucket name: {bucket!r}. Write s3://BUCKET/PREFIX; for an "
                f"access point, use its alias as BUCKET"
            )
        return cls(bucket, key)

    @classmethod
    def parse_prefix(cls, uri: str) -> S3Location:
        """Reads what is to be scanned: one prefix.

        Raises:
            ConfigurationError: It is not such a URI, is several of them, or begins with a slash.
        """
        several = not isinstance(uri, str) and isinstance(uri, Sequence)
        if several or (isinstance(uri, str) and re.search(r"[,;\s]\s*s3://", uri)):
            raise ConfigurationError(
                f"{uri!r} is several prefixes. One sensor (or processor) scans one: build one for "
                f"each, with a name of its own, as in "
                f"[build_s3_incremental_definitions(name=name, uri=uri, ...) for name, uri in "
                f"prefixes.items()], and merge them with dg.Definitions.merge"
            )
        location = cls.parse(uri)
        if location.key.startswith("/"):
            raise ConfigurationError(
                f"{uri!r} has a prefix that begins with a slash, below which hardly any bucket has "
                f"keys: s3://BUCKET/PREFIX has one slash after the bucket. Write "
                f"{_SCHEME}{location.bucket}/{location.key.lstrip('/')}"
            )
        return location

    def covers(self, other: S3Location) -> bool:
        """Whether a listing of this prefix shows the other key."""
        return other.bucket == self.bucket and other.key.startswith(self.key)

    @property
    def uri(self) -> str:
        """The location as `s3://BUCKET/KEY`."""
        return f"{_SCHEME}{self.bucket}/{self.key}"

    def __str__(self) -> str:
        return self.uri
