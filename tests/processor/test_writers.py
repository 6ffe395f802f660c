"""Several processes on one checkpoint: every file by exactly one commit that succeeded."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import pytest
from moto.s3.responses import S3Response

from dagster_s3inc import S3IncrementalProcessor
from dagster_s3inc.errors import CheckpointConflictError
from tests.servers import S3Server

WRITERS = 8
BATCH_SIZES = [1, 1, 1, 1, 2]
# At 1.2 files a commit, 280 files make 233 commits, give or take 6. Moto takes 0.1 s of CPU to list
# as many, so that 200 commits there take a minute and a half; they pass as well.
COMMITS = {"moto": 40, "seaweedfs": 200}
FILES = {"moto": 60, "seaweedfs": 280}


class Done(NamedTuple):
    """What one writer did."""

    commits: list[list[str]]
    conflicts: int


def work(server: S3Server, path: str, checkpoint_path: str, seed: int) -> Done:
    """Processes batches until nothing is new; runs in a process of its own."""
    processor = S3IncrementalProcessor(path, checkpoint_path, client=server.client())
    draw = random.Random(seed)  # noqa: S311
    commits: list[list[str]] = []
    conflicts = 0
    while files := processor.get_new_files(batch_size=draw.choice(BATCH_SIZES)):
        time.sleep(draw.uniform(0, 0.02))
        try:
            processor.commit_checkpoint()
        except CheckpointConflictError:
            conflicts += 1
            time.sleep(draw.uniform(0, 0.2))
        else:
            commits.append(files)
    return Done(commits, conflicts)


@pytest.fixture
def moto(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Moto looks at the condition and writes in two steps; a lock makes one of them, as in S3."""
    lock, put_object = Lock(), S3Response.put_object

    def put_in_one_step(response: Any) -> Any:
        with lock:
            return put_object(response)

    monkeypatch.setattr(S3Response, "put_object", put_in_one_step)
    return moto


def drop(server: S3Server, bucket: str) -> list[str]:
    """The files, all there before the first writer looks."""

    client = server.client()

    def put(key: str) -> str:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
        return f"s3://{bucket}/{key}"

    with ThreadPoolExecutor(4) as threads:
        return list(threads.map(put, [f"in/{number:03}" for number in range(FILES[server.name])]))


def run_writers(server: S3Server, bucket: str, checkpoint_path: str) -> list[Done]:
    """Lets all writers work at the same time."""
    # Processes of their own that inherit nothing from this one, but share the time for imports.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(WRITERS, mp_context=context) as processes:
        futures = [
            processes.submit(work, server, f"s3://{bucket}/in/", checkpoint_path, seed)
            for seed in range(WRITERS)
        ]
        return [future.result() for future in futures]


def check(done: list[Done], uris: list[str], at_least: int) -> None:
    """Each file is in one commit, and there was something to win and to lose."""
    committed = Counter(uri for each in done for batch in each.commits for uri in batch)
    assert committed == Counter(uris)
    commits = sum(len(each.commits) for each in done)
    conflicts = sum(each.conflicts for each in done)
    print(f"{commits} commits, {conflicts} conflicts")  # noqa: T201 # shown by pytest -rP
    assert commits >= at_least
    assert conflicts
    assert sum(bool(each.commits) for each in done) > 1


def test_checkpoint_in_s3(s3_server: S3Server, bucket: str) -> None:
    """With the checkpoint in S3, each file is in one commit, and the others were conflicts."""
    uris = drop(s3_server, bucket)
    check(run_writers(s3_server, bucket, f"s3://{bucket}/cp"), uris, COMMITS[s3_server.name])


def test_local_checkpoint(
    seaweedfs: S3Server, new_bucket: Callable[[S3Server], str], tmp_path: Path
) -> None:
    """With the checkpoint in a local file, the same."""
    bucket = new_bucket(seaweedfs)
    uris = drop(seaweedfs, bucket)
    check(run_writers(seaweedfs, bucket, str(tmp_path / "cp")), uris, COMMITS[seaweedfs.name])
