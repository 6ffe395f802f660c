"""What of a listing counts, as a scan sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dagster_s3inc.core.objects import S3Object

__all__ = ["Selection"]


def _every(_: S3Object) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which objects count; by default every one.

    Attributes:
        matches: Tells whether an object counts now.
        may_match: Tells whether an object that does not count now may do so at another time
            while being the same version, as its storage class changes.
        digest: Differs between selections that select differently; a change of it tells a scan
            that what is below the floor was selected by other rules.
    """

    matches: Callable[[S3Object], bool] = _every
    may_match: Callable[[S3Object], bool] = _every
    digest: str = ""
