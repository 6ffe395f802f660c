from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from dagster_aws.s3 import S3Resource

from dagster_s3inc import ObjectFilter, S3IncrementalProcessor
from dagster_s3inc.errors import (
    BucketNotFoundError,
    CheckpointConflictError,
    CheckpointFormatError,
    ConditionalWritesError,
    ConfigurationError,
    S3IncError,
)
from dagster_s3inc.processor.document import CheckpointDocument
from dagster_s3inc.processor.stores import checkpoint_place
from tests.faults import error, faulty_proxy
from tests.servers import S3Server, backdate, fill


@pytest.fixture(params=["s3", "file"])
def checkpoint_path(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> str:
    """A place for a checkpoint, of either kind."""
    return f"s3://{bucket}/state/cp.json" if request.param == "s3" else str(tmp_path / "a/cp.json")


@pytest.fixture
def make(client: Any, bucket: str, checkpoint_path: str) -> Callable[..., S3IncrementalProcessor]:
    def make_one(**options: Any) -> S3IncrementalProcessor:
        uri = f"s3://{bucket}/in/"
        return S3IncrementalProcessor(uri, checkpoint_path, client=client, **options)

    return make_one


@pytest.fixture
def put(client: Any, bucket: str) -> Callable[..., None]:
    def put_each(*names: str, **options: Any) -> None:
        for name in names:
            client.put_object(Bucket=bucket, Key=f"in/{name}", Body=name.encode(), **options)

    return put_each


@pytest.fixture
def uris(bucket: str) -> Callable[..., list[str]]:
    return lambda *names: [f"s3://{bucket}/in/{name}" for name in names]


def test_uncommitted_files_come_again(make: Any, put: Any, uris: Any) -> None:
    """Without a commit the same files come again, in this processor and in the next."""
    put("a", "b")
    processor = make()
    assert processor.get_new_files() == uris("a", "b")
    assert processor.get_new_files() == uris("a", "b")
    assert make().get_new_files() == uris("a", "b")


def test_committed_files_do_not_come_again(make: Any, put: Any, uris: Any) -> None:
    """After a commit only new and modified files come, in this processor and in the next."""
    put("a", "b")
    processor = make()
    processor.get_new_files()
    processor.commit_checkpoint()
    put("c")
    assert processor.get_new_files() == uris("c")
    assert make().get_new_files() == uris("c")


def test_batch_size_bounds_a_batch(make: Any, put: Any, uris: Any) -> None:
    """At most batch_size files come at a time, five unless told."""
    put(*"abcdefg")
    assert make().get_new_files() == uris(*"abcde")
    assert make().get_new_files(batch_size=1) == uris("a")
    assert make().get_new_files(batch_size=100) == uris(*"abcdefg")


@pytest.mark.parametrize("size", [0, -1, 2.5, True, None])
def test_bad_batch_size_is_refused(make: Any, size: Any) -> None:
    """A batch size that is no whole number of at least 1 is refused by name."""
    with pytest.raises(ConfigurationError, match="batch_size must be"):
        make().get_new_files(batch_size=size)


def test_second_processor_gets_the_conflict(make: Any, put: Any, uris: Any) -> None:
    """Of two processors with the same files, the second commit fails and nothing is lost."""
    put("a", "b")
    first, second = make(), make()
    first.get_new_files(batch_size=1)
    second.get_new_files(batch_size=2)
    first.commit_checkpoint()
    with pytest.raises(CheckpointConflictError, match="written by someone else"):
        second.commit_checkpoint()
    assert second.get_new_files() == uris("b")
    second.commit_checkpoint()
    with pytest.raises(CheckpointConflictError):
        _commit_stale(make, first, put)


def _commit_stale(make: Any, stale: S3IncrementalProcessor, put: Any) -> None:
    put("c")
    stale.get_new_files()
    other = make()
    other.get_new_files()
    other.commit_checkpoint()
    stale.commit_checkpoint()


def test_reset_reprocesses_everything(make: Any, put: Any, uris: Any) -> None:
    """After a reset every file comes again, in a new generation."""
    put("a", "b")
    processor = make()
    processor.get_new_files()
    processor.commit_checkpoint()
    processor.reset_checkpoint()
    assert processor.get_new_files() == uris("a", "b")


def test_commit_after_reset_brings_nothing_back(make: Any, put: Any, uris: Any) -> None:
    """What was pending at a reset cannot be committed, here or by another processor."""
    put("a")
    here, there = make(), make()
    here.get_new_files()
    there.get_new_files()
    here.reset_checkpoint()
    here.commit_checkpoint()
    with pytest.raises(CheckpointConflictError):
        there.commit_checkpoint()
    assert here.get_new_files() == uris("a")


def test_commit_without_files_changes_nothing(
    make: Any, put: Any, uris: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A commit with nothing pending, or a second one, does nothing but log so."""
    put("a")
    processor = make()
    processor.commit_checkpoint()
    assert "nothing to commit" in caplog.text
    assert processor.get_new_files() == uris("a")
    processor.commit_checkpoint()
    processor.commit_checkpoint()
    assert processor.get_new_files() == []


def test_corrupt_checkpoint_is_left_until_a_reset(
    make: Any, put: Any, uris: Any, client: Any, bucket: str, checkpoint_path: str
) -> None:
    """A checkpoint that cannot be read is an error that says how to start over."""
    put("a")
    if checkpoint_path.startswith("s3://"):
        client.put_object(Bucket=bucket, Key="state/cp.json", Body=b"\xff{")
    else:
        Path(checkpoint_path).parent.mkdir()
        Path(checkpoint_path).write_bytes(b"\xff{")
    with pytest.raises(CheckpointFormatError, match=r"it is not JSON.*call reset_checkpoint\(\)"):
        make().get_new_files()
    make().reset_checkpoint()
    assert make().get_new_files() == uris("a")


def test_old_format_is_read(client: Any, bucket: str, tmp_path: Path, put: Any, uris: Any) -> None:
    """The checkpoint of the package before is read: what it has passed does not come again."""
    put("a", "b", "c")
    [_, second, _] = client.list_objects_v2(Bucket=bucket, Prefix="in/")["Contents"]
    path = tmp_path / "cp.json"
    old = {
        "Key": "in/b",
        "LastModified": second["LastModified"].timestamp(),
        "last_ingestion_run": "x",
    }
    path.write_text(json.dumps(old))
    processor = S3IncrementalProcessor(f"s3://{bucket}/in/", path, client=client)
    assert processor.get_new_files() == uris("c")
    processor.commit_checkpoint()
    account = CheckpointDocument.read(path.read_text()).account("STANDARD")
    assert account is not None
    assert account.watermark is not None
    assert account.watermark.key == "in/b"
    # Of which class it was is not known, so to another class all files are new.
    assert processor.get_new_files(storage_class=None) == uris("a", "b", "c")


def test_own_checkpoint_is_no_data(
    client: Any, bucket: str, put: Any, uris: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A checkpoint inside the prefix is never returned, and the log says where it lies."""
    put("a")
    inside = f"s3://{bucket}/in/cp.json"
    processor = S3IncrementalProcessor(f"s3://{bucket}/in/", inside, client=client)
    assert f"The checkpoint {inside} lies inside the scanned prefix" in caplog.text
    for expected in (uris("a"), [], []):
        assert processor.get_new_files() == expected
        processor.commit_checkpoint()


def test_storage_class_filter(
    moto: S3Server, new_bucket: Callable[[S3Server], str], tmp_path: Path
) -> None:
    """Only the storage class asked for comes; None leaves it to the object filter."""
    bucket, client = new_bucket(moto), moto.client()
    for key, storage_class in (("a", "STANDARD"), ("b", "GLACIER"), ("c", "STANDARD_IA")):
        client.put_object(Bucket=bucket, Key=key, Body=b"", StorageClass=storage_class)

    def found(objects: ObjectFilter | None = None, **options: Any) -> list[str]:
        path = tmp_path / "cp.json"
        processor = S3IncrementalProcessor(f"s3://{bucket}", path, client=client, objects=objects)
        return [uri[-1] for uri in processor.get_new_files(**options)]

    assert found() == ["a"]
    assert found(storage_class="GLACIER") == ["b"]
    assert found(storage_class=None) == ["a", "c"]
    assert found(ObjectFilter(storage_classes=["GLACIER"]), storage_class=None) == ["b"]
    with pytest.raises(
        ConfigurationError, match="contradicts objects, which lets through only GLACIER"
    ):
        found(ObjectFilter(storage_classes=["GLACIER"]))


def test_each_storage_class_has_an_account(
    moto: S3Server, new_bucket: Callable[[S3Server], str], tmp_path: Path
) -> None:
    """What is committed for one class leaves the others as they are, old files and all."""
    bucket, client = new_bucket(moto), moto.client()
    old = datetime.now(timezone.utc) - timedelta(days=9)

    def put(storage_class: str, *names: str) -> None:
        for name in names:
            client.put_object(Bucket=bucket, Key=name, Body=b"", StorageClass=storage_class)
            backdate(bucket, name, old)

    put("STANDARD", "a", "b")
    put("GLACIER", "c", "d")
    processor = S3IncrementalProcessor(f"s3://{bucket}", tmp_path / "cp", client=client)

    def committed(storage_class: str | None, batch_size: int = 9) -> str:
        files = processor.get_new_files(batch_size, storage_class)
        processor.commit_checkpoint()
        return "".join(uri[-1] for uri in files)

    assert committed("STANDARD", 1) == "a"
    assert committed("GLACIER", 1) == "c"
    put("GLACIER", "e")
    assert committed("STANDARD") == "b"
    # What waited comes without another listing.
    assert [committed("GLACIER"), committed("GLACIER")] == ["d", "e"]
    assert [committed(each) for each in ("STANDARD", "GLACIER")] == ["", ""]
    assert committed(None) == "ab"
    # A lifecycle rule moves a file: its new class has never seen it.
    put("GLACIER", "a")
    assert committed("GLACIER") == "a"
    processor.reset_checkpoint()
    assert [committed(each) for each in ("STANDARD", "GLACIER", None)] == ["b", "acde", "b"]


def test_undecided_files_are_logged_until_a_reset(
    moto: S3Server,
    new_bucket: Callable[[S3Server], str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """More changes than a new process can tell apart: nothing is lost, and a reset ends it."""
    bucket, client = new_bucket(moto), moto.client()
    now = datetime.now(timezone.utc)

    def put(*keys: str, days: int) -> None:
        fill(bucket, keys)
        for key in keys:
            backdate(bucket, key, now - timedelta(days=days))

    def make() -> S3IncrementalProcessor:
        return S3IncrementalProcessor(
            f"s3://{bucket}", tmp_path / "cp", client=client, late_file_capacity=12
        )

    def committed(processor: S3IncrementalProcessor) -> list[str]:
        files = processor.get_new_files(batch_size=1000)
        processor.commit_checkpoint()
        return files

    put("first", days=7)
    processor = make()
    committed(processor)
    late = [f"late/{number:03}" for number in range(200)]
    put(*late, days=8)
    # With the index of this process, any number of late files is told apart.
    assert len(committed(processor)) == 200
    more = [f"more/{number:03}" for number in range(200)]
    put(*more, days=9)
    caplog.clear()
    assert committed(make()) == committed(make()) == []
    assert "accept_listed" in caplog.text
    assert "reset_checkpoint() is the only reset" in caplog.text
    client.put_object(Bucket=bucket, Key="new", Body=b"x")
    assert committed(make()) == [f"s3://{bucket}/new"]
    make().reset_checkpoint()
    caplog.clear()
    assert len(committed(make())) == 402
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_changed_filter(
    moto: S3Server,
    new_bucket: Callable[[S3Server], str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Old files that only another filter lets through count as returned, and the log says so."""
    bucket, client = new_bucket(moto), moto.client()
    now = datetime.now(timezone.utc)

    def put(name: str, days: int) -> None:
        client.put_object(Bucket=bucket, Key=name, Body=b"x")
        if days:
            backdate(bucket, name, now - timedelta(days=days))

    def committed(include: str) -> str:
        caplog.clear()
        objects = ObjectFilter(include=include)
        processor = S3IncrementalProcessor(
            f"s3://{bucket}", tmp_path / "cp", client=client, objects=objects
        )
        files = processor.get_new_files()
        processor.commit_checkpoint()
        return " ".join(uri.rpartition("/")[2] for uri in files)

    put("a.csv", 3)
    put("b.txt", 5)
    assert committed("*.csv") == "a.csv"
    put("c.txt", 0)
    assert committed("*.*") == "c.txt"
    assert "those that only the new one matches count as returned" in caplog.text
    put("late.txt", 9)
    assert [committed("*.*"), committed("*.*"), committed("*.*")] == ["", "late.txt", ""]
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


def test_lookback_is_honoured(
    moto: S3Server, new_bucket: Callable[[S3Server], str], tmp_path: Path
) -> None:
    """A file that appears late is found at once within the lookback, and one scan later beyond."""
    bucket, client = new_bucket(moto), moto.client()
    now = datetime.now(timezone.utc)

    def put_back(key: str, minutes: int) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=b"")
        backdate(bucket, key, now - timedelta(minutes=minutes))

    def found(lookback: timedelta) -> list[str]:
        path = tmp_path / f"{lookback.seconds}.json"
        uri = f"s3://{bucket}"
        processor = S3IncrementalProcessor(uri, path, client=client, lookback=lookback)
        files = processor.get_new_files()
        processor.commit_checkpoint()
        return files

    put_back("first", 20)
    hour, minutes = timedelta(hours=1), timedelta(minutes=5)
    assert found(hour) == found(minutes) == [f"s3://{bucket}/first"]
    put_back("late", 30)
    assert found(hour) == [f"s3://{bucket}/late"]
    assert found(minutes) == []
    assert found(minutes) == [f"s3://{bucket}/late"]


def test_missing_bucket_is_no_empty_batch(client: Any, tmp_path: Path) -> None:
    """A bucket that does not exist is an error, and not an empty list."""
    with pytest.raises(BucketNotFoundError, match="no-such-bucket-here"):
        S3IncrementalProcessor(
            "s3://no-such-bucket-here", tmp_path / "c", client=client
        ).get_new_files()


def test_missing_checkpoint_bucket_is_an_error(client: Any, bucket: str) -> None:
    """A checkpoint in a bucket that does not exist is an error, and not a first start."""
    processor = S3IncrementalProcessor(
        f"s3://{bucket}", "s3://no-such-bucket-here/cp", client=client
    )
    with pytest.raises(S3IncError, match="no-such-bucket-here"):
        processor.get_new_files()


@pytest.mark.parametrize(
    ("path", "checkpoint", "says"),
    [
        ("/data/in", "cp.json", "'/data/in' is not an S3 URI"),
        ("s3://bucket/in", "s3://bucket", "names no object"),
        ("s3://bucket/in", "s3://bucket/state/", "names no object"),
        ("s3://bucket/in", "", "names no file"),
        ("s3://bucket/in", ".", "names no file"),
        ("s3://bucket/in", "s3:/lake/ck.json", "'s3:/lake/ck.json' is neither s3://BUCKET/KEY"),
        ("s3://bucket/in", "s3:lake/ck.json", "is neither s3://BUCKET/KEY nor a file's path"),
        ("s3://bucket/in", "S3://lake/ck.json", "is neither s3://BUCKET/KEY nor a file's path"),
        ("s3://bucket/in", Path("s3://lake/ck"), "as text and not as a Path"),
        ("s3://bucket/in", "file:///ck.json", "a file without a scheme"),
        ("s3://bucket/in", "https://lake/ck.json", "is neither s3://BUCKET/KEY nor a file's path"),
        ("s3://bucket/in", None, "checkpoint_path must be .* a file's path, not None"),
        ("s3://bucket/in", 5, "checkpoint_path must be .* a file's path, not 5"),
    ],
)
def test_bad_paths_are_refused(path: str, checkpoint: Any, says: str) -> None:
    """A path or checkpoint path that can be none is refused at construction."""
    with pytest.raises(ConfigurationError, match=says):
        S3IncrementalProcessor(path, checkpoint)


@pytest.mark.parametrize("path", [r"C:\lake\ck.json", "C:/lake/ck.json", "s3/ck.json", "a:b.json"])
def test_local_paths_are_taken(path: str) -> None:
    """A drive letter is no scheme, and a colon makes no URI."""
    assert checkpoint_place(path) == Path(path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"client": 5}, "client must be a boto3 S3 client, not 5"),
        ({"client": S3Resource()}, r"client must be .* Pass its get_client\(\)"),
        ({"objects": "*.csv"}, r"objects must be an ObjectFilter, not '\*\.csv'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    """An option of the wrong type is refused at construction, by name."""
    with pytest.raises(ConfigurationError, match=says):
        S3IncrementalProcessor("s3://bucket/in", tmp_path / "ck.json", **options)


def test_server_without_conditional_writes(
    moto: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """Such a server is found out at the first commit; told of, it serves a single processor."""
    bucket = new_bucket(moto)
    moto.client().put_object(Bucket=bucket, Key="in/a", Body=b"")
    paths = (f"s3://{bucket}/in/", f"s3://{bucket}/cp")
    with faulty_proxy(moto) as (proxy, server):
        proxy.conditional_put = error(501, "NotImplemented")
        client = server.client()
        processor = S3IncrementalProcessor(*paths, client=client)
        assert len(processor.get_new_files()) == 1
        with pytest.raises(ConditionalWritesError, match=r"pass conditional_writes=False"):
            processor.commit_checkpoint()
        told = S3IncrementalProcessor(*paths, client=client, conditional_writes=False)
        assert len(told.get_new_files()) == 1
        told.commit_checkpoint()
        assert told.get_new_files() == []
        told.reset_checkpoint()
        assert len(told.get_new_files()) == 1


def test_local_checkpoint_needs_no_conditional_writes(tmp_path: Path) -> None:
    """An option that a local checkpoint could not honour is refused."""
    with pytest.raises(ConfigurationError, match="conditional_writes=False is for a checkpoint in"):
        S3IncrementalProcessor("s3://bucket", tmp_path / "cp", conditional_writes=False)


def test_it_logs_and_does_not_print(
    make: Any, put: Any, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """What happens goes to the logger `dagster_s3inc`, and nothing to the terminal."""
    put("a")
    with caplog.at_level(logging.INFO, logger="dagster_s3inc"):
        processor = make()
        processor.get_new_files()
        processor.commit_checkpoint()
        processor.reset_checkpoint()
    assert "1 file (1 byte) in 1 batch" in caplog.text
    assert "checkpoint committed" in caplog.text
    assert "reset, every file is new again" in caplog.text
    assert capsys.readouterr() == ("", "")
