"""A server that lists like S3 and does nothing else: `python -m benchmarks.server`.

It listens on several ports of loopback, one for each moment of the buckets, and one whose answers
take as long as those of a far server; requests that come side by side wait side by side. It writes
its endpoints to standard output, and ends when standard input does, as when its parent ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from benchmarks.content import MOMENTS, Content
from benchmarks.pages import QueryError, list_objects

__all__ = ["FAR", "Service", "listen", "services_of"]

FAR: Final = "far"
"""The port of the far server, at the moment when nothing has changed."""


class Service:
    """What one port answers.

    Buckets are at one moment. Listings wait for `latency` seconds. The paths below `/-/` answer
    what the benchmark wants to know: how many requests came, and what is to be found.
    """

    def __init__(self, contents: Mapping[str, Content], moment: str, latency: float = 0.0) -> None:
        self._contents, self._moment, self._latency = contents, moment, latency
        self._requests = 0

    def answer(self, target: str) -> tuple[float, bytes]:
        """The whole answer, head and body, and how many seconds it is to wait."""
        url = urlsplit(target)
        given = dict(parse_qsl(url.query, keep_blank_values=True))
        if url.path == "/-/requests":
            return 0.0, _answer(HTTPStatus.OK, [b"%d" % self._requests])
        if url.path == "/-/expected":
            content = self._contents[given.pop("bucket")]
            expected = content.expected(self._moment, oldest=int(given.pop("oldest")), **given)
            return 0.0, _answer(HTTPStatus.OK, [json.dumps(expected).encode()])
        self._requests += 1
        name = unquote(url.path).strip("/")
        try:
            if name not in self._contents:
                raise QueryError(HTTPStatus.NOT_FOUND, "NoSuchBucket", f"There is no {name!r}")
            # A HEAD has no parameters, and is refused like all that is not a listing.
            parts = list_objects(name, self._contents[name].at(self._moment), given)
            return self._latency, _answer(HTTPStatus.OK, parts)
        except QueryError as error:
            text = f"<Code>{error.code}</Code><Message>{escape(str(error))}</Message>"
            return self._latency, _answer(error.status, [b"<Error>", text.encode(), b"</Error>"])


async def listen(service: Service) -> tuple[str, asyncio.Server]:
    """Listens on a free port of loopback; the endpoint, and what is to be closed."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # One request after the other, until the client goes or the server ends.
        ends = asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError
        with contextlib.suppress(*ends):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                seconds, answer = service.answer(head.split(b" ", 2)[1].decode("ascii"))
                await asyncio.sleep(seconds)
                writer.write(answer)
                await writer.drain()
        writer.close()

    listening = await asyncio.start_server(converse, "127.0.0.1", 0)
    return f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}", listening


def services_of(contents: Mapping[str, Content], latency: float) -> dict[str, Service]:
    """The services of all moments, and the far one."""
    services = {moment: Service(contents, moment) for moment in MOMENTS}
    return {**services, FAR: Service(contents, "nothing", latency)}


def _answer(status: HTTPStatus, parts: Sequence[bytes]) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"x-amz-request-id: {time.perf_counter_ns():016X}\r\n"
        f"x-amz-bucket-region: us-east-1\r\n"
        f"Date: {formatdate(usegmt=True)}\r\n"
        f"Content-Type: application/xml\r\n"
        f"Content-Length: {sum(map(len, parts))}\r\n"
        f"Server: benchmarks\r\n\r\n"
    )
    return b"".join((head.encode(), *parts))


async def _main(buckets: Mapping[str, Mapping[str, Any]], latency: float) -> None:
    # Millions of small values that stay: none of them is garbage to collect.
    gc.disable()
    now = datetime.now(timezone.utc)
    contents = {name: Content(now=now, **options) for name, options in buckets.items()}
    for content in contents.values():
        content.at("nothing")
    services = services_of(contents, latency).items()
    listening = {name: await listen(service) for name, service in services}
    print(json.dumps({name: endpoint for name, (endpoint, _) in listening.items()}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(**json.loads(sys.argv[1])))
