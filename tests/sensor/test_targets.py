from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from dagster_s3inc import S3Batch, build_s3_incremental_sensor, s3_batch
from dagster_s3inc.errors import ConfigurationError
from dagster_s3inc.sensor import incremental_sensor_of
from tests.servers import S3Server

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
REGIONS = dg.StaticPartitionsDefinition(["eu", "us", *(f"region {n}" for n in range(100))])


class Reader(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A resource that needs the batch."""

    batch: dg.ResourceDependency[S3Batch]


class Shelf(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A resource that needs one which needs the batch."""

    reader: dg.ResourceDependency[Reader]


@dg.resource(required_resource_keys={"batch"})  # type: ignore[untyped-decorator]
def legacy(_: dg.InitResourceContext) -> None:
    """A resource in the older way that needs the batch."""


reader = Reader(batch=s3_batch)
OTHERS = {
    "reader": reader,
    "shelf": Shelf(reader=reader),
    "legacy": legacy,
    "warehouse": dg.ResourceDefinition.mock_resource(),
}


@dg.op
def reading(batch: S3Batch) -> None:
    """Reads."""


@dg.op
def listing(s3: S3Resource) -> None:
    """Looks for files by itself."""


@dg.graph
def reading_within() -> None:
    reading()


@dg.job
def ingest() -> None:
    listing()
    reading_within()


@dg.job
def unread_job() -> None:
    listing()


@dg.asset
def orders(batch: S3Batch) -> None:
    """An asset."""


@dg.asset(deps=[orders])
def unread(s3: S3Resource) -> None:
    """An asset that looks for files by itself."""


@dg.asset(required_resource_keys={"warehouse"})
def stored() -> None:
    """An asset whose resource may need the batch, as long as it is not known."""


def asset_with(resource: str) -> dg.AssetsDefinition:
    @dg.asset(name=f"by_{resource}", required_resource_keys={resource})
    def by() -> None: ...

    return by


@dg.asset(resource_defs={"own": reader}, required_resource_keys={"own"})
def by_own() -> None:
    """An asset with a resource of its own that needs one of the code location's."""


BY_OTHERS = [by_own, *map(asset_with, ("reader", "shelf", "legacy"))]


@dg.asset_check(asset=unread)
def unread_is_whole(batch: S3Batch) -> dg.AssetCheckResult:
    """A check that reads what its asset does not."""
    return dg.AssetCheckResult(passed=True)


@dg.asset(partitions_def=DAYS)
def of_days(batch: S3Batch) -> None:
    """An asset of days."""


@dg.asset(partitions_def=REGIONS)
def of_regions(batch: S3Batch) -> None:
    """An asset of regions."""


@dg.multi_asset(specs=[dg.AssetSpec("log"), dg.AssetSpec("sales", partitions_def=DAYS)])
def several(batch: S3Batch) -> tuple[None, None]:
    """An asset of days, and one without partitions."""
    return None, None


PARTITIONED = [of_days, of_regions, several]


@dg.job(partitions_def=DAYS)
def daily() -> None:
    reading()


assets_job = dg.define_asset_job("assets_job", selection=[orders, unread])
unread_assets_job = dg.define_asset_job("unread_assets_job", selection=[unread])


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


def tick_in(server: S3Server, bucket: str, **options: Any) -> Any:
    """What Dagster makes of one evaluation in a code location of several assets and jobs."""
    sensor = build_s3_incremental_sensor(name="landing", uri=f"s3://{bucket}/in/", **options)
    resources = {"s3": server.resource(), "batch": s3_batch, **OTHERS}
    definitions = dg.Definitions(
        assets=[orders, unread, stored, *BY_OTHERS, *PARTITIONED, dg.AssetSpec("invoices")],
        asset_checks=[unread_is_whole],
        jobs=[ingest, unread_job, daily, assets_job, unread_assets_job],
        sensors=[sensor],
        resources=resources,
    )
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(
            instance=instance, definitions=definitions, resources={"s3": server.resource()}
        )
        return definitions.resolve_sensor_def("landing").evaluate_tick(context)


@pytest.mark.parametrize(
    "selection", ["key:orders", "key:orders or key:ordrs", "key:orders+", [orders]]
)
@pytest.mark.parametrize("option", ["asset_selection", "target"])
def test_selection_of_an_asset(
    moto: S3Server, bucket: str, put: Any, option: str, selection: Any
) -> None:
    """A selection that any asset is in is launched."""
    put("in/a")
    [request] = tick_in(moto, bucket, **{option: selection}).run_requests
    assert (request.asset_selection is not None) == (option == "asset_selection")
    assert orders.key in (request.asset_selection or [orders.key])


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


UNREAD = (
    r"Sensor 'landing' launches {}, which does not take the batch: its runs would succeed without "
    r"reading a file, .* a parameter batch: S3Batch .* set allow_unread_batches=True"
)


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ({"target": unread}, "asset unread"),
        ({"target": [unread]}, "asset unread"),
        ({"asset_selection": [unread]}, "asset unread"),
        ({"job": unread_job}, "job unread_job"),
        ({"jobs": [ingest, unread_job]}, "job unread_job"),
    ],
)
def test_unread_definitions_are_refused(target: dict[str, Any], named: str) -> None:
    """Where the definition is given and does not take the batch, no sensor is built."""
    options = {"name": "landing", "uri": "s3://bucket/in/", **target}
    with pytest.raises(ConfigurationError, match=UNREAD.format(named)):
        build_s3_incremental_sensor(**options)
    assert build_s3_incremental_sensor(**options, allow_unread_batches=True)


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ({"job_name": "unread_job"}, "job unread_job"),
        ({"job_name": "unread_assets_job"}, "job unread_assets_job"),
        ({"job": unread_assets_job}, "asset unread"),
        ({"asset_selection": "key:unread"}, "asset unread"),
        ({"target": "key:unread"}, "asset unread"),
        ({"target": stored}, "asset stored"),
    ],
)
def test_unread_names_are_refused(
    moto: S3Server, bucket: str, put: Any, target: dict[str, Any], named: str
) -> None:
    """What is only named is refused by the first tick, though a check of it reads the batch."""
    put("in/a")
    with pytest.raises(ConfigurationError, match=UNREAD.format(named)):
        tick_in(moto, bucket, **target)
    assert tick_in(moto, bucket, **target, allow_unread_batches=True).run_requests


