"""Which checkpoint a command is about: a sensor's cursor, or a processor's checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint
from dagster_s3inc.cursor import start_from
from dagster_s3inc.processor.legacy import decode_any_checkpoint
from dagster_s3inc.processor.stores import CheckpointFile, CheckpointObject
from dagster_s3inc.processor.target import checkpoint_target
from dagster_s3inc.s3.client import make_client
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.stored_sensors import StoredSensor, sensor_names, sensors_of

__all__ = ["Origin", "origin_options", "read_origin"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A checkpoint, and where it comes from.

    Attributes:
        name: Where it comes from, for messages.
        text: As it is stored; empty where a sensor has no cursor.
        checkpoint: What it says; None where there is none.
        following: What the next look starts from. Other than `checkpoint` where a sensor was
            reset since, or has no cursor.
        is_first: Whether nothing is known of any earlier look.
        place: The checkpoint itself, where it is an object in S3.
        sensor: The sensor, where it is a sensor's.
    """

    name: str
    text: str
    checkpoint: Checkpoint | None
    following: Checkpoint
    is_first: bool = False
    place: S3Location | None = None
    sensor: StoredSensor | None = None

    @property
    def bytes(self) -> int:
        """The length of the text as it is stored."""
        return len(self.text.encode())


def origin_options(command: _Command) -> _Command:
    """Adds the options by which a checkpoint is named to a command."""
    for option in reversed(
        (
            click.option(
                "--cursor",
                metavar="FILE|TEXT|-",
                help="A sensor's cursor: in a file, as it is ({...}), or on standard input (-).",
            ),
            click.option(
                "--checkpoint",
                metavar="PATH|S3-URI",
                help="A processor's checkpoint: a local file or s3://BUCKET/KEY.",
            ),
            click.option(
                "--sensor",
                metavar="NAME",
                help="A sensor of the Dagster instance that DAGSTER_HOME names.",
            ),
            click.option(
                "--location", metavar="NAME", help="The sensor's code location, if in doubt."
            ),
            click.option(
                "--repository", metavar="NAME", help="The sensor's repository, if in doubt."
            ),
            click.option(
                "--endpoint-url",
                metavar="URL",
                help="The S3 server; by default the environment's, or AWS.",
            ),
        )
    ):
        command = option(command)
    return command


def read_origin(
    *,
    cursor: str | None,
    checkpoint: str | None,
    sensor: str | None,
    location: str | None,
    repository: str | None,
    endpoint_url: str | None,
) -> Origin | None:
    """Reads the checkpoint that the options name; None if they name none.

    Raises:
        click.ClickException: It cannot be read.
        CheckpointFormatError: It is no checkpoint.
        S3RequestError: It could not be fetched.
    """
    if sum(each is not None for each in (cursor, checkpoint, sensor)) > 1:
        raise click.UsageError("Give only one of --cursor, --checkpoint and --sensor.")
    if sensor is None and (location is not None or repository is not None):
        raise click.UsageError("--location and --repository go with --sensor.")
    if cursor is not None:
        return _of_cursor(cursor)
    if checkpoint is not None:
        return _of_processor(checkpoint, endpoint_url)
    if sensor is not None:
        return _of_sensor(_find(sensor, location, repository))
    return None


def _of_cursor(cursor: str) -> Origin:
    text, name = cursor, "the cursor"
    if cursor == "-":
        text = sys.stdin.read()
    elif cursor.strip() and not cursor.lstrip().startswith("{"):
        name = f"the cursor in {cursor}"
        try:
            text = Path(cursor).read_bytes().decode("utf-8", "replace")
        except FileNotFoundError as error:
            raise click.BadParameter(
                f"There is no file {cursor!r}.", param_hint="--cursor"
            ) from error
        except OSError as error:
            raise click.ClickException(f"Could not read {name}: {error}") from error
    decoded = decode_checkpoint(text.strip())
    return Origin(name=name, text=text.strip(), checkpoint=decoded, following=decoded)


def _of_processor(path: str, endpoint_url: str | None) -> Origin:
    target = checkpoint_target(path)
    if isinstance(target, S3Location):
        stored = CheckpointObject(make_client(endpoint_url=endpoint_url), target).read()
    else:
        try:
            stored = CheckpointFile(target).read()
        except OSError as error:
            raise click.ClickException(f"Could not read the checkpoint {path}: {error}") from error
    if stored.text is None:
        raise click.ClickException(
            f"There is no checkpoint {path}. Either nothing has been committed yet, and then "
            f"everything is new; or it is kept elsewhere."
        )
    decoded = decode_any_checkpoint(stored.text)
    return Origin(
        name=f"the checkpoint {path}",
        text=stored.text,
        checkpoint=decoded,
        following=decoded,
        place=target if isinstance(target, S3Location) else None,
    )


def _of_sensor(sensor: StoredSensor) -> Origin:
    start = start_from(sensor.cursor, sensor.last_run_key, sensor.resets)
    return Origin(
        name=f"the cursor of sensor {sensor.name} (code location {sensor.location})",
        text=sensor.cursor or "",
        checkpoint=decode_checkpoint(sensor.cursor) if sensor.cursor else None,
        following=start.after_retry().checkpoint,
        is_first=start.is_first,
        sensor=sensor,
    )


def _find(name: str, location: str | None, repository: str | None) -> StoredSensor:
    try:
        with dg.DagsterInstance.get() as instance:
            found = sensors_of(instance, name, location=location, repository=repository)
            elsewhere = [] if found else sensors_of(instance, name)
            others = sensor_names(instance)
    except (dg.DagsterError, SQLAlchemyError) as error:
        raise click.ClickException(f"Could not look into the Dagster instance: {error}") from error
    if elsewhere:
        raise click.ClickException(
            f"The Dagster instance knows no such sensor: it knows {name!r}, but in other places: "
            f"{_places(elsewhere)}. Mend --location and --repository, or leave them out."
        )
    if not found:
        raise click.ClickException(
            f"The Dagster instance knows no such sensor: {name!r} was never started there. It "
            f"knows: {', '.join(others) or 'none'}."
        )
    if len(found) > 1:
        raise click.UsageError(
            f"Several code locations have a sensor {name!r}: {_places(found)}. Add --location, and "
            f"--repository if need be."
        )
    return found[0]


def _places(sensors: Iterable[StoredSensor]) -> str:
    return ", ".join(f"{each.location} ({each.repository})" for each in sensors)
