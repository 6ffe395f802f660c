from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from dagster_s3inc.core.validation import (
    require_at_least,
    require_aware,
    require_name,
    require_positive,
    require_tags,
    require_type,
)
from dagster_s3inc.errors import ConfigurationError
from tests.core.making import START


def at_least_two(name: str, value: Any) -> None:
    """Files, two or more."""
    require_at_least(name, value, 2, unit="files")


def a_text(name: str, value: Any) -> None:
    """A text."""
    require_type(name, value, str)


@pytest.mark.parametrize(
    ("require", "good", "bad", "message"),
    [
        (at_least_two, 2, 1, "x must be at least 2 (files), not 1"),
        (at_least_two, 3, True, "x must be a whole number of files, not True"),
        (at_least_two, 3, 3.0, "x must be a whole number of files, not 3.0"),
        (require_aware, START, START.replace(tzinfo=None), "x has no time zone: 2026-01-01T00:00"),
        (require_aware, START, "2026-01-01", "x must be a datetime, not '2026-01-01'"),
        (require_name, "a_1", "a-1", "x must be a name of letters"),
        (require_name, "a_1", "", "x must be a name of letters"),
        (require_name, "a_1", "é", "x must be a name of letters"),
        (require_name, "a_1", None, "not None"),
        (require_positive, timedelta(1), timedelta(0), "x must be a timedelta of more than zero"),
        (require_positive, timedelta(1), 5, "not 5"),
        (require_tags, {"a": "b"}, ["a"], "x must be a mapping of str to str, not ['a']"),
        (require_tags, {}, {"a": 1}, "x must be a mapping of str to str, but has 'a': 1"),
        (a_text, "a", 7, "x must be a str, not 7"),
        (
            lambda name, value: require_type(name, value, datetime),
            START,
            7,
            "x must be a datetime, not 7",
        ),
    ],
)
def test_wrong_options_are_named(
    require: Callable[[str, Any], None], good: Any, bad: Any, message: str
) -> None:
    """A wrong option is refused with its name and value; a right one is not."""
    require("x", good)
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        require("x", bad)
