"""The machine of the core's model test, with the sensor or the processor in the core's place.

Both scan a moto server over HTTP, whose clock and whose objects' times are the model's. The sensor
has a real instance, in which its cursor lies and on which the real reset job runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from email.utils import format_datetime
from itertools import count
from random import Random
from typing import Any, ClassVar

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)
from hypothesis import settings
from hypothesis.stateful import rule, run_state_machine_as_test
from moto.s3.models import s3_backends
from werkzeug.serving import WSGIRequestHandler

from dagster_s3inc import (
    S3IncrementalProcessor,
    build_s3_incremental_sensor,
    build_s3_reset_job,
)
from dagster_s3inc.core.batching import Batch, BatchPolicy
from dagster_s3inc.core.checkpoint import RECENT_LIMIT, Checkpoint
from dagster_s3inc.core.codec import decode_checkpoint
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import S3Object, parse_time
from dagster_s3inc.errors import CheckpointConflictError
from dagster_s3inc.instance import SensorAddress, SensorState
from tests.core.making import HOUR, RANDOMS, START
from tests.core.test_model import ALL, LIMITS, CoreMachine, Found
from tests.servers import S3Server

SETTINGS = settings(deadline=None, max_examples=10, stateful_step_count=10)

numbers = count()


@dg.op
def nothing() -> None:
    """Does nothing."""


@dg.job
def ingest() -> None:
    nothing()


class OutsideMachine(CoreMachine):
    """What the sensor and the processor have in common: the bucket is on a server."""

    client: ClassVar[Any]
    current: ClassVar[OutsideMachine | None] = None

    def start(self) -> None:
        OutsideMachine.current = self
        self.recent_limit = RECENT_LIMIT
        self.name = f"model-{next(numbers)}"
        self.client.create_bucket(Bucket=self.name)

    def possible(self, limits: ScanLimits) -> ScanLimits:
        return limits

    def put(self, entry: S3Object) -> None:
        super().put(entry)
        self.client.put_object(Bucket=self.name, Key=entry.key, Body=b"x" * entry.size)
        [account] = [each for each in s3_backends.values() if self.name in each["aws"].buckets]
        stored = account["aws"].buckets[self.name].keys[entry.key]
        stored.last_modified = entry.last_modified.replace(tzinfo=None)
        stored._etag, stored._storage_class = entry.etag, entry.storage_class

    def remove(self, entry: S3Object) -> None:
        super().remove(entry)
        self.client.delete_object(Bucket=self.name, Key=entry.key)


class SensorMachine(OutsideMachine):
    """The sensor, its cursor in an instance, and the reset job."""

    instance: ClassVar[dg.DagsterInstance]

    def start(self) -> None:
        super().start()
        sensor_name = self.name.replace("-", "_")
        repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("tests"), "repository")
        self.instance.add_instigator_state(
            InstigatorState(
                repository.get_instigator_origin(sensor_name),
                InstigatorType.SENSOR,
                InstigatorStatus.RUNNING,
                SensorInstigatorData(),
            )
        )
        self.state = SensorState(self.instance, SensorAddress(sensor_name, None))
        # The generation of a reset that a tick has written over, until the next tick honours it.
        self.overdue: int | None = None
        self.reread()

    @property
    def checkpoint(self) -> Checkpoint:
        return self.kept if self.overdue is None else Checkpoint(generation=self.overdue)

    def reread(self) -> None:
        self.stored = self.state.cursor or ""
        self.kept = decode_checkpoint(self.stored) if self.stored else Checkpoint()

    def make_sensor(self, limits: ScanLimits) -> dg.SensorDefinition:
        return build_s3_incremental_sensor(
            name=self.state.address.name,
            uri=f"s3://{self.name}",
            job=ingest,
            batch=limits.policy,
            max_batches_per_tick=limits.max_batches,
            lookback=limits.lookback,
            objects=self.filter,
        )

    def look(self, limits: ScanLimits, random: Random) -> Found:
        context = dg.build_sensor_context(
            instance=self.instance, cursor=self.stored or None, resources={"s3": self.client}
        )
        result = self.make_sensor(limits).evaluate_tick(context)
        assert result.cursor is not None
        self.cursor = result.cursor
        requests = result.run_requests or ()
        batches = tuple(self.read(each.run_config["resources"]["batch"]) for each in requests)
        return Found(batches, decode_checkpoint(result.cursor))

    @staticmethod
    def read(resource: Any) -> Batch:
        return Batch(
            tuple(
                S3Object(
                    parse_time(file["last_modified"]),
                    file["key"],
                    file["etag"],
                    file["size"],
                    file["storage_class"],
                )
                for file in resource["config"]["files"]
            )
        )

    def commit(self, found: Found) -> None:
        assert self.state.replace_cursor(self.cursor, instead_of=self.state.cursor)
        self.overdue = None
        self.reread()

    def restart(self) -> None:
        if self.overdue is not None:
            self.tick(ALL, Random(0), True)  # noqa: S311
        job = build_s3_reset_job(sensor=self.make_sensor(ALL))
        assert job.execute_in_process(instance=self.instance, resources={"s3": None}).success
        self.reread()

    @rule(limits=LIMITS, random=RANDOMS)
    def reset_during_a_tick(self, limits: ScanLimits, random: Random) -> None:
        """A tick that began before a reset stores its cursor after it, and so over it."""
        self.tick(limits, random, False)
        late, following = self.cursor, self.checkpoint.generation + 1
        if self.overdue is not None:
            return
        self.restart()
        assert self.state.replace_cursor(late, instead_of=self.state.cursor)
        self.reread()
        self.overdue = following
        self.forget()


class ProcessorMachine(OutsideMachine):
    """The processor, its checkpoint on the same server."""

    def start(self) -> None:
        super().start()
        self.checkpoint_bucket = f"{self.name}-state"
        self.client.create_bucket(Bucket=self.checkpoint_bucket)
        self.reread()

    def reread(self) -> None:
        listed = self.client.list_objects_v2(Bucket=self.checkpoint_bucket)
        self.kept = Checkpoint()
        if listed["KeyCount"]:
            response = self.client.get_object(Bucket=self.checkpoint_bucket, Key="cp")
            self.kept = decode_checkpoint(response["Body"].read().decode())

    @property
    def checkpoint(self) -> Checkpoint:
        return self.kept

    def possible(self, limits: ScanLimits) -> ScanLimits:
        files = BatchPolicy(max_files=limits.policy.max_files)
        return replace(limits, policy=files, max_batches=1)

    def make_processor(self) -> S3IncrementalProcessor:
        return S3IncrementalProcessor(
            f"s3://{self.name}",
            f"s3://{self.checkpoint_bucket}/cp",
            client=self.client,
            objects=self.filter,
            lookback=HOUR,
        )

    def look(self, limits: ScanLimits, random: Random) -> Found:
        self.processor = self.make_processor()
        files = self.processor.get_new_files(limits.policy.max_files, storage_class=None)
        pending = self.processor._pending
        assert pending is not None
        found = tuple(self.bucket[uri.removeprefix(f"s3://{self.name}/")] for uri in files)
        return Found((Batch(found),) if found else (), pending.checkpoint)

    def commit(self, found: Found) -> None:
        self.processor.commit_checkpoint()
        self.reread()

    def restart(self) -> None:
        self.make_processor().reset_checkpoint()
        self.reread()

    @rule(limits=LIMITS, random=RANDOMS)
    def reset_during_a_batch(self, limits: ScanLimits, random: Random) -> None:
        """A batch that was found before a reset cannot be committed after it."""
        self.tick(limits, random, False)
        self.reset()
        with pytest.raises(CheckpointConflictError):
            self.processor.commit_checkpoint()


@pytest.fixture(autouse=True)
def client(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of the moto server, whose clock is the model's."""

    def now(*_: object) -> str:
        machine = OutsideMachine.current
        return format_datetime(START if machine is None else machine.clock, usegmt=True)

    monkeypatch.setattr(WSGIRequestHandler, "date_time_string", now)
    client = moto.client()
    monkeypatch.setattr(OutsideMachine, "client", client, raising=False)
    yield client
    OutsideMachine.current = None


def test_server_clock(client: Any) -> None:
    """The server's time is the model's, as the tests here need it."""
    client.create_bucket(Bucket="model-clock")
    headers = client.list_objects_v2(Bucket="model-clock")["ResponseMetadata"]["HTTPHeaders"]
    assert headers["date"] == "Thu, 01 Jan 2026 00:00:00 GMT"


def test_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the sensor: nothing lost, nothing twice, in order, whatever happens."""
    with dg.instance_for_test() as instance:
        monkeypatch.setattr(SensorMachine, "instance", instance, raising=False)
        run_state_machine_as_test(SensorMachine, settings=SETTINGS)


def test_processor() -> None:
    """Through the processor: nothing lost, nothing twice, in order, whatever happens."""
    run_state_machine_as_test(ProcessorMachine, settings=SETTINGS)
