from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from wcmatch import glob

from dagster_s3inc.core.columns import Columns
from dagster_s3inc.core.filters import ARCHIVE_CLASSES, ObjectFilter
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.errors import ConfigurationError
from tests.core.making import KEYS, START, at, make_object

FLAGS = glob.GLOBSTAR | glob.DOTGLOB | glob.BRACE | glob.CASE | glob.FORCEUNIX


def selected(rules: ObjectFilter, objects: Iterable[S3Object], prefix: str = "") -> list[S3Object]:
    """Those of the objects that count."""
    listed = list(objects)
    mask = rules.selection(prefix).matches(Columns.of(listed))
    return [each for each, counts in zip(listed, mask.tolist(), strict=True) if counts]


def is_glob(text: str) -> bool:
    """Whether a filter takes this for a glob."""
    try:
        ObjectFilter(include=text)
    except ConfigurationError:
        return False
    return True


def accepts(key: str, prefix: str = "", **options: Any) -> bool:
    """Whether an ordinary object of that key counts."""
    return bool(selected(ObjectFilter(**options), [make_object(key)], prefix))


def counts_one_by_one(rules: ObjectFilter, each: S3Object, prefix: str) -> bool:
    """The same rules as they are documented, for one object, with wcmatch's own function."""
    classes = rules.storage_classes
    if classes is None and each.storage_class in ("GLACIER", "DEEP_ARCHIVE"):
        return False
    if classes is not None and each.storage_class not in classes:
        return False
    if rules.min_size is not None and each.size < rules.min_size:
        return False
    if rules.max_size is not None and each.size > rules.max_size:
        return False
    if rules.modified_after is not None and each.last_modified < rules.modified_after:
        return False
    if rules.modified_before is not None and each.last_modified >= rules.modified_before:
        return False
    if not rules.include_folder_markers and each.size == 0 and each.key.endswith("/"):
        return False
    name = each.key[len(prefix) :]
    if prefix and not prefix.endswith("/"):
        name = name.removeprefix("/")
    if rules.include and not glob.globmatch(name, rules.include, flags=FLAGS, limit=0):
        return False
    if not each.key.startswith(rules.list_prefix(prefix)):
        return False
    return not (rules.exclude and glob.globmatch(name, rules.exclude, flags=FLAGS, limit=0))


GLOBS = st.lists(
    st.text("ab*?[]{},!-\\/.é1", min_size=1, max_size=8).filter(is_glob)
    | st.sampled_from(["*.csv", "**", "a/**", "**/b", "{a,b}/*", "[!a]*", "a.{b,csv}"]),
    max_size=2,
).map(tuple)

NAMES = st.text("ab/.é1,-{}[!\\", min_size=1, max_size=5) | st.sampled_from(
    ["a.csv", "a/b", "a/a.csv", "b/a/b.csv", "a//b", ".a", "a/", "a\n"]
)


@given(
    st.builds(
        ObjectFilter,
        include=GLOBS,
        exclude=GLOBS,
        storage_classes=st.none() | st.sampled_from(["GLACIER", ("STANDARD", "GLACIER")]),
        min_size=st.none() | st.integers(0, 2),
        max_size=st.none() | st.integers(2, 3),
        modified_after=st.none() | st.sampled_from([at(1), at(2)]),
        modified_before=st.none() | st.sampled_from([at(3), at(2.5)]),
        include_folder_markers=st.booleans(),
    ),
    st.lists(
        st.builds(
            make_object,
            NAMES,
            st.integers(0, 4),
            size=st.integers(0, 4),
            storage_class=st.sampled_from(["STANDARD", "GLACIER", "DEEP_ARCHIVE", "STANDARD_IA"]),
        ),
        max_size=12,
    ),
    st.sampled_from(["", "in/", "in", "a/"]),
)
@example(ObjectFilter(include="x{1..2}"), [make_object("x1"), make_object("x3")], "")
def test_masks_are_the_rules_one_by_one(
    rules: ObjectFilter, objects: list[S3Object], prefix: str
) -> None:
    """A page's mask is what the documented rules say of each object; globs are wcmatch's."""
    below = [each._replace(key=prefix + each.key) for each in objects]
    expected = [each for each in below if counts_one_by_one(rules, each, prefix)]
    assert selected(rules, below, prefix) == expected


