"""The three cases of the package that came before, through the processor and the sensor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from dagster_s3inc import S3IncrementalProcessor
from tests.servers import S3Server
from tests.world import open_world

Round = Callable[[], list[str]]
"""Emits one batch, commits it, and returns its keys in order."""

Opener = Callable[[int], AbstractContextManager[Round]]


@pytest.fixture(params=["processor", "sensor"])
def open_rounds(
    request: pytest.FixtureRequest, s3_server: S3Server, bucket: str, tmp_path: Path
) -> Opener:
    """Opens the engine under test on `s3://BUCKET/in/` with a batch size."""
    uri = f"s3://{bucket}/in/"

    @contextmanager
    def with_processor(batch_size: int) -> Iterator[Round]:
        client = s3_server.client()
        processor = S3IncrementalProcessor(uri, f"s3://{bucket}/checkpoint.json", client=client)

        def one_round() -> list[str]:
            uris = processor.get_new_files(batch_size=batch_size)
            processor.commit_checkpoint()
            return [each.removeprefix(f"s3://{bucket}/") for each in uris]

        yield one_round

    @contextmanager
    def with_sensor(batch_size: int) -> Iterator[Round]:
        with open_world(s3_server, uri, tmp_path, max_files=batch_size, max_batches=1) as world:

            def one_round() -> list[str]:
                before = len(world.batches())
                tick = world.tick()
                assert tick.error is None, tick.error
                after = world.batches()[before:]
                return [key for _, keys in after for key in keys]

            yield one_round

    return with_processor if request.param == "processor" else with_sensor


def put(client: Any, bucket: str, key: str) -> None:
    client.put_object(Bucket=bucket, Key=key, Body=key.encode())


def test_ten_files_in_batches_of_five(open_rounds: Opener, client: Any, bucket: str) -> None:
    """10 files with batch size 5: two rounds, then nothing."""
    for number in range(10):
        put(client, bucket, f"in/{number}")
    with open_rounds(5) as one_round:
        assert one_round() == [f"in/{number}" for number in range(5)]
        assert one_round() == [f"in/{number}" for number in range(5, 10)]
        assert one_round() == []


def test_ten_files_in_one_batch(open_rounds: Opener, client: Any, bucket: str) -> None:
    """10 files with batch size 100: one round."""
    for number in range(10):
        put(client, bucket, f"in/{number}")
    with open_rounds(100) as one_round:
        assert one_round() == [f"in/{number}" for number in range(10)]
        assert one_round() == []


def test_files_of_one_second(open_rounds: Opener, client: Any, bucket: str) -> None:
    """Files uploaded at once: in order, each once, none lost to a later one with a smaller key."""
    _wait_for_a_young_second()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: put(client, bucket, f"in/{name}"), "hgfedcb"))
    with open_rounds(100) as one_round:
        first = one_round()
        assert sorted(first) == [f"in/{name}" for name in "bcdefgh"]
        assert first == _by_position(client, bucket)
        put(client, bucket, "in/a")
        assert one_round() == ["in/a"]
        assert one_round() == []


def _by_position(client: Any, bucket: str) -> list[str]:
    entries = client.list_objects_v2(Bucket=bucket, Prefix="in/")["Contents"]
    return [key for _, key in sorted((entry["LastModified"], entry["Key"]) for entry in entries)]


def _wait_for_a_young_second() -> None:
    while time.time() % 1 > 0.2:
        time.sleep(0.01)
