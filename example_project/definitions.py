"""The code location: start reading here.

One call makes a sensor, the job that resets it, the two resources that the runs need, and the
asset that stands for the files in S3.
Everything else is ordinary Dagster.
"""

from datetime import timedelta

import dagster as dg

from dagster_s3inc import (
    BatchPolicy,
    ObjectFilter,
    build_s3_incremental_definitions,
    build_s3_source_asset,
)
from example_project.assets import orders, revenue_by_day
from example_project.settings import landing_uri, warehouse_path
from example_project.warehouse import Warehouse

# A named job, and not just target=[orders, revenue_by_day]: the UI then shows its name beside every
# run, and it can be launched by hand.
load_orders = dg.define_asset_job("load_orders", selection=[orders, revenue_by_day])

defs = dg.Definitions.merge(
    build_s3_incremental_definitions(
        name="landed_orders",
        uri=landing_uri(),
        # Each batch of new files becomes one run of both assets.
        job=load_orders,
        # Small, so that a dozen files already make several runs. Real batches are larger: a run
        # takes seconds to start, however little it has to do.
        batch=BatchPolicy(max_files=5),
        # Other files in the folder, such as a README, are no orders.
        objects=ObjectFilter(include="*.ndjson.gz"),
        # A batch that cannot be loaded stops the line, and turns the asset in the graph red, until
        # someone has repaired it. By default the sensor goes on with the batches that follow.
        on_failure="halt",
        # Someone is watching. A minute would do where nobody is.
        minimum_interval_seconds=5,
        # What the files are in the asset graph, upstream of `orders`. The sensor's ticks report to
        # it what came in and what waits. Without this it would be called landed_orders_files.
        # It is stale when no tick has succeeded for three hours; with a freshness_policy of your
        # own, when no files came in.
        source_asset=build_s3_source_asset(
            key="landed_order_files", uri=landing_uri(), group_name="shop"
        ),
        # A check of that asset warns while a file waits that was modified so long ago.
        max_backlog_age=timedelta(minutes=10),
        # By default a sensor waits until someone switches it on in the UI.
        default_status=dg.DefaultSensorStatus.RUNNING,
        # Not given: s3=S3Resource(...). The default takes credentials, region and endpoint from
        # the environment, as boto3 does.
    ),
    dg.Definitions(
        assets=[orders, revenue_by_day],
        jobs=[load_orders],
        resources={"warehouse": Warehouse(path=str(warehouse_path()))},
        # Both assets write to the same file one after the other: a process for each buys nothing.
        executor=dg.in_process_executor,
    ),
)
