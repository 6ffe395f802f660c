# No "from __future__ import annotations" here: Dagster reads the annotations of ops as they are.
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import dagster as dg
import pytest
from dagster_aws.s3 import S3Resource

from dagster_s3inc import S3Batch, S3File, s3_batch
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.errors import ConfigurationError, ObjectChangedError
from dagster_s3inc.runs.run_requests import batch_config
from tests.servers import S3Server

MOMENT = datetime(2026, 1, 31, 23, 59, 59, tzinfo=timezone.utc)


@dg.op
def look(context: dg.OpExecutionContext, batch: S3Batch) -> list[str]:
    """Logs all that a batch holds."""
    context.log.info(f"{batch.batch_id} {len(batch)} {batch.total_bytes}")
    return [f"{batch.uri(file)} {file.size} {file.etag}" for file in batch]


@dg.job(resource_defs={"batch": s3_batch})
def looking() -> None:
    look()


def run_config(**batch: Any) -> dict[str, Any]:
    return {"resources": {"batch": {"config": batch}}}


def test_sensors_config_is_what_the_run_gets() -> None:
    """What the sensor writes into the run config, the op reads from its parameter, in order."""
    objects = (
        S3Object(MOMENT, "in/b", "e1", 3),
        S3Object(MOMENT, "in/ü#?%", "e2", 4, "GLACIER_IR"),
    )
    config = batch_config("bucket", Batch.of(objects), 3)
    result = looking.execute_in_process(run_config=run_config(**config))
    assert result.output_for_node("look") == ["s3://bucket/in/b 3 e1", "s3://bucket/in/ü#?% 4 e2"]


def test_files_by_hand_need_only_a_key() -> None:
    """In the Launchpad, of each file the key is enough."""
    config = run_config(bucket="bucket", files=[{"key": "in/a"}])
    result = looking.execute_in_process(run_config=config)
    assert result.output_for_node("look") == ["s3://bucket/in/a None None"]


def test_empty_launch_is_refused() -> None:
    """A launch without run config is refused before it starts, and shows what is missing."""
    with pytest.raises(dg.DagsterInvalidConfigError) as caught:
        looking.execute_in_process()
    assert "{'batch': {'config': {'bucket': '...', 'files': []}}}" in str(caught.value)


def test_batch_without_files_is_refused() -> None:
    """A launch with an empty list of files fails before any op, and says how to do it."""
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        looking.execute_in_process(run_config=run_config(bucket="bucket", files=[]))
    assert "name at least one file in the run config" in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("bucket", "says"), [("s3://pond/in/", "as in pond;"), ("s3://", "as in lake;")]
)
def test_uri_for_a_bucket_is_refused(bucket: str, says: str) -> None:
    """A launch with a URI for the bucket fails before any op, and says what to write."""
    config = run_config(bucket=bucket, files=[{"key": "in/a"}])
    with pytest.raises(dg.DagsterResourceFunctionError) as caught:
        looking.execute_in_process(run_config=config)
    assert f"give the bare name, {says}" in str(caught.value.__cause__)


def test_batch_is_a_sequence_of_its_files() -> None:
    """Outside a run a batch is built directly: it iterates, counts and sums its files."""
    files = [S3File(key="in/a", size=3), S3File(key="in/b"), S3File(key="in/c", size=4)]
    batch = S3Batch(bucket="bucket", files=files)
    assert list(batch) == files
    assert len(batch) == 3
    assert batch.total_bytes == 7
    assert batch.uris() == ["s3://bucket/in/a", "s3://bucket/in/b", "s3://bucket/in/c"]


def test_open_is_pinned_to_the_listed_version(
    moto: S3Server, new_bucket: Callable[[S3Server], str]
) -> None:
    """A file that was overwritten since it was listed is not read."""
    bucket, client = new_bucket(moto), moto.client()
    etag = client.put_object(Bucket=bucket, Key="k", Body=b"old")["ETag"].strip('"')
    file = S3File(key="k", etag=etag)
    batch = S3Batch(bucket=bucket, files=[file])
    with batch.open(file, client) as stream:
        assert stream.read() == b"old"
    client.put_object(Bucket=bucket, Key="k", Body=b"new")
    with pytest.raises(ObjectChangedError), batch.open(file, client):
        pass


def test_batch_and_s3_reach_an_asset(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> None:
    """An asset names the batch and the S3 resource as parameters and reads its files."""
    bucket = new_bucket(moto)
    moto.client().put_object(Bucket=bucket, Key="k", Body=b"1\n2\n")

    @dg.asset
    def lines(batch: S3Batch, s3: S3Resource) -> int:
        client, count = s3.get_client(), 0
        for file in batch:
            with batch.open(file, client) as stream:
                count += sum(1 for _ in stream.iter_lines())
        return count

    result = dg.materialize(
        [lines],
        resources={"batch": s3_batch, "s3": moto.resource()},
        run_config=run_config(bucket=bucket, files=[{"key": "k"}]),
    )
    assert result.output_for_node("lines") == 2


def test_metadata_describes_the_batch() -> None:
    """The metadata has the numbers, the times, and a table of the first files."""
    later = MOMENT.replace(year=2027)
    objects = (S3Object(MOMENT, "in/b", "e1", 3), S3Object(later, "in/a", "e2", 4))
    batch = Batch.of(objects)
    found = S3Batch(**batch_config("bucket", batch, 5)).metadata(max_files=1)
    table = found.pop("dagster_s3inc/file_table")
    assert found == {
        "dagster_s3inc/files": 2,
        "dagster_s3inc/bytes": 7,
        "dagster_s3inc/generation": 5,
        "dagster_s3inc/batch_id": batch.id,
        "dagster_s3inc/oldest": "2026-01-31T23:59:59Z",
        "dagster_s3inc/newest": "2027-01-31T23:59:59Z",
        "dagster_s3inc/files_not_in_table": 1,
    }
    [record] = table.records
    assert record.data == {
        "key": "in/b",
        "size": 3,
        "last_modified": "2026-01-31T23:59:59Z",
        "etag": "e1",
        "storage_class": "STANDARD",
    }
    with pytest.raises(ConfigurationError, match="max_files must be at least 1"):
        S3Batch(bucket="bucket", files=[S3File(key="in/a")]).metadata(max_files=0)


def test_metadata_leaves_out_what_is_not_known() -> None:
    """Of a batch given by hand, the metadata has what was given, and Dagster takes it."""

    @dg.asset
    def loaded(batch: S3Batch) -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata=batch.metadata())

    config = run_config(bucket="bucket", files=[{"key": "in/a"}])
    result = dg.materialize([loaded], resources={"batch": s3_batch}, run_config=config)
    [event] = result.asset_materializations_for_node("loaded")
    known = {name for name in event.metadata if name.startswith("dagster_s3inc/")}
    assert known == {f"dagster_s3inc/{name}" for name in ("files", "bytes", "file_table")}
