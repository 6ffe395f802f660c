"""Random histories. One is known by its scenario and its seed."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

from tests.core.model.bucket import random_change
from tests.core.model.engine import Engine
from tests.core.model.expectations import PromiseError, require
from tests.core.model.requests import Crash
from tests.core.model.scenarios import Scenario
from tests.core.model.world import LOOKBACK, Turn, World, limits_of

__all__ = ["History", "play"]


def play(
    engine: Engine, scenario: Scenario, seed: int, *, log: Callable[[str], None] | None = None
) -> tuple[PromiseError | None, Counter[str]]:
    """Plays one history.

    Args:
        engine: What is under test.
        scenario: The kind of history.
        seed: Which of them.
        log: Is told what each tick does.

    Returns:
        The promise that it broke, if any, and what happened in it.
    """
    history = History(engine, scenario, seed)
    history.world.log = log
    try:
        history.play()
    except PromiseError as broken:
        return broken, history.world.counts
    except Exception as error:  # noqa: BLE001 # whatever it is, the history and its seed are told
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        where = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(frames))
        return PromiseError("ERROR", f"{error!r} at {where}"), history.world.counts
    return None, history.world.counts


class History:
    """One random history."""

    def __init__(self, engine: Engine, scenario: Scenario, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 # not for secrets
        self.chances = scenario.chances
        settings = scenario.settings
        settings = replace(
            settings,
            from_now=self.random.random() < scenario.chances.from_now,
            with_bytes=self.random.random() < 0.7,
            max_index_bytes=self.random.choice((0, 4000, 10_000)),
            recent_limit=settings.recent_limit if engine.is_bounded else 10**6,
        )
        self.world = World(engine, settings)
        self.world.capacity = scenario.chances.capacity

    def play(self) -> None:
        """What happens, and a quiet end in which nothing does.

        Raises:
            PromiseError: A promise is broken.
        """
        world, chances = self.world, self.chances
        for _ in range(chances.steps):
            self._live()
            world.tick(self._turn())
        self._settle()
        if world.is_undecided:
            # Where a listing never ends within a tick, only the first of the two settles all.
            ways = ("accept_listed",) if chances.slices else ("accept_listed", "matching")
            self._end_undecided(self.random.choice(ways))

    def _end_undecided(self, what: str) -> None:
        """A reset settles what is undecided; then late files are found again."""
        world = self.world
        world.reset(what)
        self._settle()
        require(not world.is_undecided, "UNDECIDED", f"after {what} too")
        for number in range(3):
            world.bucket.put(f"a-late-{number}", world.bucket.now - 2000)
        self._settle()

    def _settle(self) -> None:
        huge = self.chances.slices > 0
        patient = huge or self.world.settings.memory == "replicas"
        self.world.settle(
            lambda _: self._quiet_turn(), pause=30 if huge else 1, patience=16 if patient else 8
        )

    def _live(self) -> None:
        """What happens between two ticks."""
        random, world, chances = self.random, self.world, self.chances
        world.bucket.now += random.choice((0, 1, 5, 20, 20, 40, 200))
        for _ in range(random.choice((0, 1, 1, 2))):
            world.counts[random_change(world.bucket, random, keys=chances.keys)] += 1
        if chances.burst and random.random() < 0.1:
            self._burst()
        if random.random() < chances.moves and world.bucket.objects:
            key = random.choice(sorted(world.bucket.objects))
            world.bucket.move(key, random.choice(("STANDARD_IA", "STANDARD_IA", "GLACIER")))
        if random.random() < chances.deletes_runs:
            first = 0.0 if random.random() < 0.6 else random.random()
            world.delete_runs(first, first + random.random() * (1 - first) * 0.99)
        if random.random() < chances.reset:
            world.reset(random.choice(chances.resets), random.choice(("", "a", "b")))
        if random.random() < chances.changes_filter:
            world.filter = random.choice(chances.filters)
        if random.random() < chances.changes_capacity:
            world.capacity = random.choice((6, 12, 24))
        if random.random() < 0.03:
            world.all_partitioned = True
        if random.random() < chances.clears:
            world.clear()
        if random.random() < chances.sets_back:
            world.set_back(random.randrange(6))
        if world.settings.memory in ("random", "replicas"):
            for process in (0, 1):
                if random.random() < chances.loses_memory:
                    world.lose_memory(process)

    def _burst(self) -> None:
        """Very many files of one second, of which a tick may see the first half."""
        random, world = self.random, self.world
        modified = world.bucket.now - random.choice((0, 0, 30, 500))
        keys = [
            f"{random.choice('ab')}{random.randrange(10**6):06}" for _ in range(self.chances.burst)
        ]
        half = len(keys) // random.choice((1, 2))
        for key in keys[:half]:
            world.bucket.put(key, modified)
        if half < len(keys):
            world.tick(self._turn())
        for key in keys[half:]:
            world.bucket.put(key, modified)

    def _turn(self) -> Turn:
        random, world, chances = self.random, self.world, self.chances
        large = 30 if chances.burst else 1
        limits = limits_of(
            random.choice((0, 1, 1, 2, 2, 3, 3, 4, 4)) * large,
            random.randrange(1, 6) * large,
            recent_limit=world.settings.recent_limit,
            capacity=world.capacity,
            max_bytes=random.choice((None, None, None, 4)),
            request_bytes=random.choice((None, None, None, 1500, 4000)),
            linger=random.choice((30, LOOKBACK, 300))
            if random.random() < chances.lingers
            else None,
        )
        return Turn(
            limits,
            random,
            process=self._process(),
            cut=self._cut(chances.cuts),
            crash=self._crash(),
            churn=chances.churn if random.random() < 0.3 else 0.0,
            reads_slowly=random.random() < 0.2,
            again=random.random() < 0.1,
        )

    def _quiet_turn(self) -> Turn:
        world = self.world
        limits = limits_of(
            50,
            50 if not self.chances.burst else 1000,
            recent_limit=world.settings.recent_limit,
            capacity=world.capacity,
        )
        return Turn(limits, self.random, process=self._process(), cut=self._cut(0.0))

    def _process(self) -> int:
        return self.random.randrange(2) if self.world.settings.memory == "replicas" else 0

    def _cut(self, chance: float) -> float | None:
        random, world = self.random, self.world
        if self.chances.slices:
            return (
                random.uniform(0.5, 1.5) * self.chances.slices / max(1, len(world.bucket.objects))
            )
        is_partial = world.is_partial
        chance = 0.7 if chance and is_partial else chance
        return random.random() if random.random() < chance else None

    def _crash(self) -> Crash:
        random, chance = self.random, self.chances.crash
        if random.random() < chance * 0.3:
            return Crash(row=False)
        if random.random() < chance:
            return Crash(submits=random.random(), stores=random.random() < 0.3)
        return Crash()
