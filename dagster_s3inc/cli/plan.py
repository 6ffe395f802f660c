"""`dagster-s3inc plan`: what would be handed over now."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import click

from dagster_s3inc.cli import parameters
from dagster_s3inc.cli.origin import Origin, origin_options, read_origin
from dagster_s3inc.cli.plan_output import Planned, as_document, print_plan
from dagster_s3inc.cli.progress import listing_progress
from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.report import describe_scan
from dagster_s3inc.s3.client import make_client
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.scanning import Scanner, without

__all__ = ["plan"]

_WAITS: Final = 3

_READABLE: Final = "readable"


@click.command()
@click.argument("uri")
@click.option(
    "--max-files",
    type=int,
    default=BatchPolicy().max_files,
    show_default=True,
    help="The most files in a batch.",
)
@click.option(
    "--max-bytes",
    type=parameters.size,
    metavar="SIZE",
    help="The most bytes in a batch, as in 500MiB; by default any.",
)
@click.option(
    "--max-batches",
    type=int,
    default=ScanLimits().max_batches,
    show_default=True,
    help="The most batches; the rest waits.",
)
@click.option(
    "--linger",
    type=parameters.duration,
    metavar="DURATION",
    help="For how long a file waits until its batch is full, as in 10m; by default not at all.",
)
@click.option("--include", multiple=True, metavar="GLOB", help="Only such keys; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="No such keys; repeatable.")
@click.option(
    "--storage-class",
    "storage_classes",
    multiple=True,
    metavar="NAME",
    help=f"Only this class, as in STANDARD; repeatable. By default '{_READABLE}': all that can be "
    "read at once; with --checkpoint STANDARD, as a processor has it.",
)
@click.option(
    "--min-size", type=parameters.size, metavar="SIZE", help="Only files at least so large."
)
@click.option(
    "--max-size", type=parameters.size, metavar="SIZE", help="Only files at most so large."
)
@click.option(
    "--modified-before", type=parameters.moment, metavar="TIME", help="Only files modified before."
)
@click.option("--folder-markers", is_flag=True, help="Count empty objects that end in / as files.")
@click.option(
    "--start-from",
    type=parameters.start,
    metavar="beginning|now|TIME",
    default="beginning",
    show_default=True,
    help="Where a first look begins; a time bounds every look.",
)
@click.option(
    "--lookback",
    type=parameters.duration,
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="For how long files are remembered one by one, as in 30m.",
)
@origin_options
@click.option("--files", "show_files", is_flag=True, help="List each file too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--check", is_flag=True, help=f"Exit with {_WAITS} if something waits.")
def plan(
    uri: str,
    max_files: int,
    max_bytes: int | None,
    max_batches: int,
    linger: timedelta | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    storage_classes: tuple[str, ...],
    min_size: int | None,
    max_size: int | None,
    modified_before: datetime | None,
    folder_markers: bool,
    start_from: Literal["beginning", "now"] | datetime,
    lookback: timedelta,
    show_files: bool,
    as_json: bool,
    check: bool,
    **origin_of: Any,
) -> None:
    """Shows what would be handed over now from URI (s3://BUCKET/PREFIX).

    Without --cursor, --checkpoint or --sensor, that is what a first look would hand over. Give the
    same options as the sensor or processor has. Changes nothing.
    """
    location = S3Location.parse(uri)
    objects = ObjectFilter(
        include=include,
        exclude=exclude,
        storage_classes=_classes(storage_classes, origin_of["checkpoint"] is not None),
        min_size=min_size,
        max_size=max_size,
        modified_after=start_from if isinstance(start_from, datetime) else None,
        modified_before=modified_before,
        include_folder_markers=folder_markers,
    )
    limits = ScanLimits(
        policy=BatchPolicy(max_files=max_files, max_bytes=max_bytes, linger=linger),
        max_batches=max_batches,
        lookback=lookback,
    )
    origin = read_origin(**origin_of)
    planned = _look(
        location,
        origin,
        objects,
        limits,
        adopt=start_from == "now" and (origin is None or origin.is_first),
        endpoint_url=origin_of["endpoint_url"],
    )
    if as_json:
        click.echo(json.dumps(as_document(planned, with_files=show_files), indent=2))
    else:
        print_plan(planned, with_files=show_files)
    if check and planned.something_waits:
        click.get_current_context().exit(_WAITS)


def _classes(names: tuple[str, ...], of_processor: bool) -> tuple[str, ...] | None:
    if not names:
        return ("STANDARD",) if of_processor else None
    if _READABLE in names:
        if len(names) > 1:
            raise click.BadParameter(
                f"{_READABLE} goes with no other.", param_hint="--storage-class"
            )
        return None
    return names


def _look(
    location: S3Location,
    origin: Origin | None,
    objects: ObjectFilter,
    limits: ScanLimits,
    *,
    adopt: bool,
    endpoint_url: str | None,
) -> Planned:
    start = Checkpoint() if origin is None else origin.following
    sketch = start.settled or (start.unfinished and start.unfinished.listed)
    if sketch:
        limits = replace(limits, sketch_cells=sketch.cells)
    selection = objects.selection(location.key, bucket=location.bucket)
    if origin is not None and origin.place is not None and location.covers(origin.place):
        selection = without(origin.place.key, selection)
    client = make_client(endpoint_url=endpoint_url)
    began = time.monotonic()
    with listing_progress(location.uri) as on_page:
        # Nobody waits for this as the daemon waits for a tick: it looks at all.
        look = Scanner(time_budget=None).scan(
            client,
            replace(location, key=objects.list_prefix(location.key)),
            start,
            selection=selection,
            limits=limits,
            adopt=adopt,
            on_page=on_page,
        )
    seconds = time.monotonic() - began
    return Planned(
        location=location,
        start=start,
        origin=origin,
        look=look,
        seconds=seconds,
        report=describe_scan(look.result, source=location.uri, seconds=seconds),
    )
