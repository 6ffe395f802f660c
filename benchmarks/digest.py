"""A digest of a set of keys, in whichever order and portions they come."""

from __future__ import annotations

from collections.abc import Iterable

from xxhash import xxh3_64_intdigest

__all__ = ["Digest", "digest_of"]


class Digest:
    """The sum of the keys' hashes, and how many they are."""

    def __init__(self) -> None:
        self._sum = 0
        self.count = 0

    def add(self, keys: Iterable[str]) -> None:
        """Takes keys; each once in all."""
        for key in keys:
            self._sum += xxh3_64_intdigest(key.encode())
            self.count += 1

    def __str__(self) -> str:
        return f"{self._sum % 2**64:016x}"


def digest_of(keys: Iterable[str]) -> str:
    """The digest of these keys."""
    digest = Digest()
    digest.add(keys)
    return str(digest)
