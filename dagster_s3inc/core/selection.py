"""What of a listing counts, as a scan sees it."""

from __future__ import annotations

from collections.abc import Callable, Set
from dataclasses import dataclass

from dagster_s3inc.core.objects import S3Object

__all__ = ["Selection"]


def _every(_: S3Object) -> bool:
    return True


def _never(_: Set[str]) -> bool:
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects count; by default every one.

    Attributes:
        matches: Tells whether an object counts now.
        may_match: Tells whether an object that does not count now may do so at another time
            while being the same version, as its storage class changes.
        takes_all: Tells whether every object of these storage classes counts, whatever else it is,
            unless its key ends in `/`. So a whole page can be told at once. May always say no.
        group_of: Tells in which group of batches an object belongs; None where there are none.
        prefix: Below it the keys have names, which globs match.
        digest: Differs between selections that select differently; a change of it tells a scan
            that what is below the floor was selected by other rules.
    """

    matches: Callable[[S3Object], bool] = _every
    may_match: Callable[[S3Object], bool] = _every
    takes_all: Callable[[Set[str]], bool] = _never
    group_of: Callable[[S3Object], str | None] | None = None
    prefix: str = ""
    digest: str = ""
