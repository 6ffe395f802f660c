from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy, ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint, Reprocess
from dagster_s3inc.core.filters import Conditions, ObjectFilter
from dagster_s3inc.core.late_files import LedgerProgress, Undecided, Why
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.report import (
    Forecast,
    ScanReport,
    describe_cost,
    describe_scan,
    describe_undecided,
    forecast,
)
from dagster_s3inc.core.scan import scan, scan_backlog
from tests.core.making import (
    DAY,
    HOUR,
    Sensor,
    at,
    limits_of,
    listings,
    make_object,
    make_objects,
    page,
)
from tests.core.test_batching import cut


def said(result: ScanResult) -> ScanReport:
    """The words for a scan."""
    return describe_scan(result, source="s3://b/in", seconds=1.234)


def report_on(objects: list[S3Object], limits: ScanLimits | None = None) -> ScanReport:
    """The words for a first scan of these objects, of which *.tmp are left out."""
    selection = ObjectFilter(exclude="*.tmp").selection("")
    checkpoint = Checkpoint(generation=4)
    return said(scan(checkpoint, [page(objects)], now=at(600), selection=selection, limits=limits))


def test_empty_listing_in_words() -> None:
    """A scan of nothing says what was listed and that there was nothing."""
    summary = "Nothing new in generation 4: 0 objects (0 bytes) listed under s3://b/in in 1.23 s."
    assert report_on([]) == ScanReport(summary, ())


def test_one_file_in_words() -> None:
    """A single file is in the singular, with the newest object's key and time."""
    assert report_on([make_object("a.csv", size=1536)]).summary == (
        "1 file (1.5 KiB) in 1 batch requested in generation 4: 1 object (1.5 KiB) listed under "
        "s3://b/in in 1.23 s; the newest is a.csv of 2026-01-01T00:00:00Z."
    )


def test_what_was_left_out_is_said() -> None:
    """Where everything is left out, the message says so."""
    summary = report_on([make_object("a.tmp"), make_object("b.tmp", 1)]).summary
    assert summary.startswith("Nothing new in generation 4: 2 objects (2 bytes) listed")
    assert summary.endswith("; 2 of the recent ones left out by the filter.")


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (5, "; 1 file (1 byte) waits for the next ticks, the oldest of 2026-01-01T00:00:04Z."),
        (9, "; 5 files (5 bytes) wait for the next ticks, the oldest of 2026-01-01T00:00:04Z."),
    ],
)
def test_waiting_files_are_said(count: int, expected: str) -> None:
    """What a tick had no room for is said with its number, size and age."""
    limits = ScanLimits(policy=BatchPolicy(max_files=2), max_batches=2)
    summary = report_on([make_object(f"k{index}", index) for index in range(count)], limits).summary
    assert summary.startswith("4 files (4 bytes) in 2 batches requested in generation 4")
    assert summary.endswith(expected)


def test_nothing_requested_is_not_nothing_new() -> None:
    """A tick that may request nothing says what waits."""
    summary = report_on(make_objects("k", 3), ScanLimits(max_batches=0)).summary
    assert summary.startswith("Nothing requested in generation 4: 3 objects")
    assert "3 files (3 bytes) wait for the next ticks" in summary


def test_backlog_in_words() -> None:
    """A tick without a listing says that its files were found by an earlier one."""
    limits = limits_of(2)
    result = scan(Checkpoint(), [page(make_objects("k", 3))], now=at(600), limits=limits)
    assert result.backlog is not None
    assert said(scan_backlog(result.backlog, limits=limits)).summary == (
        "1 file (1 byte) in 1 batch requested in generation 1: found under s3://b/in by an earlier "
        "listing in 1.23 s."
    )


def test_partial_scan_in_words() -> None:
    """A scan that goes on says where, since when, and how much it has seen."""
    sensor = Sensor()
    result = sensor.tick(make_objects("k", 9), DAY, part=4)
    assert (
        "; the listing goes on in the next tick after k000003; this scan began at "
        "2026-01-02T00:00:00Z and has seen 4 objects;"
    ) in said(result).summary


@pytest.mark.parametrize("remembers", [True, False])
def test_late_and_gone_files_in_words(remembers: bool) -> None:
    """Late files and deleted ones are said, when they are found and when they are requested."""
    objects = make_objects("k", 9, 5)
    sensor = Sensor(remembers=remembers)
    sensor.tick(objects)
    listed = [make_object("late", 1), *objects[2:]]
    first = said(sensor.tick(listed)).summary
    assert "; 2 files requested before, now deleted or overwritten" in first
    if not remembers:
        assert "; 1 late file found, to be requested by the next tick" in first
        first = said(sensor.tick(listed)).summary
    assert "; 1 file of these came late" in first


