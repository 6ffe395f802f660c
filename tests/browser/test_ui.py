"""What a person sees and does in the UI, from the first tick to a reset; one story in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

PICTURES = Path(__file__).parents[2] / ".state" / "pictures"


def open_page(page: Page, url: str) -> None:
    """Goes there, and closes what Dagster shows to newcomers."""
    page.goto(url, wait_until="domcontentloaded")


def picture(page: Page, name: str) -> None:
    """Keeps what is seen, for a person to see."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def test_sensor_ticks(ui: str, page: Page) -> None:
    """The sensor's page shows that it runs, what its ticks requested, and its cursor."""
    open_page(page, f"{ui}/locations/example_project/sensors/landed_orders")
    expect(page.get_by_text("3 runs requested").first).to_be_visible()
    expect(page.get_by_text("View logs").first).to_be_visible()
    expect(page.get_by_text(re.compile(r'"version":2,"generation":1')).first).to_be_visible()
    picture(page, "sensor")


def test_batch_and_its_files(ui: str, page: Page) -> None:
    """A run's tags tell the batch, and its config lists the files."""
    open_page(page, f"{ui}/runs?q[0]=tag:dagster/s3inc/generation=1")
    expect(page.get_by_text("dagster_s3inc/files: 5 (").first).to_be_visible()
    expect(page.get_by_text("Success")).to_have_count(3)
    picture(page, "runs")
    page.locator('a[href^="/runs/"]').first.click()
    page.get_by_text("View tags and config").click()
    expect(page.get_by_text(re.compile(r"orders-\d+\.ndjson\.gz")).first).to_be_visible()
    expect(page.get_by_text("batch_id").first).to_be_visible()
    picture(page, "run")


def test_source_asset(ui: str, page: Page) -> None:
    """The source's pages have what came in, with links to the runs, and what became of it."""
    open_page(page, f"{ui}/assets/landed_order_files")
    expect(page.get_by_text("files requested", exact=True)).to_be_visible()
    picture(page, "source")
    page.get_by_role("button", name="Plots").click()
    expect(page.get_by_text("files requested", exact=True)).to_be_visible()
    picture(page, "source_plots")
    open_page(page, f"{ui}/assets/landed_order_files?view=checks")
    expect(page.get_by_text("late_files_decided").first).to_be_visible()
    expect(page.get_by_text("batches_failed").first).to_be_visible()
    expect(page.get_by_text("Succeeded")).to_have_count(3)
    picture(page, "source_checks")
    open_page(page, f"{ui}/assets/landed_order_files?view=events")
    expect(page.get_by_text("files done", exact=True)).to_be_visible()
    picture(page, "source_event")
    open_page(page, f"{ui}/assets/landed_order_files")
    expect(page.get_by_text("orders/orders-00001.ndjson.gz").first).to_be_visible()
    page.locator('a[href*="runs?q"]').first.click()
    expect(page.get_by_text("dagster_s3inc/files: 5 (")).to_have_count(1)


def test_asset_tells_its_batch(ui: str, page: Page) -> None:
    """The asset that read a batch shows the batch's files, and the source upstream of it."""
    open_page(page, f"{ui}/assets/orders?view=events")
    expect(page.get_by_text("dagster_s3inc/file_table")).to_be_visible()
    expect(page.get_by_text(re.compile(r"orders/orders-\d+\.ndjson\.gz")).first).to_be_visible()
    picture(page, "batch")
    open_page(page, f"{ui}/assets/orders?view=lineage")
    expect(page.get_by_text("landed_order_files").first).to_be_visible()
    expect(page.get_by_text("3 / 3 Passed")).to_be_visible()
    expect(page.get_by_text("Materialized")).to_have_count(3)
    expect(page.get_by_text("Unsynced")).to_have_count(0)
    picture(page, "lineage")


def test_reset_from_the_launchpad(ui: str, page: Page) -> None:
    """The reset job, launched as it is, has every file processed again in generation 2."""
    open_page(page, f"{ui}/locations/example_project/jobs/reset_landed_orders/playground")
    launch = page.get_by_role("button", name="Launch Run")
    expect(launch).to_be_enabled()
    picture(page, "launchpad")
    launch.click()
    expect(page.get_by_text("RUN_SUCCESS").first).to_be_visible()
    picture(page, "reset")
    open_page(page, f"{ui}/runs?q[0]=tag:dagster/s3inc/generation=2")
    expect(page.get_by_text("dagster_s3inc/files: 2 (")).to_have_count(1)
    expect(page.get_by_text("dagster_s3inc/files: 5 (")).to_have_count(2)
    expect(page.get_by_text("Success")).to_have_count(3)
    picture(page, "reprocessed")
