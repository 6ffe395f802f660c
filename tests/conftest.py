"""Fixtures that several test modules share."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import S3Server, moto_server, seaweedfs_server

logging.getLogger("werkzeug").setLevel(logging.WARNING)

# No bound on the time of an example: on a busy machine it measures the machine, not the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_numbers = itertools.count(1)


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the tests from finding a person's AWS settings, a Dagster home or the network."""
    empty = tmp_path_factory.mktemp("home") / "none"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "DAGSTER_HOME"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_CONFIG_FILE", str(empty))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(empty))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("DAGSTER_DISABLE_TELEMETRY", "yes")
        yield


@pytest.fixture(scope="session")
def moto() -> Iterator[S3Server]:
    """The moto server, over HTTP."""
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS, a production server that does not list in byte order."""
    with seaweedfs_server(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(params=["moto", "seaweedfs"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the servers in turn: what is promised holds on all of them."""
    server: S3Server = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def new_bucket() -> Callable[[S3Server], str]:
    """Makes an empty bucket on a server."""

    def make(server: S3Server) -> str:
        name = f"bucket-{next(_numbers)}"
        server.client().create_bucket(Bucket=name)
        return name

    return make


@pytest.fixture
def client(s3_server: S3Server) -> Any:
    """A boto3 client of the server in turn."""
    return s3_server.client()


@pytest.fixture
def bucket(s3_server: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    """An empty bucket on the server in turn."""
    return new_bucket(s3_server)
