"""The model of the core with the sensor's own rules: where a tick starts, and its run keys."""

from __future__ import annotations

import json
from collections.abc import Sequence

import dagster as dg
import pytest

from dagster_s3inc.core.reprocess import Conditions
from dagster_s3inc.runs.reset_requests import ResetRequest
from dagster_s3inc.runs.run_requests import RunKey
from dagster_s3inc.sensor.recovery import Decision
from dagster_s3inc.sensor.start import start_from
from tests.core.model.engine import RealEngine, Start
from tests.core.model.history import play
from tests.core.model.requests import Lost, Reset
from tests.core.model.scenarios import SCENARIOS

# Those in which it matters where a tick starts.
KINDS = [
    "crash",
    "crash none",
    "crash replicas jobs",
    "resets",
    "resets none",
    "resets crash",
    "set back",
    "set back none",
    "set back resets crash",
    "filter crash resets",
    "runs deleted resets",
    "all",
    "all replicas",
    "all none",
]


class SensorEngine(RealEngine):
    """The scan of the package, begun where the sensor begins it."""

    def run_key(self, generation: int, sequence: int, batch_id: str, job: str | None) -> str:
        return str(RunKey(generation, sequence, batch_id, job))

    def start(
        self,
        cursor: str | None,
        last_run_key: str | None,
        resets: Sequence[Reset],
        lost: Lost | None,
    ) -> Start:
        decision = None
        if lost is not None:
            requested = [dg.RunRequest(run_key=each.key) for each in lost.row.requests]
            left = tuple(dg.RunRequest(run_key=each.key) for each in lost.left)
            decision = Decision(lost.row.cursor.text, requested[-1], left)
        found = start_from(cursor, last_run_key, [_request(each) for each in resets], decision)
        [retries] = [each for each in resets if found.retry and each.at == found.retry.at] or [None]
        resumes = found.lost is not None
        return Start(found.checkpoint, found.given, found.is_first, retries, resumes)


def _request(reset: Reset) -> ResetRequest:
    conditions = ""
    if reset.what == "matching":
        conditions = json.dumps(Conditions(prefix=reset.prefix).written())
    return ResetRequest(reset.at, reset.generation, reset.what, conditions)


@pytest.mark.parametrize("name", KINDS)
def test_random_histories(name: str) -> None:
    """Nothing is lost, and nothing is emitted twice, in a few histories of each kind."""
    for seed in range(3):
        broken, _ = play(SensorEngine(), SCENARIOS[name], seed)
        assert broken is None, f"seed {seed}: {broken}"


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_many_random_histories(name: str) -> None:
    """The same in forty of each kind."""
    for seed in range(100, 140):
        broken, _ = play(SensorEngine(), SCENARIOS[name], seed)
        assert broken is None, f"seed {seed}: {broken}"
