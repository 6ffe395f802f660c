"""The example's assets: what a newcomer learns from must hold."""

from __future__ import annotations

import gzip
import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from tests.servers import S3Server

Load = Callable[..., dg.ExecuteInProcessResult]


def lines(*order_ids: str) -> bytes:
    """A file of orders, as the example drops it."""
    orders = [
        {
            "order_id": each,
            "ordered_at": "2026-11-21T10:00:00",
            "product": "tea",
            "quantity": 2,
            "unit_price_cents": 150,
        }
        for each in order_ids
    ]
    return gzip.compress("\n".join(json.dumps(order) for order in orders).encode())


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    return new_bucket(moto)


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.duckdb"


@pytest.fixture
def load(moto: S3Server, bucket: str, warehouse: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Runs the example's job on files, given by key and content."""
    for name, value in {**moto.environment, "EXAMPLE_WAREHOUSE": str(warehouse)}.items():
        monkeypatch.setenv(name, value)
    definitions: Any = importlib.reload(importlib.import_module("example_project.definitions"))
    job = definitions.defs.resolve_job_def("load_orders")
    client = moto.client()

    def run(files: dict[str, bytes], etags: dict[str, str] | None = None) -> Any:
        entries = []
        for key, content in files.items():
            etag = client.put_object(Bucket=bucket, Key=key, Body=content)["ETag"].strip('"')
            entries.append({"key": key, "etag": (etags or {}).get(key, etag)})
        config = {"bucket": bucket, "files": entries}
        return job.execute_in_process(run_config={"resources": {"batch": {"config": config}}})

    return run


def order_ids(warehouse: Path) -> list[str]:
    with duckdb.connect(str(warehouse), read_only=True) as db:
        return [row[0] for row in db.execute("SELECT order_id FROM orders ORDER BY 1").fetchall()]


def test_batch_is_loaded_and_summed_up(load: Load, warehouse: Path) -> None:
    """All rows of a batch are in the table, and in the summary with its plot and table."""
    result = load({"a": lines("1", "2"), "b": lines("3")})
    assert order_ids(warehouse) == ["1", "2", "3"]
    [event] = result.asset_materializations_for_node("revenue_by_day")
    assert event.metadata["orders"].value == 3
    assert event.metadata["revenue"].value == 9.0
    assert "data:image/png;base64," in str(event.metadata["plot"].value)
    assert "2026-11-21" in str(event.metadata["table"].value)


def test_batch_loaded_again_changes_nothing(load: Load, warehouse: Path) -> None:
    """The load is idempotent: after a reset, or a run executed again, no row is there twice."""
    for _ in range(2):
        assert load({"a": lines("1", "2")}).success
    assert order_ids(warehouse) == ["1", "2"]


def test_overwritten_file_replaces_its_rows(load: Load, warehouse: Path) -> None:
    """Of a file that was overwritten, only the rows of its new version remain."""
    load({"a": lines("1", "2"), "b": lines("3")})
    load({"a": lines("4")})
    assert order_ids(warehouse) == ["3", "4"]


def test_file_that_changed_since_is_left_out(load: Load, warehouse: Path) -> None:
    """A file that is no longer what was listed is left to a later batch, and counted."""
    result = load({"a": lines("1"), "b": lines("2")}, etags={"a": "0" * 32})
    [event] = result.asset_materializations_for_node("orders")
    assert event.metadata["files left out"].value == 1
    assert order_ids(warehouse) == ["2"]
