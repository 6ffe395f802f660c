"""The assets of the recipes, and the alerts of the page on monitoring, with a real S3 server."""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest

from tests.servers import S3Server

HOW_TO = Path(__file__).parents[1] / "docs/how-to"

# In place of Spark: it reads and writes the same URIs, one JSON document a line.
SPARK_SUBMIT = f"""\
#!{sys.executable}
import runpy, sys
sys.path.insert(0, ".")
runpy.run_path(sys.argv[1], run_name="__main__")
"""
PYSPARK = """\
import boto3

class SparkSession:
    builder = property(lambda self: self)
    read = write = builder
    def getOrCreate(self): return self
    def mode(self, name): return self
    def withColumn(self, name, value): return self
    def json(self, uris):
        self.lines = b"".join(
            boto3.client("s3").get_object(Bucket=b, Key=k)["Body"].read()
            for b, k in (uri.removeprefix("s3a://").split("/", 1) for uri in uris)
        )
        return self
    def parquet(self, uri):
        bucket, key = uri.removeprefix("s3a://").split("/", 1)
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=self.lines)
    def count(self): return self.lines.count(b"\\n")

SparkSession = SparkSession()
"""


class Lake:
    """The bucket of which the docs speak, and the definitions of one recipe."""

    def __init__(self, client: Any, folder: Path) -> None:
        self.client, self.folder = client, folder
        self.space: dict[str, Any] = {}
        self.cursor: str | None = None
        self.instance = dg.DagsterInstance.ephemeral()

    def load(self, page: str, heading: str) -> None:
        text = (HOW_TO / page).read_text("utf-8")
        code = text.split(f"## {heading}")[1].split("```python\n")[1].split("```")[0]
        # A module as any other: dlt asks for the module of a function.
        (self.folder / "definitions.py").write_text(code, "utf-8")
        module = importlib.import_module("definitions")
        self.space = vars(module)

    def tick(self) -> list[dg.RunRequest]:
        definitions: dg.Definitions = self.space["defs"]
        context = dg.build_sensor_context(
            cursor=self.cursor,
            resources={"s3": (definitions.resources or {})["s3"]},
            instance=self.instance,
            sensor_name="landing",
        )
        result = definitions.resolve_sensor_def("landing").evaluate_tick(context)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursor = result.cursor
        return list(result.run_requests or ())

    def run(self, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        job = self.space["defs"].resolve_implicit_global_asset_job_def()
        tags = {
            **request.tags,
            "dagster/sensor_name": "landing",
            "dagster/run_key": request.run_key or "",
        }
        return job.execute_in_process(
            run_config=request.run_config, tags=tags, instance=self.instance, raise_on_error=False
        )

    def put(self, name: str, rows: list[dict[str, Any]], write: Callable[[Any], bytes]) -> None:
        self.client.put_object(Bucket="lake", Key=f"landing/{name}", Body=write(rows))


@pytest.fixture
def lake(moto: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lake]:
    for name, value in moto.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "definitions", raising=False)
    client = moto.client()
    client.create_bucket(Bucket="lake")
    yield Lake(client, tmp_path)
    # All moto servers of a process share their buckets.
    for each in client.list_objects_v2(Bucket="lake").get("Contents", []):
        client.delete_object(Bucket="lake", Key=each["Key"])
    client.delete_bucket(Bucket="lake")


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    return pl.DataFrame(rows).write_csv().encode()


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    pl.DataFrame(rows).write_parquet(written := io.BytesIO())
    return written.getvalue()


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def in_duckdb(lake: Lake, table: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(lake.folder / "lake.duckdb")) as db:
        return db.execute(f"SELECT order_id, amount FROM {table} ORDER BY 1").fetchall()  # noqa: S608


def in_files(lake: Lake) -> list[tuple[Any, ...]]:
    return pl.read_parquet(lake.folder / "orders/*.parquet").sort("order_id").rows()


RECIPES = {
    "DuckDB": (as_csv, lambda lake: in_duckdb(lake, "orders")),
    "Polars": (as_parquet, in_files),
    "dlt": (as_lines, lambda lake: in_duckdb(lake, "raw.orders")),
}


