from __future__ import annotations

from dataclasses import replace

import dagster as dg
import pytest

from dagster_s3inc.core.checkpoint import Checkpoint, Reprocess, Total
from dagster_s3inc.core.cursor_format import encode_checkpoint
from dagster_s3inc.core.filters import Conditions
from dagster_s3inc.errors import CheckpointVersionError, ResetError
from dagster_s3inc.runs.reset_requests import ResetRequest
from dagster_s3inc.sensor.recovery import Decision
from dagster_s3inc.sensor.start import Start, next_generation, start_from

BEGUN = Checkpoint(
    generation=3, sequence=8, recent=frozenset({1}), total=Total(1, 5), reset_seen="t1"
)


def reset(
    at: str, generation: int = 3, what: str = "everything", prefix: str = "p"
) -> ResetRequest:
    conditions = f'{{"prefix":"{prefix}"}}' if what == "matching" else ""
    return ResetRequest(at, generation, what, conditions)


def start(checkpoint: Checkpoint | None, *resets: ResetRequest, last: str | None = None) -> Start:
    return start_from(None if checkpoint is None else encode_checkpoint(checkpoint), last, resets)


def given(checkpoint: Checkpoint, **others: object) -> Start:
    """A start from a checkpoint as it is."""
    return Start(checkpoint, encode_checkpoint(checkpoint), **others)  # type: ignore[arg-type]


# Resets


def test_resets_that_the_cursor_has_seen_change_nothing() -> None:
    """A reset is honoured once."""
    assert start(BEGUN, reset("t0", 2), reset("t1", 3, "matching"), last="3:7:a") == given(BEGUN)


def test_reset_of_everything_makes_those_before_it_needless() -> None:
    """Everything starts over once, in the generation of the newest; index and total are new."""
    waiting = reset("t2", what="matching"), reset("t3", 4), reset("t4", 5)
    assert start(BEGUN, *waiting) == Start(Checkpoint(generation=5, reset_seen="t4"))


def test_resets_after_one_of_everything_still_count() -> None:
    """What someone accepts after a reset of everything is accepted in the new generation."""
    waiting = reset("t2", 4), reset("t3", 4, "accept_listed")
    begun = Checkpoint(generation=4, reset_seen="t3", reprocess=Reprocess(accepts=True))
    assert start(BEGUN, *waiting) == Start(begun)
    # Nothing has been emitted that could be emitted again.
    waiting = reset("t2", 4), reset("t3", 4, "matching")
    assert start(BEGUN, *waiting) == Start(Checkpoint(generation=4, reset_seen="t3"))
    waiting = reset("t2", 4), reset("t3", 4, "failed")
    assert start(BEGUN, *waiting).retry == waiting[1]


@pytest.mark.parametrize("what", ["matching", "accept_listed"])
def test_partial_resets_go_on_in_the_generation(what: str) -> None:
    """What was emitted stays known, the sequence goes on, and the ledger with it."""
    found = start(BEGUN, reset("t2", what=what), last="3:7:a")
    expected = Reprocess(accepts=True)
    if what == "matching":
        expected = Reprocess(conditions=Conditions(prefix="p"))
    checkpoint = replace(BEGUN, reset_seen="t2", reprocess=expected)
    assert found == Start(checkpoint, encode_checkpoint(BEGUN))


def test_partial_resets_are_honoured_one_after_the_other() -> None:
    """Each waits until the one before it has come to its end."""
    waiting = reset("t2", what="matching", prefix="a"), reset("t3", what="matching", prefix="b")
    first = start(BEGUN, *waiting).checkpoint
    assert (first.reset_seen, first.reprocess) == (
        "t2",
        Reprocess(conditions=Conditions(prefix="a")),
    )
    assert start(first, *waiting) == given(first)
    second = start(replace(first, reprocess=None), *waiting).checkpoint
    assert second.reset_seen == "t3"
    assert second.reprocess == Reprocess(conditions=Conditions(prefix="b"))


def test_failed_batches_come_first() -> None:
    """The cursor has not seen the reset until no failed batch is left to be requested."""
    retry = reset("t2", what="failed")
    found = start(BEGUN, retry)
    assert found == given(BEGUN, retry=retry)
    assert found.after_retry() == Start(replace(BEGUN, reset_seen="t2"), encode_checkpoint(BEGUN))


def test_nothing_emitted_means_nothing_again() -> None:
    """Where nothing is known, resets of some files neither start everything over nor adopt."""
    for what in ("matching", "failed", "accept_listed"):
        expected = Start(Checkpoint(reset_seen="t2"), is_first=True)
        assert start(None, reset("t2", 1, what)) == expected
    assert start(None) == Start(Checkpoint(), is_first=True)


def test_unknown_kind_of_reset_is_refused() -> None:
    """A reset that a later release made is never taken for another."""
    with pytest.raises(ResetError, match="does not know: 'older'"):
        start(BEGUN, reset("t2", what="older"))


# Cursors that somebody changed


