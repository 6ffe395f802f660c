"""Cuts for a listing of which no earlier one has left marks: folders, as far as there are any.

Buckets are mostly laid out in folders, by date or by customer, and a request with a delimiter
names a thousand of them. Where that names few, the folders within are asked for in turn, with no
more than a few requests in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["PAGES", "discovered_cuts"]

PAGES = 4
"""So many pages between two cuts are aimed at: fewer cost more requests, more cost memory."""

_REQUESTS = 12
_ENOUGH = 256

Folders = Callable[[str], list[str]]
Mapping = Callable[[Folders, Iterable[str]], Iterable[list[str]]]


def discovered_cuts(
    folders: Folders, prefix: str, last: str, *, pages: int, mapped: Mapping = map
) -> list[str]:
    """Finds folders behind the last key.

    Args:
        folders: Names the folders in a folder; one request. It is called eight times at most.
        prefix: Where to begin.
        last: The last key that has been read.
        pages: How many pages have been read. How many folders they had tells how many go to one
            cut.
        mapped: Calls `folders` for each of some folders.

    Returns:
        Keys greater than `last`, in order.
    """
    cuts: set[str] = set()
    level, asked = [prefix], 0
    while level and asked < _REQUESTS and len(cuts) < _ENOUGH:
        # Those that have been passed tell how large a folder is.
        level = level[: _REQUESTS - asked]
        asked += len(level)
        found = sorted({name for names in mapped(folders, level) for name in names})
        passed = sum(name <= last for name in found)
        ahead = found[passed:]
        step = max(1, round(PAGES * passed / pages))
        cuts.update(ahead[step - 1 :: step])
        # The folder that is being read is among those that seem to be passed.
        level = [name for name in found if name > last or last.startswith(name)]
    return sorted(cuts)
