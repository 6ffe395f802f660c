"""The one place where botocore's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.parsers import ResponseParserError

from dagster_s3inc import errors
from dagster_s3inc.core.words import readable
from dagster_s3inc.errors import ListingError, S3RequestError

__all__ = ["server_fault", "shown", "translated_failures"]

_Known = tuple[type[S3RequestError], str]

_CREDENTIALS: Final[_Known] = (
    errors.CredentialsError,
    "The server does not accept these credentials. Check the access key, its secret, the session "
    "token and whether they have expired",
)
_THROTTLED: Final[_Known] = (
    errors.ThrottledError,
    "The server asks for fewer requests, and the client's retries are used up. Try again later, "
    "scan less often, or raise max_attempts of the S3 client",
)
_REGION: Final[_Known] = (
    errors.RegionError,
    "The bucket is in another region than the client asks. Set region_name of the S3 resource or "
    "client to the bucket's region",
)
_DENIED: Final[_Known] = (
    errors.PermissionDeniedError,
    "The credentials do not allow this. Listing needs s3:ListBucket on the bucket; reading needs "
    "s3:GetObject, and writing a checkpoint s3:PutObject, on the objects",
)
_NO_BUCKET: Final[_Known] = (
    errors.BucketNotFoundError,
    "The bucket does not exist. Check its name, and the endpoint_url of the S3 resource or client",
)
_GONE: Final[_Known] = (
    errors.ObjectNotFoundError,
    "The object is not there. It was deleted since it was listed, or its key is misspelt",
)
_CHANGED: Final[_Known] = (
    errors.ObjectChangedError,
    "The object was overwritten since it was listed. Its new version is emitted in a later batch",
)
_UNREACHABLE: Final[_Known] = (
    errors.EndpointError,
    "The server cannot be reached, or broke off. Check endpoint_url, region and network, and "
    "whether the server is up",
)
_OTHER: Final[_Known] = (errors.S3RequestError, "The server refused the request")

# What botocore itself raises, and is none of the kinds below.
_BOTOCORE: Final[_Known] = (
    errors.S3RequestError,
    "The client failed by itself, not by an answer of the server. Check its settings: the "
    "environment (AWS_...), the files in ~/.aws, and what the S3 resource or client was given",
)

_BY_CODE: Final[dict[str, _Known]] = {
    "NoSuchBucket": _NO_BUCKET,
    "NoSuchKey": _GONE,
    "PreconditionFailed": _CHANGED,
    "412": _CHANGED,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": _CREDENTIALS,
    "SignatureDoesNotMatch": _CREDENTIALS,
    "ExpiredToken": _CREDENTIALS,
    "TokenRefreshRequired": _CREDENTIALS,
    "InvalidToken": _CREDENTIALS,
    "RequestTimeTooSkewed": (
        errors.CredentialsError,
        "This machine's clock is too far off for signed requests. Set it right",
    ),
    "PermanentRedirect": _REGION,
    "AuthorizationHeaderMalformed": _REGION,
    "IllegalLocationConstraintException": _REGION,
    "301": _REGION,
    "SlowDown": _THROTTLED,
    "503": _THROTTLED,
    "Throttling": _THROTTLED,
    "ThrottlingException": _THROTTLED,
    "RequestLimitExceeded": _THROTTLED,
    "TooManyRequests": _THROTTLED,
    "429": _THROTTLED,
}

_BY_TYPE: Final[tuple[tuple[type[Exception], _Known], ...]] = (
    (
        boto.NoCredentialsError,
        (
            errors.CredentialsError,
            "No credentials were found. Set them on the S3 resource or client, in the "
            "environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or by a role",
        ),
    ),
    (
        boto.ProfileNotFound,
        (
            errors.CredentialsError,
            "There is no such profile on this machine; no server was asked. Check AWS_PROFILE, "
            "and the files ~/.aws/config and ~/.aws/credentials",
        ),
    ),
    (
        boto.ParamValidationError,
        (
            errors.S3RequestError,
            "The client cannot send such a request; no server was asked. Check the bucket and key",
        ),
    ),
    (boto.PartialCredentialsError, _CREDENTIALS),
    (boto.CredentialRetrievalError, _CREDENTIALS),
    (boto.TokenRetrievalError, _CREDENTIALS),
    (boto.SSOError, _CREDENTIALS),
    (
        boto.NoRegionError,
        (errors.RegionError, "No region is set. Set region_name of the S3 resource or client"),
    ),
    (
        boto.InvalidRegionError,
        (errors.RegionError, "The region name is not valid. Set region_name to one like eu-west-1"),
    ),
    (HTTPClientError, _UNREACHABLE),
    (boto.ConnectionError, _UNREACHABLE),
    (boto.IncompleteReadError, _UNREACHABLE),
    (
        ResponseParserError,
        (
            errors.ListingError,
            "The answer is not what S3 answers. Check whether endpoint_url names an S3 server, "
            "and what lies between",
        ),
    ),
)


@contextmanager
def translated_failures(action: str) -> Iterator[None]:
    """Turns botocore's errors into ours while the block runs.

    Args:
        action: What is being done, and to what, as in "Could not ACTION".

    Raises:
        S3RequestError: Or the one of its kinds that fits. The original error is its cause.
    """
    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
        kind, advice = _BY_CODE.get(code) or _BY_CODE.get(status) or _OTHER
        raise kind(_message(action, advice, error)) from error
    except (BotoCoreError, ResponseParserError) as error:
        known = next((known for type_, known in _BY_TYPE if isinstance(error, type_)), _BOTOCORE)
        kind, advice = known
        raise kind(_message(action, advice, error)) from error


def server_fault(location: object, what: str) -> ListingError:
    """The error of a listing that contradicts itself, or is not what S3 writes."""
    return ListingError(
        f"Could not list {location}: {what}. That is a fault of the server, or of what lies "
        f"between; nothing was emitted"
    )


def shown(value: object) -> str:
    """A key or another text for a message: readable, and not longer than a line."""
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return readable(text if len(text) <= 100 else f"{text[:97]}...")


def _message(action: str, advice: str, error: Exception) -> str:
    return f"Could not {action}: {advice}. (botocore: {error})"