def test_cleared_cursor_starts_everything_over() -> None:
    """A cursor cleared by hand starts everything over, whatever the resets ask for."""
    assert start(None, last="3:7:a") == Start(Checkpoint(generation=4))
    assert start_from("", "3:7:a", ()) == Start(Checkpoint(generation=4))
    waiting = reset("t2", what="failed")
    assert start(None, waiting, last="3:7:a") == Start(Checkpoint(generation=4, reset_seen="t2"))
    waiting = reset("t2", 9)
    assert start(None, waiting, last="3:7:a") == Start(Checkpoint(generation=9, reset_seen="t2"))
    assert start(None, reset("t2", 2)) == Start(Checkpoint(generation=2, reset_seen="t2"))


@pytest.mark.parametrize("last", ["3:8:a", "3:8:a:ingest", "3:21:a", "4:0:a"])
def test_cursor_set_back_by_hand_goes_on_behind_what_was_requested(last: str) -> None:
    """No key is requested twice, and the ledger is never taken for whole again."""
    found = start(BEGUN, last=last)
    generation, sequence = map(int, last.split(":")[:2])
    expected = replace(BEGUN, generation=generation, sequence=sequence + 1, total=None)
    assert found == Start(expected, encode_checkpoint(BEGUN), was_set_back=True)
    # What the next tick stores is not taken for set back again.
    assert not start(found.checkpoint, last=last).was_set_back


@pytest.mark.parametrize("last", [None, "3:7:a", "2:90:a", "somebody's own", "3:a"])
def test_other_cursors_are_not_set_back(last: str | None) -> None:
    """Not a dry run, which is given no last run key, nor a cursor that is in order."""
    assert start(BEGUN, last=last) == given(BEGUN)


def test_resets_newer_than_a_cursor_set_back_are_honoured_again() -> None:
    """A cursor from before a reset has not seen it."""
    found = start(replace(BEGUN, reset_seen="t0"), reset("t1", what="matching"), last="3:8:a")
    assert found.was_set_back
    assert found.checkpoint.reset_seen == "t1"
    assert found.checkpoint.reprocess is not None
    found = start(replace(BEGUN, reset_seen="t0"), reset("t1", 4), last="4:2:a")
    assert found == Start(Checkpoint(generation=5, reset_seen="t1"))


def test_cursor_of_another_version_names_the_reset_job() -> None:
    """An old cursor is never a silent restart."""
    old = '{"version":1,"generation":3,"floor":null}'
    with pytest.raises(CheckpointVersionError, match="launch the sensor's reset job"):
        start_from(old, "3:abc", ())
    # The reset job then starts everything over.
    assert start_from("", "3:abc", [reset("t2", 4)]).checkpoint.generation == 4


def test_reset_starts_a_generation_that_never_was() -> None:
    """It is later than the cursor's, and than that of the last run, where a cursor is older."""
    assert next_generation(None, None) == 2
    assert next_generation(None, "3:7:a") == 4
    assert next_generation(BEGUN, "3:7:a") == 4
    assert next_generation(BEGUN, "5:7:a") == 6


# Lost ticks

LATER = replace(BEGUN, sequence=9, recent=frozenset({1, 2}))
FIRST, LAST = dg.RunRequest(run_key="3:8:a"), dg.RunRequest(run_key="3:8:b")
WHOLE = Decision(encode_checkpoint(LATER), LAST)
UNDONE = WHOLE._replace(left=(FIRST, LAST))
DECISIONS = pytest.mark.parametrize("lost", [WHOLE, UNDONE])


@DECISIONS
@pytest.mark.parametrize(
    ("cursor", "last"),
    [(None, None), ("?", "3:7:a"), (encode_checkpoint(BEGUN), "3:7:a"), ("", "2:90:a")],
)
def test_lost_decision_takes_the_place_of_the_cursor(
    cursor: str | None, last: str | None, lost: Decision
) -> None:
    """A tick first ends what was decided last and not carried out to its end."""
    assert start_from(cursor, last, [reset("t1")], lost) == given(LATER, lost=lost)


@DECISIONS
def test_resets_are_honoured_on_what_was_decided_last(lost: Decision) -> None:
    """A reset of everything makes a lost decision needless; others wait until it is done."""
    cursor = encode_checkpoint(BEGUN)
    restarted = Start(Checkpoint(generation=4, reset_seen="t2"))
    assert start_from(cursor, "3:7:a", [reset("t2", 4)], lost) == restarted
    partial = [reset("t2", what="matching")]
    assert start_from(cursor, "3:7:a", partial, lost) == given(LATER, lost=lost)


@pytest.mark.parametrize("cursor", ["", None])
def test_cursor_cleared_after_a_lost_decision(cursor: str | None) -> None:
    """Clearing the cursor starts over; a lost decision that did so itself stands."""
    assert start_from(cursor, "3:7:a", [], UNDONE) == Start(Checkpoint(generation=4))
    assert start_from(cursor, "2:7:a", [], UNDONE) == given(LATER, lost=UNDONE)


def test_lost_decision_explains_the_last_run_key() -> None:
    """A tick that was lost is not taken for a cursor set back by hand."""
    assert start_from(encode_checkpoint(BEGUN), "3:8:a", [], UNDONE).was_set_back is False
