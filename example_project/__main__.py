"""The command line: `python -m example_project`."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType

from botocore.exceptions import BotoCoreError, ClientError

from example_project.demo import DemoError, run_demo
from example_project.once import RoundError, run_once
from example_project.server import ServerError

_ENVIRONMENT = """
environment:
  EXAMPLE_S3_URI       use this folder, as in s3://my-bucket/orders/, and start no S3 server; the
                       bucket must exist
  AWS_ENDPOINT_URL_S3  use this S3 server instead of AWS; if no folder is given, a bucket
                       "example-landing" is made there
  EXAMPLE_STATE        keep what Dagster and DuckDB store in this folder, instead of .state
  and everything else that boto3 reads, such as AWS_PROFILE
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    options = _parser().parse_args(arguments)
    # Both end the program through the blocks that end its children; Python would ignore the
    # first if this was started in the background of a script.
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if options.once:
            run_once()
            print("All is as it should be.")
        else:
            run_demo(
                port=options.port,
                files=options.files,
                every=options.every,
                broken=options.broken,
                wipe=options.wipe,
            )
    except KeyboardInterrupt as interrupt:
        print("Ended.")
        return 128 + int(interrupt.args[0])
    except (RoundError, DemoError, ServerError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        print(f"\nS3: {error}", file=sys.stderr)
        return 1
    return 0


def _interrupt(number: int, _: FrameType | None) -> None:
    # Once is enough: a second Ctrl-C shall not break off the ending of the children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m example_project",
        description="Runs Dagster on files that keep landing in S3. Ctrl-C ends it.",
        epilog=_ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--once",
        action="store_true",
        help="do one whole round without the UI, check every number, and exit; takes a minute, "
        "uses a state of its own, and none of the options below",
    )
    parser.add_argument("--port", type=int, default=3000, help="of the UI (3000)")
    parser.add_argument("--files", type=int, default=12, help="how many land at first (12)")
    parser.add_argument(
        "--every", type=float, default=20.0, metavar="SECONDS", help="how often one lands (20)"
    )
    parser.add_argument(
        "--broken",
        action="store_true",
        help="one of the first files cannot be read: its run fails, and the sensor halts",
    )
    parser.add_argument("--wipe", action="store_true", help="forget what earlier demos left")
    return parser


if __name__ == "__main__":
    sys.exit(main())
