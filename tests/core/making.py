"""Objects and listings for the tests of the core."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from random import Random

from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import ObjectsPage
from dagster_s3inc.core.scan import scan

START = datetime(2026, 1, 1, tzinfo=timezone.utc)

HOUR = timedelta(hours=1)

DAY = 86_400
"""In seconds."""

FIRST = Checkpoint()

RANDOMS = st.randoms(use_true_random=True)

# What UTF-8 can hold; S3 has no other keys.
KEYS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6)


def at(seconds: float) -> datetime:
    """A moment, counted from the start of the test's time."""
    return START + timedelta(seconds=seconds)


def make_object(
    key: str = "a",
    seconds: float = 0,
    *,
    etag: str = "e1",
    size: int = 1,
    storage_class: str = "STANDARD",
) -> S3Object:
    """An object modified `seconds` after the start of the test's time."""
    return S3Object(at(seconds), key, etag, size, storage_class)


def keys_of(objects: Iterable[S3Object]) -> list[str]:
    """The keys, in the order given."""
    return [each.key for each in objects]


@st.composite
def listings(draw: st.DrawFn, *, max_size: int = 30, max_seconds: int = 9) -> list[S3Object]:
    """Listings in key order, in which many objects share a second."""
    keys = draw(st.lists(KEYS, unique=True, max_size=max_size))
    seconds = st.integers(0, max_seconds)
    return [make_object(key, draw(seconds), size=draw(st.integers(0, 9))) for key in sorted(keys)]


def in_pages(objects: Sequence[S3Object], random: Random) -> list[ObjectsPage]:
    """The same objects shuffled, in pages of random sizes, some of them empty."""
    shuffled = list(objects)
    random.shuffle(shuffled)
    pages: list[list[S3Object]] = [[] for _ in range(random.randint(1, 5))]
    for each in shuffled:
        random.choice(pages).append(each)
    return [ObjectsPage(page) for page in pages]


def look(
    checkpoint: Checkpoint,
    objects: Iterable[S3Object],
    now: float = DAY,
    *,
    files: int = 10**6,
    recent_limit: int = 1200,
    lookback: timedelta = HOUR,
) -> ScanResult:
    """Scans a listing `now` seconds after the start, handing over at most `files` objects."""
    limits = ScanLimits(
        policy=BatchPolicy(max_files=1),
        max_batches=files,
        recent_limit=recent_limit,
        lookback=lookback,
    )
    return scan(checkpoint, [ObjectsPage(objects)], now=at(now), limits=limits)
