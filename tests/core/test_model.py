"""`scan` in a world of its own: random histories, with and without Hypothesis; see `model`."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.core.model.engine import Engine, RealEngine
from tests.core.model.fakes import ExactEngine, ForgetfulEngine, LosingEngine, UnorderedEngine
from tests.core.model.history import play
from tests.core.model.machine import ModelMachine
from tests.core.model.planted import PLANTED, histories_until_found
from tests.core.model.planting import Planted
from tests.core.model.scenarios import SCENARIOS

TestModel = ModelMachine.TestCase
TestModel.settings = settings(deadline=None, max_examples=150, stateful_step_count=30)

# These say of a filter by prefix, or of a cursor's size, what a fake cannot know.
UNFIT_FOR_FAKES = {"filter narrows", "burst", "burst none"}


@pytest.mark.parametrize("name", [name for name in SCENARIOS if "burst" not in name])
def test_random_histories(name: str) -> None:
    """Nothing is lost, and nothing is emitted twice, in two histories of each kind."""
    for seed in (1, 2):
        broken, _ = play(RealEngine(), SCENARIOS[name], seed)
        assert broken is None, f"seed {seed}: {broken}"


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_many_random_histories(name: str) -> None:
    """The same in forty of each kind."""
    for seed in range(100, 105 if "burst" in name else 140):
        broken, _ = play(RealEngine(), SCENARIOS[name], seed)
        assert broken is None, f"seed {seed}: {broken}"


@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - UNFIT_FOR_FAKES))
def test_the_world_itself(name: str) -> None:
    """A scan that is surely right breaks no promise."""
    broken, _ = play(ExactEngine(), SCENARIOS[name], 1)
    assert broken is None, str(broken)


@pytest.mark.parametrize(
    ("engine", "kinds"),
    [
        (ForgetfulEngine(), {"TWICE"}),
        (LosingEngine(), {"LOST", "ORDER"}),
        (UnorderedEngine(), {"ORDER"}),
    ],
)
def test_the_world_finds_what_is_wrong(engine: Engine, kinds: set[str]) -> None:
    """A scan that is wrong on purpose breaks the promise that it should."""
    found = [play(engine, SCENARIOS["base"], seed)[0] for seed in range(5)]
    assert kinds & {broken.kind for broken in found if broken is not None}


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_planted_bugs_are_found(bug: Planted) -> None:
    """A bug planted in the core is found within the histories that it is given."""
    _, broken = histories_until_found(bug)
    assert broken is not None, "The world does not see this bug."
