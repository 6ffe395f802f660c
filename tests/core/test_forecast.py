from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.report import Forecast, forecast
from tests.core.making import at, listings, make_object
from tests.core.test_batching import cut


@given(listings(), st.integers(1, 4), st.none() | st.integers(1, 12), st.integers(0, 5))
def test_forecast_is_what_is_there(
    objects: list[S3Object], max_files: int, max_bytes: int | None, shown: int
) -> None:
    """Counts are exact, the first are first, and there are at least so many batches."""
    policy = BatchPolicy(max_files=max_files, max_bytes=max_bytes)
    found = forecast(objects, policy, shown=shown)
    assert found.files == len(objects)
    assert found.bytes == sum(each.size for each in objects)
    assert list(found.first) == sorted(objects)[:shown]
    assert found.batches <= len(cut(sorted(objects), policy))
    assert found.newest == max((each.last_modified for each in objects), default=None)
    assert found.oldest == min((each.last_modified for each in objects), default=None)


def test_groups_are_in_different_batches() -> None:
    """Each group makes up batches of its own."""
    objects = [make_object(key, size=5) for key in ("a1", "a2", "a3", "b1")]
    found = forecast(objects, BatchPolicy(max_files=2), group_of=lambda key: key[0], shown=1)
    assert found == Forecast(
        files=4, bytes=20, batches=3, oldest=at(0), newest=at(0), first=(objects[0],)
    )