@pytest.mark.parametrize("heading", RECIPES)
def test_recipe_loads_each_version_once(heading: str, lake: Lake) -> None:
    """A recipe loads a batch, however often; of an overwritten file, the new version is left."""
    write, rows = RECIPES[heading]
    lake.put("a", [{"order_id": "a1", "amount": 1}, {"order_id": "a2", "amount": 2}], write)
    lake.put("b", [{"order_id": "b1", "amount": 3}], write)
    lake.load("recipes.md", heading)
    [first] = lake.tick()
    for _ in range(2):
        assert lake.run(first).success
        assert rows(lake) == [("a1", 1), ("a2", 2), ("b1", 3)]

    lake.put("a", [{"order_id": "a1", "amount": 9}], write)
    [second] = lake.tick()
    assert lake.run(second).success
    assert rows(lake) == [("a1", 9), ("b1", 3)]

    # The first batch again: its version of `a` is gone, and not taken for the new one.
    assert lake.run(first).success == (heading == "DuckDB")
    assert rows(lake) == [("a1", 9), ("b1", 3)]


def test_spark_recipe_reads_what_is_there(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The asset gives the application the URIs of its batch, and takes what that reports."""
    text = (HOW_TO / "recipes.md").read_text("utf-8")
    application = text.split("<!-- needs: pyspark -->\n```python\n")[1].split("```")[0]
    sql = lake.folder / "pyspark/sql"
    sql.mkdir(parents=True)
    (sql / "__init__.py").write_text(textwrap.dedent(PYSPARK))
    (sql / "functions.py").write_text("def input_file_name(): ...\n")
    (lake.folder / "load_orders.py").write_text(application)
    submit = lake.folder / "bin/spark-submit"
    submit.parent.mkdir()
    submit.write_text(SPARK_SUBMIT)
    submit.chmod(0o755)
    monkeypatch.setenv("PATH", str(submit.parent), prepend=os.pathsep)

    lake.put("a", [{"order_id": "a1", "amount": 1}], as_lines)
    lake.put("b", [{"order_id": "b1", "amount": 2}], as_lines)
    lake.load("recipes.md", "Spark")
    [request] = lake.tick()
    lake.put("a", [{"order_id": "a1", "amount": 9}], as_lines)
    result = lake.run(request)
    assert result.success
    [made] = result.asset_materializations_for_node("orders")
    assert made.metadata["rows"].value == 2
    batch = request.run_config["resources"]["batch"]["config"]["batch_id"]
    loaded = lake.client.get_object(Bucket="lake", Key=f"orders/batch={batch}")["Body"].read()
    assert loaded == as_lines([{"order_id": "a1", "amount": 9}, {"order_id": "b1", "amount": 2}])


def test_alerts_say_what_stands_still(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    """The alerts that the docs show say once that a batch failed, and once that it is repaired."""
    lake.put("a", [{"order_id": "a1"}], as_lines)
    lake.load("monitoring.md", "Alerts in Dagster OSS")
    cursor = ""

    def said() -> str:
        nonlocal cursor
        context = dg.build_sensor_context(instance=lake.instance, cursor=cursor)
        assert isinstance(lake.space["say_what_stands_still"](context), dg.SkipReason)
        cursor = context.cursor or ""
        return capsys.readouterr().out

    [request] = lake.tick()
    assert said() == ""
    batches = request.run_config["resources"]["batch"]["config"]
    request.run_config["resources"]["batch"]["config"] = {**batches, "files": []}
    failed = lake.run(request)
    assert not failed.success
    lake.space["say_what_failed"](
        dg.build_run_status_sensor_context(
            "say_what_failed", failed.get_run_failure_event(), lake.instance, failed.dagster_run
        ).for_run_failure()
    )
    assert f"run {failed.run_id}" in capsys.readouterr().out
    lake.tick()
    assert "landing_files, batches_failed: ERROR: Halted: batch" in said()
    assert said() == ""

    request.run_config["resources"]["batch"]["config"] = batches
    assert lake.run(request).success
    lake.tick()
    assert said() == "landing_files, batches_failed: passed\n"
    lake.space["STALE_SECONDS"] = 0
    assert said() == "landing_files, ticks: no tick has succeeded for hours\n"
