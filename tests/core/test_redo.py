"""Redos: what was handed over is handed over again, once, and nothing else changes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from dagster_s3inc.core.again import handed_over_before
from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.codec import encode_checkpoint
from dagster_s3inc.core.limits import ScanLimits
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.page import ObjectsPage, Page, Rest
from dagster_s3inc.core.redo import LONGEST_CONDITIONS, Conditions, Redo
from dagster_s3inc.core.scan import scan
from dagster_s3inc.core.selection import Selection
from dagster_s3inc.errors import ConfigurationError
from tests.core.making import RANDOMS, START, at, in_pages, keys_of, look, make_object
from tests.core.test_model import LIMITS, Found, Version, version
from tests.core.test_part import PassMachine, in_key_order

CONDITIONS = st.builds(
    Conditions,
    since=st.none()
    | st.sampled_from([0, 1, 3600, 86_400]).map(lambda age: START + timedelta(seconds=age)),
    prefix=st.sampled_from(["", "", "a", "a/", "é"]),
    include=st.sampled_from([(), (), ("*.csv",), ("a*", "**/c.csv")]),
)


class RedoMachine(PassMachine):
    """The bucket, the cuts and the crashes of passes; and resets that hand over some again."""

    def forget(self) -> None:
        """Nothing has been handed over, and no redo is under way."""
        super().forget()
        self.conditions: Conditions | None = None
        self.redone: set[Version] = set()

    def look(self, limits: ScanLimits, random: Random) -> Found:
        """A tick that stores nothing; a redo may find the server without an order."""
        checkpoint, redo = self.checkpoint, self.checkpoint.redo
        if redo is None:
            return super().look(limits, random)
        in_order = not redo.whole and random.random() < 0.8
        objects = [e for e in self.bucket.values() if redo.whole or e.key > redo.after]
        pages: list[Page | Rest] = []
        pages += in_key_order(objects, random) if in_order else in_pages(objects, random)
        result = scan(
            checkpoint,
            pages,
            now=self.clock,
            selection=self.filter.selection(""),
            limits=limits,
            may_be_cut=lambda: in_order,
        )
        return Found(result.batches, result.checkpoint, result.statistics)

    @rule(conditions=CONDITIONS)
    def redo(self, conditions: Conditions) -> None:
        """A reset starts a generation in which some is handed over again."""
        before = self.checkpoint
        if before.redo is not None:
            return
        self.owed = {
            version(each)
            for each in self.bucket.values()
            if version(each) in self.handed and conditions.matcher("")(each)
        }
        after = before.continued(generation=0, reset_seen="later", redo=Redo(conditions=conditions))
        assert after.generation == before.generation + 1
        self.stored = encode_checkpoint(after)
        self.redone = set()
        self.conditions = conditions if after.redo is not None else None

    @rule(limits=LIMITS, random=RANDOMS, committed=st.sampled_from([True, True, False]))
    def tick(self, limits: ScanLimits, random: Random, committed: bool) -> None:
        """A look at a part; during a redo nothing but what it asks for is handed over."""
        if self.conditions is None:
            super().tick(limits, random, committed)
            return
        before, found = self.checkpoint, self.look(self.possible(limits), random)
        versions = {version(each) for each in found.objects}
        assert len(versions) == len(found.objects), "Nothing twice."
        assert not self.redone & versions, "Once more, not twice more."
        assert found.objects == sorted(found.objects), "In position order within a part."
        assert len(found.batches) <= limits.max_batches
        for each in found.objects:
            assert self.counts(each), "Only what matches."
            assert self.conditions.matcher("")(each), "Only what was asked for."
            if version(each) not in self.handed | self.excused:
                self.check_gap(before, each)
        after = found.checkpoint
        assert encode_checkpoint(after.continued(generation=0, reset_seen=None)) == (
            encode_checkpoint(before.continued(generation=0, reset_seen=None))
        ), "A redo changes nothing of what is known."
        if not committed:
            return
        self.commit(found)
        self.redone |= versions
        if after.redo is None:
            self.conditions = None
            there = {version(each) for each in self.bucket.values() if self.counts(each)}
            assert self.owed & there <= self.redone, "All that was asked for."

    def check_gap(self, before: Checkpoint, each: S3Object) -> None:
        """What was never handed over comes only where single objects are not remembered."""
        below = before.floor is not None and each.position <= before.floor
        begun = before.unfinished
        behind = (
            begun is not None and each.key <= begun.after and each.last_modified < begun.horizon
        )
        assert below or behind, "Nothing new is handed over by a redo."
        assert each.identity not in before.wanted, "What is known to be late waits."

    @precondition(lambda self: self.bucket)
    @rule(conditions=CONDITIONS, limits=LIMITS, random=RANDOMS)
    def redo_at_once(self, conditions: Conditions, limits: ScanLimits, random: Random) -> None:
        """A redo of which nothing is in between but crashes."""
        self.redo(conditions)
        for turn in range(3 * len(self.bucket)):
            self.tick(limits, random, turn % 3 != 0)


TestRedos = RedoMachine.TestCase
TestRedos.settings = settings(max_examples=100, stateful_step_count=30)


@given(CONDITIONS, st.data(), RANDOMS, LIMITS)
def test_matching_is_handed_over_once_more(
    conditions: Conditions, data: st.DataObject, random: Random, limits: ScanLimits
) -> None:
    """Exactly what meets the conditions comes again, once; then exactly what is new."""
    old = [
        make_object(key, data.draw(st.integers(0, 90_000)))
        for key in ("a", "a.csv", "a/b.csv", "b/c.csv", "c.csv", "é.csv")
    ]
    new = [make_object("a/new.csv", 100_000), make_object("z", 100_000)]
    checkpoint = look(Checkpoint(), old, 100_000).checkpoint
    checkpoint = checkpoint.continued(
        generation=7, reset_seen="later", redo=Redo(conditions=conditions)
    )
    assert (checkpoint.generation, list(checkpoint.generations)) == (7, [*range(1, 8)])
    redone: list[S3Object] = []
    while checkpoint.redo is not None:
        after = checkpoint.redo.after
        listed = [each for each in [*old, *new] if each.key > after]
        result = scan(
            checkpoint,
            in_key_order(listed, random),
            now=at(100_000),
            limits=limits,
            may_be_cut=lambda: True,
        )
        redone += result.objects
        checkpoint = result.checkpoint
    matches = conditions.matcher("")
    assert sorted(redone) == sorted(each for each in old if matches(each))
    assert sorted(look(checkpoint, [*old, *new], 100_000).objects) == sorted(new)


def test_redo_in_the_middle_of_a_pass() -> None:
    """What an unfinished pass has handed over comes again, and nothing that lies ahead of it."""
    objects = [make_object("a", 0), make_object("b", 90_000), make_object("c", 0)]
    begun = scan(
        Checkpoint(), [ObjectsPage(objects[:2]), Rest("b")], now=at(90_000), selection=Selection()
    )
    assert keys_of(begun.objects) == ["a", "b"]
    checkpoint = begun.checkpoint.continued(
        generation=2, reset_seen=None, redo=Redo(conditions=Conditions())
    )
    again = scan(checkpoint, [ObjectsPage(objects)], now=at(90_000))
    assert keys_of(again.objects) == ["a", "b"]
    assert again.checkpoint.redo is None
    then = scan(again.checkpoint, [ObjectsPage(objects[2:])], now=at(90_000))
    assert keys_of(then.objects) == ["c"]


def first_parts(checkpoint: Checkpoint, objects: list[S3Object], files: int) -> list[list[str]]:
    """The keys of each part of a redo of everything."""
    limits, parts = ScanLimits(policy=BatchPolicy(max_files=1), max_batches=files), []
    while checkpoint.redo is not None:
        result = scan(checkpoint, [ObjectsPage(objects)], now=at(0), limits=limits)
        parts.append(keys_of(result.objects))
        checkpoint = result.checkpoint
    return parts


def test_parts_are_cut_by_key_and_ordered_by_position() -> None:
    """The first keys come first; within what a tick hands over, the oldest."""
    objects = [make_object("c", 1), make_object("b", 2), make_object("a", 3), make_object("d", 0)]
    checkpoint = look(Checkpoint(), objects).checkpoint.continued(
        generation=2, reset_seen=None, redo=Redo(conditions=Conditions(prefix=""))
    )
    assert first_parts(checkpoint, objects, 2) == [["b", "a"], ["d", "c"]]


def test_reading_stops_when_there_is_enough() -> None:
    """No more pages are read than the limits need, where the listing may be cut."""
    objects = [make_object(str(number)) for number in range(9)]
    checkpoint = look(Checkpoint(), objects).checkpoint.continued(
        generation=2, reset_seen=None, redo=Redo(conditions=Conditions())
    )
    read: list[int] = []

    def pages(count: int = 9) -> Any:
        for number in range(count):
            read.append(number)
            yield ObjectsPage([objects[number]])

    limits = ScanLimits(policy=BatchPolicy(max_files=2), max_batches=1)
    result = scan(checkpoint, pages(), now=at(9), limits=limits, may_be_cut=lambda: True)
    assert keys_of(result.objects) == ["0", "1"]
    assert read == [0, 1, 2]
    assert result.checkpoint.redo == Redo(conditions=Conditions(), after="1")
    whole = scan(checkpoint, pages(), now=at(9), limits=limits)
    assert whole.checkpoint.redo == Redo(conditions=Conditions(), after="1", whole=True)
    assert len(read) == 3 + 9


def test_nothing_handed_over_means_nothing_to_redo() -> None:
    """Before anything has been handed over, a redo is over at once."""
    redo = Redo(conditions=Conditions())
    assert Checkpoint().continued(generation=2, reset_seen="t", redo=redo) == Checkpoint(
        generation=2, origin=1, reset_seen="t"
    )


def test_what_would_be_handed_over_is_what_is() -> None:
    """The forecast of a redo names exactly what it hands over."""
    objects = [make_object(key, seconds) for seconds, key in enumerate("abcd")]
    checkpoint = look(Checkpoint(), objects, files=3).checkpoint
    redo = Redo(conditions=Conditions(since=at(1)))
    found = handed_over_before(checkpoint, redo, [ObjectsPage(objects)], selection=Selection())
    assert keys_of(found) == ["b", "c"]


def test_wanted_objects_are_not_redone() -> None:
    """What the sketch has revealed as never handed over is left to the scan that hands it over."""
    old = [make_object("a", 0), make_object("b", 1)]
    late = make_object("late", 0)
    checkpoint = look(look(Checkpoint(), old).checkpoint, [*old, late]).checkpoint
    assert checkpoint.wanted == {late.identity}
    found = handed_over_before(
        checkpoint,
        Redo(conditions=Conditions()),
        [ObjectsPage([*old, late])],
        selection=Selection(),
    )
    assert keys_of(found) == ["a", "b"]


@pytest.mark.parametrize(
    ("conditions", "scanned", "expected"),
    [
        (Conditions(), "in/", "in/"),
        (Conditions(prefix="in/2026/"), "in/", "in/2026/"),
        (Conditions(prefix="i"), "in/", "in/"),
        (Conditions(prefix="elsewhere/"), "in/", "in/"),
        (Conditions(include=("2026/*.csv",)), "in/", "in/2026/"),
        (Conditions(prefix="in/2026/11/", include=("2026/**",)), "in/", "in/2026/11/"),
        (Conditions(prefix="in/20", include=("2026/**",)), "in/", "in/2026/"),
    ],
)
def test_listing_is_no_longer_than_it_must_be(
    conditions: Conditions, scanned: str, expected: str
) -> None:
    """The listing of a redo is narrowed by its prefix and its globs, never widened."""
    assert conditions.list_prefix(scanned) == expected


@pytest.mark.parametrize(
    ("conditions", "key", "seconds", "meets"),
    [
        (Conditions(since=at(5)), "in/a", 5, True),
        (Conditions(since=at(5)), "in/a", 4.999, False),
        (Conditions(prefix="in/a"), "in/ab", 0, True),
        (Conditions(prefix="a"), "in/ab", 0, False),
        (Conditions(include=("a*",)), "in/ab", 0, True),
        (Conditions(include=("in/a*",)), "in/ab", 0, False),
        (Conditions(include=("x", "ab")), "in/ab", 0, True),
        (Conditions(since=at(0), prefix="in/a", include=("b*",)), "in/ab", 0, False),
    ],
)
def test_every_condition_counts(
    conditions: Conditions, key: str, seconds: float, meets: bool
) -> None:
    """An object meets all conditions: inclusive time, the key's beginning, a glob below."""
    assert conditions.matcher("in/")(make_object(key, seconds)) is meets


