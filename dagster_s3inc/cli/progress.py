"""How far a listing has come, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dagster_s3inc.s3.scanning import OnPage

__all__ = ["listing_progress"]


@contextmanager
def listing_progress(source: str) -> Iterator[OnPage]:
    """Shows a progress bar while the block runs, and takes it away at the end.

    How many objects there are shows only at the end, so the bar has no end either. Where standard
    error is no terminal, nothing is shown.

    Args:
        source: What is listed.

    Yields:
        What a scan tells of its pages.
    """
    progress = Progress(
        TextColumn("Listing {task.fields[source]}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.completed:,} objects, {task.fields[requests]:,} requests", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        task = progress.add_task("listing", total=None, source=source, requests=0)

        def on_page(objects: int, requests: int) -> None:
            progress.update(task, advance=objects, requests=requests)

        yield on_page
