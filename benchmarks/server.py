"""A server that lists like S3 and does nothing else: `python -m benchmarks.server`.

It listens on several ports of loopback, each for one moment of the buckets (before and after the
new objects came) and one latency. The latency is waited for each request by itself, so requests
that come side by side wait side by side, as they do on a network.

It says its ports in one line of JSON on standard output, and ends when standard input does, which
is when its parent ends, however that ends.
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
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.sax.saxutils import escape

from benchmarks.content import Content, make_content
from benchmarks.pages import Bucket, list_objects
from benchmarks.query import Query, QueryError

__all__ = ["Service", "bucket_name", "serve"]

_HEAD_END: Final = b"\r\n\r\n"
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 501: "Not Implemented"}
_STATUS: Final = {"NoSuchBucket": 404, "NoSuchKey": 404, "NotImplemented": 501}


class Service:
    """What one port answers.

    Args:
        buckets: By their names.
        latency: Seconds that each answer of a listing waits.
        contents: What the buckets were made of, for the question what is to be found.
    """

    def __init__(
        self,
        buckets: Mapping[str, Bucket],
        *,
        latency: float = 0.0,
        contents: Mapping[str, Content] | None = None,
    ) -> None:
        self._buckets = buckets
        self._contents = contents or {}
        self._latency = latency
        self._requests = 0
        self._bytes = 0

    def answer(self, method: str, target: str) -> tuple[float, bytes]:
        """The whole answer, head and body, and how many seconds it is to wait."""
        url = urlsplit(target)
        if url.path.startswith("/-/"):
            return 0.0, self._tell(url.path[3:], dict(parse_qsl(url.query)))
        self._requests += 1
        name = unquote(url.path).strip("/")
        try:
            if method == "HEAD":
                raise QueryError("NoSuchKey", "No object has content here")
            if method != "GET":
                raise QueryError("NotImplemented", f"Only ListObjectsV2, not {method} {target}")
            if name not in self._buckets:
                raise QueryError("NoSuchBucket", f"There is no bucket {name!r}")
            query = Query.parse(dict(parse_qsl(url.query, keep_blank_values=True)))
            parts = list_objects(name, self._buckets[name], query)
            answer = _answer(200, parts)
        except QueryError as error:
            answer = _answer(_STATUS.get(error.code, 400), [_error(error)])
            if method == "HEAD":
                answer = answer[: answer.index(_HEAD_END) + len(_HEAD_END)]
        self._bytes += len(answer)
        return self._latency, answer

    def _tell(self, what: str, parameters: Mapping[str, str]) -> bytes:
        """Answers the benchmark's own questions, which are not counted."""
        told: Mapping[str, object] = {
            "requests": self._requests,
            "bytes": self._bytes,
            "cpu": time.process_time(),
        }
        if what == "expected":
            told = self._contents[parameters["bucket"]].expected(parameters["prefix"])
        return _answer(200, [json.dumps(told).encode()], kind="application/json")


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request after the other."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._received = b""
        self._is_waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._go_on()

    def _go_on(self) -> None:
        if self._is_waiting or _HEAD_END not in self._received:
            return
        head, _, self._received = self._received.partition(_HEAD_END)
        method, target, _ = head.split(b"\r\n", 1)[0].decode("ascii").split(" ")
        seconds, answer = self._service.answer(method, target)
        if seconds:
            self._is_waiting = True
            asyncio.get_running_loop().call_later(seconds, self._send, answer)
        else:
            self._send(answer)

    def _send(self, answer: bytes) -> None:
        self._is_waiting = False
        self._transport.write(answer)
        self._go_on()


def bucket_name(old: int) -> str:
    """The bucket that has so many old objects."""
    return f"objects-{old}"


async def serve(
    services: Mapping[str, Service],
) -> tuple[dict[str, str], contextlib.ExitStack]:
    """Listens on a free port of loopback for each service.

    Returns:
        The endpoint of each, and what closes them.
    """
    stack = contextlib.ExitStack()
    endpoints = {}
    for name, service in services.items():
        listening = await asyncio.get_running_loop().create_server(
            lambda service=service: _Connection(service),  # type: ignore[misc]
            host="127.0.0.1",
            port=0,
        )
        # Not `async with`, which from Python 3.12 on waits until the clients have gone.
        stack.callback(listening.close)
        endpoints[name] = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    return endpoints, stack


def _answer(status: int, parts: Sequence[bytes], kind: str = "application/xml") -> bytes:
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        f"x-amz-request-id: {time.perf_counter_ns():016X}\r\n"
        f"x-amz-bucket-region: us-east-1\r\n"
        f"Date: {formatdate(usegmt=True)}\r\n"
        f"Content-Type: {kind}\r\n"
        f"Content-Length: {sum(map(len, parts))}\r\n"
        f"Server: benchmarks\r\n\r\n"
    )
    return b"".join((head.encode(), *parts))


def _error(error: QueryError) -> bytes:
    text = f"<Error><Code>{error.code}</Code><Message>{escape(str(error))}</Message></Error>"
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text.encode()


async def _main(options: dict[str, str]) -> None:
    new, latency = int(options["new"]), float(options["latency"])
    # A million small values that stay: no use in looking for garbage among them.
    gc.disable()
    contents = {
        bucket_name(old): make_content(old, new, now=datetime.now(timezone.utc))
        for old in map(int, options["sizes"].split(","))
    }
    before = {name: content.before for name, content in contents.items()}
    after = {name: content.after for name, content in contents.items()}
    endpoints, stack = await serve(
        {
            "before": Service(before),
            "after": Service(after, contents=contents),
            "far": Service(after, latency=latency),
        }
    )
    with stack:
        print(json.dumps(endpoints), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
