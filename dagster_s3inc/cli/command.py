"""The commands and their options, and how errors become messages and exit codes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeVar

import click

from dagster_s3inc.cli.origin import read_origin
from dagster_s3inc.cli.plan import make_plan, print_plan
from dagster_s3inc.cli.status import describe_status, status_document
from dagster_s3inc.core.batching import BatchPolicy, ScanLimits
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.words import descriptions, parse_duration, parse_moment, parse_start
from dagster_s3inc.errors import ConfigurationError, S3IncError
from dagster_s3inc.s3.location import S3Location

__all__ = ["cli"]

_T = TypeVar("_T")
_Command = TypeVar("_Command", bound=Callable[..., Any])

_WAITS: Final = 3
_READABLE: Final = "readable"

_SIZE: Final = re.compile(r"(\d+)(KiB|MiB|GiB|TiB)?")
_POWERS: Final = {None: 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}


class _Commands(click.Group):
    """Ends with 2 where the call was wrong, and with 1 where the answer could not be had."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise click.UsageError(str(error), ctx) from error
        except S3IncError as error:
            raise click.ClickException(str(error)) from error


def _size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"{text!r} is not a size. Write bytes, or 64KiB, 1MiB, 2GiB")
    return int(found[1]) << 10 * _POWERS[found[2]]


def _typed(parse: Callable[[str], _T]) -> Callable[[Any], _T]:
    """The type of an option that this reads; what is wrong is said beside the option's name."""

    def convert(value: Any) -> _T:
        try:
            return parse(value)
        except ConfigurationError as error:
            raise click.BadParameter(f"{error}.") from error

    return convert


_BYTES: Final = {"type": _typed(_size), "metavar": "SIZE"}
_GLOBS: Final = {"multiple": True, "metavar": "GLOB"}

# How the fields of batches and filters are written; the others have options of their own.
_FIELDS: Final[Mapping[str, dict[str, Any]]] = {
    "max_files": {"type": int},
    "max_bytes": _BYTES,
    "linger": {"type": _typed(parse_duration), "metavar": "DURATION"},
    "include": _GLOBS,
    "exclude": _GLOBS,
    "min_size": _BYTES,
    "max_size": _BYTES,
    "modified_before": {"type": _typed(parse_moment), "metavar": "TIME"},
    "include_folder_markers": {"is_flag": True},
}


def _field_options(made: type[Any]) -> Callable[[_Command], _Command]:
    """Adds an option for each field of a dataclass, with its name, default and description."""
    means = descriptions(made)

    def add(command: _Command) -> _Command:
        for each in reversed(fields(made)):
            if each.name in _FIELDS:
                text = means.get(each.name, "").replace("; None means", "; left out, it means")
                command = click.option(
                    f"--{each.name.replace('_', '-')}",
                    default=each.default,
                    show_default=isinstance(each.default, int),
                    help=text.replace("None means", "Left out, it means"),
                    **_FIELDS[each.name],
                )(command)
        return command

    return add


_ORIGIN: Final = {
    "cursor": (
        "FILE|TEXT|-",
        "A sensor's cursor: in a file, as it is ({...}), or on standard input (-).",
    ),
    "checkpoint": (
        "PATH|S3-URI",
        "A processor's checkpoint: a local file or s3://BUCKET/KEY.",
    ),
    "sensor": ("NAME", "A sensor of the Dagster instance that DAGSTER_HOME names."),
    "location": ("NAME", "The sensor's code location, if in doubt."),
    "repository": ("NAME", "The sensor's repository, if in doubt."),
    "endpoint-url": ("URL", "The S3 server; by default the environment's, or AWS."),
}


def _origin_options(command: _Command) -> _Command:
    for name, (metavar, text) in reversed(_ORIGIN.items()):
        command = click.option(f"--{name}", metavar=metavar, help=text)(command)
    return command


@click.group(cls=_Commands)
@click.version_option(package_name="dagster-s3inc")
def cli() -> None:
    """Shows what is new below an S3 prefix, and how far sensors and processors have come.

    Nothing is changed anywhere. Exit codes: 0 is fine; 1 it could not be found out; 2 the call was
    wrong; 3 something waits (only with plan --check).
    """


@cli.command()
@click.argument("uri")
@_field_options(BatchPolicy)
@click.option(
    "--max-batches-per-tick",
    type=int,
    default=ScanLimits().max_batches,
    show_default=True,
    help="The most batches; the rest waits.",
)
@_field_options(ObjectFilter)
@click.option(
    "--storage-class",
    "storage_classes",
    multiple=True,
    metavar="NAME",
    help=f"Only this class, as in STANDARD; repeatable. By default '{_READABLE}': all that can be "
    "read at once; with --checkpoint STANDARD, as a processor has it.",
)
@click.option(
    "--start-from",
    type=_typed(parse_start),
    metavar="beginning|now|TIME",
    default="beginning",
    show_default=True,
    help="Where a first scan begins; a time bounds every scan.",
)
@click.option(
    "--lookback",
    type=_typed(parse_duration),
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="For how long files are remembered one by one, as in 30m.",
)
@_origin_options
@click.option("--files", "with_files", is_flag=True, help="List each file too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--check", is_flag=True, help=f"Exit with {_WAITS} if something waits.")
@click.pass_context
def plan(
    ctx: click.Context,
    /,
    *,
    uri: str,
    max_batches_per_tick: int,
    storage_classes: tuple[str, ...],
    start_from: Literal["beginning", "now"] | datetime,
    lookback: timedelta,
    with_files: bool,
    as_json: bool,
    check: bool,
    **others: Any,
) -> None:
    """Shows what would be requested now from URI (s3://BUCKET/PREFIX).

    Without --cursor, --checkpoint or --sensor, that is what a first scan would emit. Give the
    same options as the sensor or processor has. Changes nothing.
    """
    location = S3Location.parse_prefix(uri)
    classes = _classes(storage_classes, others["checkpoint"] is not None)
    policy, rules = (
        {each.name: others.pop(each.name) for each in fields(made) if each.name in _FIELDS}
        for made in (BatchPolicy, ObjectFilter)
    )
    objects = ObjectFilter(
        **rules,
        storage_classes=classes,
        modified_after=start_from if isinstance(start_from, datetime) else None,
    )
    account = classes[0] if classes is not None and len(classes) == 1 else None
    planned = make_plan(
        location,
        read_origin(storage_class=account, **others),
        objects,
        ScanLimits(
            policy=BatchPolicy(**policy), max_batches=max_batches_per_tick, lookback=lookback
        ),
        starts_now=start_from == "now",
        endpoint_url=others["endpoint_url"],
    )
    if as_json:
        click.echo(json.dumps(planned.document(with_files=with_files), indent=2))
    else:
        print_plan(planned, with_files=with_files)
    if check and planned.something_waits:
        ctx.exit(_WAITS)


@cli.command()
@_origin_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def status(as_json: bool, **origin_options: Any) -> None:
    """Explains a cursor: --cursor, --checkpoint or --sensor. Changes nothing."""
    origin = read_origin(**origin_options)
    if origin is None:
        raise click.UsageError("Give one of --cursor, --checkpoint and --sensor.")
    if as_json:
        click.echo(json.dumps(status_document(origin), indent=2))
        return
    for line in describe_status(origin):
        click.echo(line)


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
