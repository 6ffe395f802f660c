from __future__ import annotations

from dagster_s3inc.core.words import descriptions


def described(one: int, **two: int) -> None:
    """Does something.

    Note: not an argument.

    Args:
        one: The first: a
            number, in
                two lines and one that stands further right.
        **two: The others.

    Raises:
        ValueError: Never.
    """


def test_arguments_are_described_by_their_docstring() -> None:
    """Each argument has its whole description, and nothing else has one."""
    assert descriptions(described) == {
        "one": "The first: a number, in two lines and one that stands further right.",
        "two": "The others.",
    }


def test_without_a_docstring_there_are_no_descriptions() -> None:
    """What has no docstring has no descriptions."""
    assert descriptions(lambda: None) == {}
