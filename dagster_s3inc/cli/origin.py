"""Which checkpoint a command is about: a sensor's cursor, or a processor's checkpoint."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.cursor_format import decode_checkpoint
from dagster_s3inc.dagster_internals import StoredSensor, sensor_names, sensors_of
from dagster_s3inc.processor.document import CheckpointDocument
from dagster_s3inc.processor.stores import CheckpointFile, CheckpointObject, checkpoint_place
from dagster_s3inc.runs.reset_requests import ResetRequest, reset_requests
from dagster_s3inc.s3.client import make_client
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.sensor.start import start_from

__all__ = ["Origin", "read_origin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A checkpoint, and where it comes from.

    Attributes:
        name: Where it comes from, for messages.
        text: As it is stored; empty where a sensor has no cursor.
        checkpoint: What it says; None where there is none.
        following: What the next scan starts from. Other than `checkpoint` where a sensor was
            reset since, or where there is none.
        is_first: Whether nothing is known of any earlier scan.
        accounts: Of a processor: the checkpoint of each storage class that was asked for.
        place: The checkpoint itself, where it is an object in S3.
        sensor: The sensor, where it is a sensor's.
        newest_reset: Of the sensor.
    """

    name: str
    text: str
    checkpoint: Checkpoint | None
    following: Checkpoint
    is_first: bool = False
    accounts: Mapping[str, Checkpoint] | None = None
    place: S3Location | None = None
    sensor: StoredSensor | None = None
    newest_reset: ResetRequest | None = None

    @property
    def title(self) -> str:
        """The name at the beginning of a sentence."""
        return f"{self.name[0].upper()}{self.name[1:]}"

    @property
    def bytes(self) -> int:
        """The length of the text as it is stored."""
        return len(self.text.encode())


def read_origin(
    *,
    cursor: str | None,
    checkpoint: str | None,
    sensor: str | None,
    location: str | None,
    repository: str | None,
    endpoint_url: str | None,
    storage_class: str | None = None,
) -> Origin | None:
    """Reads the checkpoint that the options of a command name; None if they name none.

    The arguments are the options; of a processor's checkpoint, the account of `storage_class`.

    Raises:
        click.ClickException: It cannot be read.
        CheckpointFormatError: It is not a checkpoint.
        S3RequestError: It could not be fetched.
    """
    if sum(each is not None for each in (cursor, checkpoint, sensor)) > 1:
        raise click.UsageError("Give only one of --cursor, --checkpoint and --sensor.")
    if sensor is None and (location is not None or repository is not None):
        raise click.UsageError("--location and --repository go with --sensor.")
    if cursor is not None:
        return _of_cursor(cursor)
    if checkpoint is not None:
        return _of_processor(checkpoint, endpoint_url, storage_class)
    return None if sensor is None else _of_sensor(sensor, location, repository)


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


def _of_processor(path: str, endpoint_url: str | None, storage_class: str | None) -> Origin:
    place = checkpoint_place(path)
    if isinstance(place, S3Location):
        stored = CheckpointObject(make_client(endpoint_url=endpoint_url), place).read()
    else:
        try:
            stored = CheckpointFile(place).read()
        except OSError as error:
            raise click.ClickException(f"Could not read the checkpoint {path}: {error}") from error
    if stored.text is None:
        raise click.ClickException(
            f"There is no checkpoint {path}. Either nothing has been committed yet, and then "
            f"everything is new; or it is kept elsewhere."
        )
    document = CheckpointDocument.read(stored.text, storage_class)
    accounts = {name: document.account(name) or Checkpoint() for name in document.accounts}
    checkpoint = accounts.get(storage_class or "")
    return Origin(
        name=f"the checkpoint {path}",
        text=stored.text,
        checkpoint=checkpoint,
        following=checkpoint or Checkpoint(),
        is_first=checkpoint is None,
        accounts=accounts,
        place=place if isinstance(place, S3Location) else None,
    )


def _of_sensor(name: str, location: str | None, repository: str | None) -> Origin:
    try:
        with dg.DagsterInstance.get() as instance:
            sensor = _find(instance, name, location, repository)
            resets = reset_requests(instance, sensor.address)
    except (dg.DagsterError, SQLAlchemyError) as error:
        raise click.ClickException(f"Could not read the Dagster instance: {error}") from error
    start = start_from(sensor.cursor, sensor.last_run_key, resets)
    return Origin(
        name=f"the cursor of sensor {sensor.name} (code location {sensor.location})",
        text=sensor.cursor or "",
        checkpoint=decode_checkpoint(sensor.cursor) if sensor.cursor else None,
        following=start.after_retry().checkpoint,
        is_first=start.is_first,
        sensor=sensor,
        newest_reset=resets[-1] if resets else None,
    )


def _find(
    instance: dg.DagsterInstance, name: str, location: str | None, repository: str | None
) -> StoredSensor:
    found = sensors_of(instance, name, location=location, repository=repository)
    if len(found) == 1:
        return found[0]
    if found:
        raise click.UsageError(
            f"Several code locations have a sensor {name!r}: {_places(found)}. Add --location, and "
            f"--repository if need be."
        )
    elsewhere = sensors_of(instance, name)
    if elsewhere:
        raise click.ClickException(
            f"The Dagster instance has a sensor {name!r}, but in other places: "
            f"{_places(elsewhere)}. Fix --location and --repository, or leave them out."
        )
    raise click.ClickException(
        f"The Dagster instance has no sensor {name!r}: it was never started there. It has: "
        f"{', '.join(sensor_names(instance)) or 'none'}."
    )


def _places(sensors: Iterable[StoredSensor]) -> str:
    return ", ".join(f"{each.location} ({each.repository})" for each in sensors)
