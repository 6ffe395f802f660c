from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.batching import BatchPolicy, ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint, Reprocess, Total
from dagster_s3inc.core.filters import Conditions
from tests.core.making import FIRST, Sensor, at, keys_of, make_object
from tests.core.test_cursor_format import CHECKPOINTS


def test_worked_example() -> None:
    """The example at the head of the module: five files, three ticks, what is stored."""
    objects = [make_object(f"0{9}:0{minute}", 60 * minute) for minute in range(5)]
    limits = ScanLimits(policy=BatchPolicy(max_files=2), max_batches=1, lookback=timedelta(hours=1))
    for remembers in (True, False):
        sensor = Sensor(limits, remembers=remembers)
        said = []
        for _ in range(3):
            result = sensor.tick(objects, 3600 + 3 * 60 + 30)
            stored = sensor.checkpoint
            assert stored.watermark is not None
            assert stored.emitted is not None
            said.append(
                (
                    keys_of(result.objects),
                    stored.watermark.key,
                    len(stored.recent),
                    stored.emitted.size,
                )
            )
        assert said == [
            (["09:00", "09:01"], "09:01", 0, 2),
            (["09:02", "09:03"], "09:03", 0, 4),
            (["09:04"], "09:03", 1, 4),
        ]
        assert sensor.checkpoint.recent == {objects[4].fingerprint}


@given(CHECKPOINTS, st.none() | st.integers(-3, 10**10))
def test_restarting_forgets_all_but_the_reset(checkpoint: Checkpoint, wanted: int | None) -> None:
    """A restart begins a later generation, at least the one asked for, with nothing emitted."""
    restarted = checkpoint.restarted(generation=wanted)
    generation = max(checkpoint.generation + 1, wanted or 0)
    assert restarted == Checkpoint(generation=generation, reset_seen=checkpoint.reset_seen)
    assert checkpoint.restarted(reset_seen="now").reset_seen == "now"


@given(CHECKPOINTS)
def test_reprocessing_stays_in_the_generation(checkpoint: Checkpoint) -> None:
    """A reset of some files changes nothing but what it asks for; before a beginning, nothing."""
    reprocess = Reprocess(conditions=Conditions(since=at(0)))
    following = checkpoint.reprocessing(reprocess, reset_seen="later")
    expected = reprocess if checkpoint.has_begun else None
    assert following == replace(checkpoint, reprocess=expected, reset_seen="later")
    assert FIRST.reprocessing(reprocess, reset_seen="later").reprocess is None


@given(CHECKPOINTS)
def test_partial_scan_ends_before_files_are_reprocessed(checkpoint: Checkpoint) -> None:
    """A reset of some files, and one that accepts what is listed, wait for the partial scan."""
    for accepts in (True, False):
        asked = replace(checkpoint, reprocess=Reprocess(accepts=accepts))
        is_partial = checkpoint.partial_scan is not None
        assert (asked.reprocesses_now is None) == (is_partial or accepts)
        assert asked.accepts_now == (accepts and not is_partial)


@given(CHECKPOINTS, st.integers(1, 9), st.integers(0, 9))
def test_cursor_set_back_goes_on_behind_what_was_requested(
    checkpoint: Checkpoint, generation: int, sequence: int
) -> None:
    """Run keys go on behind the last one, and the ledger cannot be whole any more."""
    behind = checkpoint.behind(generation=generation, sequence=sequence)
    assert behind == replace(checkpoint, generation=generation, sequence=sequence + 1, total=None)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**64 - 1))))
def test_total_does_not_depend_on_the_order(parts: list[tuple[int, int]]) -> None:
    """Counts and checksums add up, modulo 2**64, in any order."""
    one, other = Total(), Total()
    for part in parts:
        one = one.plus(*part)
    for part in reversed(parts):
        other = other.plus(*part)
    assert one == other == (sum(n for n, _ in parts), sum(sum_ for _, sum_ in parts) % 2**64)
