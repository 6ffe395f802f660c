"""The forms in which servers write an entry of a listing.

A form is what remains of an entry without its texts: the markup before, between and after them.
The piece of markup between one text and the next is called a seam:

    <Contents><Key>a.csv</Key><LastModified>2026-11-22T12:00:00.000Z</LastModified>...</Contents>
    ---- seam ----     ------- seam -------                         ---- seam ...

Entries of one form differ in nothing but their texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

__all__ = ["Form", "form_of"]

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
# An object may have several checksums; of all else there is one, or a parser is to complain.
_REPEATED: Final = b"ChecksumAlgorithm"

_NAME: Final = re.compile(rb"<(\w+)/?>")
_AMAZON: Final = b"<Key>\0</Key><LastModified>\0</LastModified><ETag>\0</ETag>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What entries of one form have in common.

    Attributes:
        seams: The pieces of markup, in order; one more than there are texts.
        tags: At which of the entry's tags each seam begins.
        texts: Behind which seam the text of an element is, by the element's name.
        is_amazon: Whether key, LastModified and ETag follow each other as in Amazon's S3.
    """

    seams: tuple[bytes, ...]
    tags: tuple[int, ...]
    texts: dict[bytes, int]
    is_amazon: bool


def form_of(entry: bytes) -> Form | None:
    """The form of an entry; None unless every element of it is known and in its place."""
    return _form(tuple(_SEAM.findall(entry)))


# Servers have few forms, and each page has the same ones.
@lru_cache(maxsize=64)
def _form(seams: tuple[bytes, ...]) -> Form | None:
    markup = _TEXT.join(seams)
    names = [name for name in _NAME.findall(markup) if name != _REPEATED]
    if not _KNOWN.fullmatch(markup) or len(set(names)) < len(names):
        return None
    # The text behind a seam belongs to the tag that ends it.
    texts = {_NAME.findall(seam)[-1]: index for index, seam in enumerate(seams[:-1])}
    if not all(name in texts for name in _REQUIRED):
        return None
    counts = [seam.count(b"<") for seam in seams]
    return Form(
        seams=seams,
        tags=tuple(sum(counts[:index]) for index in range(len(seams))),
        texts=texts,
        is_amazon=_AMAZON in markup,
    )
