"""How options are written in YAML, where YAML has no words for them.

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
from typing import Any, Final, NamedTuple

import dagster as dg
from jinja2 import Undefined

from dagster_s3inc.core.times import parse_duration, parse_moment, parse_start

__all__ = [
    "DURATION",
    "FLAG",
    "MOMENT",
    "NUMBER",
    "START",
    "TAGS",
    "TEXT",
    "TEXTS",
    "VALUES",
    "Environment",
    "Kind",
    "in_yaml",
    "option",
    "resolved",
]


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


class Kind(NamedTuple):
    """A kind of value, as YAML writes it.

    Attributes:
        written: The types that YAML may give.
        read: Reads it once its templates are filled in; None is not read.
        hint: How it is written, to be added to an option's description.
    """

    written: Any
    read: Callable[[Any], Any] = lambda value: value
    hint: str = ""


def _unless(made: type[Any], parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Parses text, and takes what a template made already."""
    return lambda value: value if isinstance(value, made) else parse(str(value))


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else [str(each) for each in value]


def _tags(value: Any) -> Any:
    return {
        str(name): each if isinstance(each, str) else json.dumps(each)
        for name, each in value.items()
    }


_IN_ISO = "ISO 8601 with a time zone, as in `2026-01-31T00:00:00Z`."

TEXT: Final = Kind(str)
NUMBER: Final = Kind(int | str)
FLAG: Final = Kind(bool | str)
VALUES: Final = Kind(Mapping[str, Any])
TEXTS: Final = Kind(Sequence[str] | str, _texts)
TAGS: Final = Kind(Mapping[str, str | int | float | bool], _tags)
DURATION: Final = Kind(
    int | float | str,
    _unless(timedelta, parse_duration),
    " In seconds, or as in `90s`, `15m`, `1h30m`, `7d`.",
)
MOMENT: Final = Kind(str, _unless(datetime, parse_moment), f" {_IN_ISO}")
START: Final = Kind(str, _unless(datetime, parse_start), f" A moment is {_IN_ISO}")


def in_yaml(description: str) -> str:
    """A description that was written for Python, with YAML's word for None."""
    return re.sub(r"\bNone\b", "`null`", description)


def option(description: str, kind: Any = None) -> dg.Resolver:
    """An option of the component.

    Descriptions are given in this way because Dagster drops those of pydantic's fields.

    Args:
        description: What it means.
        kind: A `Kind`, or the type that YAML gives if it is another than Python's.
    """
    text = in_yaml(description)
    if not isinstance(kind, Kind):
        resolver: dg.Resolver = dg.Resolver.default(description=text, model_field_type=kind)
        return resolver

    def resolve(context: dg.ResolutionContext, written: Any) -> Any:
        value = resolved(context, written)
        return None if value is None else kind.read(value)

    return dg.Resolver(
        resolve,
        model_field_type=kind.written | None,
        inject_before_resolve=False,
        description=text + kind.hint,
    )
