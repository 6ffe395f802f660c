"""Times, durations and sizes as they are written on a command line."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final, Literal

import click

from dagster_s3inc.core.objects import parse_time

__all__ = ["duration", "moment", "size", "start"]

_DURATION: Final = re.compile(r"(\d+)([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

_SIZE: Final = re.compile(r"(\d+)(KiB|MiB|GiB|TiB)?")
_POWERS: Final = {None: 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}


def duration(text: str) -> timedelta:
    """Reads `90s`, `30m`, `1h` or `2d`."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no duration. Write 90s, 30m, 1h or 2d.")
    try:
        return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise click.BadParameter(f"{text!r} is too long.") from None


def size(text: str) -> int:
    """Reads a number of bytes, or `64KiB`, `1MiB`, `2GiB`."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is no size. Write bytes, or 64KiB, 1MiB, 2GiB.")
    return int(found[1]) << 10 * _POWERS[found[2]]


def moment(text: str) -> datetime:
    """Reads an ISO 8601 time with a time zone."""
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{text!r} is no time with a time zone. Write it like 2026-01-31T00:00:00Z."
        ) from None


def start(text: str) -> Literal["beginning", "now"] | datetime:
    """Reads `beginning`, `now` or a time."""
    if text == "beginning":
        return "beginning"
    return "now" if text == "now" else moment(text)