def test_selections_that_select_otherwise_differ() -> None:
    """Each option, the prefix and the bucket make another hash; equal filters make the same."""
    options: list[dict[str, Any]] = [
        {},
        {"include": "a"},
        {"exclude": "a"},
        {"include": ["a", "b"]},
        {"storage_classes": "STANDARD"},
        {"min_size": 1},
        {"max_size": 1},
        {"modified_after": at(0)},
        {"modified_before": at(0)},
        {"include_folder_markers": True},
    ]
    made = [ObjectFilter(**each).selection("in/", bucket="b").hash for each in options]
    made += [ObjectFilter().selection("in", bucket="b").hash]
    made += [ObjectFilter().selection("in/", bucket="c").hash]
    assert len(set(made)) == len(made)
    classes = ({"A", "B", "C"}, ["C", "B", "A"])
    assert len({ObjectFilter(storage_classes=each).selection("").hash for each in classes}) == 1


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*.csv", ["a.csv", ".csv", "é😀.csv", "a\nb.csv"], ["d/a.csv", "a.csv\n", "a.csv.gz"]),
        ("?.csv", ["a.csv", "😀.csv", "\n.csv"], ["ab.csv", ".csv", "/.csv"]),
        ("**", ["a", "d/a", ".a", "d/.e/.f", "a\n/b"], []),
        ("**/*.csv", ["a.csv", "d/a.csv", "d/e/.a.csv", "d\n/a.csv"], ["a.csv/b", "acsv"]),
        ("d/**/a", ["d/a", "d/e/a", "d/e/f/a"], ["a", "de/a", "d/ea"]),
        ("d/**", ["d/a", "d/e/f"], ["d", "de", "e/d/a"]),
        ("d/*/a", ["d/e/a", "d/.e/a"], ["d/a", "d/e/f/a"]),
        ("*.{csv,json}", ["a.csv", "a.json"], ["a.txt", "a.{csv,json}", "d/a.csv"]),
        ("{a,b/{c,d}}.x", ["a.x", "b/c.x", "b/d.x"], ["b.x", "b/a.x"]),
        ("y=202{5..7}/*", ["y=2025/a", "y=2027/a"], ["y=2024/a", "y=2028/a"]),
        ("[a-c]1", ["a1", "c1"], ["d1", "A1", "ab1"]),
        ("[!a-c]1", ["d1", "A1", "é1"], ["a1", "/1"]),
        ("A.CSV", ["A.CSV"], ["a.csv", "A.csv"]),
        (r"\*\[\?\{", ["*[?{"], ["a[?{", r"\*\[\?\{"]),
        ("!a|~(b)@$^+.", ["!a|~(b)@$^+."], ["!a", "c"]),
        ("a b", ["a b"], ["ab", "a  b"]),
    ],
)
def test_globs_match_keys(pattern: str, matching: list[str], other: list[str]) -> None:
    """`*` and `?` stop at a slash, `**` crosses it, case counts, dots and newlines do not."""
    assert [key for key in matching + other if accepts(key, include=[pattern])] == matching
    assert [key for key in matching + other if accepts(key, exclude=[pattern])] == other


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("a/*", "a//b", True),
        ("*/b", "a//b", True),
        ("*.csv", "a.csv/", True),
        ("**", "a/../b", False),
        ("*", "..", False),
    ],
)
def test_globs_take_keys_for_paths(pattern: str, key: str, expected: bool) -> None:
    """As documented: slashes are folded, and no wildcard matches a part that is only dots."""
    assert accepts(key, include=[pattern]) is expected


@given(KEYS)
def test_default_takes_every_readable_file(key: str) -> None:
    """Without options, every object counts that is not empty, whatever its key."""
    assert accepts(key)


def test_exclude_is_stronger_than_include() -> None:
    """An object that matches both an include and an exclude pattern does not count."""
    options = {"include": ["**/*.csv", "x/**"], "exclude": ["**/_tmp/**", "x/no*"]}
    keys = ["a.csv", "x/b", "x/nob", "_tmp/a.csv", "x/_tmp/a.csv", "y/b"]
    assert [key for key in keys if accepts(key, **options)] == ["a.csv", "x/b"]


@given(KEYS, KEYS, st.sampled_from(["*", "**", "a*", "**/a", "*/**", "[a-z]/?"]))
def test_patterns_see_the_key_below_the_prefix(prefix: str, key: str, pattern: str) -> None:
    """A pattern is matched against what follows the prefix, with or without its last slash."""
    expected = accepts(key, include=pattern)
    folder = prefix.rstrip("/") + "/"
    assert accepts(folder + key, folder, include=pattern) == expected
    assert accepts(folder + key, folder[:-1], include=pattern) == expected or folder == "/"


