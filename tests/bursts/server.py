"""An S3 server in this process: it lists what the scenarios' buckets show, by their clock.

It answers ListObjectsV2 to the letter as Amazon S3 does, and keeps the one object in which a
processor has its checkpoint (GET, HEAD and PUT, with If-Match and If-None-Match). Whatever else is
asked of it is refused, and remembered, so that no test passes on an answer that S3 would not give.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import boto3
from botocore.config import Config

from tests.bursts.bucket import Bucket, encoded

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
_HEAD_END = b"\r\n\r\n"
_MOST_KEYS = 1000
_PARAMETERS = frozenset(
    {
        "list-type",
        "prefix",
        "delimiter",
        "max-keys",
        "start-after",
        "continuation-token",
        "encoding-type",
    }
)


class _RefusedError(Exception):
    def __init__(self, status: str, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class _Stored:
    body: bytes
    headers: Mapping[str, str]

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.body).hexdigest()}"'  # noqa: S324 # S3's own ETag


@dataclass
class Server:
    """What is listed and stored, and what time it is."""

    endpoint_url: str = ""
    now: datetime = datetime(2026, 11, 22, 9, tzinfo=timezone.utc)
    buckets: dict[str, Bucket] = field(default_factory=dict)
    stored: dict[str, _Stored] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)

    def new_bucket(self) -> Bucket:
        bucket = Bucket(f"bucket-{len(self.buckets)}")
        self.buckets[bucket.name] = bucket
        return bucket

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="test-access",
            aws_secret_access_key="test-secret",
            config=Config(
                retries={"mode": "standard", "max_attempts": 1},
                max_pool_connections=32,
                s3={"addressing_style": "path"},
            ),
        )

    def text(self, path: str) -> str | None:
        """What is stored at `BUCKET/KEY`; None where nothing is."""
        stored = self.stored.get(path)
        return None if stored is None else stored.body.decode()

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """The whole answer to one request."""
        url = urlsplit(target)
        path = unquote(url.path).strip("/")
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            if method == "GET" and "list-type" in query:
                return self._answer("200 OK", [self._listing(path, query)], {})
            return self._object(method, path, headers, body)
        except _RefusedError as refusal:
            if refusal.status.startswith(("400", "501")):
                self.refused.append(f"{method} {target}: {refusal.code}")
            error = f"<Error><Code>{refusal.code}</Code><Message>{refusal.code}</Message></Error>"
            content = [] if method == "HEAD" else [error.encode()]
            return self._answer(refusal.status, content, {})

    def _listing(self, name: str, query: Mapping[str, str]) -> bytes:
        bucket = self.buckets.get(name)
        if bucket is None:
            raise _RefusedError("404 Not Found", "NoSuchBucket")
        if set(query) - _PARAMETERS or query.get("encoding-type") != "url":
            raise _RefusedError("501 Not Implemented", "NotImplemented")
        prefix, token = query.get("prefix", ""), query.get("continuation-token")
        after = query.get("start-after", "") if token is None else _decoded(token)
        most = min(int(query.get("max-keys", _MOST_KEYS)), _MOST_KEYS)
        delimiter = query.get("delimiter")
        folders: list[str] = []
        if delimiter:
            entries, folders, last = bucket.folders(prefix, after, delimiter, most)
        else:
            entries, last = bucket.page(prefix, after, most)
        elements = {
            "Name": name,
            "Prefix": encoded(prefix),
            "StartAfter": encoded(query.get("start-after", "")) if token is None else "",
            "ContinuationToken": token or "",
            "NextContinuationToken": "" if last is None else base64.b64encode(last.encode()),
            "KeyCount": len(entries) + len(folders),
            "MaxKeys": most,
            "Delimiter": encoded(delimiter or ""),
            "EncodingType": "url",
            "IsTruncated": "false" if last is None else "true",
        }
        head = "".join(
            f"<{tag}>{text.decode() if isinstance(text, bytes) else text}</{tag}>"
            for tag, text in elements.items()
            if text != "" or tag == "Prefix"
        )
        rolled = "".join(
            f"<CommonPrefixes><Prefix>{encoded(folder)}</Prefix></CommonPrefixes>"
            for folder in folders
        )
        opening = f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{NAMESPACE}">'
        return b"".join(
            (
                f"{opening}{head}".encode(),
                *entries,
                rolled.encode(),
                b"</ListBucketResult>",
            )
        )

    def _object(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
        stored = self.stored.get(path)
        if method == "PUT":
            if "if-none-match" in headers and stored is not None:
                raise _RefusedError("412 Precondition Failed", "PreconditionFailed")
            if "if-match" in headers:
                if stored is None:
                    raise _RefusedError("404 Not Found", "NoSuchKey")
                if headers["if-match"] != stored.etag:
                    raise _RefusedError("412 Precondition Failed", "PreconditionFailed")
            meta = {name: each for name, each in headers.items() if name.startswith("x-amz-meta-")}
            self.stored[path] = stored = _Stored(body, meta)
            return self._answer("200 OK", [], {"ETag": stored.etag})
        if method not in ("GET", "HEAD"):
            raise _RefusedError("501 Not Implemented", "NotImplemented")
        if stored is None:
            raise _RefusedError("404 Not Found", "NoSuchKey")
        told = {**stored.headers, "ETag": stored.etag}
        if method == "GET":
            return self._answer("200 OK", [stored.body], told)
        return self._answer("200 OK", [], {**told, "Content-Length": str(len(stored.body))})

    def _answer(self, status: str, parts: list[bytes], headers: Mapping[str, str]) -> bytes:
        all_headers = {
            "x-amz-request-id": "0123456789ABCDEF",
            "x-amz-bucket-region": "us-east-1",
            "Date": format_datetime(self.now.replace(microsecond=0), usegmt=True),
            "Content-Type": "application/xml",
            "Content-Length": str(sum(map(len, parts))),
            "Server": "AmazonS3",
            **headers,
        }
        lines = "".join(f"{name}: {each}\r\n" for name, each in all_headers.items())
        return b"".join((f"HTTP/1.1 {status}\r\n{lines}\r\n".encode(), *parts))


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, one request after the other."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while _HEAD_END in self._received:
            head, _, rest = self._received.partition(_HEAD_END)
            first, *lines = head.decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): text.strip() for name, _, text in pairs}
            length = int(headers.get("content-length", 0))
            if len(rest) < length:
                if "expect" in headers and not rest:
                    self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                return
            self._received = rest[length:]
            method, target, _ = first.split(" ")
            self._transport.write(self._server.answer(method, target, headers, rest[:length]))


@contextmanager
def running_server() -> Iterator[Server]:
    """A server on a free port of loopback, which ends with the block."""
    server = Server()
    loop = asyncio.new_event_loop()
    listening = loop.run_until_complete(
        loop.create_server(lambda: _Connection(server), host="127.0.0.1", port=0)
    )
    server.endpoint_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever, name="bursts-s3", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(listening.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _decoded(token: str) -> str:
    try:
        return base64.b64decode(token, validate=True).decode()
    except ValueError:
        raise _RefusedError("400 Bad Request", "InvalidArgument") from None
