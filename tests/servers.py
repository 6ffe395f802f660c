"""Real S3 servers on loopback, started and ended by the tests."""

from __future__ import annotations

import json
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from dagster_aws.s3 import S3Resource
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

START_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    """A running server and what a client needs to know of it."""

    name: str
    endpoint_url: str
    access_key: str = "test-access"
    secret_key: str = "test-secret"
    region: str = "us-east-1"

    def client(self, **overrides: Any) -> Any:
        options = {
            "endpoint_url": self.endpoint_url,
            "region_name": self.region,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "config": Config(retries={"mode": "standard", "max_attempts": 2}),
        }
        return boto3.client("s3", **{**options, **overrides})

    def resource(self) -> S3Resource:
        return S3Resource(
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            max_attempts=2,
        )

    @property
    def environment(self) -> dict[str, str]:
        """What makes boto3 find the server in another process."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all held open together so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def moto_server() -> Iterator[S3Server]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield S3Server("moto", f"http://{host}:{port}")
    finally:
        server.stop()


@contextmanager
def seaweedfs_server(folder: Path) -> Iterator[S3Server]:
    weed = Path(sysconfig.get_path("scripts")) / "weed"
    ports = free_ports(8)
    server = S3Server("seaweedfs", f"http://127.0.0.1:{ports[0]}")
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": server.access_key, "secretKey": server.secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [identity]}))
    data = folder / "data"
    data.mkdir()
    names = ("s3.port", "s3.port.grpc", "master.port", "master.port.grpc")
    names += ("volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
    command = [
        str(weed),
        f"-logdir={folder}",
        "server",
        f"-dir={data}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.volumeSizeLimitMB=64",
        # Each bucket takes some of these, and each test a bucket.
        "-volume.max=5000",
        "-filer",
        "-s3",
        f"-s3.config={config}",
        "-s3.autoCreateBucket=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *(f"-{name}={port}" for name, port in zip(names, ports, strict=True)),
    ]
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            _wait_until_it_stores(server, process, folder / "weed.log")
            yield server
        finally:
            # Not terminate: it would spend 20 s on saving what nobody needs.
            process.kill()
            process.wait()


def _wait_until_it_stores(server: S3Server, process: Any, log: Path) -> None:
    client = server.client(config=Config(retries={"mode": "standard", "max_attempts": 1}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="ready", Body=b"ready")
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"no S3 within {START_SECONDS} s: {log.read_text()}")


def backdate(bucket: str, key: str, moment: datetime) -> None:
    """Gives an object on the moto server another LastModified.

    As on AWS, where a multipart upload carries the time at which it began. The server runs in
    this process, so its store is at hand; what a client sees comes over HTTP.
    """
    [account] = [each for each in s3_backends.values() if bucket in each["aws"].buckets]
    account["aws"].buckets[bucket].keys[key].last_modified = moment.replace(tzinfo=None)


def fill(bucket: str, keys: Iterable[str], body: bytes = b"x") -> None:
    """Puts objects into the moto server's store, faster than one could over HTTP."""
    [account] = [each for each in s3_backends.values() if bucket in each["aws"].buckets]
    for key in keys:
        account["aws"].put_object(bucket, key, body)
