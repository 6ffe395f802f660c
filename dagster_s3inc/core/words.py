"""Numbers, sizes, keys, durations and options, as a person writes and reads them."""

from __future__ import annotations

import inspect
import re
from datetime import datetime, timedelta
from typing import Final, Literal

from dagster_s3inc.core.objects import parse_time
from dagster_s3inc.errors import ConfigurationError

__all__ = [
    "count",
    "descriptions",
    "format_bytes",
    "parse_duration",
    "parse_moment",
    "parse_start",
    "readable",
]


def count(number: int, noun: str, nouns: str | None = None) -> str:
    """A number of things, as in `1 file` or `1,200 files`.

    Args:
        number: How many.
        noun: What one of them is called.
        nouns: What others are called; by default the noun with an `s`.
    """
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def format_bytes(size: int) -> str:
    """A size in the largest binary unit of which there is at least one, as in `1.5 MiB`."""
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if round(amount, 1) < 1024:
            return count(size, "byte") if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} PiB"


def readable(key: str) -> str:
    """A key as it is; with escapes and in quotes if it has characters that do not print."""
    return key if key.isprintable() else repr(key)


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


_SECTION: Final = re.compile(r"(Args|Attributes):")
_ENTRY: Final = re.compile(r" {4}\*{0,2}(\w+): (.*)")


def descriptions(described: object) -> dict[str, str]:
    """The descriptions of arguments or attributes, by their names.

    Args:
        described: A function or class with a docstring in Google's style. With `-OO`
            Python keeps no docstrings, and there are no descriptions.
    """
    found: dict[str, str] = {}
    name, is_inside = "", False
    for line in (inspect.getdoc(described) or "").splitlines():
        if line and not line.startswith(" "):
            is_inside = _SECTION.fullmatch(line) is not None
        elif is_inside and (entry := _ENTRY.fullmatch(line)):
            name = entry[1]
            found[name] = entry[2]
        elif is_inside and line and name:
            found[name] += f" {line.strip()}"
    return found
