from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from dagster_s3inc.core.words import parse_duration, parse_moment, parse_start
from dagster_s3inc.errors import ConfigurationError

MOMENT = datetime(2026, 1, 31, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("90s", 90),
        ("15m", 900),
        ("1h30m", 5400),
        ("7d", 7 * 86400),
        ("1d2h3m4.5s", 93784.5),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is seconds, or days to seconds with their letters."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["1x", "m", "-5", "1m1h", "", "1 h", "PT1H", "None"])
def test_wrong_durations_are_refused(text: str) -> None:
    """What is not a duration is an error that says how to write one."""
    with pytest.raises(ConfigurationError, match=r"is not a duration.* as in 90s, 15m, 1h30m"):
        parse_duration(text)


def test_too_long_a_duration_is_refused() -> None:
    """A duration that Python cannot hold is refused too."""
    with pytest.raises(ConfigurationError, match="'9999999999d' is too long a duration"):
        parse_duration("9999999999d")


@pytest.mark.parametrize("text", ["2026-01-31T00:00:00Z", "2026-01-31T01:00:00+01:00"])
def test_moments(text: str) -> None:
    """A moment is ISO 8601 with a time zone; so is a start, beside its two words."""
    assert parse_moment(text) == parse_start(text) == MOMENT
    assert [parse_start(each) for each in ("beginning", "now")] == ["beginning", "now"]


@pytest.mark.parametrize("text", ["2026-01-31T00:00:00", "2026-01-31", "yesterday", "1769", ""])
def test_wrong_moments_are_refused(text: str) -> None:
    """What is not a moment, or has no time zone, is an error that says how to write it."""
    for parse in (parse_moment, parse_start):
        with pytest.raises(ConfigurationError, match=r"is not a moment.*time zone, as in 2026"):
            parse(text)
