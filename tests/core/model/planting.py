"""Plants a bug in a function of the package, for as long as a block lasts."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from types import FunctionType
from typing import Any

__all__ = ["Edit", "Planted", "planted"]


@dataclass(frozen=True)
class Edit:
    """A change of the text of one function.

    Attributes:
        where: Module and qualified name below `dagster_s3inc.core`, as in `scan:Scan.run`.
        old: A piece of its source that occurs exactly once.
        new: What stands there instead.
    """

    where: str
    old: str
    new: str


@dataclass(frozen=True)
class Planted:
    """A bug.

    Attributes:
        name: In a few words.
        edits: What it takes.
        scenarios: The histories that should find it, played in turns.
        within: It must be found within so many histories.
    """

    name: str
    edits: tuple[Edit, ...]
    scenarios: tuple[str, ...]
    within: int = 100


@contextmanager
def planted(bug: Planted) -> Iterator[None]:
    """Lets the functions have the bug.

    Raises:
        LookupError: The source of a function is not what the bug was written for.
    """
    with ExitStack() as stack:
        for where in dict.fromkeys(edit.where for edit in bug.edits):
            function = _function(where)
            edited = _edited(function, [edit for edit in bug.edits if edit.where == where])
            stack.callback(setattr, function, "__code__", function.__code__)
            function.__code__ = edited.__code__
        yield


def _function(where: str) -> FunctionType:
    module, _, name = where.partition(":")
    found: Any = import_module(f"dagster_s3inc.{module if '.' in module else 'core.' + module}")
    for part in name.split("."):
        found = inspect.getattr_static(found, part)
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, cached_property):
        found = found.func
    if isinstance(found, classmethod | staticmethod):
        found = found.__func__
    found = inspect.unwrap(found)
    if not isinstance(found, FunctionType):
        raise LookupError(f"{where} is not a function")
    return found


def _edited(function: FunctionType, edits: Iterable[Edit]) -> Callable[..., Any]:
    source = textwrap.dedent(inspect.getsource(function))
    for edit in edits:
        if source.count(edit.old) != 1:
            raise LookupError(
                f"{edit.where} has {source.count(edit.old)} times {edit.old!r}; write the planted "
                f"bug anew for what the function is now"
            )
        source = source.replace(edit.old, edit.new)
    while source.startswith("@"):
        source = source.partition("\n")[2]
    namespace: dict[str, Any] = {}
    # Line numbers are those of the real source, so that a traceback shows the place.
    lines = "\n" * (function.__code__.co_firstlineno - 1)
    text = f"from __future__ import annotations;{lines}{source}"
    exec(compile(text, inspect.getfile(function), "exec"), function.__globals__, namespace)  # noqa: S102 # our own source
    made: Callable[..., Any] = namespace[function.__name__]
    return made
