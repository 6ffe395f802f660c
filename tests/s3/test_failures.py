from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.stub import Stubber

from dagster_s3inc import errors
from dagster_s3inc.s3.client import make_client
from dagster_s3inc.s3.listing import open_listing
from dagster_s3inc.s3.location import S3Location
from tests.servers import S3Server, free_ports

ONCE = Config(retries={"mode": "standard", "max_attempts": 1}, connect_timeout=2)


def test_wrong_secret_is_a_matter_of_credentials(
    seaweedfs: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """A server that checks signatures refuses a wrong secret, and the message says so."""
    client = seaweedfs.client(aws_secret_access_key="wrong")
    with pytest.raises(errors.CredentialsError, match="does not accept these credentials"):
        open_listing(client, S3Location(new_bucket(seaweedfs)))


def test_unknown_access_key_is_a_matter_of_credentials(
    seaweedfs: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """A server that checks signatures refuses an unknown access key, and the message says so."""
    client = seaweedfs.client(aws_access_key_id="unknown")
    with pytest.raises(errors.CredentialsError, match="does not accept these credentials"):
        open_listing(client, S3Location(new_bucket(seaweedfs)))


def test_no_credentials_at_all(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials, the message says where they may be set."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    # boto3's own session keeps the credentials that it has found once.
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    client = moto.client(aws_access_key_id=None, aws_secret_access_key=None)
    with pytest.raises(
        errors.CredentialsError, match=r"No credentials were found.*AWS_ACCESS_KEY_ID"
    ):
        open_listing(client, S3Location("bucket"))


def test_nobody_listens_at_the_endpoint() -> None:
    """An endpoint that does not answer is named, with what to check."""
    [port] = free_ports(1)
    client = S3Server("none", f"http://127.0.0.1:{port}").client(config=ONCE)
    with pytest.raises(errors.EndpointError, match=rf"Check endpoint_url.*127\.0\.0\.1:{port}"):
        open_listing(client, S3Location("bucket"))


def test_invalid_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region name that cannot be one is refused when the client is made."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "not a region")
    with pytest.raises(errors.RegionError, match="region name is not valid"):
        make_client()


def test_unknown_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile that is not there is looked for on this machine; no server is blamed."""
    monkeypatch.setenv("AWS_PROFILE", "nope")
    monkeypatch.setattr("boto3.DEFAULT_SESSION", None)
    with pytest.raises(errors.CredentialsError, match=r"no server was asked. Check AWS_PROFILE"):
        make_client()


def test_unknown_retry_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that botocore refuses is looked for in the settings; no server is blamed."""
    monkeypatch.setenv("AWS_RETRY_MODE", "never")
    with pytest.raises(errors.S3RequestError, match=r"failed by itself.*Check its settings"):
        make_client()


def test_request_that_cannot_be_sent(moto: S3Server) -> None:
    """A name that botocore does not take is said to be one; no server is blamed."""
    with pytest.raises(errors.S3RequestError, match=r"no server was asked. Check the bucket"):
        open_listing(moto.client(), S3Location("no bucket"))


def test_client_from_the_environment(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client for those who bring none finds the server that the environment names."""
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    client = make_client()
    client.create_bucket(Bucket="from-environment")
    assert len(list(open_listing(client, S3Location("from-environment")).pages)) == 1
    assert client.meta.config.retries["mode"] == "adaptive"
    monkeypatch.setenv("AWS_RETRY_MODE", "standard")
    assert make_client().meta.config.retries["mode"] == "standard"


@pytest.mark.parametrize("wrong", ["localhost:9000", "ftp//x", "http://a b", "http://[::1"])
def test_invalid_endpoint(wrong: str) -> None:
    """An endpoint that is not a URL is refused when the client is made, with an example of one."""
    with pytest.raises(errors.ConfigurationError, match="Write http://HOST:PORT"):
        make_client(endpoint_url=wrong)


@pytest.mark.parametrize(
    ("code", "status", "kind", "says"),
    [
        ("AccessDenied", 403, errors.PermissionDeniedError, "s3:ListBucket"),
        ("ExpiredToken", 400, errors.CredentialsError, "whether they have expired"),
        ("RequestTimeTooSkewed", 403, errors.CredentialsError, "clock"),
        ("SlowDown", 503, errors.ThrottledError, "raise max_attempts"),
        ("PermanentRedirect", 301, errors.RegionError, "Set region_name"),
        ("AuthorizationHeaderMalformed", 400, errors.RegionError, "Set region_name"),
        ("SomethingNew", 503, errors.ThrottledError, "fewer requests"),
        ("InternalError", 500, errors.S3RequestError, "refused the request"),
    ],
)
def test_error_answers_become_ours(
    code: str, status: int, kind: type[Exception], says: str
) -> None:
    """Each error that S3 documents becomes one that says what to do; its cause is botocore's."""
    client = S3Server("none", "http://127.0.0.1:9").client(config=ONCE)
    with Stubber(client) as stub:
        stub.add_client_error("list_objects_v2", code, "words", http_status_code=status)
        with pytest.raises(kind, match=says) as caught:
            open_listing(client, S3Location("bucket", "prefix/"))
    assert "Could not list s3://bucket/prefix/" in str(caught.value)
    assert isinstance(caught.value.__cause__, ClientError)


def test_every_error_is_one_of_ours() -> None:
    """One `except S3IncError` catches all errors that this package raises by design."""
    kinds: list[Any] = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(kind, errors.S3IncError) for kind in kinds)
    assert not any(issubclass(kind, BotoCoreError) for kind in kinds)
