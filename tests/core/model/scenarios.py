"""Kinds of histories: how often what happens in them."""

from __future__ import annotations

from dataclasses import dataclass

from tests.core.model.world import Settings

__all__ = ["SCENARIOS", "Chances"]


@dataclass(frozen=True, kw_only=True)
class Chances:
    """How often, for each tick, something happens; and how large the world is.

    Attributes:
        steps: How many ticks, before the quiet end.
        keys: How many keys there are under each prefix.
        capacity: The late capacity at first.
        loses_memory: A process dies.
        crash: A tick is lost.
        deletes_runs: Someone deletes runs.
        reset: Someone asks for a reset.
        resets: Which kinds of them.
        changes_filter: The sensor is deployed with another filter.
        filters: Which.
        changes_capacity: The sensor is deployed with another late capacity.
        sets_back: Someone sets the cursor back.
        clears: Someone clears the cursor.
        cuts: The time budget ends before the listing does, where the scan is not partial already.
        slices: Where not 0, each tick lists at most about so many objects.
        lingers: A tick holds batches back.
        churn: Something happens between two pages of a listing.
        burst: So many files of one second appear at once, in one of ten steps.
        moves: An object moves to a colder storage class.
        from_now: The sensor adopts what is there at first.
    """

    steps: int = 50
    keys: int = 100
    capacity: int = 12
    loses_memory: float = 0.15
    crash: float = 0.0
    deletes_runs: float = 0.0
    reset: float = 0.0
    resets: tuple[str, ...] = ("everything", "matching", "matching", "accept_listed", "failed")
    changes_filter: float = 0.0
    filters: tuple[str, ...] = ("all", "a", "b")
    changes_capacity: float = 0.0
    sets_back: float = 0.0
    clears: float = 0.0
    cuts: float = 0.0
    slices: int = 0
    lingers: float = 0.15
    churn: float = 0.0
    burst: int = 0
    moves: float = 0.0
    from_now: float = 0.0


@dataclass(frozen=True)
class Scenario:
    """A kind of history."""

    settings: Settings
    chances: Chances


def _make(memory: str = "random", *, jobs: int = 1, **rest: object) -> Scenario:
    settings = {
        name: rest.pop(name) for name in ("recent_limit", "narrows", "grouped") if name in rest
    }
    return Scenario(Settings(memory=memory, jobs=jobs, **settings), Chances(**rest))  # type: ignore[arg-type]


_ALL = {
    "crash": 0.2,
    "reset": 0.03,
    "sets_back": 0.02,
    "clears": 0.01,
    "deletes_runs": 0.02,
    "changes_filter": 0.02,
    "cuts": 0.2,
    "from_now": 0.2,
    "changes_capacity": 0.02,
    "churn": 0.02,
    "moves": 0.1,
}

SCENARIOS = {
    "base": _make(),
    "kept": _make("kept"),
    "none": _make("none"),
    "replicas": _make("replicas"),
    "bound": _make("bound"),
    "churn": _make(churn=0.1, moves=0.2),
    "churn none": _make("none", churn=0.1, moves=0.2),
    "groups": _make(grouped=True),
    "groups none": _make("none", grouped=True, churn=0.1),
    "groups partial": _make("replicas", grouped=True, cuts=0.4, crash=0.1),
    "crash": _make(crash=0.3),
    "crash none": _make("none", crash=0.3),
    "crash replicas jobs": _make("replicas", jobs=2, crash=0.3),
    "resets": _make(reset=0.05),
    "resets none": _make("none", reset=0.05),
    "resets crash": _make("replicas", reset=0.05, crash=0.3),
    "set back": _make(sets_back=0.04, clears=0.02),
    "set back none": _make("none", sets_back=0.04, clears=0.02),
    "set back resets crash": _make(sets_back=0.04, clears=0.02, reset=0.04, crash=0.25),
    "runs deleted": _make(deletes_runs=0.05),
    "runs deleted none": _make("none", deletes_runs=0.05, crash=0.2),
    "runs deleted resets": _make(
        "none", deletes_runs=0.05, reset=0.05, resets=("matching", "accept_listed")
    ),
    "from now": _make(from_now=1.0),
    "from now none": _make("none", from_now=1.0),
    "filter": _make(changes_filter=0.04),
    "filter none": _make("none", changes_filter=0.04),
    "filter crash resets": _make(changes_filter=0.04, crash=0.2, reset=0.03),
    "filter narrows": _make(changes_filter=0.04, narrows=True),
    "filter classes": _make(changes_filter=0.04, filters=("all", "cold"), moves=0.4),
    "filter runs deleted": _make("none", changes_filter=0.04, deletes_runs=0.04),
    "capacity": _make(changes_capacity=0.1),
    "capacity none": _make("none", changes_capacity=0.1),
    "partial": _make(cuts=0.4),
    "partial kept": _make("kept", cuts=0.4),
    "partial none": _make("none", cuts=0.4),
    "partial replicas": _make("replicas", cuts=0.4, crash=0.2),
    "partial bound": _make("bound", cuts=0.4),
    "partial filter resets": _make(cuts=0.4, changes_filter=0.03, reset=0.03),
    "huge": _make(slices=40),
    "huge kept": _make("kept", slices=40),
    "huge none": _make("none", slices=40),
    "huge bound": _make("bound", slices=40),
    "huge replicas crash": _make("replicas", slices=40, crash=0.2),
    "huge from now": _make(slices=40, from_now=1.0),
    "burst": _make(
        burst=5000, steps=12, keys=5000, capacity=400, recent_limit=512, crash=0.1, cuts=0.1
    ),
    "burst none": _make("none", burst=2000, steps=12, keys=5000, capacity=400, recent_limit=512),
    "all": _make(jobs=2, **_ALL),
    "all kept": _make("kept", **_ALL),
    "all replicas": _make("replicas", **_ALL),
    "all none": _make("none", **_ALL),
}
