"""Reading the entries of a page: where their texts are, and what times and sizes they tell.

A page has some 15,000 tags. To look at each of them, even from a regular expression, costs more
than to receive the page. So numpy finds every `<` of it, in a tenth of a millisecond, and all else
is done for all entries at once. Why nothing can be overlooked in this:

- Text holds no `<`, so each is the beginning of a tag, a comment or the like. Those between one
  `<Contents>` and the next make an entry.
- Of entries with equally many tags, the first is read closely, and must be of a known form. At the
  `<` of each other, the very same markup must be found, to the letter. Every `<` is thus
  accounted for, and texts are all that differs.
- The texts must be plain: no entities but the quotes around every ETag, nothing that XML forbids
  or changes, and times, sizes and storage classes as servers write them.

A page for which one of this does not hold has no table; then a real parser must read it.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

import numpy as np

from dagster_s3inc.s3.forms import form_of
from dagster_s3inc.s3.table import Numbers, Places, Span, Table, have, texts_of, windows

__all__ = ["CLOSE", "OPEN", "read_table"]

OPEN: Final = b"<Contents>"
CLOSE: Final = b"</Contents>"


_TEXTS: Final = (b"Key", b"LastModified", b"ETag", b"Size", b"StorageClass")

# A time is as long as one of these, and each character lies between those of the two. Only these
# fractions are read by every Python.
_TIMES: Final = {
    len(earliest): (np.frombuffer(earliest, np.uint8), np.frombuffer(latest, np.uint8))
    for earliest, latest in (
        (b"0000-00-00T00:00:00Z", b"9999-19-39T29:59:59Z"),
        (b"0000-00-00T00:00:00.000Z", b"9999-19-39T29:59:59.999Z"),
        (b"0000-00-00T00:00:00.000000Z", b"9999-19-39T29:59:59.999999Z"),
    )
}
_SECONDS_DIGITS: Final = (0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18)

# So many digits fit 64 bits, whichever they are.
_SIZE_DIGITS: Final = 18

_CLASS: Final = re.compile(rb"[A-Z_]*")


class _UnfamiliarError(Exception):
    """The page is to be read by a real parser."""


def read_table(entries: bytes) -> Table | None:
    """Reads a page from its first `<Contents>` to its last `</Contents>`, these included.

    Returns:
        None where this is not certain to read what a parser would.
    """
    try:
        return _Reader(entries).table()
    except _UnfamiliarError:
        return None


class _Reader:
    def __init__(self, entries: bytes) -> None:
        self._entries = entries
        self._all = np.frombuffer(entries, np.uint8)

    def table(self) -> Table:
        self._require_plain()
        spans, is_amazon = self._spans()
        key, modified = spans[b"Key"], spans[b"LastModified"]
        _require((key.starts < key.ends).all())
        etag, quote = self._without_quotes(spans[b"ETag"])
        classes = self._distinct(spans[b"StorageClass"])
        _require(all(map(_CLASS.fullmatch, classes)))
        is_amazon = is_amazon and quote == b"&quot;"
        return Table(
            entries=self._entries,
            key=key,
            modified=modified,
            etag=etag,
            storage_class=spans[b"StorageClass"],
            storage_classes=classes,
            seconds=self._seconds(modified),
            sizes=self._sizes(spans[b"Size"]),
            is_amazon=is_amazon and have(self._entries, b".000Z", modified.starts + 19),
        )

    def _require_plain(self) -> None:
        """Refuses what is no XML, and what a parser would change: CR, and `]]>` in a text."""
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

    def _spans(self) -> tuple[dict[bytes, Span], bool]:
        """Where the texts are, and whether every entry is of Amazon's form."""
        tags = np.flatnonzero(self._all == ord("<"))
        # No other known tag has this letter in this place, and the form tells whether it is one.
        firsts = np.flatnonzero(self._all[2:][tags] == OPEN[2])
        counts = np.diff(firsts, append=len(tags))
        self._require_only_blanks_between(tags[firsts], tags[firsts + counts - 1] + len(CLOSE))
        places = np.zeros((len(_TEXTS), 2, len(firsts)), np.intp)
        spans = {name: Span(*both) for name, both in zip(_TEXTS, places, strict=True)}
        is_amazon = True
        for count in np.flatnonzero(np.bincount(counts)).tolist():
            rows = np.flatnonzero(counts == count)
            mine = firsts[rows]
            form = form_of(self._entries[tags[mine[0]] : tags[mine[0] + count - 1] + len(CLOSE)])
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

    def _require_only_blanks_between(self, starts: Places, ends: Places) -> None:
        _require(len(starts) and starts[0] == 0 and ends[-1] == len(self._entries))
        if (starts[1:] == ends[:-1]).all():
            return
        gaps = texts_of(self._entries, Span(ends[:-1], starts[1:]))
        _require(all(not gap or gap.isspace() for gap in gaps))

    def _without_quotes(self, etag: Span) -> tuple[Span, bytes]:
        """The ETags without the quotes that all of them have, and these quotes."""
        entities = np.count_nonzero(self._all == ord("&"))
        if entities:
            # No other entity can then be anywhere.
            _require(entities == 2 * len(etag.starts))
            quotes: tuple[bytes, ...] = (b"&quot;", b"&#34;")
        else:
            quotes = (b'"', b"")
        for quote in quotes:
            length = len(quote)
            if all(have(self._entries, quote, at) for at in (etag.starts, etag.ends - length)):
                etag = Span(etag.starts + length, etag.ends - length)
                break
        else:
            raise _UnfamiliarError
        _require((etag.starts <= etag.ends).all())
        if b'"' in self._entries:
            # A parser's user strips as many as there are.
            edges = self._all[etag.starts], self._all[etag.ends - 1]
            _require(not any((edge == ord('"')).any() for edge in edges))
        return etag, quote

    def _seconds(self, modified: Span) -> Numbers:
        length = int(modified.ends[0] - modified.starts[0])
        _require((modified.ends - modified.starts == length).all() and length in _TIMES)
        earliest, latest = _TIMES[length]
        texts = windows(self._entries, length)[modified.starts].view(np.uint8).reshape(-1, length)
        # Less than the earliest is, without a sign, very much more.
        _require((texts - earliest <= latest - earliest).all())
        # 14 digits fit a float, of which numpy makes sums of products several times as fast.
        weights = np.zeros(length)
        weights[list(_SECONDS_DIGITS)] = 10.0 ** np.arange(len(_SECONDS_DIGITS))[::-1]
        seconds: Numbers = (texts @ weights - ord("0") * weights.sum()).astype(np.int64)
        days = seconds // 1_000_000
        _require((seconds - days * 1_000_000 < 24_00_00).all())
        _require(all(map(_is_date, set(days.tolist()))))
        return seconds

    def _sizes(self, size: Span) -> Numbers:
        lengths = size.ends - size.starts
        longest = int(lengths.max())
        _require(lengths.min() >= 1 and longest <= _SIZE_DIGITS)
        # Aligned by their last digits; what stands before the first one counts as zero.
        places = size.ends - longest
        texts = windows(self._entries, longest)[places].view(np.uint8).reshape(-1, longest)
        is_there = np.arange(longest, 0, -1) <= lengths[:, np.newaxis]
        digits = (texts - np.uint8(ord("0"))) * is_there
        _require((digits <= 9).all())
        powers = 10 ** np.arange(longest, dtype=np.int64)[::-1]
        sizes: Numbers = digits @ powers
        return sizes

    def _distinct(self, span: Span) -> frozenset[bytes]:
        found: list[bytes] = []
        while len(span.starts):
            text = self._entries[span.starts[0] : span.ends[0]]
            found.append(text)
            others = span.ends - span.starts != len(text)
            same = span.only(np.flatnonzero(~others))
            if text and not have(self._entries, text, same.starts):
                return frozenset(texts_of(self._entries, span)).union(found)
            span = span.only(np.flatnonzero(others))
        return frozenset(found)


def _require(condition: object) -> None:
    if not condition:
        raise _UnfamiliarError


@lru_cache(maxsize=4096)
def _is_date(digits: int) -> bool:
    try:
        date(digits // 10_000, digits // 100 % 100, digits % 100)
    except ValueError:
        return False
    return True
