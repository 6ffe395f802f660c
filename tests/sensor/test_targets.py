from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from dagster_s3inc import build_s3_incremental_sensor
from dagster_s3inc.errors import ConfigurationError
from tests.servers import S3Server


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job
def ingest() -> None:
    nothing()


@dg.asset
def orders() -> None:
    """An asset."""


@pytest.fixture
def bucket(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> str:
    return new_bucket(moto)


@pytest.fixture
def put(moto: S3Server, bucket: str) -> Callable[..., None]:
    client = moto.client()

    def put_each(*keys: str) -> None:
        for key in keys:
            client.put_object(Bucket=bucket, Key=key, Body=b"x")

    return put_each


@dg.asset_check(asset=orders)
def complete() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


def tick_in(server: S3Server, bucket: str, **options: Any) -> Any:
    """What Dagster makes of one evaluation in a code location with two assets."""
    sensor = build_s3_incremental_sensor(name="landing", uri=f"s3://{bucket}/in/", **options)
    definitions = dg.Definitions(
        assets=[orders, dg.AssetSpec("invoices")],
        asset_checks=[complete],
        sensors=[sensor],
        resources={"s3": server.resource()},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, definitions=definitions, resources={"s3": server.resource()}
        )
        return definitions.resolve_sensor_def("landing").evaluate_tick(context)


@pytest.mark.parametrize("selection", ["key:orders", "key:orders or key:ordrs", "*", [orders]])
@pytest.mark.parametrize("option", ["asset_selection", "target"])
def test_selection_of_an_asset(
    moto: S3Server, bucket: str, put: Any, option: str, selection: Any
) -> None:
    """A selection that any asset is in is launched."""
    put("in/a")
    [request] = tick_in(moto, bucket, **{option: selection}).run_requests
    assert request.asset_selection == ([orders.key] if option == "asset_selection" else None)


@pytest.mark.parametrize(
    "target",
    [
        {"asset_selection": "key:ordrs"},
        {"asset_selection": ["ordrs"]},
        {"asset_selection": "key:invoices"},
        {"asset_selection": dg.AssetSelection.groups("ordrs")},
        {"asset_selection": dg.AssetSelection.all_asset_checks()},
        {"target": "key:ordrs"},
        {"target": dg.AssetSelection.groups("ordrs")},
        {"target": dg.define_asset_job("some", selection="key:ordrs")},
        {"job": dg.define_asset_job("some", selection="key:ordrs")},
        {"jobs": [ingest, dg.define_asset_job("some", selection="key:ordrs")]},
    ],
)
def test_selection_of_nothing(
    moto: S3Server, bucket: str, put: Any, target: dict[str, Any]
) -> None:
    """A selection that no asset is in fails the tick by name, and launches nothing."""
    put("in/a")
    [option] = target
    with pytest.raises(ConfigurationError, match=f"The {option} of sensor 'landing' selects no"):
        tick_in(moto, bucket, **target)


def test_checks_may_be_a_target(moto: S3Server, bucket: str, put: Any) -> None:
    """A job that only runs checks is launched."""
    put("in/a")
    assert tick_in(moto, bucket, target=dg.AssetSelection.all_asset_checks()).run_requests
