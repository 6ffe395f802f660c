"""The descriptions of options, taken from docstrings, so that each is written once."""

from __future__ import annotations

import inspect
import re
from typing import Final

__all__ = ["descriptions"]

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
