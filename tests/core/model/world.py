"""The world around a scan, and one tick in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from typing import NamedTuple

from dagster_s3inc.core.batching import BatchPolicy, RequestSize, ScanLimits
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.filters import ObjectFilter
from dagster_s3inc.core.late_files import Ledger, LedgerProgress
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.outcome import ScanResult
from dagster_s3inc.core.page import Page
from dagster_s3inc.core.scan import MAX_INDEX_BYTES
from tests.core.model.bucket import Bucket, at, random_change
from tests.core.model.engine import Engine, Pages, Process
from tests.core.model.expectations import (
    PromiseError,
    Scanned,
    check,
    check_text,
    described,
    following,
    is_below,
    named,
    require,
)
from tests.core.model.knowledge import NOTHING, Decided, Knowledge
from tests.core.model.pages import page_of
from tests.core.model.requests import Crash, Dagster, Lost, Request, Reset, Row, Stored

__all__ = ["FILTERS", "LOOKBACK", "Settings", "Turn", "World", "limits_of"]

LOOKBACK = 60
"""In seconds."""

FILTERS = {
    "all": ObjectFilter(),
    "a": ObjectFilter(include=["a*", "a*/**"]),
    "b": ObjectFilter(include=["b*", "b*/**"]),
    "cold": ObjectFilter(storage_classes="STANDARD_IA"),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What does not change in a history.

    Attributes:
        jobs: How many jobs each batch is launched on.
        memory: `kept`: one process lives for ever. `random`: it may die at any time. `none`: each
            tick has a new process. `replicas`: two processes take turns, and may die. `bound`: no
            index larger than `max_index_bytes` is kept.
        from_now: Whether the first scan adopts what is there.
        recent_limit: The bound of `recent` and `late` together.
        narrows: Whether a filter of a prefix is listed by that prefix alone.
        with_bytes: Whether pages have bytes.
        grouped: Whether batches are of one partition each; some keys have none at first.
        max_index_bytes: How large an index may be, where it is `bound`.
    """

    jobs: int = 1
    memory: str = "random"
    from_now: bool = False
    recent_limit: int = 8
    narrows: bool = False
    with_bytes: bool = True
    grouped: bool = False
    max_index_bytes: int = 0


def limits_of(
    max_batches: int,
    max_files: int,
    *,
    recent_limit: int,
    capacity: int,
    max_bytes: int | None = None,
    linger: int | None = None,
    request_bytes: int | None = None,
) -> ScanLimits:
    """What a tick may emit."""
    return ScanLimits(
        policy=BatchPolicy(
            max_files=max_files,
            max_bytes=max_bytes,
            linger=None if linger is None else timedelta(seconds=linger),
        ),
        max_batches=max_batches,
        request_size=None if request_bytes is None else RequestSize(request_bytes),
        lookback=timedelta(seconds=LOOKBACK),
        recent_limit=recent_limit,
        late_file_capacity=capacity,
    )


class Turn(NamedTuple):
    """What one tick meets.

    Attributes:
        limits: What it may emit.
        random: For what does not matter to a person: page sizes and the like.
        process: Which process evaluates it.
        cut: The share of the listing after which its time is up; None if it is not.
        crash: Where Dagster is killed.
        churn: The chance that something happens between two pages.
        reads_slowly: Whether the ledger is still being read.
        again: Whether it is evaluated twice, as for a preview.
    """

    limits: ScanLimits
    random: Random
    process: int = 0
    cut: float | None = None
    crash: Crash = Crash()
    churn: float = 0.0
    reads_slowly: bool = False
    again: bool = False


class _Look(NamedTuple):
    """A listing.

    Attributes:
        pages: Its pages.
        listed: What those of them hold that come in time.
        prefix: All keys begin with this.
        start: It begins behind this key.
    """

    pages: Pages
    listed: dict[int, S3Object]
    prefix: str
    start: str


class _Emission(NamedTuple):
    """A run by which a version was processed."""

    generation: int
    sequence: int
    scan: int
    job: str
    repeats: str


