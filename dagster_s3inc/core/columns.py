"""A page of a listing as columns: one array for each property, one row for each object.

A bucket of a million objects is listed in a thousand pages, and of most of them nothing is new.
So a page is never made into objects one by one. Rules are applied to whole columns, and an
`S3Object` is made only of a row that is emitted.

Example. A page of three objects:

    row  keys      last_modified              sizes  etags   storage_classes
    0    in/a.csv  2026-11-22T09:00:00.000Z   300    5d41…   0
    1    in/b.csv  2026-11-22T09:00:04.000Z    12    7d79…   0
    2    in/c.csv  2026-11-22T08:59:58.000Z    80    9e10…   1     class_names: STANDARD, GLACIER

The keys lie in one block of bytes, with an array of starts and one of ends (`Texts`). Times are
whole numbers of microseconds since 1970, so that a mask such as "modified before" is one
comparison of arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.objects import S3Object, fingerprints_of, identity_text

__all__ = [
    "EPOCH",
    "Columns",
    "Fingerprints",
    "Numbers",
    "Rows",
    "Texts",
    "decoded_keys",
    "in_position_order",
    "microseconds",
    "moment",
]

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


Rows: TypeAlias = "npt.NDArray[np.intp]"
Numbers: TypeAlias = "npt.NDArray[np.int64]"
Fingerprints: TypeAlias = "npt.NDArray[np.uint64]"

EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
# So many texts are gathered at a time, since this takes 16 bytes for each of their bytes.
_CHUNK: Final = 4096

_MICROSECOND: Final = timedelta(microseconds=1)


def microseconds(time: datetime) -> int:
    """An aware time as whole microseconds since 1970, as columns hold it."""
    return (time - EPOCH) // _MICROSECOND


def moment(number: int) -> datetime:
    """The time, in UTC, of which `microseconds` made this number."""
    return EPOCH + timedelta(microseconds=int(number))


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Many short byte strings in one block.

    Attributes:
        block: Holds the texts, possibly among other bytes.
        starts: Where each text begins in the block.
        ends: Where each text ends.
    """

    block: bytes
    starts: Rows
    ends: Rows

    @classmethod
    def of(cls, texts: Iterable[bytes]) -> Texts:
        """Joins texts to one block."""
        listed = list(texts)
        ends = np.cumsum(np.fromiter(map(len, listed), np.intp, len(listed)))
        lengths = np.diff(ends, prepend=0)
        return cls(b"".join(listed), ends - lengths, ends)

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> bytes:
        return self.block[self.starts[row] : self.ends[row]]

    def only(self, rows: Rows) -> Texts:
        """These rows, in this order, in the same block."""
        return Texts(self.block, self.starts[rows], self.ends[rows])

    @classmethod
    def joined(cls, parts: Sequence[Texts]) -> Texts:
        """The texts of all parts in one block, one part after the other."""
        tight = [part.packed() for part in parts]
        ends = _joined([part.ends - part.starts for part in tight], np.intp).cumsum()
        lengths = np.diff(ends, prepend=0)
        return cls(b"".join(part.block for part in tight), ends - lengths, ends)

    def packed(self) -> Texts:
        """The same texts in a block that holds nothing else, so that the old one can be freed."""
        lengths = self.ends - self.starts
        ends = lengths.cumsum()
        starts = ends - lengths
        if not len(lengths) or (ends[-1] == len(self.block) and (starts == self.starts).all()):
            return Texts(self.block if len(lengths) else b"", starts, ends)
        characters, chunks = np.frombuffer(self.block, np.uint8), []
        for first in range(0, len(lengths), _CHUNK):
            rows = slice(first, first + _CHUNK)
            there = np.repeat(self.starts[rows] - starts[rows], lengths[rows])
            there += np.arange(starts[first], starts[first] + len(there))
            chunks.append(characters[there].tobytes())
        return Texts(b"".join(chunks), starts, ends)

    def to_list(self) -> list[bytes]:
        """The texts one by one."""
        block = self.block
        pairs = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return [block[start:end] for start, end in pairs]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Columns:
    """Some entries of a listing, one row each, in the order of the listing.

    Attributes:
        keys: The whole keys in UTF-8; percent-encoded if `encoded`.
        encoded: Whether the keys are percent-encoded, with `+` for a space (EncodingType=url).
        last_modified: In microseconds since 1970.
        sizes: In bytes.
        etags: Without their quotes.
        storage_classes: Indexes into `class_names`.
        class_names: As listed; an entry without a class is `STANDARD`.
        identities: The texts of which fingerprints are the hashes (see `identity_text`), if they
            lie in a block already; else they are made when they are needed.
    """

    keys: Texts
    encoded: bool
    last_modified: Numbers
    sizes: Numbers
    etags: Texts
    storage_classes: npt.NDArray[np.uint8]
    class_names: tuple[str, ...]
    identities: Texts | None = None

    @classmethod
    def of(cls, objects: Iterable[S3Object]) -> Columns:
        """The columns of these objects, in their order."""
        listed = list(objects)
        names = tuple(dict.fromkeys(each.storage_class for each in listed))
        place = {name: index for index, name in enumerate(names)}
        return cls(
            keys=Texts.of(each.key.encode("utf-8", "surrogatepass") for each in listed),
            encoded=False,
            last_modified=np.array([microseconds(e.last_modified) for e in listed], np.int64),
            sizes=np.array([each.size for each in listed], np.int64),
            etags=Texts.of(each.etag.encode("utf-8", "surrogatepass") for each in listed),
            storage_classes=np.array([place[e.storage_class] for e in listed], np.uint8),
            class_names=names,
        )

    @classmethod
    def concatenated(cls, parts: Sequence[Columns]) -> Columns:
        """The rows of all parts, one part after the other, packed."""
        if len(parts) == 1:
            return parts[0].packed()
        names = tuple(dict.fromkeys(name for part in parts for name in part.class_names))
        classes = [
            np.array([names.index(name) for name in part.class_names] or [0], np.uint8)[
                part.storage_classes
            ]
            for part in parts
        ]
        return cls(
            keys=Texts.joined([part.plain_keys() for part in parts]),
            encoded=False,
            last_modified=_joined([part.last_modified for part in parts], np.int64),
            sizes=_joined([part.sizes for part in parts], np.int64),
            etags=Texts.joined([part.etags for part in parts]),
            storage_classes=_joined(classes, np.uint8),
            class_names=names,
        )

    def __len__(self) -> int:
        return len(self.last_modified)

    def only(self, rows: Rows) -> Columns:
        """These rows, in this order; the texts stay in their blocks."""
        return replace(
            self,
            keys=self.keys.only(rows),
            last_modified=self.last_modified[rows],
            sizes=self.sizes[rows],
            etags=self.etags.only(rows),
            storage_classes=self.storage_classes[rows],
            identities=None if self.identities is None else self.identities.only(rows),
        )

    def packed(self) -> Columns:
        """The same rows in blocks that hold nothing else; keys are not encoded any more."""
        return replace(
            self,
            keys=self.plain_keys().packed(),
            encoded=False,
            etags=self.etags.packed(),
            identities=None,
        )

    def plain_keys(self) -> Texts:
        """The keys, not encoded."""
        return Texts.of(self.key_bytes()) if self.encoded else self.keys

    def key_bytes(self, rows: Rows | None = None) -> list[bytes]:
        """The keys, not encoded, in UTF-8: all of them, or those of these rows."""
        texts = (self.keys if rows is None else self.keys.only(rows)).to_list()
        return decoded_keys(texts) if self.encoded and texts else texts

    def key(self, row: int) -> bytes:
        """The key of one row, not encoded, in UTF-8."""
        return decoded_keys([self.keys[row]])[0] if self.encoded else self.keys[row]

    def fingerprints(self, rows: Rows | None = None) -> Fingerprints:
        """The fingerprints of all rows, or of these."""
        if self.identities is not None:
            texts = self.identities if rows is None else self.identities.only(rows)
            return fingerprints_of(texts.to_list())
        if rows is None:
            rows = np.arange(len(self))
        times = self.last_modified[rows]
        seconds = np.datetime_as_string((times // 1_000_000).astype("datetime64[s]"))
        return fingerprints_of(
            map(
                identity_text,
                self.key_bytes(rows),
                (second.encode() for second in seconds.tolist()),
                self.etags.only(rows).to_list(),
            )
        )

    def objects(self, rows: Rows | None = None) -> list[S3Object]:
        """Makes objects of all rows, or of these, in this order."""
        chosen = self if rows is None else self.only(rows)
        names = chosen.class_names
        return [
            S3Object(
                moment(modified),
                key.decode("utf-8", "surrogatepass"),
                etag.decode("utf-8", "surrogatepass"),
                size,
                names[class_],
            )
            for modified, key, etag, size, class_ in zip(
                chosen.last_modified.tolist(),
                chosen.key_bytes(),
                chosen.etags.to_list(),
                chosen.sizes.tolist(),
                chosen.storage_classes.tolist(),
                strict=True,
            )
        ]

    def in_position_order(self) -> Rows:
        """The rows in the order of (last_modified, key)."""
        return in_position_order(self.last_modified, self.key_bytes)


def in_position_order(times: Numbers, keys: Callable[[Rows], list[bytes]]) -> Rows:
    """The rows in the order of (time, key).

    Rows that share a time are nearly always in the order of their keys already, since that is
    the order of the listing. Only where they are not, all keys are compared.

    Args:
        times: Of each row.
        keys: Gives the keys of some rows.
    """
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    ties = np.flatnonzero(ordered[1:] == ordered[:-1])
    pairs = zip(keys(order[ties]), keys(order[ties + 1]), strict=True)
    if all(one <= other for one, other in pairs):
        return order
    texts, numbers = keys(order), ordered.tolist()
    sorted_places = sorted(range(len(order)), key=lambda at: (numbers[at], texts[at]))
    return order[np.array(sorted_places, np.intp)]


def _joined(parts: Sequence[npt.NDArray[np.generic]], kind: type[np.generic]) -> npt.NDArray:  # type: ignore[type-arg]
    return np.concatenate(parts) if parts else np.empty(0, kind)
