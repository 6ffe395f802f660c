from __future__ import annotations

import zlib
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core import iblt as module
from dagster_s3inc.core.iblt import (
    CELLS,
    CELLS_LIMIT,
    Difference,
    Digest,
    DigestBuilder,
    decode,
    estimate,
)
from dagster_s3inc.errors import ConfigurationError

FINGERPRINTS = st.integers(0, 2**64 - 1)

SETS = st.frozensets(FINGERPRINTS, max_size=60)

Array = npt.NDArray[np.uint64]

# Of {1, 2, 2**64-1} in 8 cells, as release 0.1.0 wrote it. It stays as it is: hash functions and
# layout are part of the format that users have stored.
OLD_BYTES = (
    "eNpjZkAFf/5DwF8ozQgVh3L/M+NQD2LHvO8VdDS48k72fuT/uHXPTjI5Zt+AiTMwMDMwMTACIRMDiA0AmV8shg=="
)


def randoms(seed: int, count: int) -> Array:
    """So many different fingerprints, the same for each seed."""
    return np.random.default_rng(seed).integers(0, 2**64, count, dtype=np.uint64)


def split(fingerprints: Array, at: int) -> tuple[Digest, Difference]:
    """The digest of a difference with so many fingerprints added and the rest removed."""
    added, removed = fingerprints[:at], fingerprints[at:]
    difference = Digest.of(added) - Digest.of(removed)
    return difference, Difference(frozenset(added.tolist()), frozenset(removed.tolist()))


@given(SETS, SETS, st.integers(0, 5_000))
def test_what_two_sets_do_not_share_is_read(first: Any, second: Any, common: int) -> None:
    """The difference of two digests decodes to A - B and B - A, however much A and B share."""
    shared = frozenset(randoms(common, common).tolist())
    first, second = first | shared, second | shared
    difference = Digest.of(first) - Digest.of(second)
    assert decode(difference) == (first - second, second - first)
    assert difference.size == len(first) - len(second)


@given(st.lists(SETS, max_size=5), st.randoms(use_true_random=True))
def test_order_and_parts_make_no_difference(parts: Any, random: Any) -> None:
    """A set has one digest, in whatever order and parts it is given, as integers or as arrays."""
    whole = list(frozenset().union(*parts))
    random.shuffle(whole)
    cuts = sorted(random.choices(range(len(whole) + 1), k=3))
    builder = DigestBuilder(40)
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        part = whole[start:end]
        builder.add(random.choice([part, iter(part), np.array(part, np.uint64)]))
    assert builder.finish() == Digest.of(sorted(whole), 40)


def test_parts_larger_than_a_block_are_taken_whole() -> None:
    """A million fingerprints given at once, as a generator, or in pages give one digest."""
    fingerprints = randoms(1, 1_000_000)
    whole = Digest.of(fingerprints)
    builder = DigestBuilder()
    for start in range(0, len(fingerprints), 1_000):
        builder.add(fingerprints[start : start + 1_000].tolist())
    assert whole == builder.finish() == Digest.of(int(each) for each in fingerprints)
    assert whole.size == 1_000_000
    late = frozenset(fingerprints[[0, 333_333, 999_999]].tolist())
    assert decode(whole - whole.minus(late)) == (late, frozenset())


@given(SETS, SETS)
def test_digests_add_and_subtract_as_their_sets_do(first: Any, second: Any) -> None:
    """Adding and removing fingerprints gives the digest of the set that results, size included."""
    new = second - first
    union = Digest.of(first | second)
    assert Digest.of(first).plus(new) == Digest.of(first) + Digest.of(new) == union
    assert union.minus(new) == union - Digest.of(new) == Digest.of(first)
    assert Digest.of(first) - Digest.of(second) + Digest.of(second) == Digest.of(first)


def test_builder_gives_values() -> None:
    """A finished digest stays as it is when more is added, and its cells cannot be written to."""
    builder = DigestBuilder()
    empty = builder.finish()
    builder.add([5])
    assert empty == Digest.empty()
    assert builder.finish() == Digest.of([5])
    assert len({empty, Digest.empty(), Digest.of([5])}) == 2
    assert not any(column.flags.writeable for column in Digest.of([5])._columns())


def test_equal_sets_do_not_differ() -> None:
    """The difference of equal sets is empty, and so is that of two empty ones."""
    nothing = Difference(frozenset(), frozenset())
    assert decode(Digest.empty() - Digest.empty()) == nothing
    assert decode(Digest.of(randoms(1, 50_000)) - Digest.of(randoms(1, 50_000))) == nothing


