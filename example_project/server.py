"""An S3 server for those who have none at hand: moto, in a process of its own.

It keeps everything in memory. When the demo is started again, the bucket is empty, while Dagster
remembers what it has processed. Nothing goes wrong: files that are uploaded again are new objects
to S3, so they are processed again, and replace their own rows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from example_project.processes import running, tail
from example_project.settings import ENDPOINT_VARIABLES, URI_VARIABLE

__all__ = ["ServerError", "embedded_server", "is_s3_given"]

_START_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.1


class ServerError(Exception):
    """The embedded S3 server did not start."""


def is_s3_given() -> bool:
    """Whether the environment names a bucket or an S3 server to use."""
    return any(os.environ.get(variable) for variable in (URI_VARIABLE, *ENDPOINT_VARIABLES))


@contextlib.contextmanager
def embedded_server(state: Path) -> Iterator[str]:
    """Runs an S3 server on a free loopback port, and points the environment at it.

    From then on boto3 finds it, here and in every child process, just as it would find AWS.

    Args:
        state: A folder for its log, and for the file in which it says where it listens.

    Yields:
        Its endpoint.

    Raises:
        ServerError: It did not start.
    """
    log, address = state / "s3.log", state / "s3.endpoint"
    address.unlink(missing_ok=True)
    with running("example_project.server", str(address), log=log) as process:
        deadline = time.monotonic() + _START_SECONDS
        while not address.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServerError(f"The S3 server did not start. Its log ends:\n{tail(log)}")
            time.sleep(_PAUSE_SECONDS)
        endpoint = address.read_text()
        os.environ.update(
            AWS_ENDPOINT_URL_S3=endpoint,
            # moto takes any, but boto3 insists on having some.
            AWS_ACCESS_KEY_ID="example",
            AWS_SECRET_ACCESS_KEY="example",  # noqa: S106 - see above
            AWS_DEFAULT_REGION="us-east-1",
            # Loopback is not to be reached through a proxy.
            NO_PROXY=",".join(filter(None, [os.environ.get("NO_PROXY"), "127.0.0.1"])),
        )
        # These would win over the above, or fail for lack of a profile of that name.
        for variable in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN"):
            os.environ.pop(variable, None)
        yield endpoint


def _serve(address: Path) -> None:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # Not a line for each request.
    # Port 0: the system picks a free one, so that none has to be guessed.
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    fresh = address.with_suffix(".new")
    fresh.write_text(f"http://{host}:{port}")
    fresh.rename(address)  # In one step: a reader sees all of it or nothing.
    # Ends when the parent does, however that ends: this is the pipe's other end.
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
