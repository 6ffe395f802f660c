from __future__ import annotations

import pytest

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import ObjectsPage
from dagster_s3inc.core.redo import Conditions, Redo
from dagster_s3inc.core.report import ScanReport, describe_scan
from dagster_s3inc.core.scan import scan
from tests.core.making import at, make_object


def report_on(objects: list[S3Object], limits: ScanLimits | None = None) -> ScanReport:
    """The words for a first scan of these objects, of which *.tmp are left out."""
    selection = ObjectFilter(exclude="*.tmp").selection("")
    checkpoint = Checkpoint(generation=4)
    result = scan(
        checkpoint, [ObjectsPage(objects)], now=at(600), selection=selection, limits=limits
    )
    return describe_scan(result, source="s3://b/in", seconds=1.234)


def test_empty_listing_in_words() -> None:
    """A scan of nothing says where it looked and that there was nothing."""
    summary = (
        "Nothing new in generation 4: looked at 0 objects (0 bytes) under s3://b/in in 1.23 s."
    )
    assert report_on([]) == ScanReport(summary, ())


def test_one_file_in_words() -> None:
    """A single file is told in the singular, with the newest object's key and time."""
    assert report_on([make_object("a.csv", size=1536)]).summary == (
        "1 file (1.5 KiB) in 1 batch in generation 4: looked at 1 object (1.5 KiB) under s3://b/in "
        "in 1.23 s; the newest is a.csv of 2026-01-01T00:00:00Z."
    )


def test_nothing_new_tells_what_was_left_out() -> None:
    """Where everything is left out, the message says so."""
    summary = report_on([make_object("a.tmp"), make_object("b.tmp", 1)]).summary
    assert summary.startswith("Nothing new in generation 4: looked at 2 objects (2 bytes)")
    assert summary.endswith("; 2 of the recent ones left out by the filter or group_by.")


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (
            5,
            "; 1 more file (1 byte) waits for the next ticks, the oldest of 2026-01-01T00:00:04Z.",
        ),
        (
            9,
            "; 5 more files (5 bytes) wait for the next ticks, the oldest of 2026-01-01T00:00:04Z.",
        ),
    ],
)
def test_waiting_files_are_told(count: int, expected: str) -> None:
    """What a tick could not hand over is told with its number, size and age."""
    limits = ScanLimits(policy=BatchPolicy(max_files=2), max_batches=2)
    summary = report_on([make_object(f"k{index}", index) for index in range(count)], limits).summary
    assert summary.startswith("4 files (4 bytes) in 2 batches")
    assert summary.endswith(expected)


def test_key_that_does_not_print_is_quoted() -> None:
    """A key with a line feed does not break the line."""
    assert "the newest is 'a\\nb' of 2026" in report_on([make_object("a\nb")]).summary


def test_redo_in_words() -> None:
    """A redo says what it hands over again, where it goes on, and that what is new waits."""
    objects = [make_object("a"), make_object("b", 1)]
    checkpoint = scan(Checkpoint(), [ObjectsPage(objects)], now=at(9)).checkpoint.continued(
        generation=2, reset_seen=None, redo=Redo(conditions=Conditions(since=at(0)))
    )
    said = []
    while checkpoint.redo is not None:
        limits = ScanLimits(policy=BatchPolicy(max_files=1), max_batches=1)
        result = scan(checkpoint, [ObjectsPage(objects)], now=at(9), limits=limits)
        said.append(describe_scan(result, source="s3://b/in", seconds=1.234).summary)
        checkpoint = result.checkpoint
    again = (
        "Handed over again in generation 2: 1 file (1 byte) in 1 batch, of what is modified since "
        "2026-01-01T00:00:00Z; looked at 2 objects under s3://b/in in 1.23 s; "
    )
    assert said == [
        again + "this goes on in the next tick after a; new files wait until then.",
        again + "that was all; the next tick looks for new files.",
    ]
