from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.words import (
    count,
    descriptions,
    format_bytes,
    parse_duration,
    parse_moment,
    parse_start,
    readable,
)
from dagster_s3inc.errors import ConfigurationError


@given(st.integers(0, 2**62))
def test_bytes_are_told_in_the_largest_unit(size: int) -> None:
    """A size is told in the largest unit of which there is about one, right to a tenth of it."""
    amount, unit = format_bytes(size).replace("bytes", "byte").split()
    factor = 1024 ** ["byte", "KiB", "MiB", "GiB", "TiB", "PiB"].index(unit)
    number = float(amount.replace(",", ""))
    assert number >= 1 or unit == "byte"
    assert number < 1024 or unit == "PiB"
    assert abs(number - size / factor) <= 0.05 * (1 + 1e-9)


def test_one_is_singular() -> None:
    """One of a thing is told in the singular, any other number in the plural."""
    assert (format_bytes(0), format_bytes(1), format_bytes(2)) == ("0 bytes", "1 byte", "2 bytes")
    assert [count(number, "file") for number in (0, 1, 1200)] == [
        "0 files",
        "1 file",
        "1,200 files",
    ]
    assert [count(number, "batch", "batches") for number in (1, 2)] == ["1 batch", "2 batches"]


def test_key_that_does_not_print_is_quoted() -> None:
    """Only a key with characters that do not print is shown otherwise than it is."""
    assert [readable(key) for key in ("a b/ü", "a\nb", "\x1b[2J")] == [
        "a b/ü",
        "'a\\nb'",
        "'\\x1b[2J'",
    ]


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


def described(one: int, **two: int) -> None:
    """Does something.

    Note: not an argument.

    Args:
        one: The first: a
            number, in
                two lines and one that stands further right.
        **two: The others.

    Raises:
        ValueError: Never.
    """


def test_arguments_are_described_by_their_docstring() -> None:
    """Each argument has its whole description, and nothing else has one."""
    assert descriptions(described) == {
        "one": "The first: a number, in two lines and one that stands further right.",
        "two": "The others.",
    }


def test_without_a_docstring_there_are_no_descriptions() -> None:
    """What has no docstring has no descriptions."""
    assert descriptions(lambda: None) == {}
