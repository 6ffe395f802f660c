"""The entries of a page as columns, found by looking at all of its tags at once.

A page has some 15,000 tags. To look at each of them by itself, even with a regular expression,
takes longer than to receive the page. So numpy finds every `<` in a tenth of a millisecond, and
all else is done for all entries together. Example, with the tags of two entries numbered:

    <Contents><Key>in/a</Key><ETag>"1"</ETag>...</Contents><Contents><Key>in/b</Key>...
    0         1        2     3        4         9          10        11       12

Entries of one *form* differ in nothing but their texts: here `in/a`, `in/b`, `"1"`. The pieces of
markup between one text and the next (`</Key><ETag>`) are called seams. Nothing is overlooked:

- A text has no `<` in it, so each `<` begins a tag, a comment or the like. All of them, from one
  `<Contents>` to the next, belong to one entry.
- Of the entries that have equally many tags, the first is read closely, and its form must be one
  of the known. In each other entry the very same seams must lie at the same tags, to the letter.
  Every `<` is thus accounted for.
- The texts must be plain: no entities but the quotes around every ETag, nothing that XML forbids
  or changes; times, sizes and storage classes as servers write them.

Where one of these does not hold, there are no columns, and a real parser must read the page.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from dagster_s3inc.core.columns import Columns, Numbers, Rows, Texts, microseconds
from dagster_s3inc.core.page import have, windows

__all__ = ["CLOSE", "OPEN", "is_familiar", "read_columns"]

OPEN: Final = b"<Contents>"
CLOSE: Final = b"</Contents>"

_BLANKS: Final = b" \t\n"

_SEAM: Final = re.compile(rb"<[^<>]*>(?:\s*<[^<>]*>)*")

# Stands for a text. No XML document has it.
_TEXT: Final = b"\0"

# What may be in an entry, in any order.
_KNOWN: Final = re.compile(
    rb"<Contents>(?:\s*(?:"
    rb"<(Key|LastModified|ETag|Size|StorageClass|ChecksumAlgorithm|ChecksumType)>\0</\1>"
    rb"|<Owner>(?:\s*(?:<(ID|DisplayName)>\0?</\2>|<(?:ID|DisplayName)/>))*\s*</Owner>"
    rb"))*\s*</Contents>"
)
_REQUIRED: Final = (b"Key", b"LastModified", b"ETag", b"Size")
_TEXTS: Final = (*_REQUIRED, b"StorageClass")
# An object may have several checksums. Of all else there is one.
_REPEATED: Final = b"ChecksumAlgorithm"

_NAME: Final = re.compile(rb"<(\w+)/?>")
_AMAZON: Final = b"<Key>\0</Key><LastModified>\0</LastModified><ETag>\0</ETag>"

# A time is as long as one of these, with other digits. Only these fractions are read by every
# Python.
_TIMES: Final = {
    len(each): each
    for each in (
        b"0000-00-00T00:00:00Z",
        b"0000-00-00T00:00:00.000Z",
        b"0000-00-00T00:00:00.000000Z",
    )
}
_FIRST_YEAR: Final = microseconds(datetime.min.replace(tzinfo=timezone.utc))

_QUOTES: Final = (b"&quot;", b"&#34;", b'"', b"")

# So many digits fit 64 bits, whichever they are.
_SIZE_DIGITS: Final = 18

_CLASS: Final = re.compile(rb"[A-Z_]*")
_CLASSES: Final = 256


class _UnfamiliarError(Exception):
    """A real parser must read the page."""


class _Form(NamedTuple):
    """What entries of one form have in common.

    Attributes:
        seams: The pieces of markup, in order; one more than there are texts.
        tags: At which of the entry's tags each seam begins.
        texts: After which seam the text of an element lies, by the element's name.
        is_amazon: Whether key, LastModified and ETag follow each other as in Amazon's S3.
    """

    seams: tuple[bytes, ...]
    tags: tuple[int, ...]
    texts: dict[bytes, int]
    is_amazon: bool


def is_familiar(entry: bytes) -> bool:
    """Whether an entry, from `<Contents>` to `</Contents>`, is of a known form."""
    return _form(tuple(_SEAM.findall(entry))) is not None


def read_columns(entries: bytes, *, url_encoded: bool) -> Columns | None:
    """Reads entries, the first `<Contents>` and the last `</Contents>` included.

    Args:
        entries: The bytes; the columns refer to them.
        url_encoded: Whether keys are percent-encoded.

    Returns:
        None where it is not certain that a parser would read the same.
    """
    try:
        return _Reader(entries).columns(url_encoded=url_encoded)
    except _UnfamiliarError:
        return None


# Servers have few forms, and each page has the same ones.
@lru_cache(maxsize=64)
def _form(seams: tuple[bytes, ...]) -> _Form | None:
    markup = _TEXT.join(seams)
    names = [name for name in _NAME.findall(markup) if name != _REPEATED]
    if not _KNOWN.fullmatch(markup) or len(set(names)) < len(names):
        return None
    # The text after a seam belongs to the tag that ends the seam.
    texts = {_NAME.findall(seam)[-1]: index for index, seam in enumerate(seams[:-1])}
    if not all(name in texts for name in _REQUIRED):
        return None
    counts = [seam.count(b"<") for seam in seams]
    tags = tuple(sum(counts[:index]) for index in range(len(seams)))
    return _Form(seams, tags, texts, _AMAZON in markup)


class _Reader:
    def __init__(self, entries: bytes) -> None:
        self._entries = entries
        self._all = np.frombuffer(entries, np.uint8)

    def columns(self, *, url_encoded: bool) -> Columns:
        entries = self._entries
        self._require_plain()
        spans, is_amazon = self._spans()
        key, modified = spans[b"Key"], spans[b"LastModified"]
        _require((key.starts < key.ends).all())
        etag, quote = self._without_quotes(spans[b"ETag"])
        # A `%` or a `+` in another text than a key does no harm: it only costs time.
        encoded = url_encoded and (b"%" in entries or b"+" in entries)
        is_amazon = is_amazon and quote == b"&quot;" and not encoded
        storage_classes, class_names = self._classes(spans[b"StorageClass"])
        return Columns(
            keys=key,
            encoded=encoded,
            last_modified=self._microseconds(modified),
            sizes=self._sizes(spans[b"Size"]),
            etags=etag,
            storage_classes=storage_classes,
            class_names=class_names,
            identities=Texts(entries, key.starts, etag.ends)
            if is_amazon and have(entries, b".000Z", modified.starts + 19)
            else None,
        )

    def _require_plain(self) -> None:
        """Refuses what is not XML, and what a parser would change: CR, and `]]>` in a text."""
        entries = self._entries
        _require(entries.endswith(CLOSE))
        if self._all.min() < ord(" "):
            controls = self._all[self._all < ord(" ")]
            _require(((controls == ord("\n")) | (controls == ord("\t"))).all())
        _require(b"]" not in entries or b"]]>" not in entries)
        if not entries.isascii():
            try:
                text = entries.decode()
            except UnicodeDecodeError:
                raise _UnfamiliarError from None
            _require("\ufffe" not in text and "\uffff" not in text)

    def _spans(self) -> tuple[dict[bytes, Texts], bool]:
        """Where the texts are, and whether every entry is of Amazon's form."""
        tags = np.flatnonzero(self._all == ord("<"))
        # No other known tag has this letter in this place, and the form tells whether it is one.
        firsts = np.flatnonzero(self._all[2:][tags] == OPEN[2])
        counts = np.diff(firsts, append=len(tags))
        self._require_only_blanks_between(tags[firsts], tags[firsts + counts - 1] + len(CLOSE))
        places = np.zeros((len(_TEXTS), 2, len(firsts)), np.intp)
        spans = {
            name: Texts(self._entries, *both) for name, both in zip(_TEXTS, places, strict=True)
        }
        is_amazon = True
        for count in np.flatnonzero(np.bincount(counts)).tolist():
            rows = np.flatnonzero(counts == count)
            mine = firsts[rows]
            first = self._entries[tags[mine[0]] : tags[mine[0] + count - 1] + len(CLOSE)]
            form = _form(tuple(_SEAM.findall(first)))
            # A `<` that begins no tag would be counted as one.
            if form is None or sum(seam.count(b"<") for seam in form.seams) != count:
                raise _UnfamiliarError
            seams = tags[mine + np.array(form.tags)[:, np.newaxis]]
            for seam, there in zip(form.seams, seams, strict=True):
                _require(have(self._entries, seam, there))
            for name in _TEXTS:
                if name in form.texts:
                    at = form.texts[name]
                    spans[name].starts[rows] = seams[at] + len(form.seams[at])
                    spans[name].ends[rows] = seams[at + 1]
            is_amazon = is_amazon and form.is_amazon
        return spans, is_amazon

    def _require_only_blanks_between(self, starts: Rows, ends: Rows) -> None:
        _require(len(starts) and starts[0] == 0 and ends[-1] == len(self._entries))
        if (starts[1:] != ends[:-1]).any():
            gaps = Texts(self._entries, ends[:-1], starts[1:]).to_list()
            _require(not b"".join(gaps).strip(_BLANKS))

    def _without_quotes(self, etag: Texts) -> tuple[Texts, bytes]:
        """The ETags without the quotes that all of them have, and these quotes."""
        entities = np.count_nonzero(self._all == ord("&"))
        quote = next(
            each
            for each in _QUOTES
            if have(self._entries, each, etag.starts)
            and have(self._entries, each, etag.ends - len(each))
        )
        # No other entity can then be anywhere.
        _require(entities == (2 * len(etag) if b"&" in quote else 0))
        etag = Texts(self._entries, etag.starts + len(quote), etag.ends - len(quote))
        _require((etag.starts <= etag.ends).all())
        if b'"' in self._entries:
            # Who uses a parser strips as many as there are.
            edges = self._all[etag.starts], self._all[etag.ends - 1]
            _require(not any((edge == ord('"')).any() for edge in edges))
        return etag, quote

    def _microseconds(self, modified: Texts) -> Numbers:
        length = int(modified.ends[0] - modified.starts[0])
        _require((modified.ends - modified.starts == length).all() and length in _TIMES)
        least = np.frombuffer(_TIMES[length], np.uint8)
        greatest = np.frombuffer(_TIMES[length].replace(b"0", b"9"), np.uint8)
        texts = self._characters(modified.starts, length)
        # What is less than the least is, without a sign, very much more.
        _require((texts - least <= greatest - least).all())
        try:
            times = texts.view(f"S{length}").astype(f"S{length - 1}").astype("datetime64[us]")
        except ValueError:
            raise _UnfamiliarError from None
        moments: Numbers = times.ravel().astype(np.int64)
        _require((moments >= _FIRST_YEAR).all())
        return moments

    def _sizes(self, size: Texts) -> Numbers:
        lengths = size.ends - size.starts
        longest = int(lengths.max())
        _require(lengths.min() >= 1 and longest <= _SIZE_DIGITS)
        # Aligned by their last digits; what stands before the first one counts as zero.
        texts = self._characters(size.ends - longest, longest)
        is_there = np.arange(longest, 0, -1) <= lengths[:, np.newaxis]
        digits = (texts - np.uint8(ord("0"))) * is_there
        _require((digits <= 9).all())
        powers = 10 ** np.arange(longest, dtype=np.int64)[::-1]
        sizes: Numbers = digits @ powers
        return sizes

    def _classes(self, span: Texts) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
        texts = span.to_list()
        found = dict.fromkeys(texts)
        _require(len(found) <= _CLASSES and all(map(_CLASS.fullmatch, found)))
        names = {text: text.decode() or "STANDARD" for text in found}
        class_names = tuple(dict.fromkeys(names.values()))
        places = {text: class_names.index(name) for text, name in names.items()}
        return np.array([places[text] for text in texts], np.uint8), class_names

    def _characters(self, starts: Rows, length: int) -> npt.NDArray[np.uint8]:
        """The characters of equally long texts, a row for each text."""
        texts: npt.NDArray[np.uint8] = windows(self._entries, length)[starts].view(np.uint8)
        return texts.reshape(-1, length)


def _require(condition: Any) -> None:
    if not condition:
        raise _UnfamiliarError
