"""What is measured, and what each row is to reach."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

from benchmarks.content import PREFIX, SHARE, SHARE_PREFIX
from benchmarks.server import FAR

__all__ = ["BUCKETS", "LATENCY", "ONE_REQUEST", "PAGINATOR", "ROWS", "SHORT_ROWS", "WIRE", "Row"]

BUCKETS: Final[dict[str, dict[str, Any]]] = {
    "small": {"size": 10_000},
    "medium": {"size": 100_000},
    "million": {"size": 1_000_000},
    "encoded": {"size": 250_000, "is_encoded": True},
    "ten-million": {"size": 1_000_000, "times": 10},
}
"""The arguments of each bucket's `Content`."""

LATENCY: Final = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the report. Its targets come last; 0 where there is none."""

    title: str
    module: str = "ours"  # where its way is; `peers` is `others` in another environment
    way: str = "tick"  # the function there
    bucket: str = "million"
    at: str = "nothing"  # the moment at which it is listed; `far` is that of the far server
    is_share: bool = False  # only a share of the bucket is listed
    sensor: str = ""  # the name of the sensor's options in `benchmarks.ours`
    # What the tick before leaves: its `index`, as long as the process lives, or only its `cursor`.
    before: str = ""
    at_before: str = "nothing"  # the moment of that tick
    in_flight: int = 0  # so many runs have not finished, so that nothing is requested
    oldest: int = 0  # it requests so many of the oldest files; 0 means the new ones
    connections: int = 32  # the client's `max_pool_connections`
    times: int = 1  # it is done so often in one process; the least CPU counts
    is_slow: bool = False  # it is measured in each second round
    ratio: int = 0  # the paginator takes at least so many times its CPU
    wire: int = 0  # it takes at most so many times the CPU of the wire
    above: int = 0  # at most so many MB above the process before its first tick
    memory: int = 0  # at most so many MB in all
    speed: int = 0  # at least so many times as fast as one request at a time

    @property
    def prefix(self) -> str:
        """What is listed of the bucket."""
        return SHARE_PREFIX if self.is_share else PREFIX

    @property
    def millions(self) -> float:
        """About how many million objects it lists."""
        options = BUCKETS[self.bucket]
        whole = options["size"] * options.get("times", 1)
        return float(whole * (SHARE if self.is_share else 1)) / 1_000_000


def _other(title: str, way: str, module: str = "others", **options: Any) -> Row:
    return Row(title=title, module=module, way=way, **options)


def _steady(what: str, **options: Any) -> Row:
    title = f"steady tick, {what}"
    return Row(**{"title": title, "before": "index", "times": 2, "above": 80, **options})


def _hundredth(what: str, **options: Any) -> Row:
    return _steady(f"1% of the pages changed{what}", at="hundredth", **options)


def _far(what: str, **options: Any) -> Row:
    return _steady(f"nothing changed{what} (far server)", at=FAR, at_before=FAR, times=1, **options)


def _restart(what: str, **options: Any) -> Row:
    title = f"first tick of a process, nothing new{what}"
    return Row(title=title, before="cursor", above=80, **options)


def _first(what: str, **options: Any) -> Row:
    # By default a first tick requests 20 batches of 100 files.
    return Row(**{"title": f"first scan{what}", "oldest": 2000, "above": 80, **options})


def _all_at_once(**options: Any) -> Row:
    what = " that requests all in one tick"
    return _first(what, sensor="all at once", oldest=1_000_000, **options)


_REACHED: Final[Any] = {"ratio": 55, "wire": 3}

WIRE: Final = _other("the wire: urllib3 takes the bytes and parses nothing", "wire", times=3)
PAGINATOR: Final = _other("boto3's paginator", "paginator", is_share=True)
ONE_REQUEST: Final = _steady(
    "one request at a time (far server)", at=FAR, is_share=True, sensor="one request", times=1
)

ROWS: Final = (
    WIRE,
    PAGINATOR,
    _other("botocore without its parser", "botocore", times=3),
    _steady("nothing changed", **_REACHED),
    _steady("nothing changed, with all filters and groups", sensor="all filters", **_REACHED),
    _hundredth("", **_REACHED),
    _hundredth(", with globs", sensor="globs", **_REACHED),
    _hundredth(", with sizes and storage classes", sensor="sizes and classes", **_REACHED),
    _hundredth(", with groups", sensor="groups", **_REACHED),
    _hundredth(", with all filters and groups", sensor="all filters", **_REACHED),
    _hundredth(", cut by a `time_budget` of 0.25 s", sensor="in parts"),
    _hundredth(", percent-encoded keys (`dt=2026-01-01/`)", bucket="encoded"),
    _steady("10% of the pages changed", at="tenth", ratio=38),
    _steady("10%, `max_in_flight` reached", at="tenth", sensor="in flight", in_flight=10),
    _steady("every page changed", at="everywhere"),
    _steady("nothing changed, 10,000 objects", bucket="small"),
    _restart("", ratio=30),
    _restart(", with all filters and groups", sensor="all filters"),
    _restart(", percent-encoded keys", bucket="encoded"),
    _first(", defaults", ratio=22),
    _first(", with globs", sensor="globs"),
    _first(" of ten million objects", bucket="ten-million", is_slow=True, ratio=22),
    _all_at_once(ratio=10, above=0, memory=655),
    _restart(" (far server)", at=FAR, speed=10),
    _far("", speed=20),
    _far(", 10 connections, which is boto3's default", connections=10),
    ONE_REQUEST,
    _other("dagster_aws get_objects", "get_objects", is_share=True, is_slow=True),
    _other("s3fs find", "s3fs", "peers", is_share=True, is_slow=True),
    _other("obstore list (Rust)", "obstore", "peers", is_slow=True),
)

SHORT_ROWS: Final = tuple(
    replace(row, bucket="medium", times=3)
    for row in (
        WIRE,
        PAGINATOR,
        _steady("nothing changed", ratio=25),
        _steady("10% of the pages changed", at="tenth", ratio=15),
        _restart("", ratio=10),
    )
)
"""What `--short` measures. The bounds are less than half of what a quiet machine reaches: on a busy
one, who waits for a server a hundred times loses more than a parser that only computes."""
