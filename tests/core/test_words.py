from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dagster_s3inc.core.words import count, format_bytes, readable


@given(st.integers(0, 2**62))
def test_bytes_are_told_in_the_largest_unit(size: int) -> None:
    """A size is told in the largest unit of which there is about one, right to a tenth of it."""
    amount, unit = format_bytes(size).replace("bytes", "byte").split()
    factor = 1024 ** ["byte", "KiB", "MiB", "GiB", "TiB", "PiB"].index(unit)
    number = float(amount.replace(",", ""))
    assert number >= 1 or unit == "byte"
    assert number < 1024 or unit == "PiB"
    assert abs(number - size / factor) <= 0.05 * (1 + 1e-9)


def test_one_is_singular() -> None:
    """One of a thing is told in the singular, any other number in the plural."""
    assert (format_bytes(0), format_bytes(1), format_bytes(2)) == ("0 bytes", "1 byte", "2 bytes")
    assert [count(number, "file") for number in (0, 1, 1200)] == [
        "0 files",
        "1 file",
        "1,200 files",
    ]
    assert [count(number, "batch", "batches") for number in (1, 2)] == ["1 batch", "2 batches"]


def test_key_that_does_not_print_is_quoted() -> None:
    """Only a key with characters that do not print is shown otherwise than it is."""
    assert [readable(key) for key in ("a b/ü", "a\nb", "\x1b[2J")] == [
        "a b/ü",
        "'a\\nb'",
        "'\\x1b[2J'",
    ]
