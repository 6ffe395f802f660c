"""The command line `dagster-s3inc`: what would be requested now, and what a cursor says.

It changes nothing: neither in S3, nor in a checkpoint, nor in Dagster.
"""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["main"]

_PACKAGES: Final = ("click", "rich")


def main() -> None:
    """Runs the command line, or says what to install where its packages are missing."""
    try:
        from dagster_s3inc.cli.command import cli
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
            raise
        sys.exit(
            f"dagster-s3inc needs the package {error.name!r}, which is not installed. "
            f"Run: pip install 'dagster-s3inc[cli]'"
        )
    cli(prog_name="dagster-s3inc")
