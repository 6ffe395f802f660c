from __future__ import annotations

import itertools

import pytest

from benchmarks import measuring
from benchmarks.measuring import Clock


def test_pauses_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock counts what runs, without what it is paused for."""
    for name in ("process_time", "perf_counter"):
        # A second passes whenever the time is read.
        monkeypatch.setattr(measuring.time, name, itertools.count().__next__)
    clock = Clock()
    with clock.running(), clock.paused():
        pass
    # It is read four times; between the two in the middle is the pause.
    assert (clock.cpu, clock.wall) == (2, 2)


def test_peak_memory_is_that_of_the_work() -> None:
    """What is used for a moment shows in the peak."""
    clock = Clock()
    clock.ready()
    with clock.running():
        room = bytearray(b"x") * 50_000_000
        assert len(room) == 50_000_000
        del room
    assert clock.peak > clock.base + 40
