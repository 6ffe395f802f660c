from __future__ import annotations

import dagster as dg
import pytest

from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import encode_checkpoint
from dagster_s3inc.core.redo import Conditions, Redo
from dagster_s3inc.cursor import Start, start_from
from dagster_s3inc.decision import Decision
from dagster_s3inc.errors import ResetError
from dagster_s3inc.markers import ResetMarker

BEGUN = Checkpoint(generation=3, recent=frozenset({1}), reset_seen="t1")


def marker(at: str, generation: int, what: str = "everything", prefix: str = "p") -> ResetMarker:
    conditions = f'{{"prefix":"{prefix}"}}' if what == "matching" else ""
    return ResetMarker(at, generation, what, conditions)


def start(checkpoint: Checkpoint | None, *markers: ResetMarker, last: str | None = None) -> Start:
    cursor = None if checkpoint is None else encode_checkpoint(checkpoint)
    return start_from(cursor, last, markers)


def test_old_resets_are_not_honoured_again() -> None:
    """Resets up to the one that the cursor has seen change nothing."""
    assert start(BEGUN, marker("t0", 2), marker("t1", 3, "matching")) == Start(BEGUN)


def test_reset_of_everything_makes_those_that_wait_needless() -> None:
    """Of several resets, one of which is of everything, everything starts over once."""
    waiting = marker("t2", 4, "matching"), marker("t3", 5), marker("t4", 6, "failed")
    assert start(BEGUN, *waiting) == Start(Checkpoint(generation=6, reset_seen="t4"))


def test_partial_resets_are_honoured_one_after_the_other() -> None:
    """Each reset of some files waits until the one before it has come to its end."""
    waiting = marker("t2", 4, "matching", "a"), marker("t3", 5, "matching", "b")
    first = start(BEGUN, *waiting).checkpoint
    assert (first.generation, first.reset_seen, first.origin) == (4, "t2", 3)
    assert first.redo == Redo(conditions=Conditions(prefix="a"))
    assert start(first, *waiting).checkpoint == first
    ended = Checkpoint(generation=4, origin=3, recent=BEGUN.recent, reset_seen="t2")
    second = start(ended, *waiting).checkpoint
    assert (second.generation, second.reset_seen, second.origin) == (5, "t3", 3)
    assert second.redo == Redo(conditions=Conditions(prefix="b"))


def test_failed_batches_come_before_the_generation() -> None:
    """The checkpoint stays the old one until no failed batch is left to be requested."""
    reset = marker("t2", 4, "failed")
    found = start(BEGUN, reset)
    assert found == Start(BEGUN, retry=reset)
    after = found.after_retry().checkpoint
    assert (after.generation, after.reset_seen, after.redo) == (4, "t2", None)
    assert list(after.generations) == [3, 4]
    assert after.recent == BEGUN.recent


def test_nothing_handed_over_means_nothing_again() -> None:
    """Where nothing is known, resets of some files neither start everything over nor adopt."""
    reset = marker("t2", 2, "matching")
    expected = Checkpoint(generation=2, origin=1, reset_seen="t2")
    assert start(None, reset) == Start(expected, is_first=True)
    assert start(None) == Start(Checkpoint(), is_first=True)


def test_cleared_cursor_starts_everything_over() -> None:
    """A cursor cleared by hand starts everything over, whatever the resets ask for."""
    reset = marker("t2", 9, "failed")
    assert start(None, reset, last="3:abc") == Start(Checkpoint(generation=9, reset_seen="t2"))
    assert start(None, last="3:abc") == Start(Checkpoint(generation=4))
    assert start(None, marker("t2", 2)) == Start(Checkpoint(generation=2, reset_seen="t2"))


def test_unknown_kind_of_reset_is_refused() -> None:
    """A reset that a later release made is never taken for another."""
    with pytest.raises(ResetError, match="does not know: 'older'"):
        start(BEGUN, marker("t2", 4, "older"))


LATER = Checkpoint(generation=3, recent=frozenset({1, 2}), reset_seen="t1")
LOST = Decision(encode_checkpoint(LATER), "3:b")
UNDONE = LOST._replace(left=(dg.RunRequest(run_key="3:a"), dg.RunRequest(run_key="3:b")))


@pytest.mark.parametrize(
    ("cursor", "last"), [(None, None), ("?", "3:a"), (encode_checkpoint(BEGUN), "3:a")]
)
def test_lost_decision_takes_the_place_of_the_cursor(cursor: str | None, last: str | None) -> None:
    """A tick starts from what was decided last, and first ends what was not carried out."""
    markers = [marker("t1", 3)]
    assert start_from(cursor, last, markers, LOST) == Start(LATER)
    assert start_from(cursor, last, markers, UNDONE) == Start(LATER, undone=UNDONE)


def test_resets_are_honoured_on_what_was_decided_last() -> None:
    """A reset of everything makes an undone decision needless; others wait until it is done."""
    cursor = encode_checkpoint(BEGUN)
    everything = [marker("t2", 4)]
    restarted = Start(Checkpoint(generation=4, reset_seen="t2"))
    assert start_from(cursor, "3:a", everything, UNDONE) == restarted
    partial = [marker("t2", 4, "matching")]
    assert start_from(cursor, "3:a", partial, UNDONE) == Start(LATER, undone=UNDONE)
    continued = start_from(cursor, "3:a", partial, LOST).checkpoint
    assert (continued.generation, continued.recent) == (4, LATER.recent)


@pytest.mark.parametrize("cursor", ["", None])
def test_cleared_cursor_starts_after_what_was_decided_last(cursor: str | None) -> None:
    """Clearing the cursor after a lost decision starts over; a decision that did so stands."""
    assert start_from(cursor, "3:a", [], UNDONE) == Start(Checkpoint(generation=4))
    assert start_from(cursor, "2:a", [], UNDONE) == Start(LATER, undone=UNDONE)
