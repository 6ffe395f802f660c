"""A proxy between a client and a real S3 server that goes wrong on request."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.servers import S3Server

ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{}</Code><Message>-</Message></Error>'
HOP_HEADERS = {"connection", "transfer-encoding", "content-length", "keep-alive"}
CONDITIONS = {"if-match", "if-none-match"}

Fault = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request, answered by the server behind or by a fault."""

    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def handle_any(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_list = self.command == "GET" and "list-type=2" in self.path
        fault = self.server.next_fault() if is_list else None
        if self.command == "PUT" and CONDITIONS & {name.lower() for name in self.headers}:
            fault = self.server.conditional_put
        if fault is None:
            self.pass_on()
        else:
            fault(self)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any  # noqa: N815 # names of the base

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def pass_on(self) -> None:
        """Gives the answer of the server behind."""
        self.answer(*self.ask())

    def ask(self) -> tuple[int, dict[str, str], bytes]:
        """What the server behind answers."""
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        try:
            upstream.request(self.command, self.path, self.body, dict(self.headers))
            response = upstream.getresponse()
            headers = {
                name: value
                for name, value in response.getheaders()
                if name.lower() not in HOP_HEADERS
            }
            return response.status, headers, response.read()
        finally:
            upstream.close()

    def answer(self, status: int, headers: dict[str, str], body: bytes, cut: int = 0) -> None:
        """Sends an answer, `cut` bytes short of what its length says."""
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) - cut])
        if cut:
            self.close_connection = True


class FaultyProxy(ThreadingHTTPServer):
    """Answers the n-th LIST request by the n-th fault; None and the end of them mean no fault.

    Every conditional PUT is answered by `conditional_put`, if there is one.
    """

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.upstream = upstream
        self.faults: deque[Fault | None] = deque()
        self.requests = 0
        self.conditional_put: Fault | None = None

    def next_fault(self) -> Fault | None:
        self.requests += 1
        return self.faults.popleft() if self.faults else None

    def handle_error(self, *_: object) -> None:
        """A client that hung up is what some faults are about."""


@contextmanager
def faulty_proxy(server: S3Server) -> Iterator[tuple[FaultyProxy, S3Server]]:
    """The proxy, and the server as it is seen through it."""
    proxy = FaultyProxy(urlsplit(server.endpoint_url).netloc)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy, replace(server, endpoint_url=f"http://127.0.0.1:{proxy.server_address[1]}")
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()


def error(status: int, code: str) -> Fault:
    """An error answer."""

    def fault(exchange: Exchange) -> None:
        exchange.answer(status, {"Content-Type": "application/xml"}, ERROR.format(code).encode())

    return fault


def connection_reset(exchange: Exchange) -> None:
    """The connection is reset (RST) before an answer."""
    linger = struct.pack("ii", 1, 0)
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    exchange.close_connection = True
    exchange.connection.close()


def cut_body(exchange: Exchange) -> None:
    """The body ends in the middle."""
    status, headers, body = exchange.ask()
    exchange.answer(status, headers, body, cut=len(body) // 2)


def cut_body_that_seems_whole(exchange: Exchange) -> None:
    """The body ends in the middle, and its Content-Length agrees."""
    status, headers, body = exchange.ask()
    exchange.answer(status, headers, body[: len(body) // 2])


def empty_body(exchange: Exchange) -> None:
    """A 200 without a body."""
    status, headers, _ = exchange.ask()
    exchange.answer(status, headers, b"")


def not_s3(exchange: Exchange) -> None:
    """A 200 with somebody else's page, as a captive portal gives it."""
    exchange.answer(200, {"Content-Type": "text/html"}, b"<html><body>Welcome</body></html>")


def repeated_token(exchange: Exchange) -> None:
    """A page that says to go on with the token that it was asked for."""
    status, headers, body = exchange.ask()
    token = _between(exchange.path + "&", "continuation-token=", "&")
    new = _between(body.decode(), "<NextContinuationToken>", "</NextContinuationToken>")
    exchange.answer(status, headers, body.replace(new.encode(), token.encode()))


def without_conditions(exchange: Exchange) -> None:
    """The answer of a server that knows of no conditional writes."""
    for name in CONDITIONS:
        del exchange.headers[name]
    exchange.pass_on()


def hang(seconds: float) -> Fault:
    """No answer for a while, then nothing."""

    def fault(exchange: Exchange) -> None:
        time.sleep(seconds)
        exchange.close_connection = True

    return fault


def first(action: Callable[[], object]) -> Fault:
    """Something happens to the server just before it answers."""

    def fault(exchange: Exchange) -> None:
        action()
        exchange.pass_on()

    return fault


def _between(text: str, start: str, end: str) -> str:
    return text.split(start, 1)[1].split(end, 1)[0]
