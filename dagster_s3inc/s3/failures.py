"""The one place where botocore's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from dagster_s3inc import errors
from dagster_s3inc.core.words import readable
from dagster_s3inc.errors import ListingError, S3RequestError

__all__ = ["server_fault", "shown", "translated_failures"]


class _Kind(NamedTuple):
    """What becomes of some error codes (or HTTP states), and of some errors of botocore."""

    error: type[S3RequestError]
    advice: str
    codes: str = ""
    types: tuple[type[Exception], ...] = ()


_KINDS: Final = (
    _Kind(
        errors.CredentialsError,
        "The server does not accept these credentials. Check the access key, its secret, the "
        "session token and whether they have expired",
        "InvalidAccessKeyId SignatureDoesNotMatch ExpiredToken TokenRefreshRequired InvalidToken",
        (
            boto.PartialCredentialsError,
            boto.CredentialRetrievalError,
            boto.TokenRetrievalError,
            boto.SSOError,
        ),
    ),
    _Kind(
        errors.CredentialsError,
        "No credentials were found. Set them on the S3 resource or client, in the environment "
        "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or by a role",
        types=(boto.NoCredentialsError,),
    ),
    _Kind(
        errors.CredentialsError,
        "There is no such profile on this machine; no server was asked. Check AWS_PROFILE, and "
        "the files ~/.aws/config and ~/.aws/credentials",
        types=(boto.ProfileNotFound,),
    ),
    _Kind(
        errors.CredentialsError,
        "This machine's clock is too far off for signed requests. Set it right",
        "RequestTimeTooSkewed",
    ),
    _Kind(
        errors.ThrottledError,
        "The server asks for fewer requests, and the client's retries are used up. Try again "
        "later, scan less often, or raise max_attempts of the S3 client",
        "SlowDown Throttling ThrottlingException RequestLimitExceeded TooManyRequests 503 429",
    ),
    _Kind(
        errors.RegionError,
        "The bucket is in another region than the client asks. Set region_name of the S3 resource "
        "or client to the bucket's region",
        "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301",
    ),
    _Kind(
        errors.RegionError,
        "No region is set. Set region_name of the S3 resource or client",
        types=(boto.NoRegionError,),
    ),
    _Kind(
        errors.RegionError,
        "The region name is not valid. Set region_name to one like eu-west-1",
        types=(boto.InvalidRegionError,),
    ),
    _Kind(
        errors.PermissionDeniedError,
        "The credentials do not allow this. Listing needs s3:ListBucket on the bucket; reading "
        "needs s3:GetObject, and writing a checkpoint s3:PutObject, on the objects",
        "AccessDenied AllAccessDisabled 403",
    ),
    _Kind(
        errors.BucketNotFoundError,
        "The bucket does not exist. Check its name, and the endpoint_url of the S3 resource or "
        "client",
        "NoSuchBucket",
    ),
    _Kind(
        errors.ObjectNotFoundError,
        "The object is not there. It was deleted since it was listed, or its key is misspelt",
        "NoSuchKey",
    ),
    _Kind(
        errors.ObjectChangedError,
        "The object was overwritten since it was listed. Its new version is emitted in a later "
        "batch",
        "PreconditionFailed 412",
    ),
    _Kind(
        errors.S3RequestError,
        "The client cannot send such a request; no server was asked. Check the bucket and key",
        types=(boto.ParamValidationError,),
    ),
    _Kind(
        errors.EndpointError,
        "The server cannot be reached, or broke off. Check endpoint_url, region and network, and "
        "whether the server is up",
        types=(boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError),
    ),
    _Kind(
        errors.ListingError,
        "The answer is not what S3 answers. Check whether endpoint_url names an S3 server, and "
        "what lies between",
        types=(ResponseParserError,),
    ),
)

_OTHER_ANSWER: Final = _Kind(errors.S3RequestError, "The server refused the request")
_OTHER_ERROR: Final = _Kind(
    errors.S3RequestError,
    "The client failed by itself, not by an answer of the server. Check its settings: the "
    "environment (AWS_...), the files in ~/.aws, and what the S3 resource or client was given",
)

_BY_CODE: Final = {code: kind for kind in _KINDS for code in kind.codes.split()}


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
        known = _BY_CODE.get(code) or _BY_CODE.get(status) or _OTHER_ANSWER
        raise _translated(error, action, known) from error
    except (BotoCoreError, ResponseParserError) as error:
        known = next((each for each in _KINDS if isinstance(error, each.types)), _OTHER_ERROR)
        raise _translated(error, action, known) from error


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


def _translated(error: Exception, action: str, known: _Kind) -> S3RequestError:
    return known.error(f"Could not {action}: {known.advice}. (botocore: {error})")
