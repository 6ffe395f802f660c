"""The README's code, run; and its outputs, made. `python -m tests.readme` writes them into it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg

from tests.servers import S3Server, backdate, moto_server

README = Path(__file__).parent.parent / "README.md"
MOMENT = datetime(2026, 11, 22, 9, 0, tzinfo=timezone.utc)
LINES = b"1\n2\n3\n"


def code_blocks() -> list[str]:
    """The Python code in the README, in order."""
    return re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def outputs(server: S3Server) -> dict[str, str]:
    """What the README's code gives, by the name of the place where it is shown."""
    client = server.client()
    client.create_bucket(Bucket="lake")
    for number in range(250):
        key = f"landing/{number:03}.csv"
        client.put_object(Bucket="lake", Key=key, Body=LINES * 50)
        backdate("lake", key, MOMENT + timedelta(seconds=number))
    sensor_code, processor_code = code_blocks()
    with mock.patch.dict(os.environ, server.environment):
        return {"ticks": _ticks(sensor_code), "processor": _printed(processor_code)}


def with_outputs(made: dict[str, str]) -> str:
    """The README with these outputs in their places."""
    text = README.read_text("utf-8")
    for name, output in made.items():
        place = re.compile(rf"(<!-- output: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        block = f"```text\n{output}```\n"
        text, count = place.subn(lambda found, block=block: found[1] + block + found[2], text)
        assert count == 1, name
    return text


def _ticks(code: str) -> str:
    space = _run(code)
    definitions: dg.Definitions = space["defs"]
    sensor = definitions.resolve_sensor_def("landing")
    resources = {"s3": (definitions.resources or {})["s3"]}
    job = definitions.resolve_implicit_global_asset_job_def()
    said = io.StringIO()
    cursor = None
    for number in (1, 2):
        context = dg.build_sensor_context(cursor=cursor, resources=resources)
        with mock.patch.object(context.log, "info", lambda text: print(text, file=said)):
            print(f"tick {number}: ", end="", file=said)
            result = sensor.evaluate_tick(context)
        for request in result.run_requests or ():
            assert job.execute_in_process(run_config=request.run_config).success
            tags = {name: request.tags[f"dagster_s3inc/{name}"] for name in ("files", "bytes")}
            told = " ".join(f"{name}={value}" for name, value in tags.items())
            print(f"    run {request.run_key}  {told}", file=said)
        cursor = result.cursor
    return re.sub(r"in \d+\.\d\d s", "in 0.05 s", said.getvalue())


def _printed(code: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        _run(code)
    return said.getvalue()


def _run(code: str) -> dict[str, Any]:
    space: dict[str, Any] = {"__name__": "readme"}
    # Without this module's __future__ imports, as in a module of its own.
    compiled = compile(code, "README.md", "exec", dont_inherit=True)
    exec(compiled, space)  # noqa: S102 # that is what this module is for
    return space


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with moto_server() as local:
        README.write_text(with_outputs(outputs(local)), "utf-8")
