from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from dagster.components.resolved.errors import ResolutionException
from dagster_aws.s3 import S3Resource
from pydantic import ValidationError

from tests.component.making import NEEDED, build


def resource(definitions: dg.Definitions, key: str = "s3") -> Any:
    return (definitions.resources or {})[key]


def other(attributes: str) -> dg.Definitions:
    return build(attributes, needed=NEEDED.replace("name: landing", "name: other"))


def test_settings_are_those_of_the_s3_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are those of the S3Resource, with templates filled in."""
    monkeypatch.setenv("REGION", "eu-west-1")
    made = resource(build("s3: {region_name: '{{ env.REGION }}', max_attempts: 2}"))
    assert made == S3Resource(region_name="eu-west-1", max_attempts=2)


def test_secrets_are_read_late_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """`{env: NAME}` is Dagster's EnvVar: read where the client is made, and shown by its name."""
    monkeypatch.delenv("KEY", raising=False)
    made = resource(build("s3: {aws_access_key_id: {env: KEY}, aws_secret_access_key: hush}"))
    assert isinstance(made.aws_access_key_id, dg.EnvVar)
    assert str(made.aws_access_key_id.env_var_name) == "KEY"
    monkeypatch.setenv("KEY", "the-key")
    with dg.build_resources({"s3": made}) as ready:
        url = ready.s3.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "k"})
    assert "the-key" in url


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("", ""),
        ("", "s3: {}"),
        ("s3: {region_name: x, max_attempts: 2}", "s3: {max_attempts: 2, region_name: x}"),
        ("s3: {region_name: {env: R}}", "s3: {region_name: {env: R}}"),
        ("s3: project", "s3: project"),
        ("s3: project", "s3: {region_name: x}"),
        ("s3: {region_name: x}", "s3: {region_name: y}\ns3_resource_key: other_s3"),
        ("", "s3: {region_name: y}\ns3_resource_key: other_s3\nbatch_resource_key: files"),
    ],
)
def test_several_components_merge(one: str, two: str) -> None:
    """Components of one project share equal resources, and have others under other keys."""
    merged = dg.Definitions.merge(build(one), other(two))
    assert {each.name for each in merged.sensors or ()} == {"landing", "other"}


@pytest.mark.parametrize("two", ["s3: {region_name: y}", "s3: {region_name: {env: x}}"])
def test_different_resources_under_one_key_are_refused(two: str) -> None:
    """What is not the same connection is not taken for it."""
    with pytest.raises(dg.DagsterInvariantViolationError, match="same key 's3'"):
        dg.Definitions.merge(build("s3: {region_name: x}"), other(two))


def test_the_projects_own_resource() -> None:
    """`project` leaves the resource to the project; a template may give it as well."""
    mine = S3Resource(region_name="eu-west-1")
    assert set(build("s3: project").resources or ()) == {"batch"}
    assert resource(build("s3: '{{ mine }}'", mine=mine)) is mine


def test_wrong_settings_are_refused() -> None:
    """A setting that does not exist, and text that says nothing, are errors that name them."""
    with pytest.raises(ValidationError, match="regoin"):
        build("s3: {regoin: x}")
    with pytest.raises(ResolutionException, match="s3 is 'projct'"):
        build("s3: projct")
