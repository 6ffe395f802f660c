from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.page import ObjectsPage
from dagster_s3inc.core.scan import scan, scan_backlog
from tests.core.making import FIRST, HOUR, at, make_object

ONE_BATCH = ScanLimits(policy=BatchPolicy(max_files=4), max_batches=1, sketch_cells=8)


@pytest.mark.parametrize("is_newest_done", [False, True])
def test_more_waits_than_is_kept(is_newest_done: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cut off is found by the next look, also behind something newer that is done."""
    monkeypatch.setattr("dagster_s3inc.core.backlog.KEPT", 4)
    objects = [make_object("old", -3 * 3600)]
    if is_newest_done:
        objects.append(make_object("newest", 0))
    result = scan(FIRST, [ObjectsPage(objects)], now=at(0), limits=ONE_BATCH)
    handed = Counter(result.objects)
    # Replicas, which carry the time of their source.
    objects += [make_object(f"late{number:02}", number - 1800) for number in range(24)]
    for minute in range(12):
        backlog, now = result.backlog, at(0) + 2 * HOUR + timedelta(minutes=minute)
        if backlog is not None:
            assert backlog.follows == result.checkpoint
            result = scan_backlog(backlog, limits=ONE_BATCH)
        if backlog is None or not result.batches:
            page = ObjectsPage(sorted(objects, key=lambda each: each.key))
            result = scan(result.checkpoint, [page], now=now, limits=ONE_BATCH)
        handed.update(result.objects)
    assert handed == Counter(objects)
