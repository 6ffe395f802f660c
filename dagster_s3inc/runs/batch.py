"""What a run receives: its batch of files, as a resource."""

from __future__ import annotations

from collections.abc import Iterator, KeysView
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from pydantic import Field

from dagster_s3inc.core.objects import format_time, parse_time
from dagster_s3inc.core.validation import require_at_least
from dagster_s3inc.s3.location import S3Location
from dagster_s3inc.s3.reading import open_object

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

__all__ = ["S3Batch", "S3File", "s3_batch"]


class S3File(dg.Config):
    """One file of a batch, as it was listed."""

    key: str = Field(description="The object's whole key in the bucket.")
    size: int | None = Field(default=None, description="In bytes.")
    last_modified: str | None = Field(
        default=None, description="ISO 8601, UTC, as in 2026-01-31T23:59:59Z."
    )
    etag: str | None = Field(
        default=None,
        description="Without quotes. The file is read only if it still has this ETag; leave it "
        "out to read whatever version is there.",
    )
    storage_class: str | None = Field(default=None, description="As S3 names it, as in STANDARD.")


_FILE_COLUMNS: Final = dg.TableSchema(
    columns=[
        dg.TableColumn("key", "string"),
        dg.TableColumn("size", "int", description="In bytes."),
        dg.TableColumn("last_modified", "string"),
        dg.TableColumn("storage_class", "string"),
        dg.TableColumn("etag", "string"),
    ]
)


class S3Batch(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The files that one run processes; an op or asset names it as a parameter.

    The sensor fills it in. It iterates over its files in position order (by LastModified, then
    key):

        @dg.asset
        def orders(batch: S3Batch, s3: S3Resource) -> None:
            client = s3.get_client()
            for file in batch:
                with batch.open(file, client) as stream:
                    ...

    A run launched by hand needs it in its run config; of each file, `key` is enough.
    """

    bucket: str = Field(description="The bucket that holds the files.")
    files: list[S3File] = Field(
        description="The files to process, at least one. The sensor fills this in; by hand, the "
        "key of each is enough."
    )
    batch_id: str | None = Field(
        default=None,
        description="The same for the same versions of the same files. The sensor fills this in.",
    )
    generation: int | None = Field(
        default=None,
        description="Counts the sensor's beginnings: a reset adds one. The sensor fills this in.",
    )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Refuses a batch without files, or with a URI for a bucket, before any op runs."""
        if self.bucket.startswith("s3://"):
            bucket = self.bucket.removeprefix("s3://").partition("/")[0]
            raise dg.Failure(
                f"The bucket of this run's batch is {self.bucket!r}. In the run config, under "
                f"resources > batch > config > bucket, give the bare name, as in "
                f"{bucket or 'lake'}; what follows it belongs to the key of each file.",
                allow_retries=False,
            )
        if not self.files:
            raise dg.Failure(
                "This run has a batch without files. Batches come from the sensor; to launch a "
                "run by hand, name at least one file in the run config under "
                "resources > batch > config > files, as in [{key: landing/a.csv}], or re-execute "
                "a run of the sensor.",
                allow_retries=False,
            )

    def __iter__(self) -> Iterator[S3File]:  # type: ignore[override]
        """Yields the files in position order."""
        return iter(self.files)

    def __len__(self) -> int:
        """The number of files."""
        return len(self.files)

    # Dagster reads a resource's fields with dict(self). Iterating yields files here, and not
    # fields, so this is the other form that dict() takes: a mapping.
    def keys(self) -> KeysView[str]:
        """The names of the config fields (for Dagster; not the keys of the files)."""
        return type(self).model_fields.keys()

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    @property
    def total_bytes(self) -> int:
        """The sum of the sizes, in bytes; a file given without a size counts as zero."""
        return sum(file.size or 0 for file in self.files)

    def metadata(self, *, max_files: int = 100) -> dict[str, Any]:
        """Describes the batch, for a `MaterializeResult` or `context.add_output_metadata`.

        Dagster plots the numbers over time. What is not known, as in a run launched by hand, is
        left out.

        Args:
            max_files: The most files in the table, the first of the batch. Dagster keeps the table
                with the event.

        Raises:
            ConfigurationError: `max_files` is not a number of at least 1.
        """
        require_at_least("max_files", max_files, 1, unit="files in the table")
        times = sorted(parse_time(each.last_modified) for each in self.files if each.last_modified)
        known = {
            "dagster_s3inc/files": len(self),
            "dagster_s3inc/bytes": self.total_bytes,
            "dagster_s3inc/generation": self.generation,
            "dagster_s3inc/batch_id": self.batch_id,
            "dagster_s3inc/oldest": format_time(times[0]) if times else None,
            "dagster_s3inc/newest": format_time(times[-1]) if times else None,
            "dagster_s3inc/files_not_in_table": max(0, len(self) - max_files) or None,
            "dagster_s3inc/file_table": dg.MetadataValue.table(
                [dg.TableRecord(each.model_dump()) for each in self.files[:max_files]],
                schema=_FILE_COLUMNS,
            ),
        }
        return {name: value for name, value in known.items() if value is not None}

    def uri(self, file: S3File) -> str:
        """The file as `s3://BUCKET/KEY`."""
        return S3Location(self.bucket, file.key).uri

    def uris(self) -> list[str]:
        """All files as `s3://BUCKET/KEY`, in position order, as DuckDB, Polars and Spark read them.

        Readers given these take whatever version is there; `open` is what pins it.
        """
        return [self.uri(file) for file in self.files]

    def open(self, file: S3File, client: S3Client) -> AbstractContextManager[StreamingBody]:
        """Opens a file's content, pinned to the version that was listed.

        The request is sent when the `with` block is entered.

        Args:
            file: One of this batch.
            client: A boto3 S3 client, as `S3Resource.get_client()` makes it. Make it once for
                all files: that takes longer than opening one.

        Returns:
            A context manager that gives a binary stream: `read()`, `iter_lines()`, iteration.

        Raises:
            ObjectChangedError: The file was overwritten since it was listed; its new version
                comes in a later batch.
            ObjectNotFoundError: The file was deleted since it was listed.
            S3RequestError: It could not be read for another reason.
        """
        return open_object(client, S3Location(self.bucket, file.key), file.etag)


# One object for all: Definitions.merge refuses two different ones under the same key.
s3_batch = S3Batch.configure_at_launch()
"""`S3Batch` ready for `Definitions(resources={"batch": s3_batch})`."""