@pytest.mark.parametrize(
    "target",
    [
        {"job": ingest},
        {"job_name": "ingest"},
        {"job_name": "assets_job"},
        {"job": assets_job},
        {"target": [orders, unread]},
        {"target": "key:orders or key:unread"},
        *({"target": each} for each in BY_OTHERS),
        {"asset_selection": "key:by_shelf"},
    ],
)
def test_targets_that_read(moto: S3Server, bucket: str, put: Any, target: Any) -> None:
    """One asset or op that reads suffices, also within a graph, or by a resource that needs it."""
    put("in/a")
    assert tick_in(moto, bucket, **target).run_requests


def test_batch_by_the_io_manager(moto: S3Server) -> None:
    """An IO manager that needs the batch reads it, as soon as the resources are known."""

    class Loader(dg.ConfigurableIOManager):
        batch: dg.ResourceDependency[S3Batch]

        def handle_output(self, context: dg.OutputContext, obj: object) -> None: ...

        def load_input(self, context: dg.InputContext) -> None: ...

    sensor = build_s3_incremental_sensor(name="landing", uri="s3://b-1/", target="key:unread")
    resources = {"s3": moto.resource(), "batch": s3_batch, "io_manager": Loader(batch=s3_batch)}
    definitions = dg.Definitions(assets=[unread], sensors=[sensor], resources=resources)
    context = dg.build_sensor_context(definitions=definitions)
    built = incremental_sensor_of(sensor)
    assert built is not None
    built.targets.examine(context)