class World:
    """A bucket, a sensor, its processes and its runs.

    Attributes:
        bucket: The bucket.
        dagster: The state of the sensor.
        filter: The name of the filter in force.
        capacity: The late capacity in force.
        all_partitioned: Whether each key has a partition.
        counts: How often what happened.
        history: The cursors that were stored, for people who set one back.
        log: Is told what each tick does; None if nobody wants to know.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self.engine, self.settings = engine, settings
        self.bucket, self.dagster = Bucket(), Dagster()
        self.processes = [self._process(), self._process()]
        self.filter, self.capacity, self.all_partitioned = "all", 12, False
        self.counts: Counter[str] = Counter()
        self.history: list[Stored] = []
        self.log: Callable[[str], None] | None = None
        self._versions: dict[int, S3Object] = {}
        self._fingerprints: dict[S3Object, int] = {}
        self._emissions: dict[int, list[_Emission]] = {}
        self._absent: dict[int, int] = {}
        self._scans = 0
        self._revoked: list[tuple[tuple[int, int], tuple[int, int]]] = []
        self._incomplete: set[int] = set()
        self._started: set[Decided] = set()

    def _process(self) -> Process:
        is_bound = self.settings.memory == "bound"
        most = self.settings.max_index_bytes if is_bound else MAX_INDEX_BYTES
        return Process(max_index_bytes=most)

    # What people do.

    def reset(self, what: str, prefix: str = "") -> None:
        """Someone launches the reset job."""
        cursor, last = self.dagster.cursor, self.dagster.last_run_key
        if cursor is not None:
            generation = self.engine.decode(cursor.text).generation
        else:
            generation = int(last.split(":")[0]) if last else 1
        moment = f"2026-01-01T00:{len(self.dagster.resets) + 1:02}:00+00:00"
        self.dagster.resets.append(Reset(moment, generation + 1, what, prefix))
        self.counts[f"reset {what}"] += 1

    def clear(self) -> None:
        """Someone clears the cursor."""
        self.dagster.cursor = None

    def set_back(self, number: int) -> None:
        """Someone pastes an earlier cursor; not while a tick is lost, which nobody would notice."""
        if self.history and self.dagster.lost() is None:
            recent = self.history[-6:]
            self.dagster.cursor = recent[number % len(recent)]
            self.counts["set back"] += 1

    def delete_runs(self, first: float, last: float) -> None:
        """Someone deletes runs: those between two shares of all."""
        count = len(self.dagster.runs)
        if count and self.dagster.lost() is None:
            start, end = int(first * count), int(last * count) + 1
            deleted = self.dagster.runs[start:end]
            self._incomplete |= {run.request.generation for run in deleted}
            self.dagster.delete_runs(start, end)
            self.counts["runs deleted"] += len(deleted)

    def lose_memory(self, process: int) -> None:
        """A process dies; another takes its place."""
        self.processes[process] = self._process()

    # A tick.

    def tick(self, turn: Turn) -> None:
        """Evaluates the sensor, and does with the result what Dagster does.

        Raises:
            PromiseError: A promise is broken.
        """
        if self.settings.memory == "none":
            self.lose_memory(turn.process)
        process = self.processes[turn.process]
        row = self._evaluate(process, turn)
        crash = turn.crash
        if not crash.row:
            self.counts["lost before the row"] += 1
            return
        self.dagster.rows.append(row)
        submitted = int(crash.submits * len(row.requests) + 0.5)
        for request in row.requests[:submitted]:
            self._submit(request)
        if not crash.stores:
            self.counts["lost"] += 1
            return
        for request in row.requests[submitted:]:
            self._submit(request)
        self.dagster.store(row.cursor, row.requests)
        self.history.append(row.cursor)
        self._mark(row)

    def _evaluate(self, process: Process, turn: Turn) -> Row:
        dagster = self.dagster
        lost = dagster.lost()
        cursor = None if dagster.cursor is None else dagster.cursor.text
        start = self.engine.start(cursor, dagster.last_run_key, dagster.resets, lost)
        if start.resumes:
            assert lost is not None
            self.counts["lost tick resumed"] += 1
            requests = lost.left or lost.row.requests[-1:]
            return Row(requests, lost.row.cursor, seen=lost.row.seen)
        known = self._known(start.checkpoint, start.given, lost)
        if start.retries is not None:
            return self._retry(process, start.checkpoint, start.given, start.retries, known)
        return self._scan(process, turn, start.checkpoint, start.given, start.is_first, known)

    def _known(self, checkpoint: Checkpoint, given: str | None, lost: Lost | None) -> Knowledge:
        """What the checkpoint that a tick starts from stands for."""
        stored, last_run_key = self.dagster.cursor, self.dagster.last_run_key
        if lost is not None and given == lost.row.cursor.text:
            self._mark(lost.row)
            stored, last_run_key = lost.row.cursor, lost.last_run_key
        last = _place_of(last_run_key)
        is_ = checkpoint.generation, checkpoint.sequence
        require(is_ > last, "START", f"{is_} does not lie behind the last run key, {last_run_key}")
        if stored is None or given is None:
            require(not checkpoint.has_begun, "START", "something is known without a cursor")
            return NOTHING
        require(given == stored.text, "START", "from another cursor")
        before = self.engine.decode(given)
        was = before.generation, before.sequence
        if is_ == was:
            return stored.knowledge
        if not checkpoint.has_begun and checkpoint.total is not None:
            require(is_[0] > max(was[0], last[0]), "START", f"{was} became {is_}")
            return NOTHING
        require(last >= was, "START", f"{was} became {is_} though nothing was set back")
        require(checkpoint.total is None, "START", "the cursor was set back, and the total kept")
        self._revoked.append((was, is_))
        self.counts["began behind a cursor set back"] += 1
        return replace(stored.knowledge, whole=False)

    def _retry(
        self,
        process: Process,
        checkpoint: Checkpoint,
        given: str | None,
        reset: Reset,
        known: Knowledge,
    ) -> Row:
        """Failed batches are requested again, before anything else."""
        failed = [
            run.request
            for run in self.dagster.runs[-2:]
            if run.request.generation == checkpoint.generation
        ]
        requests = tuple(
            each._replace(
                key=self.engine.run_key(
                    checkpoint.generation, checkpoint.sequence, each.batch_id, each.job
                ),
                sequence=checkpoint.sequence,
                repeats="retry",
            )
            for each in failed
        )
        after = replace(
            checkpoint, reset_seen=reset.at, sequence=checkpoint.sequence + bool(requests)
        )
        text = self.engine.encode(after)
        self.engine.carry(process, given, text)
        self.counts["failed batches requested again"] += len(requests)
        return Row(requests, Stored(text, known))

    def _scan(
        self,
        process: Process,
        turn: Turn,
        checkpoint: Checkpoint,
        given: str | None,
        is_first: bool,
        known: Knowledge,
    ) -> Row:
        chosen = FILTERS[self.filter]
        selection = chosen.selection("")
        if self.settings.grouped:
            selection = replace(selection, group_of=self._group_of)
        scanned_prefix = chosen.list_prefix("") if self.settings.narrows else ""
        now, clock = at(self.bucket.now), float(self.bucket.now)
        adopts = self.settings.from_now and is_first
        listing: _Look | None = None
        went_on = True

        def pages(prefix: str, after: str) -> Pages:
            nonlocal listing, went_on
            went_on = False
            if listing is None:
                listing = self._list(prefix, after, turn)
            assert (prefix, after) == (listing.prefix, listing.start)
            return listing.pages

        def read(generation: int, sequence: int) -> Ledger | LedgerProgress:
            self.counts["ledger asked for"] += 1
            if turn.reads_slowly:
                return LedgerProgress(len(self.dagster.runs), 0)
            return self.dagster.ledger(generation, sequence)

        def evaluate() -> tuple[ScanResult, bool, _Look]:
            nonlocal went_on
            went_on = True
            result = self.engine.scan(
                process,
                given,
                checkpoint,
                pages,
                prefix=scanned_prefix,
                now=now,
                clock=clock,
                selection=selection,
                limits=turn.limits,
                adopt=adopts,
                ledger=read,
            )
            look = process.looks[given] if went_on else listing
            assert look is not None, "It has been listed."
            process.looks[self.engine.encode(result.checkpoint)] = look
            return result, went_on, look

        result, went_on, look = evaluate()
        if turn.again:
            earlier, earlier_went_on = result, went_on
            result, went_on, look = evaluate()
            same = result.batches == earlier.batches and result.checkpoint == earlier.checkpoint
            # What waits may be emitted without a listing the second time.
            alike = same or earlier_went_on != went_on
            require(alike, "PURE", "the same scan emits something else when it is repeated")
        scanned = Scanned(
            before=checkpoint,
            known=known,
            result=result,
            listed=look.listed,
            versions=self._versions,
            prefix=look.prefix,
            start=look.start,
            is_cut=look.pages.in_time < len(look.pages.pages),
            counts=self.matches,
            limits=turn.limits,
            indexed=result.statistics.decided_by == "index" and not went_on,
            adopts=adopts or checkpoint.accepts_now,
            went_on=went_on,
            excused=self._excuse(checkpoint, known, process),
            life=process.life,
            recorded=self._recorded(checkpoint) if self.engine.used_total else frozenset(),
        )
        if self.log is not None:
            self.log(f"{self.bucket.now:6} {described(scanned)}")
        check(scanned)
        text = self.engine.encode(scanned.after)
        require(self.engine.decode(text) == scanned.after, "CURSOR", "is read as another")
        check_text(text, turn.limits, scanned.after)
        self._count(scanned)
        requests = self._requests(scanned)
        runs: dict[int, tuple[Decided, ...]] = {}
        for request in requests:
            for each in request.files:
                runs[each] = (*runs.get(each, ()), request.decided)
        knowledge = following(scanned, runs)
        seen = None
        if scanned.is_complete:
            before = frozenset() if known.reading is None else known.reading.seen
            seen = before | scanned.ranged
        return Row(requests, Stored(text, knowledge), seen=seen, prefix=look.prefix)

    def _list(self, prefix: str, after: str, turn: Turn) -> _Look:
        """What a server lists, in the midst of which things may happen."""
        random, start = turn.random, after
        largest = random.choice((3, 10, 1000) if turn.cut is None else (1, 3, 10))
        pages: list[Page] = []
        waiting = self.bucket.listing(after=after, prefix=prefix)
        allowed = len(waiting) if turn.cut is None else int(turn.cut * len(waiting))
        listed: dict[int, S3Object] = {}
        in_time = 0
        while waiting:
            count = random.randint(0 if random.random() < 0.05 else 1, largest)
            entries, waiting = waiting[:count], waiting[count:]
            pages.append(page_of(entries, random, with_bytes=self.settings.with_bytes))
            if turn.cut is not None and len(listed) >= allowed and listed:
                # This page comes too late, and so does all that is behind it.
                break
            in_time = len(pages)
            listed.update((self.fingerprint(each), each) for each in entries)
            after = entries[-1].key if entries else after
            if turn.churn and random.random() < turn.churn:
                random_change(self.bucket, random)
                self.bucket.now += random.choice((0, 0, 1))
                waiting = self.bucket.listing(after=after, prefix=prefix)
        return _Look(Pages(pages, in_time), listed, prefix, start)

    def _excuse(self, checkpoint: Checkpoint, known: Knowledge, process: Process) -> str:
        """Why files may be undecided."""
        if not known.whole:
            return "the beginning was adopted, or the cursor set back"
        if checkpoint.generation in self._incomplete:
            return "runs were deleted"
        if self.settings.memory == "bound":
            return "there is no index"
        if known.reading is not None and known.reading.life is not process.life:
            return "no process saw the whole scan"
        return ""

    def _recorded(self, checkpoint: Checkpoint) -> frozenset[int]:
        """What the runs of this generation record, but for repeats."""
        requests = (run.request for run in self.dagster.runs)
        return frozenset(
            each
            for request in requests
            if request.generation == checkpoint.generation and not request.repeats
            for each in request.files
        )

    def _requests(self, scanned: Scanned) -> tuple[Request, ...]:
        """What a tick requests that found this."""
        result = scanned.result
        generation = scanned.after.generation
        jobs = [f"job{number}" for number in range(self.settings.jobs)]
        return tuple(
            Request(
                self.engine.run_key(
                    generation, result.sequence, batch.id, job if len(jobs) > 1 else None
                ),
                generation,
                result.sequence,
                batch.id,
                job,
                batch.fingerprints,
                ("while undecided" if scanned.repeats_all else "reprocess")
                if result.repeats
                else "",
            )
            for batch in result.batches
            for job in jobs
        )

    def _submit(self, request: Request) -> None:
        """Dagster starts a run, unless its key is known."""
        if not self.dagster.submit(request, self.bucket.now):
            return
        self.counts["runs"] += 1
        self._started.add(request.decided)
        for each in request.files:
            earlier = self._emissions.setdefault(each, [])
            twice = next((one for one in earlier if self._is_twice(each, one, request)), None)
            entry = self._versions[each]
            require(twice is None, "TWICE", f"{named([entry])} by {request.key} and {twice}")
            earlier.append(
                _Emission(
                    request.generation, request.sequence, self._scans, request.job, request.repeats
                )
            )

    def _is_twice(self, fingerprint: int, earlier: _Emission, request: Request) -> bool:
        """Whether a run processes what another did, and should not."""
        if request.repeats or earlier.repeats in ("retry", "while undecided"):
            return False
        if (earlier.job, earlier.generation) != (request.job, request.generation):
            return False
        if self._absent.get(fingerprint, -1) > earlier.scan:
            return False
        place = earlier.generation, earlier.sequence
        return not any(low <= place < high for low, high in self._revoked)

    def _mark(self, row: Row) -> None:
        """Notes what a complete scan, whose cursor counts, did not list."""
        if row.seen is None or row.marked:
            return
        row.marked = True
        self._scans += 1
        for each in self._emissions:
            if each not in row.seen and self._versions[each].key.startswith(row.prefix):
                self._absent[each] = self._scans

    def _count(self, scanned: Scanned) -> None:
        statistics = scanned.result.statistics
        self.counts["scans"] += 1
        self.counts["with the index"] += scanned.indexed
        if statistics.decided_by is not None:
            self.counts[f"decided by the {statistics.decided_by}"] += 1
        if statistics.undecided is not None:
            read = statistics.undecided.progress is None
            self.counts["undecided" if read else "the ledger is read"] += 1
        self.counts["partial"] += scanned.is_partial

    # What the world knows.

    def fingerprint(self, entry: S3Object) -> int:
        """That of an object, reckoned once."""
        found = self._fingerprints.get(entry)
        if found is None:
            found = self._fingerprints[entry] = entry.fingerprint
        self._versions[found] = entry
        return found

    def _group_of(self, key: str) -> str | None:
        """The partition of a key; one of them is created some time."""
        return None if key[-1] in "89" and not self.all_partitioned else key[-1]

    def matches(self, entry: S3Object) -> bool:
        """Whether an object counts, in the model's own words."""
        return self._counts(entry) and (
            not self.settings.grouped or self._group_of(entry.key) is not None
        )

    def _counts(self, entry: S3Object) -> bool:
        if self.filter == "cold":
            return entry.storage_class == "STANDARD_IA"
        return entry.storage_class != "GLACIER" and (
            self.filter == "all" or entry.key.startswith(self.filter)
        )

    # The end.

    def settle(self, turn: Callable[[int], Turn], *, pause: int = 1, patience: int = 8) -> None:
        """Ticks until nothing is emitted any more; then nothing may be missing.

        Args:
            turn: The ticks.
            pause: Seconds between them.
            patience: So many ticks that emit nothing are enough.

        Raises:
            PromiseError: A promise is broken.
        """
        idle = 0
        for number in range(500):
            self.bucket.now += pause
            before = self.counts["runs"]
            self.tick(turn(number))
            idle = 0 if self.counts["runs"] > before else idle + 1
            if idle > patience and self._is_quiet():
                break
        else:
            raise PromiseError("NO END", "500 ticks were not enough")
        self._check_end()

    def _is_quiet(self) -> bool:
        cursor = self.dagster.cursor
        assert cursor is not None
        checkpoint = self.engine.decode(cursor.text)
        if checkpoint.reprocess is not None or checkpoint.partial_scan is not None:
            return False
        return not checkpoint.late or self.is_undecided

    @property
    def is_partial(self) -> bool:
        """Whether a scan goes on."""
        cursor = self.dagster.cursor
        return cursor is not None and cursor.knowledge.reading is not None

    @property
    def is_undecided(self) -> bool:
        """Whether the cursor says that it is not known of some files whether they were emitted."""
        cursor = self.dagster.cursor
        return cursor is not None and self.engine.decode(cursor.text).undecided > 0

    def _check_end(self) -> None:
        cursor = self.dagster.cursor
        assert cursor is not None
        knowledge, checkpoint = cursor.knowledge, self.engine.decode(cursor.text)
        lost, unstarted = [], []
        for entry in self.bucket.listing():
            each = self.fingerprint(entry)
            if not self.matches(entry):
                continue
            if each not in knowledge.may:
                if not (self.is_undecided and is_below(entry, checkpoint.watermark)):
                    lost.append(entry)
            elif not self._started.issuperset(knowledge.runs.get(each, ())):
                unstarted.append(entry)
        if self.is_undecided:
            self.counts["ends undecided"] += 1
        require(not lost, "LOST", f"{len(lost)}: {named(lost)}")
        require(not unstarted, "LOST", f"no run was started for {named(unstarted)}")


def _place_of(run_key: str | None) -> tuple[int, int]:
    """Generation and sequence of a run key; before all others if there is none."""
    if run_key is None:
        return 0, -1
    generation, sequence, *_ = run_key.split(":")
    return int(generation), int(sequence)
