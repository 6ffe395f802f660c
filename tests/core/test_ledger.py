from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.late_files import Ledger, LedgerEntry, checksum
from tests.core.making import RANDOMS, Random, Sensor, limits_of, make_object

PRINTS = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=5, unique=True)


def array(fingerprints: list[int]) -> np.ndarray:
    """Fingerprints as the ledger holds them."""
    return np.array(fingerprints, np.uint64)


ENTRIES = st.lists(
    st.builds(
        LedgerEntry,
        st.integers(0, 5),
        st.sampled_from(["one", "two", "three"]),
        PRINTS.map(array),
        st.integers(0, 9),
    ),
    max_size=8,
)


def test_worked_example() -> None:
    """The example at the head of the module: without one run the ledger is not whole."""
    sensor = Sensor(limits_of(2))
    objects = [make_object(key) for key in "abcde"]
    totals = [sensor.tick(objects).checkpoint.total for _ in range(3)]
    assert [total and total.files for total in totals] == [2, 4, 5]
    assert Ledger.of(sensor.entries, 1).total == totals[-1]
    found = Ledger.of([each for each in sensor.entries if each.sequence != 1], 1).total
    assert found.files == 3
    assert totals[-1] is not None
    assert found.checksum != totals[-1].checksum


@given(ENTRIES, RANDOMS)
def test_order_of_the_runs_does_not_matter(entries: list[LedgerEntry], random: Random) -> None:
    """Runs may be read in any order."""
    first = {(each.sequence, each.batch_id): each for each in reversed(entries)}
    distinct = list(first.values())
    expected = Ledger.of(distinct, 3)
    random.shuffle(distinct)
    found = Ledger.of(distinct, 3)
    assert found.total == expected.total
    assert found.fingerprints.tolist() == expected.fingerprints.tolist()
    assert found.oldest_run == min((each.created for each in distinct), default=None)


@given(ENTRIES)
def test_each_batch_of_a_sequence_counts_once(entries: list[LedgerEntry]) -> None:
    """The runs of several jobs, and retries, are one entry; the files are all of theirs."""
    first = {(each.sequence, each.batch_id): each for each in reversed(entries)}
    found = Ledger.of(entries, 3)
    assert found.total.files == sum(len(each.fingerprints) for each in first.values())
    prints = {print_ for each in first.values() for print_ in each.fingerprints.tolist()}
    assert found.fingerprints.tolist() == sorted(prints)


@given(PRINTS, RANDOMS)
def test_checksum_tells_batches_apart(prints: list[int], random: Random) -> None:
    """Another generation, sequence or batch makes another sum; the order of the files does not."""
    shuffled = list(prints)
    random.shuffle(shuffled)
    expected = checksum(array(prints), 1, 2, "b")
    assert checksum(array(shuffled), 1, 2, "b") == expected
    others = [(2, 2, "b"), (1, 3, "b"), (1, 2, "c"), (12, 2, "b"), (1, 22, "b")]
    assert expected not in [checksum(array(prints), *other) for other in others]
    assert checksum(array([*prints[1:], prints[0] ^ 1]), 1, 2, "b") != expected


def test_checksum_is_part_of_the_stored_format() -> None:
    """Sums are in stored checkpoints, so they stay as they are for all time."""
    expected = 9718406662467156616
    assert checksum(array([1, 2, 2**64 - 1]), 3, 41, "50e40a76c99a995c4297b1bb") == expected
