"""Bugs that the histories must find, and how long that takes them."""

from __future__ import annotations

from itertools import cycle, islice

from tests.core.model.engine import RealEngine
from tests.core.model.expectations import PromiseError
from tests.core.model.history import play
from tests.core.model.planting import Edit, Planted, planted
from tests.core.model.scenarios import SCENARIOS

__all__ = ["PLANTED", "histories_until_found"]

NO_MEMORY = ("none", "crash none", "capacity none")
MEMORY = ("kept", "base", "crash")
PARTS = ("huge", "huge none", "partial replicas", "partial none")


def _bug(name: str, *edits: Edit, by: tuple[str, ...], within: int = 60) -> Planted:
    return Planted(name, edits, by, within)


PLANTED = (
    # Those of the design's own model.
    _bug(
        "new means a later second than the watermark",
        Edit(
            "classify:Classifier._choose",
            "chosen = np.flatnonzero(new | listed)",
            "before = self.watermark or (-(2**62), b'')\n"
            "    new &= rows.last_modified // 10**6 > before[0] // 10**6\n"
            "    chosen = np.flatnonzero(new | listed)",
        ),
        by=MEMORY,
    ),
    _bug(
        "a late file that is emitted is not put in the digest",
        Edit(
            "scan:_following",
            "before.plus(late).plus(",
            "before.plus(",
        ),
        by=NO_MEMORY,
    ),
    _bug(
        "a lost tick is decided anew",
        Edit("sensor.start:start_from", "if lost is not None:", "if lost is not None and False:"),
        by=("crash", "crash none", "crash replicas jobs"),
    ),
    _bug(
        "the index of another cursor is used",
        Edit(
            "s3.scanner:Scanner._recall",
            "memory = self._remembered.get(given)",
            "memory = next(reversed(self._remembered.values()), None)",
        ),
        by=("crash", "replicas", "set back"),
    ),
    _bug(
        "the index is changed in place",
        Edit(
            "s3.scanner:Scanner._remember",
            "kept[given] = kept.pop(given)",
            "kept.pop(given)\n        kept[given] = memory",
        ),
        by=("crash", "crash replicas jobs"),
    ),
    _bug(
        "what is gone stays in the index",
        Edit(
            "classify:Classifier.classify",
            "np.concatenate([known, listed.",
            "np.concatenate([known, gone, listed.",
        ),
        by=MEMORY,
    ),
    _bug(
        "`recent` is cut at its bound",
        Edit("watermark:rise", "max(len(above) - room, ", "max(0, "),
        Edit("watermark:emit", "len(kept) <= most", "True"),
        Edit(
            "scan:_following",
            "recent=frozenset(step.above.fingerprints.tolist())",
            "recent=frozenset(step.above.fingerprints.tolist()[: limits.recent_limit])",
        ),
        by=NO_MEMORY,
    ),
    _bug(
        "rule a ignores what does not count as emitted",
        Edit("late_files:_by_rule_a", "prints[(chosen & ~less) | more]", "prints[chosen | more]"),
        by=NO_MEMORY,
    ),
    _bug(
        "rule b without the total",
        Edit("late_files:_by_ledger", " and ledger.total == checkpoint.total", ""),
        by=("runs deleted none", "runs deleted", "filter runs deleted"),
    ),
    _bug(
        "the run key has no sequence",
        Edit("runs.run_requests:RunKey.__str__", "{self.sequence}", "0"),
        by=("base", "kept", "none"),
    ),
    _bug(
        "the index is kept over a change of the filter",
        Edit(
            "s3.scanner:Scanner._recall",
            "memory is None or memory.selection != selection.hash",
            "not memory",
        ),
        Edit("scan:_valid", "index is None or index.selection != selection", "index is None"),
        by=("filter", "filter classes", "filter narrows"),
    ),
    _bug(
        "the horizon is reckoned anew for each part",
        Edit(
            "partial_scan:begun",
            "return replace(base, partial_scan=going_on)",
            "going_on = replace(going_on, horizon=now - limits.lookback)\n"
            "        return replace(base, partial_scan=going_on)",
        ),
        by=PARTS,
    ),
    # Of the index.
    _bug(
        "a segment in which something waits is skipped",
        Edit("classify:Classifier.may_skip", "segment.waiting or ", ""),
        by=MEMORY,
    ),
    _bug(
        "a segment above the watermark is skipped",
        Edit(
            "classify:Classifier.may_skip", "return segment.newest <= self.watermark", "return True"
        ),
        by=MEMORY,
    ),
    _bug(
        "what lies above the watermark is not reckoned among the newest that were emitted",
        Edit("scan:_newest_emitted", "if len(step.above) else newest", "if False else newest"),
        by=MEMORY,
    ),
    _bug(
        "what the index finds gone stays in the digest",
        Edit("scan:_decision", ".minus(below)", ".minus(below[:0])"),
        by=("base", "crash", "replicas"),
    ),
    _bug(
        "a backlog is emitted that another checkpoint left",
        Edit(
            "s3.scanner:_Memory.usable_backlog",
            "return self.backlog if self.backlog.follows == checkpoint else None",
            "return self.backlog",
        ),
        by=("set back resets crash", "resets", "resets crash"),
    ),
    # Of the watermark.
    _bug(
        "the watermark rises past what waits",
        Edit("watermark:rise", "if bound is not None:", "if False:"),
        by=NO_MEMORY,
    ),
    _bug(
        "the watermark rises past what waits and is not kept",
        Edit("watermark:emit", "if oldest is not None:", "if False:"),
        by=("burst none", *NO_MEMORY),
    ),
    # Of late files and the ledger.
    _bug(
        "late files are not remembered",
        Edit("scan:_following", "[*below.tolist(), *found.found_late.tolist()]", "[]"),
        by=NO_MEMORY,
    ),
    _bug(
        "late files count as emitted where the capacity changes",
        Edit("late_files:_by_digest", "kept = listed[-1].minus(late) if", "kept = listed[-1] if"),
        by=("capacity none", "capacity"),
    ),
    _bug(
        "what is undecided counts as emitted",
        Edit(
            "late_files:decide",
            "return Decision(emitted, undecided=undecided)",
            "return Decision(emitted if changed else listed[-1], undecided=undecided)",
        ),
        by=("runs deleted none", "from now none", "set back none"),
    ),
    _bug(
        "the ledger is read with this tick's own sequence",
        Edit(
            "late_files:decide",
            "ledger(checkpoint.generation, checkpoint.sequence)",
            "ledger(checkpoint.generation, checkpoint.sequence + 1)",
        ),
        by=("crash none", "runs deleted none", "all none"),
        within=200,
    ),
    _bug(
        "the total is not added to",
        Edit("outcome:concluded", "if total is not None and not repeats:", "if False:"),
        by=NO_MEMORY,
    ),
    # Of parts.
    _bug(
        "a part takes the file that does not fit for done",
        Edit("scan:_take_up_to", "each < key for each in keys", "each <= key for each in keys"),
        by=PARTS,
    ),
    _bug(
        "what a part emits is not put in the digest of what is listed",
        Edit(
            "partial_scan:_advanced",
            "listed = listed.plus(beside)",
            "listed = listed.plus(beside[:0])",
        ),
        by=PARTS,
    ),
    _bug(
        "`recent` keeps what a partial scan did not meet",
        Edit("partial_scan:_ended", "recent=partial.met", "recent=following.recent"),
        by=PARTS,
    ),
    _bug(
        "the watermark rises to the end of a partial scan, not to its beginning",
        Edit(
            "partial_scan:begun",
            "horizon=now if at_once else now - limits.lookback",
            "horizon=now + limits.lookback",
        ),
        by=PARTS,
    ),
    # Of cursors and resets.
    _bug(
        "a cursor that was set back is not noticed",
        Edit(
            "sensor.start:start_from",
            "was_set_back = last is not None and ",
            "was_set_back = False and ",
        ),
        by=("set back", "set back none"),
    ),
    _bug(
        "a cursor that was set back keeps its total",
        Edit("checkpoint:Checkpoint.behind", ", total=None", ""),
        by=("set back", "set back none"),
    ),
    _bug(
        "reprocessing ends with the first tick",
        Edit(
            "reprocessing:scan_again", "following, reprocess=goes_on", "following, reprocess=None"
        ),
        by=("resets", "resets none"),
    ),
    _bug(
        "late files are reprocessed",
        Edit(
            "reprocessing:_decided",
            "members(found.fingerprints, decision.late)",
            "members(found.fingerprints, decision.late[:0])",
        ),
        by=("resets none", "resets"),
    ),
)


def histories_until_found(bug: Planted) -> tuple[int, PromiseError | None]:
    """Plays histories with a bug until one breaks a promise.

    Returns:
        How many were played, and the promise that the last one broke; None if it broke none.
    """
    count = 0
    with planted(bug):
        for name in islice(cycle(bug.scenarios), bug.within):
            seed = 10_000 + count // len(bug.scenarios)
            broken, _ = play(RealEngine(), SCENARIOS[name], seed)
            count += 1
            if broken is not None:
                return count, broken
    return count, None
