from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from dagster.components.resolved.errors import ResolutionException

from tests.component.making import NEEDED, load


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("'90'", 90),
        ("1h30m", 5400),
        ("'{{ datetime.timedelta(hours=2) }}'", 7200),
        ("'{{ 60 * 60 }}'", 3600),
        ("'{{ 15 }}m'", 900),
    ],
)
def test_durations(written: str, seconds: float) -> None:
    """Seconds, days to seconds in words, or a timedelta by a template."""
    assert load(f"lookback: {written}").lookback == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ["1x", "-5", "''"])
def test_wrong_durations_are_refused(written: str) -> None:
    """A duration that cannot be read is an error that says how to write one."""
    with pytest.raises(ResolutionException, match=r"lookback[^$]*not a duration[^$]*1h30m"):
        load(f"lookback: {written}")


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-31T00:00:00Z",
        "'2026-01-31T01:00:00+01:00'",
        "'{{ at }}'",
        "'{{ at.isoformat() }}'",
    ],
)
def test_moments(written: str) -> None:
    """A moment is ISO 8601 with a time zone, or a datetime by a template."""
    moment = datetime(2026, 1, 31, tzinfo=timezone.utc)
    assert load(f"start_from: {written}", at=moment).start_from == moment
    component = load(f"objects: {{modified_after: {written}}}", at=moment)
    assert component.objects.modified_after == moment


@pytest.mark.parametrize("written", ["2026-01-31T00:00:00", "yesterday", "1769"])
def test_wrong_moments_are_refused(written: str) -> None:
    """A moment that cannot be read, or has no time zone, is an error that says how to write it."""
    with pytest.raises(ResolutionException, match=r"start_from[^$]*not a moment[^$]*time zone"):
        load(f"start_from: '{written}'")


def test_now_is_a_start() -> None:
    """`start_from` also takes its two words."""
    assert [load(f"start_from: {each}").start_from for each in ("now", "beginning")] == [
        "now",
        "beginning",
    ]


def test_text_stays_as_it_is_written() -> None:
    """Text that looks like a number stays text; numbers and truth values become tags."""
    component = load("""
run_tags: {version: "1.10", team: "007", retries: 3, urgent: true, who: "{{ 'me' }}"}
objects: {include: ["[12]", "{1,2}"], storage_classes: STANDARD}
""")
    assert component.run_tags == {
        "version": "1.10",
        "team": "007",
        "retries": "3",
        "urgent": "true",
        "who": "me",
    }
    assert component.objects.include == ("[12]", "{1,2}")
    assert component.objects.storage_classes == {"STANDARD"}


def test_environment_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set is filled in; one that is not may have a default."""
    monkeypatch.setenv("LAKE", "lake")
    monkeypatch.setenv("FILES", "7")
    monkeypatch.delenv("NONE", raising=False)
    component = load(
        """
uri: "s3://{{ env.LAKE }}/{{ env('NONE', 'landing') }}/{{ env.NONE or 'x' }}/"
batch: {max_files: "{{ env.FILES }}"}
description: "{{ 'set' if env.NONE is defined else 'not set' }}"
""",
        needed="name: landing",
    )
    assert component.uri == "s3://lake/landing/x/"
    assert component.batch.max_files == 7
    assert component.description == "not set"


@pytest.mark.parametrize(
    "written",
    [
        "uri: 's3://{{ env.NONE }}/x/'",
        "uri: '{{ env.NONE }}'",
        "uri: s3://b/\nlookback: '{{ env.NONE }}'",
        "uri: s3://b/\ntime_budget: '{{ env.NONE }}'",
        "uri: s3://b/\nobjects: {include: ['{{ env.NONE }}/*.csv']}",
        "uri: s3://b/\ns3: {region_name: '{{ env.NONE }}'}",
        "uri: s3://b/\nrun_tags: {who: '{{ env.NONE }}'}",
        "uri: s3://b/\nmetadata: {who: ['{{ env.NONE }}']}",
        "uri: s3://b/\npartitions_def: {type: daily, start_date: '{{ env.NONE }}'}",
    ],
)
def test_a_variable_that_is_not_set_is_an_error(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A needed variable that is not set is an error that names it, and not the text None."""
    monkeypatch.delenv("NONE", raising=False)
    with pytest.raises(ResolutionException, match="Environment variable NONE is needed here"):
        load(f"\n{written}", needed="name: landing")


def test_a_variable_without_a_default_is_an_error_in_dagsters_form_too() -> None:
    """`env('X')` is refused as Dagster refuses it."""
    with pytest.raises(ResolutionException, match="NONE is not set"):
        load("description: \"{{ env('NONE') }}\"", needed=NEEDED)
