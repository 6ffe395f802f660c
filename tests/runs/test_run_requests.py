from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickData, TickStatus
from dagster._serdes import serialize_value

from dagster_s3inc.core.batching import Batch, RequestSize, ScanLimits
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.runs.run_requests import (
    RunKey,
    RunRequests,
    batch_config,
    parse_run_key,
    read_batch_config,
    requested_batch,
)
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.source import Grouping, Source

MOMENT = datetime(2026, 1, 31, 23, 59, 59, tzinfo=timezone.utc)
DAYS = dg.DailyPartitionsDefinition("2026-01-01")


def make_requests(
    *job_names: str, grouping: Grouping | None = None, run_tags: dict[str, str] | None = None
) -> RunRequests:
    source = Source(
        location=S3Location("lake", "landing/"), objects=ObjectFilter(), grouping=grouping
    )
    return RunRequests(
        source=source,
        job_names=job_names or (None,),
        batch_resource_key="batch",
        run_tags=run_tags or {},
    )


def make_batch(keys: list[str], group: str | None = None, **options: Any) -> Batch:
    defaults = {"etag": "d41d8cd98f00b204e9800998ecf8427e", "size": 30_000, **options}
    return Batch.of([S3Object(MOMENT, key, **defaults) for key in keys], group)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("3:7:0b17", RunKey(3, 7, "0b17")),
        ("3:7:0b17:ingest", RunKey(3, 7, "0b17", "ingest")),
        ("3:0b17", None),
        ("3:x:0b17", None),
        ("3:²:0b17", None),
        ("", None),
        (None, None),
    ],
)
def test_run_keys_are_read_back(text: str | None, key: RunKey | None) -> None:
    """A run key holds generation, sequence, batch and job; what another sensor wrote is none."""
    assert parse_run_key(text) == key
    if key is not None:
        assert str(key) == text


def test_same_cursor_and_same_batch_give_the_same_request() -> None:
    """A tick that is decided anew asks for nothing that Dagster would not skip."""
    requests, batch = make_requests(), make_batch(["landing/a", "landing/b"])
    first = requests.request(batch, None, generation=1, sequence=4)
    assert first == requests.request(batch, None, generation=1, sequence=4)
    later = requests.request(batch, None, generation=1, sequence=5)
    assert {first.run_key, later.run_key} == {f"1:4:{batch.id}", f"1:5:{batch.id}"}


def test_one_tag_is_for_people() -> None:
    """A row of the runs page shows one short tag; the others are under "View all tags"."""
    batch = make_batch([f"landing/{number}" for number in range(100)], "dt=1", size=300)
    request = make_requests(run_tags={"team": "x"}).request(
        batch, "ingest", generation=1, sequence=4, repeats="retry", reset="2026"
    )
    shown = {key: value for key, value in request.tags.items() if not key.startswith("dagster/")}
    assert shown == {"team": "x", "dagster_s3inc/files": "100 (29.3 KiB)"}
    hidden = {key: request.tags[f"dagster/s3inc/{key}"] for key in ("generation", "sequence")}
    assert hidden == {"generation": "1", "sequence": "4"}
    assert request.tags["dagster/s3inc/repeats"] == "retry"
    assert request.tags["dagster/s3inc/group"] == "dt=1"


def test_nul_reaches_no_tag() -> None:
    """A group with a NUL, which PostgreSQL refuses, is not a tag."""
    request = make_requests().request(make_batch(["a"], "x\0y"), None, generation=1, sequence=0)
    assert not any("\0" in value for value in request.tags.values())


def test_batches_are_read_back_from_requests() -> None:
    """A request tells its batch; one that was edited by hand does not."""
    requests, batch = make_requests("one", "two"), make_batch(["landing/a", "ü#?%\n"], "x")
    request = requests.request(batch, "one", generation=1, sequence=4, repeats="reprocess")
    assert requested_batch(request, "batch") == batch
    assert requested_batch(request, "another") is None
    assert requests.again(request, "one") == request
    other = requests.again(request, "two")
    assert other is not None
    assert other.run_key == f"1:4:{batch.id}:two"
    config = batch_config("lake", batch, 1)
    config["files"] = config["files"][:1]
    with pytest.raises(ValueError, match="not those that the sensor wrote"):
        read_batch_config(config, group=None)
    assert requests.again(dg.RunRequest(run_key="x"), None) is None


# The size of a tick's row


def row_bytes(
    requests: list[dg.RunRequest], cursor: str, *, sensor: str = "landing", added: Any = None
) -> int:
    """What Dagster writes for a tick that requested these runs, once it has ended."""
    with_tags = [
        each.with_replaced_attrs(
            tags={**each.tags, "dagster/sensor_name": sensor, **(added(each) if added else {})}
        )
        for each in requests
    ]
    ids = [f"f1b6d6f0-5fb7-4f6a-8f2c-{number:012}" for number in range(len(requests))]
    data = TickData(
        instigator_origin_id="a" * 40,
        instigator_name=sensor,
        instigator_type=InstigatorType.SENSOR,
        status=TickStatus.SUCCESS,
        timestamp=1_900_000_000.123456,
        end_timestamp=1_900_000_000.123456,
        selector_id="b" * 40,
        cursor=cursor,
        run_ids=ids,
        run_keys=[str(each.run_key) for each in requests],
        run_requests=with_tags,
        reserved_run_ids=ids,
        log_key=["repository", "location", sensor, "c" * 36],
    )
    return len(serialize_value(data))


