from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dagster_s3inc.errors import CheckpointConflictError, S3RequestError
from dagster_s3inc.processor.stores import (
    CheckpointFile,
    CheckpointObject,
    CheckpointStore,
    Stored,
)
from dagster_s3inc.s3.location import S3Location


@pytest.fixture(params=["s3", "file"])
def store(
    request: pytest.FixtureRequest, client: Any, bucket: str, tmp_path: Path
) -> CheckpointStore:
    """A store of either kind, with nothing in it."""
    if request.param == "s3":
        return CheckpointObject(client, S3Location(bucket, "deep/ü#cp"))
    return CheckpointFile(tmp_path / "deep/ü#cp")


def test_what_is_written_is_read(store: CheckpointStore) -> None:
    """An empty store says so; a written one gives the text and a version."""
    assert store.read() == Stored(None, None)
    store.write("one", replacing=None)
    text, version = store.read()
    assert text == "one"
    store.write("two", replacing=version)
    assert store.read().text == "two"


def test_first_write_needs_an_empty_store(store: CheckpointStore) -> None:
    """A write that expects nothing there fails where something is, and changes nothing."""
    store.write("one", replacing=None)
    with pytest.raises(CheckpointConflictError, match="nothing was written"):
        store.write("two", replacing=None)
    assert store.read().text == "one"


def test_stale_write_fails(store: CheckpointStore) -> None:
    """A write that expects an older version fails and changes nothing."""
    store.write("one", replacing=None)
    stale = store.read().version
    store.write("two", replacing=stale)
    with pytest.raises(CheckpointConflictError):
        store.write("three", replacing=stale)
    assert store.read().text == "two"


def test_write_on_a_deleted_checkpoint_fails(client: Any, bucket: str) -> None:
    """A write that expects a version fails where the object has been deleted since."""
    store = CheckpointObject(client, S3Location(bucket, "cp"))
    store.write("one", replacing=None)
    version = store.read().version
    client.delete_object(Bucket=bucket, Key="cp")
    with pytest.raises(CheckpointConflictError):
        store.write("two", replacing=version)


def test_own_write_that_is_sent_twice_is_no_conflict(client: Any, bucket: str) -> None:
    """A request that botocore repeats because its answer was lost is no conflict with itself."""
    store = CheckpointObject(client, S3Location(bucket, "cp"))

    def lose_the_answer(**kwargs: Any) -> float | None:
        first = kwargs["attempts"] == 1
        return 0.0 if first else None

    client.meta.events.register_first("needs-retry.s3.PutObject", lose_the_answer)
    store.write("one", replacing=None)
    assert store.read().text == "one"


def test_missing_bucket_is_an_error(client: Any) -> None:
    """A bucket that does not exist is neither an empty store nor a conflict."""
    store = CheckpointObject(client, S3Location("no-such-bucket-here", "cp"))
    with pytest.raises(S3RequestError, match="no-such-bucket-here"):
        store.read()
    with pytest.raises(S3RequestError, match="no-such-bucket-here"):
        store.write("one", replacing=None)


def test_file_is_replaced_whole(tmp_path: Path) -> None:
    """A local checkpoint leaves no temporary file, and one that is a leftover does no harm."""
    store = CheckpointFile(tmp_path / "cp")
    (tmp_path / "cp.new").write_text("left by a crash")
    store.write("one", replacing=None)
    assert (tmp_path / "cp").read_text() == "one"
    assert not (tmp_path / "cp.new").exists()
