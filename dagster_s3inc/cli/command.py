"""The command, and how its errors become messages and exit codes."""

from __future__ import annotations

from typing import Any

import click

from dagster_s3inc.cli.plan import plan
from dagster_s3inc.cli.status import status
from dagster_s3inc.errors import ConfigurationError, S3IncError

__all__ = ["cli"]


class _Commands(click.Group):
    """Ends with 2 where the call was wrong, and with 1 where there was nothing to be seen."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise click.UsageError(str(error), ctx) from error
        except S3IncError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, commands=[plan, status])
@click.version_option(package_name="dagster-s3inc")
def cli() -> None:
    """Looks at S3 prefixes, and at how far sensors and processors have come.

    Nothing is changed anywhere. Exit codes: 0 is fine; 1 it could not look; 2 the call was wrong;
    3 something waits (only with plan --check).
    """
