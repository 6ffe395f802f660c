"""The assets: batches of order files go into a table, the table into a summary."""

# No `from __future__ import annotations` here: Dagster reads the types of the parameters.
import shutil
import tempfile

import dagster as dg
import duckdb
from botocore.response import StreamingBody
from dagster_aws.s3 import S3Resource

from dagster_s3inc import S3Batch, S3File
from dagster_s3inc.errors import ObjectChangedError, ObjectNotFoundError
from example_project.charts import bar_chart, markdown_table
from example_project.warehouse import POOL, Warehouse


# What lands in S3 stands upstream: `definitions.py` makes that asset.
@dg.asset(group_name="shop", kinds={"duckdb"}, pool=POOL, deps=["landed_order_files"])
def orders(
    context: dg.AssetExecutionContext, batch: S3Batch, s3: S3Resource, warehouse: Warehouse
) -> dg.MaterializeResult[None]:
    """All orders: one row each, loaded from gzipped NDJSON files in S3."""
    # Once for all files: making a client takes longer than reading a small file.
    client = s3.get_client()
    files = rows = 0
    with warehouse.connect() as db:
        for file in batch:
            try:
                with batch.open(file, client) as stream:
                    rows += _replace_rows(db, file, stream, context.run.run_id)
                files += 1
            except (ObjectChangedError, ObjectNotFoundError) as gone:
                # No error: of an overwritten file, the new version comes in a later batch; of a
                # deleted one, there is nothing to load.
                context.log.warning(f"Left out: {gone}")
        total = _one_number(db, "SELECT count(*) FROM orders")
    # Dagster draws the numbers over time.
    return dg.MaterializeResult(
        metadata={
            "rows": rows,
            "files left out": len(batch) - files,
            "dagster/row_count": total,
            # How many files and bytes, of which generation, and a table of the files.
            **batch.metadata(),
        }
    )


def _replace_rows(
    db: duckdb.DuckDBPyConnection, file: S3File, stream: StreamingBody, run_id: str
) -> int:
    """Makes the table hold what the file holds, whatever it held of that file before.

    That makes the load idempotent. A run that is executed again, a reset, and a file that was
    overwritten all come down to this: the file's old rows go, its new rows come, or neither.
    """
    # Through a file: DuckDB parses it in C++, and a large one need not fit into memory.
    with tempfile.NamedTemporaryFile(suffix=".ndjson.gz") as copy:
        shutil.copyfileobj(stream, copy)
        copy.flush()
        db.begin()
        try:
            db.execute("DELETE FROM orders WHERE file = ?", [file.key])
            db.execute(_INSERT_ROWS, [file.key, copy.name])
            rows = _one_number(db, "SELECT count(*) FROM orders WHERE file = ?", [file.key])
            db.execute(
                "INSERT OR REPLACE INTO loaded_files VALUES (?, ?, ?, ?)",
                [file.key, file.etag, rows, run_id],
            )
        except duckdb.Error:
            db.rollback()
            raise
        db.commit()
    return rows


_INSERT_ROWS = """
    INSERT INTO orders
    SELECT ?, * FROM read_json(?, format = 'newline_delimited', compression = 'gzip', columns = {
        order_id: 'VARCHAR', ordered_at: 'TIMESTAMP', product: 'VARCHAR', quantity: 'INTEGER',
        unit_price_cents: 'INTEGER'
    })
"""


@dg.asset(group_name="shop", kinds={"duckdb"}, pool=POOL, deps=[orders])
def revenue_by_day(warehouse: Warehouse) -> dg.MaterializeResult[None]:
    """Orders and revenue of each day, over all files loaded so far."""
    # It names no batch: it depends on the whole table, and can be launched without any config.
    with warehouse.connect() as db:
        db.execute(_SUMMARIZE)
        days = db.execute("SELECT day, orders, revenue FROM revenue_by_day ORDER BY day").fetchall()
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(days),
            "orders": sum(count for _, count, _ in days),
            "revenue": float(sum(revenue for _, _, revenue in days)),
            "plot": dg.MetadataValue.md(
                bar_chart(
                    "Revenue by day", [(f"{day:%d %b}", float(sum_)) for day, _, sum_ in days]
                )
            ),
            "table": dg.MetadataValue.md(markdown_table(("day", "orders", "revenue"), days)),
        }
    )


_SUMMARIZE = """
    CREATE OR REPLACE TABLE revenue_by_day AS
    SELECT ordered_at::DATE AS day, count(*) AS orders,
        (sum(quantity * unit_price_cents) / 100)::DECIMAL(18, 2) AS revenue
    FROM orders GROUP BY day ORDER BY day
"""


def _one_number(
    db: duckdb.DuckDBPyConnection, query: str, parameters: list[str] | None = None
) -> int:
    row = db.execute(query, parameters or []).fetchone()
    return 0 if row is None else int(row[0])
