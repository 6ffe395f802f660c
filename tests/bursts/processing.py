"""A processor with its checkpoint in S3."""

from __future__ import annotations

import importlib
import logging
from contextlib import ExitStack
from typing import Any

from tests.bursts.bucket import Bucket, Version
from tests.bursts.engine import Tick, TickFailedError
from tests.bursts.process import PACKAGE, decided_by, new_process, watch_scans
from tests.bursts.scenarios import PREFIX
from tests.bursts.server import Server

CHECKPOINTS = "checkpoints"
BATCH_SIZE = 100_000


class ProcessorEngine:
    """`get_new_files` and `commit_checkpoint` are its ticks.

    Args:
        server: Keeps the checkpoint.
        bucket: Is scanned.
        keeps_process: Whether one processor makes all calls. If not, there is a new one for each,
            in a package that was just imported.
        late_file_capacity: Of the processor; by default its own default.
    """

    def __init__(
        self,
        server: Server,
        bucket: Bucket,
        *,
        keeps_process: bool,
        late_file_capacity: int | None = None,
    ) -> None:
        self._server, self._bucket = server, bucket
        self._keeps_process = keeps_process
        self._options = (
            {} if late_file_capacity is None else {"late_file_capacity": late_file_capacity}
        )
        self._process = ExitStack()
        self._processor: Any = None
        self._scans: list[Any] = []
        self._warnings: list[str] = []

    def __enter__(self) -> ProcessorEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.close()

    def tick(self) -> Tick:
        self._scans.clear()
        self._warnings.clear()
        processor = self._started()
        try:
            uris = processor.get_new_files(batch_size=BATCH_SIZE)
            processor.commit_checkpoint()
        except Exception as error:
            raise TickFailedError(f"{type(error).__name__}: {error}") from error
        finally:
            self._end_process()
        [scan] = self._scans
        return Tick(
            emitted=[self._version(uri) for uri in uris],
            runs=bool(uris),
            checkpoint=self._server.text(f"{CHECKPOINTS}/{self._bucket.name}.json") or "",
            undecided=scan.result.checkpoint.undecided,
            decided_by=decided_by(self._scans),
            said=" ".join(self._warnings),
        )

    def start_over(self) -> None:
        self._started().reset_checkpoint()
        self._end_process()

    def _started(self) -> Any:
        if self._processor is None:
            self._process.enter_context(new_process())
            package = importlib.import_module(PACKAGE)
            watch_scans(self._scans)
            log = logging.getLogger(PACKAGE)
            handler = _Warnings(self._warnings)
            log.addHandler(handler)
            self._process.callback(log.removeHandler, handler)
            self._processor = package.S3IncrementalProcessor(
                f"s3://{self._bucket.name}/{PREFIX}",
                f"s3://{CHECKPOINTS}/{self._bucket.name}.json",
                client=self._server.client(),
                **self._options,
            )
        return self._processor

    def _end_process(self) -> None:
        if not self._keeps_process:
            self._process.close()
            self._processor = None

    def _version(self, uri: str) -> Version:
        """What the key of a URI shows; a processor's call lists what it returns."""
        key = uri.removeprefix(f"s3://{self._bucket.name}/")
        return self._bucket.current(key) or Version(key, "never", "")


class _Warnings(logging.Handler):
    def __init__(self, texts: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._texts = texts

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(record.getMessage())
