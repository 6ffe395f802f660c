"""The ways to list a bucket that are compared, each in a module that imports what it needs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

from benchmarks.measuring import Task, Work

__all__ = [
    "ACCESS_KEY",
    "ADOPT",
    "LANES",
    "LANES_FIRST",
    "REGION",
    "SECRET_KEY",
    "WAYS",
    "WAYS_ASIDE",
    "Way",
]

# The server takes any; the clients insist on having some.
ACCESS_KEY: Final = "benchmark"
SECRET_KEY: Final = "benchmark"  # noqa: S105 - see above
REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to list.

    Attributes:
        name: Its name, that of its function too.
        title: How the report calls it.
        module: The module below `benchmarks.ways` that has the function.
        is_slow: It takes more than a minute for a million objects.
        is_ours: It is this package's.
    """

    name: str
    title: str
    module: str
    is_slow: bool = False
    is_ours: bool = False

    def load(self) -> Callable[[Task], Work]:
        """Imports what it needs; returns its function.

        That prepares what is not measured, such as a client and its first request.

        Raises:
            ImportError: Something is not installed.
        """
        module = importlib.import_module(f"{__name__}.{self.module}")
        return cast("Callable[[Task], Work]", getattr(module, self.name))


WAYS: Final = {
    way.name: way
    for way in (
        Way(name="floor", title="urllib3, nothing parsed (the floor)", module="plain"),
        Way(name="steady", title="dagster_s3inc, steady state", module="ours", is_ours=True),
        Way(name="first", title="dagster_s3inc, first scan", module="ours", is_ours=True),
        Way(name="tick", title="dagster_s3inc, whole tick", module="sensor", is_ours=True),
        Way(name="obstore_list", title="obstore list", module="rust"),
        Way(name="paginator", title="boto3 paginator", module="boto", is_slow=True),
        Way(name="s3fs_find", title="s3fs find", module="filesystem", is_slow=True),
        Way(name="get_objects", title="dagster_aws get_objects", module="dagster", is_slow=True),
    )
}

ADOPT: Final = Way(name="adopt", title="(prepares the cursor)", module="ours", is_ours=True)
"""Not measured: what the steady state starts from."""

LANES: Final = Way(name="lanes", title="dagster_s3inc, many lanes", module="lanes", is_ours=True)
"""The steady state once more, with many requests at once."""

LANES_FIRST: Final = Way(
    name="lanes_first", title="the first look of a process", module="lanes", is_ours=True
)
"""The same where no look before has told where the pages are."""

WAYS_ASIDE: Final = {way.name: way for way in (ADOPT, LANES, LANES_FIRST)}
"""Those that are not compared at every size."""
