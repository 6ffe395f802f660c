from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterRunStatus
from dagster._core.scheduler.instigation import InstigatorStatus

from dagster_s3inc import (
    S3Batch,
    build_s3_incremental_definitions,
    build_s3_incremental_sensor,
    build_s3_reset_job,
)
from dagster_s3inc.core.cursor_format import decode_checkpoint
from dagster_s3inc.errors import ConfigurationError, ResetError
from dagster_s3inc.runs.run_requests import BATCH_ID_TAG, REPEATS_TAG, RESET_TAG, SKIPPED_TAG
from tests.servers import S3Server
from tests.world import EXECUTE_RUNS, KilledError, World, open_world


@pytest.fixture
def world(moto: S3Server, new_bucket: Callable[[S3Server], str], tmp_path: Path) -> Iterator[World]:
    bucket = new_bucket(moto)
    for name in "ab":
        moto.client().put_object(Bucket=bucket, Key=f"in/{name}", Body=b"x")
    with open_world(moto, f"s3://{bucket}/in/", tmp_path) as opened:
        yield opened


def said(world: World, run: dg.DagsterRun) -> dict[str, Any]:
    """What the reset's run shows of what it did."""
    [record] = world.instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.STEP_OUTPUT
    ).records
    metadata = record.event_log_entry.dagster_event.event_specific_data.metadata
    return {
        name: [record.data for record in value.records]
        if isinstance(value, dg.TableMetadataValue)
        else value.value
        for name, value in metadata.items()
    }


def test_reset_from_the_launchpad(world: World) -> None:
    """After a reset everything is reprocessed, once, and the run says what it did."""
    world.tick()
    before = world.cursor
    run = world.launch("reset_landing")
    assert run.status == DagsterRunStatus.SUCCESS
    assert said(world, run) == {
        "sensor": "landing",
        "what": "everything",
        "generation before": 1,
        "generation after": 2,
        "cursor before": before,
        "takes effect": "now",
    }
    shown = decode_checkpoint(world.cursor or "")
    assert (shown.generation, shown.watermark, shown.recent) == (2, None, frozenset())
    world.tick()
    world.tick()
    assert world.emitted(generation=2) == {"in/a": 1, "in/b": 1}
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


