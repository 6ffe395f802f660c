"""How the options are written in YAML, where YAML has no words for them.

Dagster resolves templates with Jinja's native types. Two of its ways surprise: text that looks like
Python is taken for it ("1.10" becomes the number 1.1), and an environment variable that is not set
becomes None, or the text "None" inside other text. Here the first happens only where there is a
template, and the second is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import dagster as dg
from jinja2 import Undefined

from dagster_s3inc.core.objects import parse_time
from dagster_s3inc.errors import ConfigurationError

__all__ = [
    "Environment",
    "duration_option",
    "moment_option",
    "option",
    "parsed",
    "python_option",
    "resolved",
    "start_option",
    "tags_option",
    "texts_option",
]

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


class _Unset(Undefined):
    """An environment variable that is not set: it may be asked about, but not written out."""

    __str__ = Undefined._fail_with_undefined_error


class Environment:
    """`env` in templates, as Dagster has it, but what is not set is an error where it is used.

    Args:
        env: Dagster's own.
    """

    def __init__(self, env: Any) -> None:
        self._env = env

    def __call__(self, *name_and_default: Any) -> Any:
        """The variable, or the default that is given; Dagster refuses it if there is neither."""
        return self._env(*name_and_default)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._env, name)
        if value is not None:
            return value
        return _Unset(
            hint=f"Environment variable {name} is needed here, but not set. Set it, or give a "
            f"default: {{{{ env({name!r}, 'the default') }}}}"
        )


def resolved(context: dg.ResolutionContext, value: Any) -> Any:
    """Fills in the templates in a value from YAML; all other text stays as it is written."""
    if isinstance(value, Mapping):
        return {each: resolved(context.at_path(each), inner) for each, inner in value.items()}
    if isinstance(value, list | tuple):
        return [resolved(context.at_path(place), inner) for place, inner in enumerate(value)]
    if isinstance(value, str) and not ("{{" in value or "{%" in value):
        return value
    return context.resolve_value(value)


def option(description: str, kind: Any = None) -> dg.Resolver:
    """An option that YAML can write; `kind` is how, if not as Python does.

    Descriptions are given in this way because Dagster drops those of pydantic's fields.
    """
    resolver: dg.Resolver = dg.Resolver.default(description=description, model_field_type=kind)
    return resolver


def python_option(description: str) -> dg.Resolver:
    """An option that takes text, or what only Python can make, by a template: `'{{ my_job }}'`."""
    return option(description, str)


def parsed(parse: Callable[[Any], Any], kind: Any, description: str) -> dg.Resolver:
    """An option that is parsed once its templates are filled in; None stays None."""

    def resolve(context: dg.ResolutionContext, written: Any) -> Any:
        value = resolved(context, written)
        return None if value is None else parse(value)

    return dg.Resolver(
        resolve,
        model_field_type=kind | None,
        inject_before_resolve=False,
        description=description,
    )


def duration_option(description: str) -> dg.Resolver:
    """A `timedelta`: seconds, or text such as 90s, 15m, 1h30m, 7d."""
    return parsed(_duration, int | float | str, description)


def moment_option(description: str) -> dg.Resolver:
    """A `datetime` in ISO 8601 with a time zone."""
    return parsed(_moment, str, description)


def start_option(description: str) -> dg.Resolver:
    """`beginning`, `now`, or a moment."""
    return parsed(_start, str, description)


def texts_option(description: str) -> dg.Resolver:
    """A list of text; one stands for a list of one."""
    return parsed(_texts, Sequence[str] | str, description)


def tags_option(description: str) -> dg.Resolver:
    """Tags, whose values may be numbers too."""
    return parsed(_tags, Mapping[str, str | int | float | bool], description)


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    text = str(value)
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ConfigurationError(
            f"{value!r} is no duration. Write a number of seconds, or days, hours, minutes and "
            f"seconds, as in 90s, 15m, 1h30m or 7d"
        )
    days, hours, minutes, seconds = (float(each or 0) for each in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _moment(value: Any) -> Any:
    if isinstance(value, datetime):
        return value
    try:
        return parse_time(str(value))
    except (ValueError, OverflowError):
        raise ConfigurationError(
            f"{value!r} is no moment. Write it in ISO 8601 with a time zone, as in "
            f"2026-01-31T00:00:00Z"
        ) from None


def _start(value: Any) -> Any:
    return value if value in ("beginning", "now") else _moment(value)


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else [str(each) for each in value]


def _tags(value: Any) -> Any:
    return {
        str(name): each if isinstance(each, str) else json.dumps(each)
        for name, each in value.items()
    }
