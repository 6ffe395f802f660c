from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.memory import MARKS, ListingMemory, Marks, Recollection
from tests.s3.keyed import page_with

HERE = S3Location("bucket", "in/")


@given(st.lists(st.integers(0, 7), max_size=20), st.integers(1, 5))
def test_marks_do_not_depend_on_the_pages(sizes: list[int], unit: int) -> None:
    """Whatever pages a listing came in, every n-th key is a mark."""
    keys = [f"{number:03}" for number in range(sum(sizes))]
    marks, rest = Marks(unit), list(keys)
    for size in sizes:
        marks.add(page_with(rest[:size]))
        del rest[:size]
    assert marks.keys == keys[unit - 1 :: unit]


def test_what_was_not_listed_keeps_its_marks() -> None:
    """A listing of a part replaces the marks of that part."""
    memory = ListingMemory()
    memory.note_marks(HERE, ["b", "d", "f", "h"], after=None, to=None)
    memory.note_marks(HERE, ["c", "e"], after="b", to="f")
    assert memory.recall(HERE).marks == ("b", "c", "e", "h")
    memory.note_marks(HERE, ["g"], after="e", to=None)
    assert memory.recall(HERE).marks == ("b", "c", "e", "g")


def test_marks_are_bounded() -> None:
    """Of too many marks, some remain, all over the listing."""
    memory = ListingMemory()
    memory.note_marks(HERE, [f"{n:06}" for n in range(5 * MARKS)], after=None, to=None)
    marks = memory.recall(HERE).marks
    assert MARKS // 2 <= len(marks) <= MARKS
    assert marks[0] < "000010"
    assert marks[-1] > f"{5 * MARKS - 10:06}"


def test_another_prefix_is_not_known() -> None:
    """What is known of one prefix is not taken for another."""
    memory = ListingMemory()
    memory.note_lanes(HERE, 8)
    memory.note_disorder(HERE)
    assert memory.recall(HERE) == Recollection((), 8, in_key_order=False)
    assert memory.recall(S3Location("bucket", "out/")) == Recollection()
    memory.note_lanes(S3Location("bucket", "out/"), 2)
    assert memory.recall(HERE) == Recollection()