@pytest.mark.parametrize("changes", [1, 2, 30, 200, 350, 400])
def test_promised_number_of_changes_is_read(changes: int) -> None:
    """600 cells read up to 400 changes, whichever share of them is added, in 30 of 30 trials."""
    for trial in range(30):
        difference, expected = split(randoms(trial, changes), at=changes * trial // 29)
        assert decode(difference) == expected


@pytest.mark.parametrize(("changes", "readable"), [(440, True), (460, True), (500, False)])
def test_about_the_threshold_an_answer_is_right_or_none(changes: int, readable: bool) -> None:
    """Where only some differences can be read, those that are read are right."""
    answers = []
    for trial in range(50):
        difference, expected = split(randoms(trial, changes), at=changes // 2)
        answers.append(decode(difference))
        assert answers[-1] in (None, expected)
    assert any(answers) == readable


@pytest.mark.parametrize("at", [0, 2_500, 5_000])
def test_far_too_many_changes_give_no_answer(at: int) -> None:
    """5,000 changes in 600 cells are None, mixed or all of one kind."""
    for trial in range(20):
        assert decode(split(randoms(trial, 5_000), at)[0]) is None


def test_false_fingerprint_gives_no_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many false fingerprints are peeled, as without checks, an answer is right or None."""
    hashed = module.places_and_checks

    def without_checks(fingerprints: Array, cells: int) -> Any:
        places, checks = hashed(fingerprints, cells)
        return places, np.zeros_like(checks)

    monkeypatch.setattr(module, "places_and_checks", without_checks)
    answers = []
    for trial in range(150):
        fingerprints = randoms(trial, 30 + trial % 20)
        first, second = fingerprints[:20], fingerprints[20:]
        answers.append(decode(Digest.of(first, 60) - Digest.of(second, 60)))
        assert answers[-1] in (None, (set(first.tolist()), set(second.tolist())))
    # The place of a false fingerprint is right by chance in one of 15; if it were not checked,
    # nearly every reading would go wrong.
    assert 50 < sum(answer is not None for answer in answers) < 150


@pytest.mark.parametrize("load", [33_000, 66_000, 100_000])
def test_counts_beyond_two_bytes_cancel(load: int) -> None:
    """Beyond 2**15 or 2**16 fingerprints in a cell, a small difference is still read."""
    cells = 40
    fingerprints = randoms(2, load * cells // 4)
    gone, late = frozenset(fingerprints[:4].tolist()), frozenset(randoms(3, 4).tolist())
    before = Digest.of(fingerprints, cells)
    after = Digest.of(fingerprints[4:], cells).plus(late)
    assert decode(after - before) == (late, gone)
    assert after.size == before.size == len(fingerprints)
    assert decode(before) is None


def test_net_change_is_exact_beyond_two_bytes() -> None:
    """What cannot be read still has an exact net size, also after a round trip."""
    difference = Digest.of(randoms(1, 10), 8) - Digest.of(randoms(2, 1_000_000), 8)
    assert decode(difference) is None
    assert Digest.from_bytes(difference.to_bytes()).size == -999_990


@pytest.mark.parametrize(
    "make",
    [
        lambda index: index,
        lambda index: index << 32,
        lambda index: index << 55,
        lambda index: 2**64 - 1 - index,
        lambda index: index * 0x9E3779B97F4A7C15 % 2**64,
        lambda index: index * 0x0001_0001_0001_0001,
    ],
)
def test_structured_fingerprints_are_spread(make: Callable[[int], int]) -> None:
    """Fingerprints in arithmetic progressions are read as well as random ones."""
    fingerprints = [make(index) for index in range(400)]
    difference = Digest.of(fingerprints[:250]) - Digest.of(fingerprints[250:])
    assert decode(difference) == (frozenset(fingerprints[:250]), frozenset(fingerprints[250:]))


def test_fingerprint_given_twice_gives_no_false_fingerprint() -> None:
    """A fingerprint that one set holds twice is not read as another one."""
    assert decode(Digest.of([7, 7])) is None
    assert decode(Digest.of([7, 7, 7])) is None


@pytest.mark.parametrize(("added", "removed"), [(5_000, 0), (0, 5_000), (3_000, 4_000), (300, 9)])
def test_estimate_holds_its_margin(added: int, removed: int) -> None:
    """Of 100 estimates at least 88 are within the margin, and the net number is always exact."""
    held = 0
    for trial in range(100):
        about = estimate(split(randoms(trial, added + removed), at=added)[0])
        assert about.added - about.removed == added - removed
        assert min(about) >= 0
        held += abs(about.added - added) <= about.margin
    assert held >= 88


def test_estimate_outlasts_the_wrap_of_counts() -> None:
    """A million changes of one kind are distinguished from as many of both kinds."""
    many, others = randoms(1, 1_000_000), randoms(2, 1_000_000)
    gone = estimate(Digest.empty(40) - Digest.of(many, 40))
    assert gone.removed - gone.added == 1_000_000
    assert gone.added <= 2 * gone.margin
    exchanged = estimate(Digest.of(many, 40) - Digest.of(others, 40))
    assert exchanged.added == exchanged.removed
    assert abs(exchanged.added - 1_000_000) <= 2 * exchanged.margin


def test_estimate_of_nothing_is_nothing() -> None:
    """Equal sets are estimated to be equal."""
    assert estimate(Digest.empty()) == (0, 0, 0)


@given(SETS, SETS, st.sampled_from([8, 40, 600]))
def test_digests_survive_the_round_trip(first: Any, second: Any, cells: int) -> None:
    """Reading what was written gives an equal digest; equal digests give equal bytes."""
    difference = Digest.of(first, cells) - Digest.of(second, cells)
    data = difference.to_bytes()
    assert Digest.from_bytes(data) == difference
    assert Digest.from_bytes(data).to_bytes() == data
    assert Digest.of(sorted(first), cells).to_bytes() == Digest.of(first, cells).to_bytes()


def test_old_bytes_are_still_read() -> None:
    """What the first release stored stands for the same set today."""
    assert Digest.from_bytes(b64decode(OLD_BYTES)) == Digest.of([1, 2, 2**64 - 1], 8)


@pytest.mark.parametrize(
    ("count", "longest"), [(0, 50), (1, 120), (10, 600), (100, 4_000), (500_000, 8_500)]
)
def test_bytes_are_as_few_as_the_cells_in_use(count: int, longest: int) -> None:
    """A small set has a small digest, and the largest stays below 8.5 KB."""
    assert len(Digest.of(randoms(1, count)).to_bytes()) <= longest


def test_largest_digest_is_read_back() -> None:
    """A table of as many cells as are allowed, and all in use, survives the round trip."""
    largest = Digest.of(randoms(1, 200_000), CELLS_LIMIT)
    assert Digest.from_bytes(largest.to_bytes()) == largest


@given(st.data())
def test_damaged_bytes_are_refused(data: st.DataObject) -> None:
    """Bytes that were cut or lengthened raise ValueError."""
    good = Digest.of(range(50)).to_bytes()
    for bad in (
        good[: data.draw(st.integers(0, len(good) - 1))],
        good + data.draw(st.binary(min_size=1, max_size=3)),
    ):
        with pytest.raises(ValueError, match="the digest is"):
            Digest.from_bytes(bad)


@given(st.data())
def test_changed_bytes_are_no_other_digest(data: st.DataObject) -> None:
    """A changed byte raises ValueError, unless zlib does not read it."""
    written = Digest.of(range(50))
    changed = bytearray(written.to_bytes())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = Digest.from_bytes(bytes(changed))
    except ValueError:
        return
    assert read == written


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(7),
        bytes(8),
        bytes(8 + 14 * 4),
        bytes(8 + 14 * 602),
        bytes(8 + 14 * 600 + 1),
        bytes(8 + 14 * (CELLS_LIMIT + 4)),
        bytes(50_000_000),
    ],
    ids=len,
)
def test_tables_of_wrong_length_are_refused(content: bytes) -> None:
    """What unpacks to no allowed number of whole cells raises ValueError, and so does a bomb."""
    with pytest.raises(ValueError, match="the digest is"):
        Digest.from_bytes(zlib.compress(content))


@pytest.mark.parametrize("cells", [0, 4, -8, 602, CELLS_LIMIT + 4, True, 600.0, "600", None])
@pytest.mark.parametrize("make", [Digest.empty, DigestBuilder, lambda cells: Digest.of([], cells)])
def test_wrong_numbers_of_cells_are_refused(make: Callable[[Any], object], cells: Any) -> None:
    """Cells are a whole multiple of 4 that leaves two cells or more in each quarter."""
    with pytest.raises(ConfigurationError, match="cells"):
        make(cells)


def test_digests_of_different_cells_do_not_mix() -> None:
    """Digests that differ in their number of cells are refused, and a broken table as well."""
    with pytest.raises(ConfigurationError, match="600 cells and one of 8"):
        Digest.of([1]) - Digest.of([1], 8)
    with pytest.raises(ConfigurationError, match="whole cells"):
        Digest(bytes(14 * CELLS + 1), 0)


def test_what_is_no_fingerprint_is_refused() -> None:
    """Numbers that 64 bits without a sign cannot hold raise instead of turning into others."""
    for bad in (-1, 2**64):
        with pytest.raises(OverflowError):
            Digest.of([bad])
    with pytest.raises(TypeError):
        Digest.of(np.array([-1]))  # type: ignore[arg-type]
