"""Checks that the options of this package share."""

from __future__ import annotations

from datetime import datetime, timedelta

from dagster_s3inc.errors import ConfigurationError

__all__ = ["require_at_least", "require_aware", "require_positive"]


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


def require_positive(name: str, value: object) -> None:
    """Refuses what is not a timedelta of more than zero.

    Raises:
        ConfigurationError: Names the option and the value.
    """
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ConfigurationError(f"{name} must be a timedelta of more than zero, not {value!r}")
