from __future__ import annotations

from datetime import timedelta
from typing import Any

import dagster as dg

from dagster_s3inc import build_s3_source_asset, build_s3_source_checks

SPEC = build_s3_source_asset(key=["lake", "landing-files"], uri="s3://bucket/in/")


def execute(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Executes the checks as their page does; gives what each found."""
    checks = build_s3_source_checks(source_asset=SPEC, max_backlog_age=timedelta(hours=1))
    job = dg.define_asset_job("checks", selection=dg.AssetSelection.all_asset_checks())
    definitions = dg.Definitions(assets=[SPEC], asset_checks=[checks], jobs=[job])
    result = definitions.resolve_job_def("checks").execute_in_process(instance=instance)
    assert result.success
    return {each.check_name: each for each in result.get_asset_check_evaluations()}


def test_check_that_no_tick_evaluated_is_not_known() -> None:
    """Executed by hand before any tick, a check says that it does not know, and warns."""
    with dg.DagsterInstance.ephemeral() as instance:
        found = execute(instance)
    assert set(found) == {"batches_failed", "late_files_decided", "backlog_age"}
    for each in found.values():
        assert (each.passed, each.severity) == (False, dg.AssetCheckSeverity.WARN)
        assert "no tick has evaluated this yet" in each.description


def test_check_executed_by_hand_repeats_what_the_last_tick_found() -> None:
    """Executed by hand after a tick, and again, a check says what that tick found."""
    said = dg.AssetCheckEvaluation(
        asset_key=SPEC.key,
        check_name="backlog_age",
        passed=False,
        severity=dg.AssetCheckSeverity.WARN,
        description="words",
        metadata={"files waiting": 3},
    )
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(said)
        for _ in range(2):
            found = execute(instance)["backlog_age"]
            assert (found.passed, found.severity, found.description) == (
                False,
                dg.AssetCheckSeverity.WARN,
                "words",
            )
            assert found.metadata["files waiting"].value == 3