GROUPED = {"group_by": r"(?P<day>\d{4}-\d\d-\d\d)", "partitions_def": DAYS}
NONE_GIVEN = (
    r"Sensor 'landing' has no partitions, but its target, {}, has \(Daily.*same partitions_"
)
OTHERS_GIVEN = r"Sensor 'landing' has the partitions \(Daily, .* but its target, {}, has {}"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"target": of_days}, NONE_GIVEN.format("asset of_days")),
        ({"job": daily}, NONE_GIVEN.format("job daily")),
        ({"target": of_days, "group_by": r"(?P<day>\d+)"}, NONE_GIVEN.format("asset of_days")),
        ({"target": orders, **GROUPED}, OTHERS_GIVEN.format("asset orders", "none")),
        ({"job": ingest, **GROUPED}, OTHERS_GIVEN.format("job ingest", "none")),
        ({"jobs": [daily, ingest], **GROUPED}, OTHERS_GIVEN.format("job ingest", "none")),
        ({"target": of_regions, **GROUPED}, OTHERS_GIVEN.format("asset of_regions", r"\('eu', ")),
        (
            {"target": [of_days, of_regions], **GROUPED},
            OTHERS_GIVEN.format("asset of_days, of_regions", r"\('eu', .* and \(Daily"),
        ),
    ],
)
def test_definitions_of_other_partitions_are_refused(target: dict[str, Any], says: str) -> None:
    """A definition that has partitions of which the sensor gives none, or others, is refused."""
    with pytest.raises(ConfigurationError, match=says):
        build_s3_incremental_sensor(name="landing", uri="s3://b-1/", **target)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ({"target": "key:of_days"}, NONE_GIVEN.format("asset of_days")),
        ({"job_name": "daily"}, NONE_GIVEN.format("job daily")),
        ({"asset_selection": "key:orders", **GROUPED}, OTHERS_GIVEN.format("asset orders", "none")),
        ({"job_name": "ingest", **GROUPED}, OTHERS_GIVEN.format("job ingest", "none")),
    ],
)
def test_names_of_other_partitions_are_refused(
    moto: S3Server, bucket: str, target: dict[str, Any], says: str
) -> None:
    """What is only named is refused by the first tick."""
    with pytest.raises(ConfigurationError, match=says):
        tick_in(moto, bucket, **target)


def test_partition_that_the_run_tags_name() -> None:
    """A sensor whose run tags name a partition launches a partitioned target in it."""
    tags = {"dagster/partition": "2026-01-01"}
    assert build_s3_incremental_sensor(name="x", uri="s3://b-1/", target=of_days, run_tags=tags)


@pytest.mark.parametrize(
    "target",
    [
        {"job": daily},
        {"job_name": "daily"},
        {"target": several},
        {"target": "key:of_days or key:orders"},
    ],
)
def test_target_of_the_same_partitions(moto: S3Server, bucket: str, put: Any, target: Any) -> None:
    """A target of the same partitions is launched, along with assets that have none."""
    put("in/2026-01-02")
    [request] = tick_in(moto, bucket, **target, **GROUPED).run_requests
    assert request.partition_key == "2026-01-02"


NAMED = {name: dg.DynamicPartitionsDefinition(name=name) for name in ("customers", "clients")}


@pytest.mark.parametrize(
    ("of_sensor", "of_target", "is_part"),
    [
        (dg.DailyPartitionsDefinition("2026-02-01"), DAYS, True),
        (dg.DailyPartitionsDefinition("2025-02-01"), DAYS, False),
        (dg.HourlyPartitionsDefinition("2026-02-01-00:00"), DAYS, False),
        (dg.DailyPartitionsDefinition("20260101", fmt="%Y%m%d"), DAYS, False),
        (dg.StaticPartitionsDefinition(["eu"]), REGIONS, True),
        (dg.StaticPartitionsDefinition(["eu", "mars"]), REGIONS, False),
        (NAMED["customers"], dg.DynamicPartitionsDefinition(name="customers"), True),
        (NAMED["customers"], NAMED["clients"], False),
        (
            dg.MultiPartitionsDefinition({"a": DAYS, "b": dg.StaticPartitionsDefinition(["eu"])}),
            dg.MultiPartitionsDefinition({"a": DAYS, "b": REGIONS}),
            True,
        ),
        (
            dg.MultiPartitionsDefinition({"a": DAYS, "b": NAMED["customers"]}),
            dg.MultiPartitionsDefinition({"a": DAYS, "b": NAMED["clients"]}),
            False,
        ),
        (
            dg.MultiPartitionsDefinition({"a": DAYS, "b": REGIONS}),
            dg.MultiPartitionsDefinition({"a": DAYS, "c": REGIONS}),
            False,
        ),
    ],
)
def test_sensor_may_have_fewer_partitions(of_sensor: Any, of_target: Any, is_part: bool) -> None:
    """The sensor's partitions have to be among those of its target."""

    @dg.asset(partitions_def=of_target)
    def partitioned(batch: S3Batch) -> None: ...

    options = {"name": "x", "uri": "s3://b-1/", "group_by": lambda _: None}
    with nullcontext() if is_part else pytest.raises(ConfigurationError, match="Give both the sam"):
        build_s3_incremental_sensor(**options, target=partitioned, partitions_def=of_sensor)
