"""What a demo or a round needs before Dagster starts: a home for it, and S3."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from example_project.orders import LandingFolder
from example_project.server import embedded_server, is_s3_given
from example_project.settings import ROOT, URI_VARIABLE, WAREHOUSE_VARIABLE, landing_uri

__all__ = ["WORKSPACE", "prepared"]

WORKSPACE = ROOT / "workspace.yaml"


@contextlib.contextmanager
def prepared(state: Path, *, subfolder: str = "") -> Iterator[LandingFolder]:
    """Makes DAGSTER_HOME and an S3 folder ready, and names them in the environment.

    Args:
        state: Where Dagster's home, the warehouse and the logs lie.
        subfolder: Of the landing folder, ending in a slash: the files then land there.

    Yields:
        The landing folder. The embedded S3 server, if it is used, ends with the block.
    """
    home = state / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("dagster.yaml"), home)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ[WAREHOUSE_VARIABLE] = str(state / "warehouse.duckdb")

    with contextlib.ExitStack() as stack:
        # A bucket that someone named must be there: a mistyped name should not make one.
        is_bucket_named = bool(os.environ.get(URI_VARIABLE))
        if is_s3_given():
            print("S3: as the environment says")
        else:
            print(f"S3: {stack.enter_context(embedded_server(state))} (embedded, in memory)")
        os.environ[URI_VARIABLE] = landing_uri() + subfolder
        landing = LandingFolder(landing_uri())
        if not is_bucket_named:
            landing.ensure_bucket()
        print(f"Files land in {landing_uri()}")
        yield landing
