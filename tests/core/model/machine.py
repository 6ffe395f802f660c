"""The world as a state machine of Hypothesis, which finds short histories that break a promise."""

from __future__ import annotations

from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dagster_s3inc.core.batching import ScanLimits
from tests.core.model.bucket import random_change
from tests.core.model.engine import Engine, RealEngine
from tests.core.model.requests import Crash
from tests.core.model.world import LOOKBACK, Settings, Turn, World, limits_of

__all__ = ["ModelMachine"]

KEYS = [f"{start}{number}" for start in "ab" for number in range(12)] + ["a/é", "b/😀"]
SEVERAL = st.lists(st.sampled_from(KEYS), min_size=1, max_size=6, unique=True)
AGES = st.sampled_from([0, 0, 0, 1, 30, 59, 61, 600, 3000, 10**6, -1, -400])
PAUSES = st.sampled_from([1, 1, 20, LOOKBACK, LOOKBACK + 1, 3600])
SEEDS = st.integers(0, 2**16)

SETTINGS = st.builds(
    Settings,
    jobs=st.sampled_from([1, 1, 2]),
    memory=st.sampled_from(["random", "random", "kept", "none", "replicas", "bound"]),
    from_now=st.sampled_from([False, False, False, True]),
    with_bytes=st.booleans(),
    grouped=st.sampled_from([False, False, True]),
)
CRASHES = st.sampled_from(
    [Crash()] * 5
    + [Crash(row=False)]
    + [Crash(submits=share, stores=stores) for share in (0.0, 0.4, 1.0) for stores in (True, False)]
)


class ModelMachine(RuleBasedStateMachine):
    """Any order of what can happen, and a quiet end."""

    engine: Engine = RealEngine()

    @initialize(settings=SETTINGS)
    def begin(self, settings: Settings) -> None:
        """An empty bucket and a new sensor."""
        self.world = World(self.engine, settings)

    # What happens to the bucket.

    @rule(keys=SEVERAL, age=AGES, same_bytes=st.booleans())
    def put(self, keys: list[str], age: int, same_bytes: bool) -> None:
        """Objects of one second become visible, new or overwritten, some of them late."""
        bucket = self.world.bucket
        for key in keys:
            bucket.put(key, bucket.now - age, same_bytes=same_bytes)

    @rule(seed=SEEDS, count=st.sampled_from([13, 40, 100]), spread=st.sampled_from([0, 50, 3000]))
    def wave(self, seed: int, count: int, spread: int) -> None:
        """More files than the late capacity appear at once."""
        random, bucket = Random(seed), self.world.bucket  # noqa: S311 # not for secrets
        for _ in range(count):
            age = random.randrange(spread + 1)
            bucket.put(f"{random.choice('ab')}{random.randrange(200)}", bucket.now - age)

    @precondition(lambda self: self.world.bucket.objects)
    @rule(seed=SEEDS, share=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    def delete(self, seed: int, share: float) -> None:
        """One object is deleted, or many are."""
        keys = sorted(self.world.bucket.objects)
        count = max(1, int(share * len(keys)))
        self.world.bucket.delete(Random(seed).sample(keys, count))  # noqa: S311

    @precondition(lambda self: self.world.bucket.old)
    @rule(seed=SEEDS, share=st.sampled_from([0.0, 0.1, 0.5]))
    def bring_back(self, seed: int, share: float) -> None:
        """Versions come back that had been deleted or overwritten."""
        old = self.world.bucket.old
        chosen = Random(seed).sample(old, max(1, int(share * len(old))))  # noqa: S311
        self.world.bucket.bring_back(chosen)

    @rule(seed=SEEDS)
    def change(self, seed: int) -> None:
        """Anything else that happens in the random histories."""
        random_change(self.world.bucket, Random(seed), keys=20)  # noqa: S311

    @rule(seconds=PAUSES)
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.world.bucket.now += seconds

    # What happens to the sensor.

    @rule(
        batches=st.sampled_from([0, 1, 1, 3, 20]),
        files=st.sampled_from([1, 3, 20]),
        max_bytes=st.sampled_from([None, None, 4]),
        linger=st.sampled_from([None, None, None, 30, 300]),
        seed=SEEDS,
        process=st.sampled_from([0, 1]),
        cut=st.sampled_from([None, None, None, 0.2, 0.5, 0.9]),
        crash=CRASHES,
        churn=st.sampled_from([0.0, 0.0, 0.2]),
        slow=st.sampled_from([False, False, False, True]),
        again=st.sampled_from([False, False, False, True]),
    )
    def tick(
        self,
        batches: int,
        files: int,
        max_bytes: int | None,
        linger: int | None,
        seed: int,
        process: int,
        cut: float | None,
        crash: Crash,
        churn: float,
        slow: bool,
        again: bool,
    ) -> None:
        """The sensor is evaluated."""
        limits = self._limits(batches, files, max_bytes, linger)
        self.world.tick(
            Turn(
                limits,
                Random(seed),  # noqa: S311
                process=self._process(process),
                cut=cut,
                crash=crash,
                churn=churn,
                reads_slowly=slow,
                again=again,
            )
        )

    @rule(process=st.sampled_from([0, 1]))
    def lose_memory(self, process: int) -> None:
        """A process dies."""
        if self.world.settings.memory != "kept":
            self.world.lose_memory(process)

    @rule(first=st.floats(0, 0.9), length=st.floats(0, 0.9))
    def delete_runs(self, first: float, length: float) -> None:
        """Someone deletes runs."""
        self.world.delete_runs(first, min(0.99, first + length))

    @rule(
        what=st.sampled_from(["everything", "matching", "accept_listed", "failed"]),
        prefix=st.sampled_from(["", "a"]),
    )
    def reset(self, what: str, prefix: str) -> None:
        """Someone launches the reset job."""
        self.world.reset(what, prefix)

    @rule()
    def clear(self) -> None:
        """Someone clears the cursor."""
        self.world.clear()

    @rule(number=st.integers(0, 5))
    def set_back(self, number: int) -> None:
        """Someone pastes an earlier cursor."""
        self.world.set_back(number)

    @rule(name=st.sampled_from(["all", "a", "cold"]))
    def change_filter(self, name: str) -> None:
        """The sensor is deployed with another filter."""
        self.world.filter = name

    @rule(capacity=st.sampled_from([6, 12, 24]))
    def change_capacity(self, capacity: int) -> None:
        """The sensor is deployed with another late capacity."""
        self.world.capacity = capacity

    @rule()
    def create_partitions(self) -> None:
        """From now on each key is in a partition."""
        self.world.all_partitioned = True

    def teardown(self) -> None:
        """Ticks without changes emit everything."""
        if hasattr(self, "world"):
            random = Random(0)  # noqa: S311
            self.world.settle(
                lambda number: Turn(
                    self._limits(50, 50, None, None), random, process=self._process(number % 2)
                )
            )

    def _process(self, process: int) -> int:
        return process if self.world.settings.memory == "replicas" else 0

    def _limits(
        self, batches: int, files: int, max_bytes: int | None, linger: int | None
    ) -> ScanLimits:
        return limits_of(
            batches,
            files,
            recent_limit=self.world.settings.recent_limit,
            capacity=self.world.capacity,
            max_bytes=max_bytes,
            linger=linger,
        )