def estimated(size: RequestSize, batches: list[Batch], cursor: str, limits: ScanLimits) -> int:
    """What is reckoned with, but with the cursor as long as it is."""
    whole = make_requests().size(limits, 0, place="")
    reserved = whole.tick + whole.partial_scan
    cursor_room = reserved - 1_500
    text = len(json.dumps(cursor))
    assert text <= cursor_room, "the cursor is longer than what is reserved"
    total = size.tick + size.partial_scan - cursor_room + text
    for batch in batches:
        group = len(json.dumps(batch.group or "")) - 2
        files = sum(_file_bytes(each) for each in batch.objects)
        total += size.batch + size.group_copies * group + size.jobs * files
    return total


def _file_bytes(each: S3Object) -> int:
    # As core.batching counts it: with room for the digits of a size and of a time.
    texts = sum(len(json.dumps(text)) - 2 for text in (each.key, each.etag, each.storage_class))
    return 80 + 20 + 27 + texts


@pytest.mark.parametrize(
    "key",
    [
        lambda number: f"landing/dt=2026-01-31/part-{number:05}.parquet",
        lambda number: f'landing/{number:04}ü#?% "x" \\ \n😀/' + "é" * 50,
        lambda number: f"landing/{number:04}" + "x" * 1_000,
        str,
    ],
    ids=["typical", "escapes", "long", "short"],
)
@pytest.mark.parametrize("jobs", [(), ("one", "another_job_with_a_long_name")])
def test_estimate_is_never_less_than_the_row(key: Callable[[int], str], jobs: Any) -> None:
    """What a tick writes with all tags, ids, keys and its cursor is counted, and little more."""
    requests = make_requests(*jobs, run_tags={"team": "x" * 500, "dagster/priority": "3"})
    batches = [
        make_batch([key(1_000 * part + number) for number in range(100)]) for part in range(4)
    ]
    limits, cursor = ScanLimits(), '{"version":2,"key":"\\u00e9"}' + "x" * 8_000
    size = requests.size(limits, 1_000_000, place="landing")
    rows = [
        requests.request(each, name, generation=3, sequence=1_234)
        for each in batches
        for name in requests.job_names
    ]
    real, most = row_bytes(rows, cursor), estimated(size, batches, cursor, limits)
    assert real <= most <= (1.5 if key is str else 1.25) * real


def test_partitions_are_counted() -> None:
    """Dagster writes a partition key several times; new dynamic ones once more."""
    both = dg.MultiPartitionsDefinition(
        {"day": DAYS, "customer": dg.DynamicPartitionsDefinition(name="customers")}
    )
    grouping = Grouping(r"dt=(?P<day>[^/]+)/customer=(?P<customer>[^/]+)/", both)
    requests = make_requests("ingest", grouping=grouping)
    batches = [make_batch([f"in/{number}"], "ünïted" * 20 + "|2026-01-02") for number in range(50)]
    rows = [requests.request(each, "ingest", generation=1, sequence=0) for each in batches]

    def partition_tags(request: dg.RunRequest) -> dict[str, str]:
        customer, day = str(request.partition_key).split("|")
        return {
            "dagster/partition": str(request.partition_key),
            "dagster/partition/customer": customer,
            "dagster/partition/day": day,
        }

    size = requests.size(ScanLimits(), 1_000_000, place="landing")
    real = row_bytes(rows, "{}", added=partition_tags)
    assert real <= estimated(size, batches, "{}", ScanLimits()) <= 1.6 * real


def test_assets_are_counted() -> None:
    """With asset_selection, each request names its assets and checks."""
    assets = [dg.AssetKey(["folder", f"asset_{number}"]) for number in range(40)]
    checks = [dg.AssetCheckKey(each, "fresh") for each in assets]
    requests, batch = make_requests(), make_batch(["in/a"])
    named = requests.request(batch, None, generation=1, sequence=0).with_replaced_attrs(
        job_name="__ASSET_JOB", asset_selection=assets, asset_check_keys=checks
    )
    size = requests.size(ScanLimits(), 1_000_000, place="landing", assets=assets, checks=checks)
    assert row_bytes([named], "{}") <= estimated(size, [batch], "{}", ScanLimits())


def test_capacity_is_counted() -> None:
    """The cursor's share of the row grows with what it may remember."""
    small, large = (
        make_requests().size(ScanLimits(late_file_capacity=each), 0) for each in (100, 400)
    )
    assert large.tick - small.tick == pytest.approx(3 / 2 * 300 * 14 * 4 / 3, abs=200)
    assert large.tick + large.partial_scan < 45_000
