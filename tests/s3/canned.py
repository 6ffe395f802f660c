"""A real boto3 client whose answers are given, for what no server here would answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

from botocore.awsrequest import AWSResponse

from tests.servers import S3Server

DATE = "Sun, 22 Nov 2026 12:00:00 GMT"
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


class _Body:
    """What botocore reads an answer's body from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, *_: Any, **__: Any) -> Any:
        yield self._content


def client_answering(*bodies: bytes, date: str | None = DATE) -> Any:
    """A client that gets these bodies, one for each request."""
    client = S3Server("none", "http://127.0.0.1:9").client()
    answers = iter(bodies)
    headers = {} if date is None else {"Date": date}

    def answer(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, 200, headers, _Body(next(answers)))

    client.meta.events.register("before-send.s3.ListObjectsV2", answer)
    return client


def page(
    *entries: str, truncated: str | None = "false", token: str = "", encoding: str = "url"
) -> bytes:
    """A ListObjectsV2 document around these entries, as S3 writes it."""
    parts = [
        '<?xml version="1.0" encoding="UTF-8"?>\n',
        f'<ListBucketResult xmlns="{NAMESPACE}"><Name>bucket</Name><Prefix></Prefix>',
        f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if token else "",
        f"<KeyCount>{len(entries)}</KeyCount><MaxKeys>1000</MaxKeys>",
        f"<EncodingType>{encoding}</EncodingType>" if encoding else "",
        "" if truncated is None else f"<IsTruncated>{truncated}</IsTruncated>",
        *entries,
        "</ListBucketResult>",
    ]
    return "".join(parts).encode()


def entry(elements: Sequence[tuple[str, str]]) -> str:
    """One entry of a page; the texts are written as they are."""
    inside = "".join(f"<{name}>{text}</{name}>" for name, text in elements)
    return f"<Contents>{inside}</Contents>"
