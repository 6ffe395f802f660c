"""Durations and moments as YAML and the command line write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final, Literal

from dagster_s3inc.core.objects import parse_time
from dagster_s3inc.errors import ConfigurationError

__all__ = ["parse_duration", "parse_moment", "parse_start"]

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


def parse_duration(text: str) -> timedelta:
    """Reads a duration: seconds, or as in `90s`, `15m`, `1h30m`, `7d`.

    Raises:
        ConfigurationError: The text is not a duration; the message shows some.
    """
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ConfigurationError(
            f"{text!r} is not a duration. Write seconds, or days, hours, minutes and seconds, as "
            f"in 90s, 15m, 1h30m or 7d"
        )
    days, hours, minutes, seconds = (float(each or 0) for each in found.groups())
    try:
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise ConfigurationError(f"{text!r} is too long a duration") from None


def parse_moment(text: str) -> datetime:
    """Reads a moment in ISO 8601 with a time zone.

    Raises:
        ConfigurationError: The text is not a moment, or has no time zone.
    """
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{text!r} is not a moment. Write it in ISO 8601 with a time zone, as in "
            f"2026-01-31T00:00:00Z"
        ) from None


def parse_start(text: str) -> Literal["beginning", "now"] | datetime:
    """Reads where a first scan begins: `beginning`, `now`, or a moment.

    Raises:
        ConfigurationError: The text is none of these.
    """
    if text == "beginning":
        return "beginning"
    return "now" if text == "now" else parse_moment(text)