def test_ledger_in_words() -> None:
    """A tick that read the sensor's runs says so."""
    sensor = Sensor(limits_of(late_file_capacity=12), remembers=False)
    objects = make_objects("k", 100, 500)
    sensor.tick(objects)
    result = sensor.tick([*objects, *make_objects("late", 90, 1)])
    assert said(result).summary.endswith(
        "; the ledger (the sensor's runs) shows what was requested before."
    )
    assert said(result).warnings == ()


def test_changed_filter_in_words() -> None:
    """A changed filter is said once, with what it means for files."""
    sensor = Sensor()
    sensor.tick([make_object("a"), make_object("b.tmp")])
    sensor.selection = ObjectFilter(exclude="*.tmp").selection("")
    [warning] = said(sensor.tick([make_object("a"), make_object("b.tmp")])).warnings
    assert warning.startswith("The filter or the prefix changed since the last tick.")
    assert said(sensor.tick([make_object("a"), make_object("b.tmp")])).warnings == ()


def test_returned_versions_in_words() -> None:
    """Versions that came back and count as requested are said, with the reset that brings them."""
    result = scan(Checkpoint(), [], now=at(0))
    result = replace(result, statistics=replace(result.statistics, returned=3))
    [warning] = said(result).warnings
    assert warning.startswith("About 3 versions that had gone came back")
    assert "launch the reset job with what: matching" in warning


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        ("not whole", "the sensor's runs do not decide it"),
        ("no ledger", "there are no runs that could decide it"),
        ("too large", "the bucket is larger than the index may be (max_index_bytes)"),
        ("part of a listing", "no process has seen the whole of this listing"),
    ],
)
def test_undecided_files_in_words(why: Why, expected: str) -> None:
    """Undecided files are said with numbers, the reason, and the two resets that end it."""
    text = describe_undecided(Undecided(8000, 500, 400, 30, why))
    assert text.startswith(
        "It is undecided which of 8,000 files at or below the watermark were requested before: "
        "about 500 appeared and 400 are gone (give or take 30)"
    )
    assert expected in text
    assert "None of these files is requested, and none is given up" in text
    assert "what: accept_listed" in text
    assert "what: matching" in text
    changed = describe_undecided(Undecided(8000, 8000, 0, 0, why, selection_changed=True))
    assert changed.startswith(
        "The filter or the prefix changed, and it is undecided which of 8,000"
    )
    assert expected in changed


def test_reading_of_the_ledger_in_words() -> None:
    """While the runs are being read, their number is said, and no reset is asked for."""
    undecided = Undecided(8000, 500, 400, 30, "reading", False, LedgerProgress(1200, 300))
    text = describe_undecided(undecided)
    assert text.endswith(
        "The sensor's runs are being read to decide it (300 of 1,200 runs so far); the next ticks "
        "go on."
    )
    assert "accept_listed" not in text


def test_key_that_does_not_print_is_quoted() -> None:
    """A key with a line feed does not break the line."""
    assert "the newest is 'a\\nb' of 2026" in report_on([make_object("a\nb")]).summary


def test_reprocessing_in_words() -> None:
    """A reset of some files says what is requested again, where it goes on, and what waits."""
    objects = [make_object("a"), make_object("b", 1)]
    sensor = Sensor()
    sensor.tick(objects)
    sensor.limits = limits_of(1)
    sensor.reset(Reprocess(conditions=Conditions(since=at(0))))
    words = []
    while sensor.checkpoint.reprocess is not None:
        result = scan(
            sensor.checkpoint, [page(objects)], now=at(9), limits=sensor.limits, ledger=sensor.read
        )
        words.append(said(result).summary)
        sensor.store(result)
    again = (
        "Requested again in generation 1: 1 file (1 byte) in 1 batch, of what is modified since "
        "2026-01-01T00:00:00Z; 2 objects listed under s3://b/in in 1.23 s; "
    )
    assert words == [
        again + "this goes on in the next tick after a; new files wait until then.",
        again + "that was all; the next tick looks for new files.",
    ]


def test_cost_in_words() -> None:
    """LIST requests are said with what a month of such ticks costs."""
    assert describe_cost(0, 30).startswith("No LIST request was needed")
    assert describe_cost(1000, 30) == (
        "1,000 LIST requests. At one such tick in 30 s, and at $0.005 for 1,000 requests, that is "
        "$432.00 a month."
    )
    assert describe_cost(1, int(HOUR.total_seconds())).startswith("1 LIST request. ")


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
