"""The requests of a listing: what is sent, what counts as an answer, and how long one waits.

A request that the server does not answer would outlive the time that a scan may take: the client's
own timeouts, times its retries, add up to minutes, and nothing can stop a thread that waits. So
where there is a time limit, requests are sent by threads of their own (`Workers`), and whoever
waits for them stops waiting when the time is over. The thread is abandoned; it ends when the client
gives up, and does not keep the process from ending.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagster_s3inc.core.page import Page
from dagster_s3inc.errors import ConfigurationError, EndpointError, ListingError
from dagster_s3inc.s3.failures import server_fault, translated_failures
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.page_reader import entries_taken_out, page_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["Answer", "PageRequests", "Workers"]

# Dagster gives a sensor 60 s by default. What is left after these is for all else of a tick.
_TICK_SECONDS: Final = 50.0
_LEAST_GRACE: Final = 2.0
_GRACE_BEYOND: Final = 5.0

_Job = Callable[[], Any]
_Outcome = tuple[Any, Exception | None]


class Answer(NamedTuple):
    """One page, and what came with it.

    Attributes:
        page: The page.
        token: What the server goes on by; None at the end of the listing.
        headers: The HTTP headers, by lower-case names.
        seconds: How long the request took.
    """

    page: Page
    token: str | None
    headers: Mapping[str, str] = {}
    seconds: float = 0.0


class PageRequests:
    """Asks for pages of a listing, from any thread.

    Args:
        client: The boto3 client.
        location: The prefix that is listed.
    """

    def __init__(self, client: S3Client, location: S3Location) -> None:
        self._client, self.location = client, location

    def ask(self, after: bytes | None, token: str | None = None) -> Answer:
        """Asks for one page.

        Args:
            after: The page begins after this key; None means at the beginning.
            token: The page goes on where the one with this token ended; `after` is not heeded.

        Raises:
            S3RequestError: The page could not be had; the kind and the message say why.
        """
        where: dict[str, Any] = {}
        if token is not None:
            where["ContinuationToken"] = token
        elif after is not None:
            where["StartAfter"] = _text(after)
        began = time.monotonic()
        response = self._list(Prefix=self.location.key, **where)
        return Answer(
            page=page_of(response, self.location),
            token=self._following(response),
            headers=response["ResponseMetadata"].get("HTTPHeaders", {}),
            seconds=time.monotonic() - began,
        )

    def folders(self, prefix: bytes) -> list[bytes]:
        """Names the first folders within a prefix, each with the `/` at its end; one request.

        Raises:
            S3RequestError: They could not be had.
        """
        response = self._list(Prefix=_text(prefix), Delimiter="/")
        return [each["Prefix"].encode() for each in response.get("CommonPrefixes", ())]

    def _list(self, **what: Any) -> Any:
        location = self.location
        try:
            with translated_failures(f"list {location}"), entries_taken_out(self._client):
                return self._client.list_objects_v2(Bucket=location.bucket, **what)
        except UnicodeEncodeError as error:
            raise ConfigurationError(
                f"Could not list {location!r}: this is not text that can be sent ({error}). "
                f"Check the prefix"
            ) from error
        except (ValueError, TypeError, OverflowError, RuntimeError) as error:
            # So botocore fails at a LastModified or a Size that it cannot read.
            raise server_fault(
                location, f"the answer has a value that is not valid (botocore: {error})"
            ) from error

    def _following(self, response: Any) -> str | None:
        # An empty body of status 200 reads as an empty listing in boto3. A real one always says
        # whether it is truncated.
        truncated = response.get("IsTruncated")
        if truncated is None:
            raise ListingError(
                f"Could not list {self.location}: the answer has no IsTruncated, so it is not a "
                f"whole listing. Check whether endpoint_url names an S3 server, and what lies "
                f"between"
            )
        if not truncated:
            return None
        following: str | None = response.get("NextContinuationToken")
        if not following:
            raise server_fault(
                self.location, "it says that there is more, but not where to go on (no token came)"
            )
        return following


class Workers:
    """Threads that send requests, as many as are under way at a time.

    Not `concurrent.futures`, whose threads are waited for when the process ends.

    One waits longer than to the deadline of the scan, since the page that is on its way when the
    time is over is still wanted. A listing that cannot be stopped in the middle may take nearly all
    the time that Dagster gives a tick.

    Args:
        location: What is listed, for messages.
        deadline: When the scan shall end, by `time.monotonic`; None means never.

    Attributes:
        began: When the scan began, by `time.monotonic`.
        given: How many jobs were given so far.
        under_way: How many of them were not taken back.
    """

    def __init__(self, location: S3Location, deadline: float | None) -> None:
        self.began = time.monotonic()
        self.given = self.under_way = 0
        self._location = location
        self._deadline = inf if deadline is None else deadline
        budget = self._deadline - self.began
        self._grace = min(max(_TICK_SECONDS - budget, _GRACE_BEYOND), max(budget, _LEAST_GRACE))
        self._end = self._deadline + self._grace
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._done: SimpleQueue[_Outcome] = SimpleQueue()
        self._threads = 0

    def __del__(self) -> None:
        self.close()

    def submit(self, job: _Job, *, ahead: bool = False) -> None:
        """Begins with a job.

        Args:
            job: What to do.
            ahead: Whether something else is done meanwhile. If not, and there is no deadline, the
                job is done at once: a thread would cost a fifth of a request's time.
        """
        self.given += 1
        self.under_way += 1
        if self._deadline == inf and not ahead:
            self._done.put(_outcome(job))
            return
        if self._threads < self.under_way:
            self._threads += 1
            name = f"s3inc-request-{self._threads}"
            Thread(target=_work, args=(self._jobs, self._done), name=name, daemon=True).start()
        self._jobs.put(job)

    @property
    def has_result(self) -> bool:
        """Whether a result can be taken without waiting."""
        return not self._done.empty()

    def result(self) -> Any:
        """Waits for the next job that ends, and takes its result.

        Raises:
            EndpointError: None ended in time.
            Exception: What the job raised.
        """
        try:
            result, error = self._done.get(timeout=self._patience())
        except Empty:
            raise EndpointError(
                f"Could not list {self._location}: the server did not answer in time (the scan "
                f"began {time.monotonic() - self.began:.0f} s ago), so nothing is known about what "
                f"is new. Check the server and the network. If it is only slow, raise time_budget"
            ) from None
        self.under_way -= 1
        if error is not None:
            raise error
        return result

    def map(self, function: Callable[[Any], Any], values: Iterable[Any]) -> list[Any]:
        """The results of calls, in any order; nothing else is under way."""
        for value in values:
            self.submit(partial(function, value), ahead=True)
        return [self.result() for _ in range(self.under_way)]

    def close(self) -> None:
        """Lets each thread end when it has done what it is doing."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0

    def allow_a_whole_listing(self) -> None:
        """Gives the time that a listing takes that cannot be stopped in the middle."""
        self._end = max(self._end, self.began + _TICK_SECONDS)

    @property
    def is_busy(self) -> bool:
        """Whether a thread is still waiting for an answer."""
        return self.under_way > self._done.qsize()

    @property
    def is_hanging(self) -> bool:
        """Whether a thread is still waiting for an answer that nobody waits for any more."""
        return self.is_busy and time.monotonic() > self._end

    def _patience(self) -> float | None:
        """For how many seconds a request is waited for; None means for ever."""
        now = time.monotonic()
        seconds = min(self._end, max(self._deadline, now) + self._grace) - now
        return None if seconds == inf else max(0.0, seconds)


def _work(jobs: SimpleQueue[_Job | None], done: SimpleQueue[_Outcome]) -> None:
    while (job := jobs.get()) is not None:
        done.put(_outcome(job))
        del job


def _outcome(job: _Job) -> _Outcome:
    try:
        return job(), None
    except Exception as error:  # noqa: BLE001 # raised again where the result is taken
        return None, error


def _text(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"A listing cannot begin after {key[:100]!r}: that is not UTF-8, so it is not a key"
        ) from None
