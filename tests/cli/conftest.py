"""A bucket, a sensor and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner, Result

from dagster_s3inc import build_s3_incremental_sensor
from dagster_s3inc.cli.command import cli
from tests.servers import S3Server


@dataclass(frozen=True)
class Lake:
    """A bucket that the environment's client reaches, with a prefix that a sensor scans."""

    bucket: str
    server: S3Server

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}/in/"

    def put(self, *names: str, body: bytes = b"x") -> None:
        client = self.server.client()
        for name in names:
            client.put_object(Bucket=self.bucket, Key=f"in/{name}", Body=body)

    def tick(self, cursor: str | None = None, **options: Any) -> dg.SensorResult:
        """What an evaluation of the sensor gives."""
        options = {"name": "landing", "uri": self.uri, "job_name": "ingest", **options}
        sensor = build_s3_incremental_sensor(**options)
        resources = {"s3": self.server.resource()}
        result: Any = sensor(dg.build_sensor_context(cursor=cursor, resources=resources))
        return result

    def cursor(self, **options: Any) -> str:
        """The sensor's cursor after a first tick."""
        return self.tick(**options).cursor or ""

    def versions(self) -> dict[str, tuple[str, Any]]:
        """All that is in the bucket: of each key its ETag and when it was written."""
        listed = self.server.client().list_objects_v2(Bucket=self.bucket)
        return {each["Key"]: (each["ETag"], each["LastModified"]) for each in listed["Contents"]}


@pytest.fixture
def lake(
    moto: S3Server, new_bucket: Callable[[S3Server], str], monkeypatch: pytest.MonkeyPatch
) -> Lake:
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    return Lake(new_bucket(moto), moto)


@pytest.fixture
def run() -> Callable[..., Result]:
    """Runs the command line; its exit code must be the one given."""

    def run_once(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
        result = CliRunner().invoke(cli, arguments, input=stdin)
        said = result.output
        assert result.exception is None or isinstance(result.exception, SystemExit), said
        assert result.exit_code == code, said
        return result

    return run_once


@pytest.fixture
def document(run: Callable[..., Result]) -> Callable[..., dict[str, Any]]:
    """Runs the command line with --json; gives what standard output parses to."""

    def run_once(*arguments: str, **options: Any) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(run(*arguments, "--json", **options).stdout)
        return parsed

    return run_once
