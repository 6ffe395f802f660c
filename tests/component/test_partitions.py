from __future__ import annotations

import dagster as dg
import pytest
from dagster.components.resolved.errors import ResolutionException
from pydantic import ValidationError

from tests.component.making import load

DAILY = dg.DailyPartitionsDefinition("2026-01-01")
CASES = {
    "{type: hourly, start_date: 2026-01-01-00:00, minute_offset: 5}": (
        dg.HourlyPartitionsDefinition("2026-01-01-00:00", minute_offset=5)
    ),
    "{type: daily, start_date: 2026-01-01}": DAILY,
    "{type: daily, start_date: '20260101', fmt: '%Y%m%d', timezone: CET, end_offset: 1}": (
        dg.DailyPartitionsDefinition("20260101", fmt="%Y%m%d", timezone="CET", end_offset=1)
    ),
    "{type: weekly, start_date: 2026-01-01, end_date: 2026-03-01, day_offset: 1}": (
        dg.WeeklyPartitionsDefinition("2026-01-01", end_date="2026-03-01", day_offset=1)
    ),
    "{type: monthly, start_date: 2026-01-01, hour_offset: 2}": (
        dg.MonthlyPartitionsDefinition("2026-01-01", hour_offset=2)
    ),
    "{type: time_window, start_date: 2026-01-01, fmt: '%Y-%m-%d', cron_schedule: 0 6 * * 1}": (
        dg.TimeWindowPartitionsDefinition(
            start="2026-01-01", fmt="%Y-%m-%d", cron_schedule="0 6 * * 1"
        )
    ),
    "{type: static, partition_keys: ['2024', de]}": dg.StaticPartitionsDefinition(["2024", "de"]),
    "{type: dynamic, name: customers}": dg.DynamicPartitionsDefinition(name="customers"),
    "{type: multi, dimensions: {day: {type: daily, start_date: 2026-01-01}, "
    "customer: {type: dynamic, name: customers}}}": dg.MultiPartitionsDefinition(
        {"day": DAILY, "customer": dg.DynamicPartitionsDefinition(name="customers")}
    ),
    "{type: daily, start_date: \"{{ '2026-01-01' }}\"}": DAILY,
    "'{{ dg.DailyPartitionsDefinition(\"2026-01-01\") }}'": DAILY,
}


@pytest.mark.parametrize("written", CASES)
def test_partitions_are_those_that_python_would_make(written: str) -> None:
    """Each type gives the definition that an asset with the same partitions has."""
    made = load(f"group_by: (?P<p>.)\npartitions_def: {written}").partitions_def
    assert made == CASES[written]
    assert type(made) is type(CASES[written])


def test_wrong_partitions_are_refused() -> None:
    """A type that does not exist, and text, are errors that name the option."""
    with pytest.raises(ValidationError, match=r"partitions_def[^$]*yearly"):
        load("partitions_def: {type: yearly}")
    with pytest.raises(ResolutionException, match="partitions_def is 'daily', which is only text"):
        load("partitions_def: daily")
