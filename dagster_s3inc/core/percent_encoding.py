"""Percent-encoded keys, as listings with EncodingType=url write them, many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

__all__ = ["decoded_keys"]

_SEPARATOR: Final = b"\n"

_NO_DIGIT: Final = 255
_DIGITS: Final = np.full(256, _NO_DIGIT, np.uint8)
for _value, _letters in enumerate(zip(b"0123456789abcdef", b"0123456789ABCDEF", strict=True)):
    _DIGITS[list(_letters)] = _value


def decoded_keys(keys: Sequence[bytes]) -> list[bytes]:
    """The keys without their encoding, in UTF-8.

    What is not UTF-8 once it is decoded gets U+FFFD in its place, as botocore does it.
    """
    text = _SEPARATOR.join(keys)
    decoded = _decoded(text)
    found = decoded.split(_SEPARATOR)
    if len(found) == len(keys) and _is_utf8(decoded):
        return found
    # Some key has the separator in it, or is not UTF-8.
    return [_decoded(key).decode("utf-8", "replace").encode() for key in keys]


def _decoded(text: bytes) -> bytes:
    """The same as `urllib.parse.unquote_to_bytes`, with `+` for a space."""
    characters = np.frombuffer(text.replace(b"+", b" "), np.uint8).copy()
    codes = np.flatnonzero(characters[:-2] == ord("%"))
    high, low = _DIGITS[characters[codes + 1]], _DIGITS[characters[codes + 2]]
    valid = (high != _NO_DIGIT) & (low != _NO_DIGIT)
    codes = codes[valid]
    characters[codes] = high[valid] << 4 | low[valid]
    kept = np.ones(len(characters), np.bool_)
    kept[codes + 1] = kept[codes + 2] = False
    decoded: bytes = characters[kept].tobytes()
    return decoded


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
