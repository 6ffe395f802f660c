"""A range of the key space, and how far it has been fetched."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from dagster_s3inc.s3.source import Answer

__all__ = ["Range"]


@dataclass(slots=True, eq=False)
class Range:
    """The keys behind `start` up to `end` itself.

    Attributes:
        start: None means from the beginning.
        end: None means to the end of the listing.
        patience: So many pages are expected; with more, the range is worth a cut.
        tried: See `cut_beyond`.
        token: What to go on by; None as long as nothing has come.
        ends: The first and the last key of the last page.
        first: The first key that came, be it behind the end.
        answers: What has come and has not been read.
        busy: A page is on the way.
        more: The server has not said that the listing ends here.
        dropped: It does not belong to the listing any more.
    """

    start: str | None
    end: str | None
    patience: int = 1
    tried: int | None = None
    token: str | None = None
    ends: tuple[str, str] | None = None
    first: str | None = None
    answers: deque[Answer] = field(default_factory=deque)
    busy: bool = False
    more: bool = True
    dropped: bool = False

    @property
    def over(self) -> bool:
        """There is no page to fetch any more."""
        passed = self.ends is not None and self.end is not None and self.ends[1] >= self.end
        return passed or not self.more

    @property
    def has_come(self) -> bool:
        """Its first key is known, or that it has none."""
        return self.first is not None or not self.more

    @property
    def has_begun(self) -> bool:
        """A page has come or is on the way."""
        return self.busy or self.ends is not None or not self.more

    def add(self, answer: Answer) -> bool:
        """Takes the next page; tells whether it is in key order, and behind what came before."""
        self.busy = False
        self.patience -= 1
        self.token, self.more = answer.token, answer.token is not None
        self.answers.append(answer)
        ends = answer.page.ends
        if ends is None:
            return True
        before = self.ends[1] if self.ends else self.start
        self.first = self.first or ends[0]
        self.ends = ends
        return answer.page.is_in_key_order and (before is None or ends[0] > before)
