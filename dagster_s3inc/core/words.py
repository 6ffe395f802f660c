"""Numbers, sizes and keys as a person reads them."""

from __future__ import annotations

__all__ = ["count", "format_bytes", "readable"]


def count(number: int, noun: str, nouns: str | None = None) -> str:
    """A number of things, as in `1 file` or `1,200 files`.

    Args:
        number: How many.
        noun: What one of them is called.
        nouns: What others are called; by default the noun with an `s`.
    """
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def format_bytes(size: int) -> str:
    """A size in the largest binary unit of which there is at least one, as in `1.5 MiB`."""
    amount = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if round(amount, 1) < 1024:
            return count(size, "byte") if unit == "bytes" else f"{amount:,.1f} {unit}"
        amount /= 1024
    return f"{amount:,.1f} PiB"


def readable(key: str) -> str:
    """A key as it is; with escapes and in quotes if it has characters that do not print."""
    return key if key.isprintable() else repr(key)
