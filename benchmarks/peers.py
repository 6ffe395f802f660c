"""The environment of the peers, since s3fs needs a botocore that is months old.

It is made when it is first needed, and a worker of the benchmark runs in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

from benchmarks.children import BenchmarkError

__all__ = ["peers_python", "peers_versions"]

_FOLDER: Final = Path(__file__).resolve().parents[1] / ".venv" / "benchmark-peers"

# Without a bound, pip may take an s3fs of 2020, which needs no botocore.
_PEERS: Final = ("s3fs>=2025.3", "obstore>=0.6")


def peers_python() -> str:
    """The Python of that environment, which is made if it is not there.

    Raises:
        BenchmarkError: The peers cannot be installed.
    """
    python = _FOLDER / "bin/python"
    done = _FOLDER / "peers.txt"
    wanted = "\n".join((sys.version, *_PEERS))
    if not done.exists() or done.read_text() != wanted:
        command = [str(python), "-m", "pip", "install", "--quiet", *_PEERS]
        try:
            venv.create(_FOLDER, with_pip=True, clear=True)
            subprocess.run(command, check=True)  # noqa: S603 - no shell, no text from outside
        except subprocess.CalledProcessError as error:
            raise BenchmarkError(
                f"The peers cannot be installed into {_FOLDER} ({error}). Without them: --no-peers"
            ) from None
        done.write_text(wanted)
    return str(python)


def peers_versions(python: str) -> dict[str, str]:
    """The versions of the packages there."""
    command = [python, "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    answer = subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - see above
    installed = {each["name"]: each["version"] for each in json.loads(answer.stdout)}
    return {name: installed[name] for name in ("s3fs", "aiobotocore", "botocore", "obstore")}
