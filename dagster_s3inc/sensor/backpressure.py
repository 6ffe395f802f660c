"""How many batches may be requested, given those that are in flight and those that failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final, Literal, NamedTuple

from dagster_s3inc.core.words import count
from dagster_s3inc.runs.batch_states import BatchStates
from dagster_s3inc.runs.states import describe_halt, name_runs

__all__ = ["Backpressure", "Gate", "OnFailure"]

OnFailure = Literal["continue", "halt"]

# A run is launched right after it was created. One that was not, because the daemon or the
# launcher failed in between, may never be.
_LAUNCHED_WITHIN: Final = timedelta(minutes=5)


class Gate(NamedTuple):
    """What a tick may request.

    Attributes:
        max_batches: The most batches; None means no bound.
        messages: Why it may request less or nothing, and what to do about it.
    """

    max_batches: int | None = None
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backpressure:
    """Holds batches back, by the state of the runs in the instance.

    Attributes:
        max_in_flight: The most batches requested and not finished; None means no bound.
        on_failure: Whether a batch that failed stops those that would follow.
    """

    max_in_flight: int | None = None
    on_failure: OnFailure = "continue"

    @property
    def halts(self) -> bool:
        """Whether a batch that failed stops those that would follow."""
        return self.on_failure == "halt"

    @property
    def asks_for_states(self) -> bool:
        """Whether the states of the batches make a difference."""
        return self.halts or self.max_in_flight is not None

    def gate(self, states: BatchStates) -> Gate:
        """How many batches may be requested now, given what has become of those before."""
        if self.halts:
            for each in states.failed:
                if not each.is_skipped:
                    return Gate(0, (describe_halt(each.newest),))
        if self.max_in_flight is None:
            return Gate()
        batches: dict[tuple[str, ...], str] = {}
        stranded: list[str] = []
        launched_by = datetime.now(timezone.utc) - _LAUNCHED_WITHIN
        for run in (*states.queued, *states.running):
            if run.is_unlaunched and run.created < launched_by:
                stranded.append(run.run_id)
            else:
                batches[run.place] = run.run_id
        messages = []
        if stranded:
            messages.append(
                f"{count(len(stranded), 'run was', 'runs were')} created more than "
                f"{_LAUNCHED_WITHIN // timedelta(minutes=1)} minutes ago and never launched: "
                f"{name_runs(stranded)}. They do not count as in flight. Delete them, and launch "
                f"the reset job if their files are to be processed"
            )
        free = self.max_in_flight - len(batches)
        if free > 0:
            return Gate(free, tuple(messages))
        messages.append(
            f"Nothing is requested now: {count(len(batches), 'batch is', 'batches are')} in "
            f"flight ({name_runs(list(batches.values()))}), and max_in_flight is "
            f"{self.max_in_flight}"
        )
        return Gate(0, tuple(messages))
