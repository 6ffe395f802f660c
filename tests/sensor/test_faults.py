"""Whatever goes wrong between us and the server: a whole scan, or an error; never a part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.config import Config

from dagster_s3inc import S3IncrementalProcessor, errors
from tests import faults
from tests.faults import Fault, FaultyProxy, faulty_proxy
from tests.servers import S3Server

KEYS = [f"in/{number:02}" for number in range(25)]
PAGE = 10
TRIES = 3

# Adaptive retries, as by default, but with a short patience.
CONFIG = Config(
    retries={"mode": "adaptive", "max_attempts": TRIES}, read_timeout=1, connect_timeout=1
)


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", str(PAGE))


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    name, client = new_bucket(moto), moto.client()
    for key in KEYS:
        client.put_object(Bucket=name, Key=key, Body=b"")
    return name


@pytest.fixture
def proxied(moto: S3Server) -> Iterator[tuple[FaultyProxy, S3Server]]:
    with faulty_proxy(moto) as both:
        yield both


@pytest.fixture
def find(proxied: Any, bucket: str, tmp_path: Any) -> Callable[..., list[str]]:
    """Finds all new files through the proxy, with these faults in its LIST requests."""
    proxy, server = proxied

    def find_all(*planned: Fault | None) -> list[str]:
        proxy.faults.extend(planned)
        processor = S3IncrementalProcessor(
            f"s3://{bucket}/in/", tmp_path / "cp.json", client=server.client(config=CONFIG)
        )
        uris = processor.get_new_files(batch_size=100)
        return [uri.removeprefix(f"s3://{bucket}/") for uri in uris]

    return find_all


PASSING = {
    "503 SlowDown": faults.error(503, "SlowDown"),
    "500": faults.error(500, "InternalError"),
    "connection reset": faults.connection_reset,
    "cut body": faults.cut_body,
    "200 with an error inside": faults.error(200, "InternalError"),
    "hang longer than the read timeout": faults.hang(1.5),
}


def test_no_fault(find: Any, proxied: Any) -> None:
    """Through the proxy alone, the listing is whole, in three requests."""
    assert find() == KEYS
    assert proxied[0].requests == 3


@pytest.mark.parametrize("page", [0, 1, 2])
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_passing_fault(find: Any, fault: Fault, page: int) -> None:
    """A fault that passes, on any page, is retried, and the listing is whole."""
    assert find(*[None] * page, fault) == KEYS


LASTING = {
    "503 SlowDown": (faults.error(503, "SlowDown"), errors.ThrottledError),
    "500": (faults.error(500, "InternalError"), errors.S3RequestError),
    "connection reset": (faults.connection_reset, errors.EndpointError),
    "cut body": (faults.cut_body, errors.S3RequestError),
    "cut body that seems whole": (faults.cut_body_that_seems_whole, errors.S3RequestError),
    "200 with an error inside": (faults.error(200, "InternalError"), errors.S3RequestError),
    "hang longer than the read timeout": (faults.hang(1.5), errors.EndpointError),
    "empty body": (faults.empty_body, errors.ListingError),
    "somebody else's page": (faults.not_s3, errors.S3RequestError),
    "expired token": (faults.error(400, "ExpiredToken"), errors.CredentialsError),
    "credentials taken away": (faults.error(403, "InvalidAccessKeyId"), errors.CredentialsError),
    "rights taken away": (faults.error(403, "AccessDenied"), errors.PermissionDeniedError),
    "moved region": (faults.error(301, "PermanentRedirect"), errors.RegionError),
}


@pytest.mark.parametrize("page", [0, 2])
@pytest.mark.parametrize(("fault", "kind"), LASTING.values(), ids=LASTING.keys())
def test_lasting_fault(find: Any, fault: Fault, kind: type[Exception], page: int) -> None:
    """A fault that lasts, on the first or the last page, is an error, and no shorter listing."""
    with pytest.raises(kind, match=r"Could not list s3://bucket-\d+/in/"):
        find(*[None] * page, *[fault] * TRIES * 2)


def test_page_that_repeats_its_token(find: Any) -> None:
    """A server that goes round in circles is an error, and neither endless nor the end."""
    with pytest.raises(errors.ListingError, match="the same token came twice"):
        find(None, faults.repeated_token)


def test_bucket_deleted_while_it_is_listed(find: Any, moto: S3Server, bucket: str) -> None:
    """A bucket that goes away between two pages is an error, and not the end of the listing."""
    client = moto.client()

    def delete() -> None:
        for key in KEYS:
            client.delete_object(Bucket=bucket, Key=key)
        client.delete_bucket(Bucket=bucket)

    with pytest.raises(errors.BucketNotFoundError):
        find(None, faults.first(delete))


def test_nothing_is_lost_after_an_error(find: Any, proxied: Any) -> None:
    """After a scan that failed, the next one finds everything."""
    with pytest.raises(errors.CredentialsError):
        find(None, faults.error(400, "ExpiredToken"))
    assert not proxied[0].faults
    assert find() == KEYS