def test_prefix_within_a_name_cuts_the_name() -> None:
    """Below a prefix that ends within a name, patterns see the rest of the name."""
    assert accepts("logs-old/x", "logs", include="-old/*")
    assert accepts("logs/x", "logs", include="*")
    assert not accepts("logs-old/x", "logs", include="*")


@st.composite
def globs(draw: st.DrawFn) -> tuple[str, str]:
    """A pattern, and a key made after it."""
    pieces = st.sampled_from(
        [
            *[("a", "a"), ("b", "b"), ("é", "é"), (".", "."), (r"\*", "*"), (r"\{", "{")],
            *[
                ("?", "c"),
                ("[a-c]", "b"),
                ("*", ""),
                ("*", "ab"),
                ("{a,bc}", "a"),
                ("{a,bc}", "bc"),
            ],
        ]
    )
    segments = st.lists(pieces, min_size=1, max_size=3).map(
        lambda parts: ("".join(part[0] for part in parts), "".join(part[1] for part in parts))
    )
    named = segments.filter(lambda segment: segment[1] not in ("", ".", ".."))
    path = draw(st.lists(named | st.sampled_from([("**", "d"), ("**", "d/e")]), max_size=4))
    path.append(draw(named))
    return "/".join(part[0] for part in path), "/".join(part[1] for part in path)


@given(globs(), globs())
def test_pattern_matches_a_key_made_after_it(one: tuple[str, str], other: tuple[str, str]) -> None:
    """A key made after a pattern matches it, alone or among others, and is left out by it."""
    assert accepts(one[1], include=one[0])
    assert accepts(one[1], include=[other[0], one[0]])
    assert not accepts(one[1], exclude=[other[0], one[0]])


@given(
    st.lists(globs(), max_size=3),
    st.sampled_from(["", "a", "a/", "a/b/", "é/", r"\*/"]),
    st.sampled_from(["", "in/", "in", "a/b/", "/"]),
)
def test_all_that_matches_is_below_list_prefix(
    made: list[tuple[str, str]], stem: str, prefix: str
) -> None:
    """Every object that counts has a key that starts with `list_prefix(prefix)`."""
    chosen = ObjectFilter(include=[stem + pattern for pattern, _ in made])
    start = chosen.list_prefix(prefix)
    assert start.startswith(prefix)
    exact = [stem.replace("\\", "") + name for _, name in made]
    bent = [name.replace("//", "/") for name in exact] + [name.replace("/", "//") for name in exact]
    names = [*exact, *bent, *(name for _, name in made), *(f"/{name}" for name in exact)]
    found = selected(chosen, [make_object(prefix + name) for name in names], prefix)
    assert all(each.key.startswith(start) for each in found)


@pytest.mark.parametrize(
    ("include", "prefix", "expected"),
    [
        ([], "in/", "in/"),
        (["2026/*.csv"], "in/", "in/2026/"),
        (["2026/*.csv"], "", "2026/"),
        (["2026/01/a.csv", "2026/02/*"], "in/", "in/2026/0"),
        (["2026/**", "**"], "in/", "in/"),
        (["a?", "ab"], "in/", "in/a"),
        (["a{b,c}"], "in/", "in/a"),
        ([r"a\*"], "in/", "in/a"),
        (["a[bc]"], "in/", "in/a"),
        (["2026/*.csv"], "in", "in"),
    ],
)
def test_listing_is_narrowed(include: list[str], prefix: str, expected: str) -> None:
    """A listing visits only what the literal start of all patterns allows."""
    assert ObjectFilter(include=include).list_prefix(prefix) == expected


def test_archived_objects_are_left_out_by_default() -> None:
    """By default every class counts but those that cannot be read before a restore."""
    classes = ["STANDARD", "STANDARD_IA", "GLACIER_IR", "INTELLIGENT_TIERING", "EXPRESS_ONEZONE"]
    archived = sorted(ARCHIVE_CLASSES)
    assert archived == ["DEEP_ARCHIVE", "GLACIER"]
    found = selected(ObjectFilter(), [make_object(storage_class=n) for n in classes + archived])
    assert [each.storage_class for each in found] == classes


def test_classes_asked_for_are_all_that_count() -> None:
    """With storage_classes, exactly these count, archived ones among them."""
    asked = ObjectFilter(storage_classes=["GLACIER", "STANDARD"])
    names = ["STANDARD", "GLACIER", "STANDARD_IA", "DEEP_ARCHIVE", "standard"]
    found = selected(asked, [make_object(storage_class=name) for name in names])
    assert [each.storage_class for each in found] == ["STANDARD", "GLACIER"]


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_size_bounds_are_inclusive(low: int, high: int, size: int) -> None:
    """An object counts whose size is min_size, max_size or between."""
    low, high = sorted((low, high))
    found = selected(ObjectFilter(min_size=low, max_size=high), [make_object(size=size)])
    assert bool(found) == (low <= size <= high)


