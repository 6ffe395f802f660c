from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.checkpoint import Checkpoint
from tests.core.test_codec import CHECKPOINTS


@given(CHECKPOINTS, st.none() | st.integers(-3, 10**10))
def test_restarting_forgets_all_but_the_reset(checkpoint: Checkpoint, wanted: int | None) -> None:
    """A restart begins a later generation, at least the one asked for, with nothing handed over."""
    restarted = checkpoint.restarted(generation=wanted)
    generation = max(checkpoint.generation + 1, wanted or 0)
    assert restarted == Checkpoint(generation=generation, reset_seen=checkpoint.reset_seen)
    assert checkpoint.restarted(reset_seen="now").reset_seen == "now"
