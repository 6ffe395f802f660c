from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dagster_s3inc.errors import (
    CheckpointConflictError,
    ConditionalWritesError,
    S3RequestError,
)
from dagster_s3inc.processor.stores import (
    CheckpointFile,
    CheckpointObject,
    CheckpointStore,
    StoredText,
)
from dagster_s3inc.s3.location import S3Location
from tests import faults
from tests.servers import S3Server


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
    assert store.read() == StoredText(None, None)
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


def as_ceph_compares(exchange: faults.Exchange) -> None:
    """If-Match is compared with the ETag without its quotes."""
    expected = exchange.headers["If-Match"]
    if expected is not None and expected.startswith('"'):
        faults.error(412, "PreconditionFailed")(exchange)
        return
    if expected is not None:
        exchange.headers.replace_header("If-Match", f'"{expected}"')
    exchange.pass_on()


@pytest.fixture
def proxied(moto: S3Server, new_bucket: Callable[[S3Server], str]) -> Iterator[tuple[Any, ...]]:
    """A proxy before the moto server, a client that goes through it, and a bucket."""
    with faults.faulty_proxy(moto) as (proxy, server):
        yield proxy, server.client(), new_bucket(moto)


def test_server_that_ignores_conditions_is_found_out(proxied: Any) -> None:
    """The first write on a server that ignores conditions fails, and so does every other."""
    proxy, client, bucket = proxied
    proxy.conditional_put = faults.without_conditions
    store = CheckpointObject(client, S3Location(bucket, "cp"))
    for _ in range(2):
        with pytest.raises(ConditionalWritesError, match=r"ignores.*conditional_writes=False"):
            store.write("one", replacing=None)


def test_server_that_ignores_one_condition_is_found_out(proxied: Any) -> None:
    """If-Match is not taken for honoured because If-None-Match is."""
    proxy, client, bucket = proxied
    store = CheckpointObject(client, S3Location(bucket, "cp"))
    store.write("one", replacing=None)
    proxy.conditional_put = faults.without_conditions
    with pytest.raises(ConditionalWritesError, match="ignores"):
        store.write("two", replacing=store.read().version)


def test_server_that_refuses_conditions_is_named(proxied: Any) -> None:
    """A server that answers NotImplemented is an error that says so; nothing was written."""
    proxy, client, bucket = proxied
    proxy.conditional_put = faults.error(501, "NotImplemented")
    store = CheckpointObject(client, S3Location(bucket, "cp"))
    with pytest.raises(ConditionalWritesError, match=r"refuses.*nothing was written"):
        store.write("one", replacing=None)
    assert store.read() == StoredText(None, None)


def test_etags_are_sent_in_the_form_that_the_server_takes(proxied: Any) -> None:
    """On a server that compares ETags without quotes all writes succeed, and a stale one fails."""
    proxy, client, bucket = proxied
    sent = []

    def note(exchange: faults.Exchange) -> None:
        sent.append((exchange.headers["If-Match"] or "*")[0] == '"')
        as_ceph_compares(exchange)

    proxy.conditional_put = note
    store = CheckpointObject(client, S3Location(bucket, "cp"))
    store.write("0", replacing=None)
    stale = store.read().version
    for number in "123":
        store.write(number, replacing=store.read().version)
    assert store.read().text == "3"
    # The first two are for If-None-Match. One in quotes is refused; no other is sent so.
    assert sent == [False, False, True, False, False, False]
    for each in (store, CheckpointObject(client, S3Location(bucket, "cp"))):
        with pytest.raises(CheckpointConflictError):
            each.write("four", replacing=stale)
    assert store.read().text == "3"


@pytest.mark.parametrize("version", [False, True])
def test_server_that_refuses_for_no_reason_is_at_fault(proxied: Any, version: bool) -> None:
    """Where nobody has written, the error blames nobody else, and nothing is written."""
    proxy, client, bucket = proxied
    store = CheckpointObject(client, S3Location(bucket, "cp"))
    if version:
        store.write("one", replacing=None)
    before = store.read()
    proxy.conditional_put = faults.error(412, "PreconditionFailed")
    with pytest.raises(ConditionalWritesError, match="although nobody has: what is stored is what"):
        store.write("two", replacing=before.version)
    assert store.read() == before


def test_write_that_meets_another_is_tried_again(proxied: Any) -> None:
    """A 409 by a write that came to nothing fails no other; one that lasts is a conflict."""
    proxy, client, bucket = proxied
    passing, meeting = faults.Exchange.pass_on, faults.error(409, "ConditionalRequestConflict")
    answers = iter([meeting])
    proxy.conditional_put = lambda exchange: next(answers, passing)(exchange)
    store = CheckpointObject(client, S3Location(bucket, "cp"))
    store.write("one", replacing=None)
    assert store.read().text == "one"
    proxy.conditional_put = meeting
    with pytest.raises(CheckpointConflictError):
        store.write("two", replacing=store.read().version)


@pytest.mark.parametrize("fault", [faults.without_conditions, faults.error(501, "NotImplemented")])
def test_without_conditions_earlier_writes_are_still_noticed(proxied: Any, fault: Any) -> None:
    """Where conditions are given up, a write that came before this one is still a conflict."""
    proxy, client, bucket = proxied
    proxy.conditional_put = fault
    store = CheckpointObject(client, S3Location(bucket, "cp"), conditional=False)
    store.write("one", replacing=None)
    stale = store.read().version
    store.write("two", replacing=stale)
    for version in (None, stale):
        with pytest.raises(CheckpointConflictError):
            store.write("three", replacing=version)
    assert store.read().text == "two"


def test_each_condition_is_checked_once(proxied: Any) -> None:
    """A store that writes often sends one more request for each kind of condition."""
    proxy, client, bucket = proxied
    sent = []

    def note(exchange: faults.Exchange) -> None:
        sent.append("If-Match" if "If-Match" in exchange.headers else "If-None-Match")
        exchange.pass_on()

    proxy.conditional_put = note
    store = CheckpointObject(client, S3Location(bucket, "cp"))
    store.write("0", replacing=None)
    for number in "123":
        store.write(number, replacing=store.read().version)
    assert sent == ["If-None-Match"] * 2 + ["If-Match"] * 4
    assert store.read().text == "3"


def test_check_that_fails_can_be_tried_again(proxied: Any) -> None:
    """If the server breaks off in the check, the same write can be tried again, and succeeds."""
    proxy, client, bucket = proxied
    passing, failing = faults.Exchange.pass_on, faults.error(500, "InternalError")
    answers = iter([passing, failing, failing, failing])  # one, and all tries of the second
    proxy.conditional_put = lambda exchange: next(answers, passing)(exchange)
    store = CheckpointObject(client, S3Location(bucket, "cp"))
    with pytest.raises(S3RequestError):
        store.write("one", replacing=None)
    store.write("one", replacing=None)
    with pytest.raises(CheckpointConflictError):
        CheckpointObject(client, S3Location(bucket, "cp")).write("one", replacing=None)
