"""What checks found, stored many at once and read back with one question."""

import dagster as dg
import pytest
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from crypto_data.orchestration.checks import check_keys
from crypto_data.orchestration.evaluations import (
    EVALUATIONS_A_BATCH,
    JUDGED_UNTIL,
    judged_until,
    report_evaluations,
)
from crypto_data.orchestration.instance import open_instance

KEYS = [
    key
    for number in range(60)
    for key in check_keys(dg.AssetKey(["klines", "binance", "spot", f"S{number:02}USDT", "1h"]))
]


@pytest.fixture
def instance(tmp_path):
    """Return an instance that remembers in which pieces events were stored."""
    (tmp_path / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "event_log_storage:\n"
        "  module: crypto_data_tests.batches\n"
        "  class: RememberingStorage\n"
        f"  config: {{base_dir: {tmp_path / 'events'}}}\n"
    )
    with open_instance(tmp_path) as opened:
        yield opened


def evaluation(key, mark_ms, *, passed=True) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=key.asset_key,
        check_name=key.name,
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={JUDGED_UNTIL: mark_ms},
    )


def shown(instance, key):
    """Return what Dagster shows of a check: its newest record, without what it numbers itself."""
    record = instance.get_latest_asset_check_evaluation_record(key)
    event = record.event.get_dagster_event()
    return record.status, record.run_id, event.job_name, event.asset_check_evaluation_data


def test_evaluations_are_stored_in_batches_in_their_order(instance) -> None:
    """A full batch, then the rest; each is what Dagster stores of a single one."""
    found = [evaluation(key, number) for number, key in enumerate(KEYS)]

    report_evaluations(instance, iter(found))

    pieces = instance.event_log_storage.pieces_of(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    stored = [
        entry.get_dagster_event().asset_check_evaluation_data for piece in pieces for entry in piece
    ]
    batched = shown(instance, KEYS[0])
    instance.report_runless_asset_event(found[0])
    assert [len(piece) for piece in pieces] == [EVALUATIONS_A_BATCH, 50]
    assert stored == found
    assert batched == shown(instance, KEYS[0])


def test_what_was_judged_before_a_failure_is_stored(instance) -> None:
    """A judge that breaks off loses the batch in work at most."""

    def judge():
        yield from (evaluation(key, 1) for key in KEYS[:EVALUATIONS_A_BATCH])
        raise RuntimeError("broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        report_evaluations(instance, judge())

    marks = judged_until(instance, KEYS)
    assert list(marks.values()) == [1] * EVALUATIONS_A_BATCH + [0] * 50


def test_the_newest_finished_evaluation_says_how_far_a_check_has_seen(instance) -> None:
    """A failed verdict counts; one that is planned or broke off does not hide the one before."""
    seen, failed, planned, never = KEYS[:4]
    report_evaluations(instance, [evaluation(seen, 1), evaluation(planned, 7)])
    report_evaluations(instance, [evaluation(seen, 5), evaluation(failed, 6, passed=False)])
    plan(instance, planned)
    plan(instance, never)

    marks = judged_until(instance, [seen, failed, planned, never])

    assert marks == {seen: 5, failed: 6, planned: 7, never: 0}


def plan(instance, key) -> None:
    """Have a run announce a check that it will not come to."""

    @dg.multi_asset_check(specs=[dg.AssetCheckSpec(key.name, asset=key.asset_key)])
    def breaks_off():
        raise RuntimeError("before it has judged")

    job = dg.Definitions(
        asset_checks=[breaks_off], executor=dg.in_process_executor
    ).resolve_implicit_global_asset_job_def()
    job.execute_in_process(instance=instance, raise_on_error=False)
    [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
    assert record.status is AssetCheckExecutionRecordStatus.PLANNED