def test_modified_after_is_inclusive_and_before_exclusive() -> None:
    """An object counts from the moment modified_after until just before modified_before."""
    objects = [make_object(seconds=each) for each in (9.999999, 10, 19.999999, 20)]
    found = selected(ObjectFilter(modified_after=at(10), modified_before=at(20)), objects)
    assert found == objects[1:3]


def test_folder_markers_are_no_files_unless_asked_for() -> None:
    """An empty object whose key ends in a slash is left out; a full or a slashless one is not."""
    objects = [make_object("d/", size=0), make_object("d/", size=1), make_object("d", size=0)]
    default, asked = ObjectFilter(), ObjectFilter(include_folder_markers=True)
    assert selected(default, objects) == objects[1:]
    assert selected(asked, objects) == objects


def test_one_string_stands_for_a_list_of_one() -> None:
    """A plain string is one pattern or class, never a list of letters."""
    text = ObjectFilter(include="*.csv", exclude="_*", storage_classes="GLACIER")
    lists = ObjectFilter(include=["*.csv"], exclude=["_*"], storage_classes=["GLACIER"])
    assert text == lists
    assert hash(text) == hash(lists)


def test_filter_does_not_change_with_the_list_it_was_given() -> None:
    """What was given to a filter may change afterwards; the filter stays."""
    patterns = ["*.csv"]
    kept = ObjectFilter(include=patterns)
    patterns.append("**")
    assert kept == ObjectFilter(include="*.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"storage_classes": []}, "storage_classes is empty, so nothing could ever match"),
        ({"min_size": 2, "max_size": 1}, "min_size (2) is greater than max_size (1)"),
        ({"min_size": -1}, "min_size must be at least 0 (bytes), not -1"),
        ({"max_size": "1"}, "max_size must be a whole number of bytes, not '1'"),
        ({"max_size": True}, "max_size must be a whole number of bytes, not True"),
        (
            {"modified_after": START, "modified_before": START},
            "modified_after (2026-01-01T00:00:00+00:00) is not before modified_before",
        ),
        ({"modified_after": datetime(2026, 1, 1)}, "modified_after has no time zone"),  # noqa: DTZ001
        ({"modified_before": "2026"}, "modified_before must be a datetime, not '2026'"),
        ({"include": ["*", ""]}, "include holds ''"),
        ({"exclude": [7]}, "exclude holds 7"),
        ({"storage_classes": [None]}, "storage_classes holds None"),
        ({"storage_classes": "standard"}, "as S3 writes them: in capitals, as in STANDARD"),
        ({"storage_classes": ["GLACIER", "Standard-IA"]}, "as in STANDARD_IA"),
        ({"storage_classes": ["*"]}, "storage_classes holds '*'"),
        ({"include": "s3://lake/in/*.csv"}, "include holds 's3://lake/in/*.csv', but globs are"),
        ({"exclude": ["a", "s3://lake/in/b"]}, "exclude holds 's3://lake/in/b'"),
        ({"include": 7}, "include must be a string or a list of strings, not 7"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    """An option that is wrong or could never match is refused, and the message names it."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        ObjectFilter(**options)


@pytest.mark.parametrize(
    ("glob", "why"),
    [
        ("[a", r"never closed. Write \] behind it, or \\\[ for"),
        ("a/{b,c", r"never closed. Write \} behind it"),
        ("/a/*", "does not begin with a slash"),
        ("a//*.csv", "can match no key"),
        ("../a", "can match no key"),
        ("a/./b", "can match no key"),
    ],
)
@pytest.mark.parametrize("option", ["include", "exclude"])
def test_glob_that_can_match_nothing_is_refused(option: str, glob: str, why: str) -> None:
    """A glob that no key can match is refused with the reason."""
    with pytest.raises(ConfigurationError, match=f"{option} holds .*{why}"):
        ObjectFilter(**{option: glob})


@pytest.mark.parametrize("glob", [r"\[a", "[[]a", "{a}", "a/**/b", "...", "a.b/..c"])
def test_unusual_globs_are_taken(glob: str) -> None:
    """What only looks odd is a glob all the same."""
    assert ObjectFilter(include=glob).include == (glob,)
