"""What Dagster loads."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """All that is under `defs/`."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
