from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus

from dagster_s3inc import build_s3_incremental_sensor, build_s3_reset_job
from dagster_s3inc.core.codec import decode_checkpoint
from dagster_s3inc.errors import ConfigurationError, ResetError
from tests.servers import S3Server
from tests.world import World, open_world


@pytest.fixture
def world(moto: S3Server, new_bucket: Callable[[S3Server], str], tmp_path: Path) -> Iterator[World]:
    bucket = new_bucket(moto)
    for name in "ab":
        moto.client().put_object(Bucket=bucket, Key=f"in/{name}", Body=b"x")
    with open_world(moto, f"s3://{bucket}/in/", tmp_path) as opened:
        yield opened


def said(world: World, run: dg.DagsterRun) -> dict[str, object]:
    """What the reset's run says it did."""
    [record] = world.instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.STEP_OUTPUT
    ).records
    metadata = record.event_log_entry.dagster_event.event_specific_data.metadata
    return {name: value.value for name, value in metadata.items()}


def test_reset_from_the_launchpad(world: World) -> None:
    """After a reset everything is reprocessed, once, and the run says what it did."""
    world.tick()
    before = world.cursor
    run = world.launch("reset_landing")
    assert run.status == DagsterRunStatus.SUCCESS
    assert said(world, run) == {
        "sensor": "landing",
        "generation before": 1,
        "generation after": 2,
        "cursor before": before,
        "takes effect": "now",
    }
    shown = decode_checkpoint(world.cursor or "")
    assert (shown.generation, shown.floor, shown.recent) == (2, None, frozenset())
    world.tick()
    world.tick()
    assert world.handed_over(generation=2) == {"in/a": 1, "in/b": 1}
    assert len(world.batches()) == 2


def test_each_reset_starts_a_generation(world: World) -> None:
    """Two resets, with or without a tick between them, start two generations."""
    world.tick()
    world.launch("reset_landing")
    assert said(world, world.launch("reset_landing"))["generation after"] == 3
    world.tick()
    assert said(world, world.launch("reset_landing"))["generation after"] == 4
    world.tick()
    assert [generation for generation, _ in world.batches()] == [1, 3, 4]


def test_sensor_that_never_ran(world: World) -> None:
    """A reset before the first tick is honoured by it, and harms nothing."""
    run = world.launch("reset_landing")
    assert run.status == DagsterRunStatus.SUCCESS
    assert said(world, run)["takes effect"] == "with the sensor's next tick"
    world.tick()
    world.tick()
    assert world.batches() == [(2, ["in/a", "in/b"])]


def test_old_reset_is_not_honoured_again(world: World) -> None:
    """A cursor cleared by hand after a reset starts one generation, not two."""
    world.tick()
    world.launch("reset_landing")
    world.tick()
    world.set_cursor("")
    world.tick()
    world.tick()
    assert [generation for generation, _ in world.batches()] == [1, 2, 3]


def test_unknown_sensor_name(world: World) -> None:
    """A name that no sensor has fails the run, which names those that exist."""
    run = world.launch("reset_misspelt")
    assert run.status == DagsterRunStatus.FAILURE
    assert "no S3 incremental sensor named 'landng' here. There is: landing." in world.errors_of(
        run
    )


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job
def ingest() -> None:
    nothing()


def make_sensor(name: str = "landing") -> dg.SensorDefinition:
    return build_s3_incremental_sensor(name=name, uri="s3://bucket/in/", job=ingest)


def test_in_process(world: World) -> None:
    """A reset in process, with the instance at hand, finds the sensor by its name."""
    world.tick()
    job = build_s3_reset_job(sensor=make_sensor())
    assert job.execute_in_process(instance=world.instance).success
    assert decode_checkpoint(world.cursor or "").generation == 2
    world.tick()
    assert world.handed_over(generation=2) == {"in/a": 1, "in/b": 1}


def test_in_process_for_a_sensor_that_never_ran() -> None:
    """A reset in process leaves its marker where no sensor has ticked yet."""
    with dg.instance_for_test() as instance:
        result = build_s3_reset_job(sensor=make_sensor()).execute_in_process(instance=instance)
        assert result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.tags["dagster_s3inc/reset_sensor"] == "landing"


def test_instance_without_sensors_is_refused() -> None:
    """An ephemeral instance has no sensors to reset; the message says what to pass."""
    with pytest.raises(ResetError, match=r"execute_in_process\(instance="):
        build_s3_reset_job(sensor=make_sensor()).execute_in_process()


def test_exactly_one_way_to_name_the_sensor() -> None:
    """Neither, or both, of sensor and sensor_name is refused."""
    with pytest.raises(ConfigurationError, match="exactly one of sensor and sensor_name"):
        build_s3_reset_job()
    with pytest.raises(ConfigurationError, match="exactly one of sensor and sensor_name"):
        build_s3_reset_job(sensor=make_sensor(), sensor_name="landing")


def test_other_sensors_are_refused() -> None:
    """A sensor without a checkpoint of ours cannot be reset."""

    @dg.sensor(job=ingest)
    def another() -> dg.SkipReason:
        return dg.SkipReason("")

    with pytest.raises(ConfigurationError, match="'another' was not made by build_s3_incremental"):
        build_s3_reset_job(sensor=another)


def test_options_reach_the_job() -> None:
    """Name, description, tags and metadata are those of the job."""
    job = build_s3_reset_job(
        sensor=make_sensor(),
        name="start_over",
        description="words",
        tags={"team": "a"},
        metadata={"runbook": "b"},
        owners=["team:data"],
    )
    assert (job.name, job.description) == ("start_over", "words")
    assert job.tags["team"] == "a"
    assert job.metadata["runbook"].value == "b"
    assert build_s3_reset_job(sensor=make_sensor("x")).name == "reset_x"
