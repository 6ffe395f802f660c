from __future__ import annotations

from datetime import timedelta

import dagster as dg
import pytest
from dagster.components.resolved.errors import ResolutionException
from pydantic import ValidationError

from dagster_s3inc import BatchPolicy, ObjectFilter, S3IncrementalComponent
from dagster_s3inc.errors import ConfigurationError
from tests.component.making import NEEDED, build, load
from tests.component_docs import schema

NO_TARGET = NEEDED.replace("asset_selection: key:orders\n", "")


def test_every_option_is_described_in_the_schema() -> None:
    """Each attribute has a description, wherever it stands."""
    whole = schema()
    for model in (whole, *whole["$defs"].values()):
        for name, field in model.get("properties", {}).items():
            assert "const" in field or field.get("description"), (model["title"], name)


def test_descriptions_are_those_of_the_factories() -> None:
    """What an option means is taken from the factory, and how YAML writes it is added."""
    described = {name: each["description"] for name, each in schema()["properties"].items()}
    assert described["uri"].startswith("What to scan, as `s3://BUCKET/PREFIX`, taken literally")
    assert described["lookback"].endswith(" In seconds, or as in `90s`, `15m`, `1h30m`, `7d`.")
    assert not [name for name, text in described.items() if "None" in text]


def test_few_options_are_enough() -> None:
    """A name, a URI and a target give the sensor, its reset job and both resources."""
    definitions = build()
    sensor = definitions.resolve_sensor_def("landing")
    assert sensor.asset_selection == dg.AssetSelection.from_string("key:orders")
    assert definitions.resolve_job_def("reset_landing")
    assert set(definitions.resources or ()) == {"s3", "batch"}


def test_options_reach_their_places() -> None:
    """What is written in YAML is what the sensor and the reset job have."""
    definitions = build("""
description: Files.
minimum_interval_seconds: 7
default_status: RUNNING
tags: {domain: sales}
metadata: {runbook: see there}
owners: team:data
required_resource_keys: [clock]
s3_resource_key: lake
batch_resource_key: landed
reset_job_name: again
reset_job_options: {description: Once more., tags: {who: me}, owners: [team:ops]}
""")
    sensor = definitions.resolve_sensor_def("landing")
    assert (sensor.description, sensor.minimum_interval_seconds) == ("Files.", 7)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING
    assert sensor.tags == {"domain": "sales"}
    assert sensor.metadata["runbook"] == dg.MetadataValue.text("see there")
    assert sensor.owners == ["team:data"]
    assert sensor.required_resource_keys == {"lake", "clock"}
    assert set(definitions.resources or ()) == {"lake", "landed"}
    job = definitions.resolve_job_def("again")
    assert (job.description, job.tags["who"], job.owners) == ("Once more.", "me", ["team:ops"])


def test_groups_become_values() -> None:
    """`batch` and `objects` are a BatchPolicy and an ObjectFilter."""
    component = load("""
batch: {max_files: 3, max_bytes: "{{ 2 * 1024 }}", linger: 15m}
objects: {include: "*.csv", min_size: 1}
""")
    assert component.batch == BatchPolicy(max_files=3, max_bytes=2048, linger=timedelta(minutes=15))
    assert component.objects == ObjectFilter(include=["*.csv"], min_size=1)
    mine = BatchPolicy(max_files=7)
    assert load("batch: '{{ mine }}'", mine=mine).batch is mine
    with pytest.raises(ResolutionException, match="gives a BatchPolicy, not 7"):
        load("batch: '{{ 7 }}'")


def test_null_is_no_bound() -> None:
    """Bounds that may be None are lifted by null."""
    component = load("time_budget: null\nmax_request_bytes: null\n")
    assert component.time_budget is None
    assert component.max_request_bytes is None


def test_one_component_scans_one_prefix() -> None:
    """Several prefixes are refused, with how to write them."""
    needed = "name: landing\nuri: [s3://a-1/x/, s3://b-1/y/]\nasset_selection: key:orders\n"
    says = "uri is several prefixes: s3://a-1/x/, s3://b-1/y/. One component .* a line of ---"
    with pytest.raises(Exception, match=says):
        load(needed=needed)


def test_a_job_by_name() -> None:
    """`job_name` names a job of the project."""

    @dg.job
    def ingest() -> None: ...

    made = dg.Definitions.merge(
        build("job_name: ingest", needed=NO_TARGET), dg.Definitions(jobs=[ingest])
    )
    assert made.resolve_sensor_def("landing").job_name == "ingest"


def test_targets_that_python_makes() -> None:
    """`target`, `job` and `jobs` take what a template gives."""
    one, two = (dg.define_asset_job(name, "key:orders") for name in ("one", "two"))
    written = {
        "target: '{{ one }}'": [one],
        "job: '{{ one }}'": [one],
        "jobs: '{{ [one, two] }}'": [one, two],
        "jobs: ['{{ one }}', '{{ two }}']": [one, two],
    }
    for attributes, jobs in written.items():
        sensor = build(attributes, needed=NO_TARGET, one=one, two=two).resolve_sensor_def("landing")
        assert list(sensor.jobs) == jobs, attributes


def test_group_by_takes_a_function() -> None:
    """`group_by` is a regular expression, or the function that a template gives."""
    assert load("group_by: dt=(?P<day>[^/]{10})/").group_by == "dt=(?P<day>[^/]{10})/"
    assert load("group_by: '{{ first }}'", first=str.upper).group_by == str.upper


def test_wrong_options_are_refused_by_name() -> None:
    """A wrong option is an error that names it, with the place where it is written."""
    with pytest.raises(ValidationError, match="lanez"):
        load("lanez: 3")
    with pytest.raises(ResolutionException, match=r"batch[^$]*max_files must be at least 1"):
        load("batch: {max_files: 0}")
    with pytest.raises(ConfigurationError, match="needs exactly one of target, job"):
        build(needed=NO_TARGET)
    with pytest.raises(ConfigurationError, match="max_concurrent_requests must be at least 1"):
        build("max_concurrent_requests: 0")


def test_fields_of_a_subclass_are_its_own() -> None:
    """A subclass may have further attributes, which the factories are not given."""

    class Mine(S3IncrementalComponent):
        team: str

    mine = Mine.resolve_from_yaml(NEEDED + "team: data")
    assert mine.team == "data"
    assert dg.component_defs(component=mine).resolve_sensor_def("landing")


def test_python_may_make_it_too() -> None:
    """The component takes the factories' own values where Python makes it."""
    component = S3IncrementalComponent(
        name="landing",
        uri="s3://lake/landing/",
        asset_selection=["orders"],
        batch=BatchPolicy(max_files=3),
        time_budget=timedelta(seconds=20),
    )
    assert dg.component_defs(component=component).resolve_sensor_def("landing")
