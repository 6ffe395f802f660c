"""A code location whose batches are partitions: of a day, of a customer, or of both."""

import os

import dagster as dg
from dagster_aws.s3 import S3Resource

from dagster_s3inc import S3Batch, build_s3_incremental_definitions

DAYS = dg.DailyPartitionsDefinition("2026-01-01")
CUSTOMERS = dg.DynamicPartitionsDefinition(name="customers")
BOTH = dg.MultiPartitionsDefinition({"day": DAYS, "customer": CUSTOMERS})


def _asset(name: str, partitions_def: dg.PartitionsDefinition) -> dg.AssetsDefinition:
    @dg.asset(name=name, partitions_def=partitions_def)
    def loaded(context: dg.AssetExecutionContext, batch: S3Batch) -> None:
        context.add_output_metadata({"keys": [file.key for file in batch]})

    return loaded


def _definitions(name: str, group_by: object, partitions_def: object) -> dg.Definitions:
    asset = _asset(name, partitions_def)
    return build_s3_incremental_definitions(
        name=f"{name}_sensor",
        uri=os.environ["TEST_URI"],
        assets=[asset],
        asset_selection=[asset],
        group_by=group_by,
        partitions_def=partitions_def,
        default_status=dg.DefaultSensorStatus.RUNNING,
        s3=None,
    )


defs = dg.Definitions.merge(
    dg.Definitions(
        executor=dg.in_process_executor,
        resources={
            "s3": S3Resource(
                endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"],
                region_name=os.environ["AWS_DEFAULT_REGION"],
            )
        },
    ),
    _definitions("by_day", r"dt=(?P<day>[^/]+)/", DAYS),
    _definitions("by_customer", r"customer=(?P<customer>[^/]+)/", CUSTOMERS),
    _definitions("by_both", r"dt=(?P<day>[^/]+)/customer=(?P<customer>[^/]+)/", BOTH),
)
