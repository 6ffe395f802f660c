from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any

import pytest

from dagster_s3inc import build_s3_incremental_sensor, build_s3_reset_job
from dagster_s3inc.core.filters import Conditions
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.reset import ResetConfig
from dagster_s3inc.reset.config import Order
from dagster_s3inc.s3.location import S3Location

SOURCE = S3Location("lake", "landing/")
MIDNIGHT = datetime(2026, 11, 22, tzinfo=timezone.utc)


def order(**fields: Any) -> Order:
    return ResetConfig(**fields).order(SOURCE)


def test_default_config_resets_everything() -> None:
    """By default everything is processed again, and nothing else happens."""
    assert order() == Order("everything", Conditions(), dry_run=False, cancel_queued=False)


@pytest.mark.parametrize(
    ("fields", "conditions"),
    [
        ({"modified_since": "2026-11-22T00:00:00Z"}, Conditions(since=MIDNIGHT)),
        ({"modified_since": "2026-11-22T01:00:00+01:00"}, Conditions(since=MIDNIGHT)),
        ({"prefix": "landing/2026/"}, Conditions(prefix="landing/2026/")),
        ({"prefix": "s3://lake/landing/2026/"}, Conditions(prefix="landing/2026/")),
        ({"prefix": "land"}, Conditions(prefix="land")),
        ({"include": ["2026/**", "*.csv"]}, Conditions(include=("2026/**", "*.csv"))),
        (
            {"modified_since": "2026-11-22T00:00:00Z", "prefix": "landing/a", "include": ["a*"]},
            Conditions(since=MIDNIGHT, prefix="landing/a", include=("a*",)),
        ),
    ],
)
def test_conditions_are_read(fields: Any, conditions: Conditions) -> None:
    """Time, prefix and globs become conditions, alone and together."""
    assert order(what="matching", **fields).conditions == conditions


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"what": "matching"}, "there is no condition"),
        ({"prefix": "landing/a"}, "prefix given, but what is everything"),
        (
            {"what": "failed", "modified_since": "2026-11-22T00:00:00Z", "include": ["a"]},
            "modified_since and include given, but what is failed",
        ),
        ({"what": "skip_failed", "cancel_queued": True}, "Leave cancel_queued out"),
        ({"what": "accept_listed", "cancel_queued": True}, "Leave cancel_queued out"),
        ({"what": "accept_listed", "include": ["a"]}, "include given, but what is accept_list"),
        ({"what": "matching", "modified_since": "2026-11-22"}, "not a time with a time zone"),
        ({"what": "matching", "modified_since": ""}, "not a time with a time zone"),
        ({"what": "matching", "modified_since": "yesterday"}, "is 'yesterday'"),
        ({"what": "matching", "include": ["a", " "]}, "an empty glob"),
        ({"what": "matching", "include": ["s3://lake/landing/a*"]}, "below the sensor's"),
        ({"what": "matching", "prefix": ""}, "prefix is empty"),
        ({"what": "matching", "prefix": "2026/"}, "as in 'landing/2026/'"),
        ({"what": "matching", "prefix": "s3://pond/landing/"}, "another bucket"),
        ({"what": "matching", "prefix": "s3:///"}, "no valid bucket name"),
        ({"what": "matching", "include": ["a" * 700]}, "too long for a cursor"),
    ],
)
def test_contradictions_are_refused(fields: Any, message: str) -> None:
    """What is malformed or contradicts itself is refused, and the message says what to do."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        order(**fields)


def test_launchpad_describes_each_field() -> None:
    """Every field has a description and a default, so that an empty launch is complete."""
    sensor = build_s3_incremental_sensor(name="landing", uri="s3://lake/", job_name="ingest")
    [reset] = build_s3_reset_job(sensor=sensor).nodes
    schema = reset.definition.config_schema
    assert schema is not None
    fields = schema.config_type.fields
    assert list(fields) == list(ResetConfig.model_fields)
    for field in fields.values():
        assert field.description
        assert not field.is_required
