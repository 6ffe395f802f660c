"""What a person reads off the pages of a prefix, state by state; one story in order."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as NotShownError

from dagster_s3inc import find_runs
from tests.browser.conftest import PATIENCE_MS, START_SECONDS
from tests.browser.test_ui import open_page, picture
from tests.servers import S3Server, backdate, free_ports, moto_server

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
BUCKET = "landing"
# A batch is of one day.
FIRST, *OTHERS, FULL = [f"in/dt=2026-01-0{day}/" for day in range(1, 6)]
# Runs go one after the other, so that some are queued while one is held.
SETTINGS = """
telemetry: {enabled: false}
nux: {enabled: false}
concurrency: {runs: {max_concurrent_runs: 1}}
"""


@dataclass
class Prefix:
    """The prefix, its Dagster, and what a test can do to them."""

    server: S3Server
    home: Path
    ui: str = ""
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        (self.home / "dagster.yaml").write_text(SETTINGS)
        self.switches.mkdir()

    @property
    def switches(self) -> Path:
        return self.home / "switches"

    def put(self, *keys: str) -> None:
        for key in keys:
            self.server.client().put_object(Bucket=BUCKET, Key=key, Body=b"xyz")

    def start(self, page: Page) -> None:
        """Starts Dagster's UI and daemon: a new process, which has no index in memory."""
        [port] = free_ports(1)
        self.ui = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            **self.server.environment,
            "DAGSTER_HOME": str(self.home),
            "TEST_URI": f"s3://{BUCKET}/in/",
            "TEST_SWITCHES": str(self.switches),
        }
        command = ["dagster", "dev", "-m", "tests.browser.states", "-h", "127.0.0.1"]
        with (self.home / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command, "-p", str(port)],
                env=environment,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                page.goto(self.ui)
            except PlaywrightError:
                # It has not started yet.
                if time.monotonic() > deadline:
                    raise AssertionError((self.home / "log").read_text()[-3000:]) from None
                time.sleep(1)
            else:
                return

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(START_SECONDS)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory, page: Page) -> Iterator[Prefix]:
    """A prefix with four files, the first of which is bad; runs are held at first."""
    with moto_server() as server:
        server.client().create_bucket(Bucket=BUCKET)
        made = Prefix(server, tmp_path_factory.mktemp("home"))
        (made.switches / "hold").touch()
        made.put(f"{FIRST}bad", *(f"{day}good" for day in OTHERS))
        made.start(page)
        try:
            yield made
        finally:
            made.stop()


def newest_event(page: Page, prefix: Prefix) -> dict[str, str]:
    """The metadata of the newest event of the source asset, as its page shows them."""
    open_page(page, f"{prefix.ui}/assets/landing_files?view=events")
    rows = page.locator("table tr")
    try:
        rows.first.wait_for(timeout=10_000)
    except NotShownError:
        return {}
    cells: list[Any] = [each.locator("td").all_inner_texts() for each in rows.all()]
    return {each[0]: each[1] for each in cells if len(each) > 1}


def wait_for(page: Page, prefix: Prefix, **numbers: str) -> None:
    """Waits until the newest event says these numbers; `files_done` stands for `files done`."""
    wanted = {name.replace("_", " "): value for name, value in numbers.items()}
    deadline = time.monotonic() + PATIENCE_MS / 1000
    seen: dict[str, str] = {}
    while time.monotonic() < deadline:
        seen = newest_event(page, prefix)
        if wanted.items() <= seen.items():
            return
        time.sleep(1)
    raise AssertionError(f"{wanted} is not shown, but {seen}")


def open_check(page: Page, prefix: Prefix, name: str) -> None:
    url = f"{prefix.ui}/assets/landing_files?view=checks&checkDetail={name}"
    open_page(page, url)


