"""The DuckDB file as a Dagster resource."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import dagster as dg
import duckdb
from pydantic import Field

__all__ = ["POOL", "Warehouse"]

POOL: Final = "warehouse"
"""The pool of all assets that write to the file. Its limit is 1, see dagster.yaml."""

# DuckDB lets one process at a time open a file for writing. The pool keeps the runs apart; this
# waits until a person who has the file open, or a run that ends, closes it.
_PATIENCE_SECONDS: Final = 30.0
_PAUSE_SECONDS: Final = 0.2

_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS orders (
        file VARCHAR, order_id VARCHAR, ordered_at TIMESTAMP, product VARCHAR,
        quantity INTEGER, unit_price_cents INTEGER
    );
    CREATE TABLE IF NOT EXISTS loaded_files (
        file VARCHAR PRIMARY KEY, etag VARCHAR, rows BIGINT, run_id VARCHAR
    );
"""


class Warehouse(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A DuckDB file with the tables of this example."""

    path: str = Field(description="The DuckDB file; it is made if it does not exist.")

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Opens the file for writing; waits a while for another process that has it open.

        Raises:
            duckdb.IOException: The file cannot be opened, or another process keeps it.
        """
        Path(self.path).parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                connection = duckdb.connect(self.path)
                break
            except duckdb.IOException as error:
                if "lock" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_SECONDS)
        with connection:
            connection.execute(_SCHEMA)
            yield connection
