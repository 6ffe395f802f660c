"""The demo: Dagster's UI, and files that keep landing."""

from __future__ import annotations

import random
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from example_project.orders import LandingFolder, broken_orders, make_orders
from example_project.place import WORKSPACE, prepared
from example_project.processes import running, tail
from example_project.settings import STATE

__all__ = ["DemoError", "run_demo"]

_START_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 0.5
_HOST: Final = "127.0.0.1"

# Every so many drops, a file is overwritten instead, as happens when a supplier corrects one.
_CORRECTED_EVERY: Final = 4

# In the first batch, among good ones.
_BROKEN: Final = 3

_REPAIR: Final = """Its run fails, and the sensor halts: see the checks of the asset.
To repair it, wait until the file was overwritten, as the shop does after some drops. Then press
"Re-execute" on the page of the failed run: it leaves the old version out, which is gone."""


class DemoError(Exception):
    """The demo could not start, or Dagster ended by itself."""


def run_demo(*, port: int, files: int, every: float, broken: bool, wipe: bool) -> None:
    """Runs the demo until it is interrupted.

    Args:
        port: For the UI; another free one is taken if it is in use.
        files: How many files land before Dagster starts, in a folder without any.
        every: Seconds from one new file to the next.
        broken: Whether one of these files cannot be read.
        wipe: Whether to forget what an earlier demo left.

    Raises:
        DemoError: It could not start, or Dagster ended by itself.
    """
    STATE.mkdir(exist_ok=True)
    state = STATE / "demo"
    try:
        # Two daemons on one state would each request runs.
        with FileLock(STATE / "demo.lock", timeout=0):
            if wipe:
                shutil.rmtree(state, ignore_errors=True)
            with prepared(state) as landing:
                bad = _BROKEN if broken and files >= _BROKEN else None
                _run(state, landing, port=port, files=files, every=every, broken=bad)
    except Timeout:
        raise DemoError("The demo is running already. End that one first.") from None


def _run(
    state: Path,
    landing: LandingFolder,
    *,
    port: int,
    files: int,
    every: float,
    broken: int | None,
) -> None:
    newest = max(_numbers(landing), default=0)
    if newest == 0:
        for newest in range(1, files + 1):
            landing.put(broken_orders(newest) if newest == broken else make_orders(newest))
        print(f"{files} files dropped. Dagster starts, which takes some seconds.", flush=True)
        if broken is not None:
            print(f"File {broken} is broken. {_REPAIR}", flush=True)
    free = _free_port(port)
    if free != port:
        print(f"Port {port} is in use, so the UI gets port {free}.")
    log = state / "dagster.log"
    log.unlink(missing_ok=True)
    dev = ["dev", "--workspace", str(WORKSPACE), "--host", _HOST, "--port", str(free)]
    with running("dagster", *dev, log=log) as dagster:
        _wait_for_ui(dagster, free, log)
        print(_where_to_look(f"http://{_HOST}:{free}", state), flush=True)
        drop = 0
        while _sleep(every, dagster):
            drop += 1
            if newest and drop % _CORRECTED_EVERY == 0:
                number = broken or random.randint(1, newest)  # noqa: S311 - which one is no secret
                broken = None
                landing.put(make_orders(number, version=drop))
                print(f"File {number} was overwritten.", flush=True)
            else:
                newest += 1
                landing.put(make_orders(newest))
                print(f"File {newest} dropped.", flush=True)
        raise DemoError(f"Dagster ended by itself. Its log ends:\n{tail(log)}")


def _numbers(landing: LandingFolder) -> list[int]:
    """The numbers of the files that are there, in a bucket that outlived an earlier demo."""
    found = (re.search(r"orders-(\d+)\.ndjson\.gz$", key) for key in landing.etags())
    return [int(match[1]) for match in found if match]


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            # As the web server does; else a port that was just in use counts as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError(f"No port is free on {_HOST}")


def _wait_for_ui(dagster: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while _sleep(_PAUSE_SECONDS, dagster) and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((_HOST, port)) == 0:
                return
    raise DemoError(f"Dagster's UI did not start. Its log ends:\n{tail(log)}")


def _sleep(seconds: float, dagster: subprocess.Popen[bytes]) -> bool:
    """Sleeps, or until Dagster ends; returns whether it is still there."""
    try:
        dagster.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def _where_to_look(ui: str, state: Path) -> str:
    location = f"{ui}/locations/example_project"
    return f"""
Where to look:
  the sensor and its ticks      {location}/sensors/landed_orders
  what came in, and what waits  {ui}/assets/landed_order_files
  one run for each batch        {ui}/runs
  the summary                   {ui}/assets/revenue_by_day
                                (its plot: press "Show Markdown")
  process everything again      {location}/jobs/reset_landed_orders/playground
                                (press "Launch Run")
  Dagster's log                 {state / "dagster.log"}
Ctrl-C ends it all. --wipe forgets it all.
"""
