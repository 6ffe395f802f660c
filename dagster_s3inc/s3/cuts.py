"""Where to cut a part of the key space of which nothing is known but where it begins.

Any cut is right; a good one has about as many objects before it as behind it. Keys are made of
parts that count up (dates, numbers, digits of a hash), so a cut is made behind all keys that agree
with the last known key up to some character. Cut early in the key, such a group is large; cut late,
it is small. No group is worth a cut that is smaller than a page or two, which the first and the
last key of a page tell: the group of what they have in common is larger than the page.

Between the two, the coarsest group that does not reach to the end is sought by bisection: a cut
behind which nothing lies becomes the new end, one behind which something lies has led to a new
part, from where coarser groups are tried.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

__all__ = ["Cut", "common_length", "cut_beyond"]

# A page that goes through so many values of a character fills a good part of the group that has
# the rest in common, of which there are ten in decimal digits.
_FEW_VALUES = 3


class Cut(NamedTuple):
    """A cut, and how many characters of the key it was made behind."""

    key: str
    depth: int


def cut_beyond(
    first: str,
    last: str,
    end: str | None,
    *,
    coarsest: int = 1,
    tried: int | None = None,
    fine: bool = False,
) -> Cut | None:
    """Chooses a key between the last known key and the end.

    Args:
        first: The first key of the last page.
        last: Its last key.
        end: The end; None means that there is none.
        coarsest: So many characters at least are kept: more than all keys have in common.
        tried: A cut of so many characters led to `first`, so that coarser ones are worth a try.
        fine: Whether a group of hardly more than a page is worth a cut.

    Returns:
        A key greater than `last` and smaller than `end`; None if none is worth it.
    """
    finest = common_length(first, last)
    if (
        not fine
        and finest < min(len(first), len(last))
        and _steps(first, last, finest) > _FEW_VALUES
    ):
        finest -= 1
    if end is not None:
        coarsest = max(coarsest, common_length(last, end) + 1)
        if coarsest <= len(last) and not _is_before(_behind(last[:coarsest]), end):
            coarsest += 1
    limit = finest if tried is None else min(finest, tried - 1)
    depth = max(coarsest, (coarsest + limit) // 2)
    if depth > finest:
        return None
    key = _behind(last[:depth])
    return Cut(key, depth) if key is not None and _is_before(key, end) else None


def common_length(one: Sequence[object], other: Sequence[object]) -> int:
    """How many characters, or bytes, two texts begin with alike."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _steps(first: str, last: str, at: int) -> int:
    return ord(last[at]) - ord(first[at])


def _is_before(key: str | None, end: str | None) -> bool:
    return key is not None and (end is None or key < end)


def _behind(start: str) -> str | None:
    """The least text of that length that is greater than all that start so."""
    following = ord(start[-1]) + 1
    if 0xD800 <= following < 0xE000:
        following = 0xE000  # no characters, and not to be sent
    return start[:-1] + chr(following) if following <= sys.maxunicode else None