def test_tick_whose_cursor_a_reset_overwrites(
    world: World, moto: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick that ends just when the reset stores its cursor has not been in vain."""
    world.tick()
    storage = type(world.instance.schedule_storage)
    store = storage.update_instigator_state

    def store_behind_a_tick(self: Any, state: Any) -> Any:
        monkeypatch.undo()
        world.tick()
        return store(self, state)

    monkeypatch.setattr(storage, "update_instigator_state", store_behind_a_tick)
    world.launch("reset_landing")
    assert decode_checkpoint(world.cursor or "").recent == frozenset()
    # Its batch would have another run key by now.
    moto.client().put_object(Bucket=world_bucket(), Key="in/a", Body=b"another")
    # The first of these requests the lost tick's last run again.
    world.tick()
    world.tick()
    assert world.batches() == [(1, ["in/a", "in/b"]), (2, ["in/a", "in/b"]), (2, ["in/a"])]


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
def nothing(batch: S3Batch) -> None:
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
    assert job.execute_in_process(instance=world.instance, resources={"s3": None}).success
    assert decode_checkpoint(world.cursor or "").generation == 2
    world.tick()
    assert world.emitted(generation=2) == {"in/a": 1, "in/b": 1}


def test_in_process_for_a_sensor_that_never_ran() -> None:
    """A reset in process leaves its request where no sensor has ticked yet."""
    with dg.instance_for_test() as instance:
        job = build_s3_reset_job(sensor=make_sensor())
        result = job.execute_in_process(instance=instance, resources={"s3": None})
        assert result.success
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.tags["dagster/s3inc/reset_sensor"] == "landing"


def test_instance_without_sensors_is_refused() -> None:
    """An ephemeral instance has no sensors to reset; the message says what to pass."""
    with pytest.raises(dg.Failure, match=r"execute_in_process\(instance=") as refused:
        build_s3_reset_job(sensor=make_sensor()).execute_in_process(resources={"s3": None})
    assert isinstance(refused.value.__cause__, ResetError)


def test_exactly_one_way_to_name_the_sensor() -> None:
    """Neither, or both, of sensor and sensor_name is refused."""
    with pytest.raises(ConfigurationError, match="exactly one of sensor and sensor_name"):
        build_s3_reset_job()
    with pytest.raises(ConfigurationError, match="exactly one of sensor and sensor_name"):
        build_s3_reset_job(sensor=make_sensor(), sensor_name="landing")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sensor": "landing"}, "not 'landing'. Give a name as sensor_name='landing'"),
        ({"sensor": 5}, "sensor must be what build_s3_incremental_sensor made, not 5"),
        ({"sensor_name": ""}, "sensor_name must be a name of letters"),
        ({"sensor_name": 5}, "sensor_name must be a name of letters"),
    ],
)
def test_what_is_no_sensor_is_refused(options: dict[str, Any], says: str) -> None:
    """What is neither a sensor nor the name of one is refused, with where a name belongs."""
    with pytest.raises(ConfigurationError, match=says):
        build_s3_reset_job(**options)


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


def launch(world: World, job_name: str = "reset_landing", **fields: Any) -> Any:
    """Launches a reset job with these fields in its config; returns its run."""
    return world.launch(job_name, {"ops": {f"{job_name}_checkpoint": {"config": fields}}})


def test_unknown_kind_is_refused(world: World) -> None:
    """The Launchpad refuses a kind of reset that there is not, and lists those that there are."""
    said = launch(world, what="everyting")
    assert "what not in enum type Literal['everything', 'matching', 'failed', " in said
    assert "'skip_failed', 'accept_listed'] got everyting" in said


def test_refusal_comes_before_any_traceback(world: World) -> None:
    """A run that is refused says why first; what Dagster adds of the code comes after it."""
    world.tick()
    run = launch(world, what="failed", include=["a"])
    assert run.status == DagsterRunStatus.FAILURE
    said = world.errors_of(run)
    assert said.index("include given, but what is failed. Give matching to") < said.index("File ")
    assert decode_checkpoint(world.cursor or "").generation == 1


def test_job_says_where_numbers_are() -> None:
    """Job and op name the source asset, whose page counts files; a dry run counts them anyway."""
    alone = build_s3_reset_job(sensor=make_sensor())
    assert "A dry run counts the files." in (alone.description or "")
    [definition] = (
        build_s3_incremental_definitions(name="landing", uri="s3://bucket/in/", target=ingest).jobs
        or ()
    )
    assert isinstance(definition, dg.JobDefinition)
    for each in (definition.description, definition.nodes[0].definition.description):
        assert "The page of asset landing_files says how many files failed, are" in (each or "")


def test_matching_files_are_processed_again(world: World, moto: S3Server) -> None:
    """What meets the conditions comes again, once, in the same generation; then what is new."""
    bucket = world_bucket()
    moto.client().put_object(Bucket=bucket, Key="in/2026/c", Body=b"xyz")
    world.tick()
    before, order = world.cursor, {"what": "matching", "prefix": f"s3://{bucket}/in/2026/"}
    shown = said(world, launch(world, **order, dry_run=True))
    assert (shown["files"], shown["bytes"], shown["batches, at least"]) == (1, 3, 1)
    assert [row["key"] for row in shown["first files"]] == ["in/2026/c"]
    assert world.cursor == before
    assert "Nothing new in generation 1" in (world.tick().skip_reason or "")

    run = launch(world, **order)
    shown = said(world, run)
    assert (shown["what"], shown["conditions"]) == ("matching", "under in/2026/")
    assert (shown["generation before"], shown["generation after"]) == (1, 1)
    assert shown["takes effect"] == "with the sensor's next tick"
    total = decode_checkpoint(world.cursor or "").total
    moto.client().put_object(Bucket=bucket, Key="in/2026/new", Body=b"x")
    world.tick()
    # The ledger leaves it out, and so does the total by which the ledger proves itself.
    assert decode_checkpoint(world.cursor or "").total == total
    world.tick()
    assert world.batches()[1:] == [(1, ["in/2026/c"]), (1, ["in/2026/new"])]
    assert world.repeated() == [["in/2026/c"]]
    assert "Nothing new in generation 1" in (world.tick().skip_reason or "")
    [repeated] = [run for run in world.instance.get_runs() if REPEATS_TAG in run.tags]
    assert repeated.tags[REPEATS_TAG] == "reprocess"
    assert repeated.tags[RESET_TAG] == run_tags(world, run)["dagster/s3inc/reset_at"]


def run_tags(world: World, run: dg.DagsterRun) -> Any:
    """The tags that a run has by now."""
    found = world.instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.tags


def test_dry_run_of_globs_that_match_nothing(world: World) -> None:
    """Where globs match no file, a dry run says where they begin; where they do, it does not."""
    world.tick()
    order = {"what": "matching", "dry_run": True}
    nothing = said(world, launch(world, **order, include=["in/**"]))
    assert nothing["files"] == 0
    assert f"matched against what follows s3://{world_bucket()}/in/ in a key" in nothing["hint"]
    assert "hint" not in said(world, launch(world, **order, include=["**"]))


def world_bucket() -> str:
    """The bucket that the open world's sensor scans."""
    return os.environ["TEST_URI"].removeprefix("s3://").split("/")[0]


def test_dry_run_of_everything(world: World) -> None:
    """A dry run counts what is listed, and needs to know its sensor better than by name."""
    world.tick()
    shown = said(world, launch(world, dry_run=True))
    assert (shown["what"], shown["files"], shown["bytes"]) == ("everything", 2, 2)
    assert shown["oldest"] <= shown["newest"]
    refused = launch(world, "reset_by_name", dry_run=True)
    assert "Build it with sensor= instead of sensor_name=" in world.errors_of(refused)
    assert decode_checkpoint(world.cursor or "").generation == 1
    assert said(world, world.launch("reset_by_name"))["generation after"] == 2


@pytest.fixture
def failing(
    moto: S3Server, new_bucket: Callable[[S3Server], str], tmp_path: Path
) -> Iterator[World]:
    """Four files, of which each is a batch; those of the first tick have failed."""
    bucket = new_bucket(moto)
    for name in "abcd":
        moto.client().put_object(Bucket=bucket, Key=f"in/{name}", Body=b"x")
    with open_world(moto, f"s3://{bucket}/in/", tmp_path, max_files=1, max_batches=2) as opened:
        opened.hold.with_name("fail").touch()
        opened.tick()
        opened.hold.with_name("fail").unlink()
        opened.tick()
        yield opened


def processed(world: World) -> list[str]:
    return [key.removeprefix("in/") for _, keys in world.batches() for key in keys]


def test_failed_batches_are_requested_again(failing: World, moto: S3Server) -> None:
    """Each failed batch is requested again, as it was; those that were repaired are not."""
    runs = failing.instance.get_runs(dg.RunsFilter(job_name="ingest"))
    failing.reexecute(runs[-1])
    order = {"what": "failed"}
    shown = said(failing, launch(failing, "reset_by_name", **order, dry_run=True))
    assert shown["batches"] == 1
    assert [row["newest run"] for row in shown["failed batches"]] == [runs[-2].run_id]

    moto.client().put_object(Bucket=world_bucket(), Key="in/new", Body=b"x")
    launch(failing, **order)
    failing.hold.with_name("fail").touch()
    before = decode_checkpoint(failing.cursor or "")
    count = len(processed(failing))
    failing.tick()
    assert processed(failing)[count:] == ["b"]
    after = decode_checkpoint(failing.cursor or "")
    assert (after.generation, after.sequence) == (1, before.sequence + 1)
    assert (after.reset_seen, after.total) == (None, before.total)
    failing.hold.with_name("fail").unlink()
    failing.tick()
    assert processed(failing)[count:] == ["b", "new"]
    assert decode_checkpoint(failing.cursor or "").reset_seen is not None

    # It failed again.
    launch(failing, **order)
    failing.tick()
    failing.tick()
    assert processed(failing)[count:] == ["b", "new", "b"]
    assert failing.repeated() == [["in/b"], ["in/b"]]
    again = failing.instance.get_runs(dg.RunsFilter(job_name="ingest"), limit=1)[0]
    assert again.run_config == runs[-2].run_config
    assert again.tags[BATCH_ID_TAG] == runs[-2].tags[BATCH_ID_TAG]
    launch(failing, **order)
    assert "Nothing new in generation 1" in (failing.tick().skip_reason or "")


def test_lost_tick_of_failed_batches(failing: World) -> None:
    """A tick that requested failed batches, and was lost, is carried out as it was decided."""
    launch(failing, what="failed")
    count = len(processed(failing))
    failing.tick_unstored()
    for _ in range(3):
        failing.tick()
    assert processed(failing)[count:] == ["a", "b"]
    checkpoint = decode_checkpoint(failing.cursor or "")
    assert (checkpoint.generation, checkpoint.sequence) == (1, 3)


def test_failed_batches_are_skipped(failing: World) -> None:
    """Skipped batches are not requested again, and those of generations before do not count."""
    failing.hold.with_name("fail").touch()
    failing.launch("reset_landing")
    for _ in range(2):
        failing.tick()
    failing.hold.with_name("fail").unlink()
    skipped = said(failing, launch(failing, what="skip_failed"))
    assert skipped["batches skipped"] == 4
    assert decode_checkpoint(failing.cursor or "").generation == 2
    count = len(processed(failing))
    launch(failing, what="failed")
    failing.tick()
    assert processed(failing)[count:] == []


QUEUE_RUNS = {
    **EXECUTE_RUNS,
    "run_coordinator": {
        "module": "dagster._core.run_coordinator",
        "class": "QueuedRunCoordinator",
    },
}


def test_queued_runs_are_cancelled(
    moto: S3Server, new_bucket: Callable[[S3Server], str], tmp_path: Path
) -> None:
    """Queued runs are cancelled if all of their files are processed again, and only then."""
    bucket = new_bucket(moto)
    for key in ("in/a", "in/b", "in/2026/a"):
        moto.client().put_object(Bucket=bucket, Key=key, Body=b"x")
    uri = f"s3://{bucket}/in/"
    sensor = build_s3_incremental_sensor(name="landing", uri=uri, job=ingest)
    job = build_s3_reset_job(sensor=sensor)

    with open_world(
        moto,
        uri,
        tmp_path,
        max_files=1,
        settings=QUEUE_RUNS,
        # What the reset itself cancels is not to stop what comes after it.
        environment={"TEST_ON_FAILURE": "halt"},
    ) as world:

        def reset(**fields: Any) -> dict[str, Any]:
            config = {"ops": {"reset_landing_checkpoint": {"config": fields}}}
            resources = {"s3": moto.client()}
            result = job.execute_in_process(config, instance=world.instance, resources=resources)
            return said(world, result.dagster_run)

        def statuses() -> list[str]:
            runs = world.instance.get_runs(dg.RunsFilter(job_name="ingest"))
            return sorted(run.status.value for run in runs)

        world.tick()
        assert statuses() == ["QUEUED"] * 3
        order = {"what": "matching", "prefix": "in/2026/", "cancel_queued": True}
        shown = reset(**order, dry_run=True)
        assert shown["queued runs that would be cancelled"] == 1
        assert statuses() == ["QUEUED"] * 3
        assert reset(**order)["queued runs cancelled"] == 1
        assert statuses() == ["CANCELED", "QUEUED", "QUEUED"]
        world.tick()
        assert world.emitted() == {"in/a": 1, "in/b": 1, "in/2026/a": 2}
        assert "queued runs cancelled" not in reset()
        assert statuses() == ["CANCELED", "QUEUED", "QUEUED", "QUEUED"]
        world.tick()
        assert reset(what="failed", cancel_queued=True)["queued runs cancelled"] == 6
        assert statuses() == ["CANCELED"] * 7
        # Of the generation that began when everything was reset, all batches were cancelled.
        world.tick()
        assert world.emitted(2) == {"in/a": 2, "in/b": 2, "in/2026/a": 2}
        assert statuses() == ["CANCELED"] * 7 + ["QUEUED"] * 3


@pytest.mark.parametrize("point", ["add_run_tags", "cancel_run"])
def test_reset_killed_halfway(
    moto: S3Server,
    new_bucket: Callable[[S3Server], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    point: str,
) -> None:
    """A reset of matching files that is killed while it cancels runs is honoured all the same."""
    bucket = new_bucket(moto)
    for key in ("in/a", "in/b"):
        moto.client().put_object(Bucket=bucket, Key=key, Body=b"x")
    uri = f"s3://{bucket}/in/"
    sensor = build_s3_incremental_sensor(name="landing", uri=uri, job=ingest)
    job = build_s3_reset_job(sensor=sensor)
    config = {"what": "matching", "prefix": "in/", "cancel_queued": True}
    calls: list[Any] = []

    def die_at_the_second(*_: Any) -> None:
        calls.append(point)
        if len(calls) == 2:
            raise KilledError

    with open_world(moto, uri, tmp_path, max_files=1, settings=QUEUE_RUNS) as world:
        world.tick()
        with monkeypatch.context() as patch:
            owner: Any = world.instance
            owner = owner.run_coordinator if point == "cancel_run" else owner
            before = getattr(owner, point)

            def call(*args: Any) -> Any:
                die_at_the_second()
                return before(*args)

            patch.setattr(owner, point, call)
            with pytest.raises(KilledError):
                job.execute_in_process(
                    {"ops": {"reset_landing_checkpoint": {"config": config}}},
                    instance=world.instance,
                    resources={"s3": moto.client()},
                )
        for _ in range(2):
            world.tick()
        assert world.emitted() == {"in/a": 2, "in/b": 2}
        marked = [run for run in world.instance.get_runs() if SKIPPED_TAG in run.tags]
        assert len(marked) == (0 if point == "add_run_tags" else 2)


def test_sensor_stopped_while_the_reset_runs(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop or a start that someone pressed since the reset began is not undone."""
    world.tick()
    [state] = world.states()
    add_run_tags = dg.DagsterInstance.add_run_tags

    def stop_behind(self: dg.DagsterInstance, run_id: str, tags: Any) -> None:
        add_run_tags(self, run_id, tags)
        self.update_instigator_state(state.with_status(InstigatorStatus.STOPPED))

    monkeypatch.setattr(dg.DagsterInstance, "add_run_tags", stop_behind)
    job = build_s3_reset_job(sensor=make_sensor())
    assert job.execute_in_process(instance=world.instance, resources={"s3": None}).success
    [state] = world.states()
    assert state.status == InstigatorStatus.STOPPED
    assert decode_checkpoint(world.cursor or "").generation == 2
