from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote_plus

import pytest

from dagster_s3inc.core.columns import Columns, Texts
from dagster_s3inc.core.filters import ObjectFilter, Selection
from tests.core.making import make_object


def test_without_rules_everything_counts() -> None:
    """A selection without rules takes every object, of whatever class."""
    columns = Columns.of([make_object("a", size=0), make_object("b/", storage_class="GLACIER")])
    assert Selection().matches(columns).tolist() == [True, True]
    assert Selection().class_counts(columns).all()


@pytest.mark.parametrize("is_encoded", [False, True])
def test_checkpoint_below_the_prefix_never_counts(is_encoded: bool) -> None:
    """The key of the checkpoint is left out, however it is written, and no other key is."""
    keys = ["in/é +.json", "in/é +.jsom", "in/a", "in/é +.json2"]
    columns = Columns.of(map(make_object, keys))
    if is_encoded:
        columns = replace(
            columns, keys=Texts.of(quote_plus(k).encode() for k in keys), encoded=True
        )
    for rules in (None, ObjectFilter().selection("in/").rules):
        selection = Selection(rules=rules, own_key=keys[0].encode())
        assert selection.matches(columns).tolist() == [False, True, True, True]
    assert Selection(own_key=b"k").matches(Columns.of(())).tolist() == []


def test_class_is_asked_apart() -> None:
    """The storage class decides what matches now; everything else, what may match."""
    selection = ObjectFilter(exclude="*.tmp").selection("")
    columns = Columns.of(
        [
            make_object("a"),
            make_object("b.tmp"),
            make_object("c", storage_class="GLACIER"),
            make_object("d.tmp", storage_class="GLACIER"),
        ]
    )
    assert selection.may_match(columns).tolist() == [True, False, True, False]
    assert selection.class_counts(columns).tolist() == [True, True, False, False]
    assert selection.matches(columns).tolist() == [True, False, False, False]
