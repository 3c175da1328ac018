"""The steps of the asset checks: what a backfill takes along, and what a person executes."""

import pytest
from dagster._core.execution.api import create_execution_plan

from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.checks import OF_FETCHED, check_keys
from crypto_data.orchestration.instance import open_instance, prepare_home
from crypto_data.orchestration.names import asset_keys


@pytest.fixture
def judged(desk, monkeypatch):
    """Return the job over everything, and the checks of one configured series."""
    for name, value in desk.environ.items():
        monkeypatch.setenv(name, value)
    catalog = desk.configure({"end": "2024-01-13"})
    [key] = asset_keys(catalog.all_series()).values()
    return build_definitions(catalog).resolve_implicit_global_asset_job_def(), check_keys(key)


def test_a_backfill_finds_every_check_that_it_asks_for(judged) -> None:
    """Dagster asks for the checks of all assets it backfills, and fails where a step lacks one."""
    job, keys = judged
    subset = job.get_subset(asset_selection={keys[0].asset_key}, asset_check_selection=set(keys))

    plan = create_execution_plan(subset)

    planned = {
        output.properties.asset_check_key for step in plan.steps for output in step.step_outputs
    }
    assert planned >= set(keys)


def test_a_check_executed_by_hand_judges_at_once(desk, judged) -> None:
    """From an asset's page: the days since the last evaluation, all five checks."""
    job, keys = judged
    desk.fill()
    with open_instance(prepare_home(desk.folder, desk.environ)) as instance:
        done = job.get_subset(asset_selection=set(), asset_check_selection=set(keys))

        result = done.execute_in_process(instance=instance)

        found = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
        kept = [instance.get_latest_asset_check_evaluation_record(key) for key in keys]
    assert found == {str(check): True for check in OF_FETCHED}
    assert None not in kept