@given(CONDITIONS)
def test_conditions_survive_the_round_trip(conditions: Conditions) -> None:
    """Reading what was written gives equal conditions."""
    assert Conditions.read(conditions.written()) == conditions


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"sine": 1},
        {"since": 7},
        {"since": "2026-01-01"},
        {"prefix": 1},
        {"include": "a"},
        {"include": [""]},
    ],
)
def test_other_conditions_are_refused(document: Any) -> None:
    """What was not written as conditions is an error, never a part of them."""
    with pytest.raises(ValueError):  # noqa: PT011 # of several kinds
        Conditions.read(document)


def test_conditions_are_bounded() -> None:
    """Conditions that would make the cursor too long are refused, and so are unclear ones."""
    with pytest.raises(ConfigurationError, match="too long for a cursor"):
        Conditions(include=tuple(f"{number:09}" for number in range(LONGEST_CONDITIONS // 9)))
    with pytest.raises(ConfigurationError, match="no time zone"):
        Conditions(since=datetime(2026, 1, 1))  # noqa: DTZ001 # that is the point
    assert str(Conditions(since=datetime(2026, 1, 1, tzinfo=timezone.utc), prefix="p")) == (
        "modified since 2026-01-01T00:00:00Z, under p"
    )
    assert str(Conditions(include=("a", "b"))) == "matching a or b"
