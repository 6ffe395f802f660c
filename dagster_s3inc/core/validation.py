"""Checks that the options of this package share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from dagster_s3inc.errors import ConfigurationError

__all__ = [
    "require_at_least",
    "require_aware",
    "require_name",
    "require_positive",
    "require_tags",
    "require_type",
]

# What Dagster takes as the name of a definition.
_NAME: Final = re.compile(r"[A-Za-z0-9_]+")


def require_at_least(name: str, value: object, least: int, *, unit: str) -> None:
    """Refuses what is not a whole number of at least `least`.

    Raises:
        ConfigurationError: Names the option, the value and the bound.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigurationError(f"{name} must be a whole number of {unit}, not {value!r}")
    if value < least:
        raise ConfigurationError(f"{name} must be at least {least} ({unit}), not {value}")


def require_aware(name: str, value: object) -> None:
    """Refuses what is not a datetime with a time zone.

    Raises:
        ConfigurationError: Names the option and how to write it.
    """
    if not isinstance(value, datetime):
        raise ConfigurationError(f"{name} must be a datetime, not {value!r}")
    if value.utcoffset() is None:
        raise ConfigurationError(
            f"{name} has no time zone: {value.isoformat()}. Write it with one, for example "
            f"datetime(2026, 1, 31, tzinfo=timezone.utc)"
        )


def require_name(name: str, value: object) -> None:
    """Refuses what Dagster does not take as a definition's name.

    Raises:
        ConfigurationError: Names the option, the value and what a name may hold.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ConfigurationError(
            f"{name} must be a name of letters (A-Z, a-z), digits and underscores, not {value!r}"
        )


def require_positive(name: str, value: object) -> None:
    """Refuses what is not a timedelta of more than zero.

    Raises:
        ConfigurationError: Names the option and the value.
    """
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ConfigurationError(f"{name} must be a timedelta of more than zero, not {value!r}")


def require_tags(name: str, value: object) -> None:
    """Refuses what is not a mapping of text to text.

    Raises:
        ConfigurationError: Names the option, and the tag that is wrong.
    """
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must be a mapping of str to str, not {value!r}")
    for key, each in value.items():
        if not isinstance(key, str) or not isinstance(each, str):
            raise ConfigurationError(
                f"{name} must be a mapping of str to str, but has {key!r}: {each!r}"
            )


def require_type(name: str, value: object, type_: type[Any]) -> None:
    """Refuses what is not of a type.

    Raises:
        ConfigurationError: Names the option, the type and the value.
    """
    if not isinstance(value, type_):
        article = "an" if type_.__name__[0] in "AEIO" else "a"
        raise ConfigurationError(f"{name} must be {article} {type_.__name__}, not {value!r}")