def expect_check(page: Page, prefix: Prefix, name: str, result: str) -> None:
    """Waits until a check's page shows a result."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while True:
        open_check(page, prefix, name)
        result_tag = page.get_by_text("Evaluation result").locator("xpath=..")
        try:
            expect(result_tag).to_contain_text(result, timeout=8_000)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def test_waiting_queued_and_running(prefix: Prefix, page: Page) -> None:
    """While a run is held: what waits to be requested, what is queued and what runs."""
    wait_for(page, prefix, files_waiting="1", files_queued="2", files_running="1")
    picture(page, "state_running")
    open_check(page, prefix, "backlog_age")
    expect(page.get_by_text("2 files in 2 batches are queued").first).to_be_visible()
    open_page(page, f"{prefix.ui}/runs")
    expect(page.get_by_text("dagster_s3inc/files: 1 (3 bytes)")).to_have_count(3)
    expect(page.get_by_text("dagster/s3inc/", exact=False)).to_have_count(0)
    picture(page, "state_runs")


def test_failed_and_halted(prefix: Prefix, page: Page) -> None:
    """A batch that fails halts the line: the asset is red, and says which run and what to do."""
    (prefix.switches / "hold").unlink()
    wait_for(page, prefix, files_failed="1", files_done="2", files_waiting="1")
    expect(page.get_by_text("Halted: batch").first).to_be_visible()
    picture(page, "state_halted")
    expect_check(page, prefix, "batches_failed", "Failed")
    expect(page.get_by_text("Nothing is requested until a re-execution").first).to_be_visible()
    picture(page, "state_halted_check")
    open_page(page, f"{prefix.ui}/assets/landing_files?view=lineage")
    expect(page.get_by_text("3 / 4 Passed")).to_be_visible()
    picture(page, "state_halted_lineage")


def test_repaired(prefix: Prefix, page: Page) -> None:
    """The failed run is re-executed from its page; the line goes on by itself, and is green."""
    (prefix.switches / "fixed").touch()
    open_check(page, prefix, "batches_failed")
    page.locator('table a[href*="/runs/"]').first.click()
    page.get_by_role("button", name="Re-execute all").click()
    wait_for(page, prefix, files_done="4")
    expect_check(page, prefix, "batches_failed", "Passed")
    picture(page, "state_repaired")
    open_page(page, f"{prefix.ui}/assets/landing_files?view=lineage")
    expect(page.get_by_text("4 / 4 Passed")).to_be_visible()


def test_unpartitioned(prefix: Prefix, page: Page) -> None:
    """A file in no group is counted, named, and asked about by a check."""
    prefix.put("in/nowhere")
    expect_check(page, prefix, "files_partitioned", "Failed")
    expect(page.get_by_text("in/nowhere").first).to_be_visible()
    picture(page, "state_unpartitioned")
    prefix.server.client().delete_object(Bucket=BUCKET, Key="in/nowhere")
    expect_check(page, prefix, "files_partitioned", "Passed")


def test_undecided_and_settled(prefix: Prefix, page: Page) -> None:
    """Of late files it cannot be said whether they were requested; a reset settles them.

    For that, the process has ended, more came late than the cursor can tell apart, and a run that
    told of its files was deleted.
    """
    prefix.put(*(f"{FULL}early-{number:02}" for number in range(40)))
    wait_for(page, prefix, files_done="44")
    prefix.stop()
    with dg.DagsterInstance.from_config(str(prefix.home)) as instance:
        [run] = find_runs(instance, f"{FULL}early-00").runs
        instance.delete_run(run.run_id)
    keys = [f"{FULL}late-{number:02}" for number in range(60)]
    prefix.put(*keys)
    for key in keys:
        backdate(BUCKET, key, datetime.now(timezone.utc) - timedelta(hours=3))
    prefix.start(page)
    expect_check(page, prefix, "late_files_decided", "Failed")
    picture(page, "state_undecided")
    open_page(page, f"{prefix.ui}/locations/tests.browser.states/jobs/reset_landing/playground")
    launch = page.get_by_role("button", name="Launch Run")
    expect(launch).to_be_enabled()
    config = "ops: {reset_landing_checkpoint: {config: {what: accept_listed}}}"
    page.locator(".CodeMirror").first.evaluate(
        "(box, text) => box.CodeMirror.setValue(text)", config
    )
    expect(launch).to_be_enabled()
    launch.click()
    expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible()
    expect_check(page, prefix, "late_files_decided", "Passed")
