"""Every error of this package.

Each message says whose fault it is and what to do next. All derive from `S3IncError`, so that
one `except` catches what this package raises by design and nothing else.
"""

from __future__ import annotations

__all__ = [
    "BucketNotFoundError",
    "CheckpointConflictError",
    "CheckpointFormatError",
    "CheckpointVersionError",
    "ConditionalWritesError",
    "ConfigurationError",
    "CredentialsError",
    "EndpointError",
    "KeyOrderError",
    "ListingError",
    "ObjectChangedError",
    "ObjectNotFoundError",
    "PermissionDeniedError",
    "RegionError",
    "ResetError",
    "S3IncError",
    "S3RequestError",
    "ThrottledError",
]


class S3IncError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(S3IncError, ValueError):
    """An argument is wrong. Fix the call; nothing was read or written."""


class CheckpointFormatError(S3IncError, ValueError):
    """A stored checkpoint cannot be read. It was left as it is."""


class CheckpointVersionError(CheckpointFormatError):
    """A stored checkpoint is of a version that this release does not know."""


class CheckpointConflictError(S3IncError):
    """Someone else wrote the checkpoint since it was read. Nothing was written."""


class ConditionalWritesError(S3IncError):
    """The server has no conditional writes, so a conflict on the checkpoint would go unnoticed."""


class ResetError(S3IncError):
    """A reset could not be carried out. Nothing was reset."""


class S3RequestError(S3IncError):
    """A request to S3 failed. Nothing was learned about what is new."""


class BucketNotFoundError(S3RequestError):
    """The bucket does not exist."""


class CredentialsError(S3RequestError):
    """There are no credentials, or the server does not accept them."""


class PermissionDeniedError(S3RequestError):
    """The credentials are good, but do not allow the request."""


class RegionError(S3RequestError):
    """The bucket is in another region than the client."""


class EndpointError(S3RequestError):
    """The server could not be reached, or broke off."""


class ThrottledError(S3RequestError):
    """The server asked for fewer requests, longer than the client's retries lasted."""


class ListingError(S3RequestError):
    """The server's listing is not whole or contradicts itself."""


class KeyOrderError(ListingError):
    """A listing that was taken to be in the order of its keys is not. The scan begins anew."""


class ObjectChangedError(S3RequestError):
    """An object was overwritten after it had been listed."""


class ObjectNotFoundError(S3RequestError):
    """An object is not there (any more)."""
