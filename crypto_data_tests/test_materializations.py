"""How a run tells Dagster of days: each once, in order, in batches, and nothing is kept."""

from datetime import date

import dagster as dg
import pytest

from crypto_data.harvest import Aim
from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.errands import RANGE_END, RANGE_START
from crypto_data.orchestration.instance import open_instance
from crypto_data.orchestration.names import asset_keys
from crypto_data.sandbox.faults import Fault
from crypto_data.series import Series

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
OTHER = Series.parse("binance/spot/ETHUSDT/1h")
FIRST, END = date(2024, 1, 10), date(2024, 1, 15)
DAYS = [f"2024-01-{day}" for day in range(10, 15)]
SHORT = "2024-01-12"


@pytest.fixture
def instance(desk, tmp_path, monkeypatch):
    """Return an instance that remembers in which pieces events were stored."""
    monkeypatch.setenv("XDG_STATE_HOME", desk.environ["XDG_STATE_HOME"])
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "event_log_storage:\n"
        "  module: crypto_data_tests.batches\n"
        "  class: RememberingStorage\n"
        f"  config: {{base_dir: {tmp_path / 'events'}}}\n"
    )
    desk.configure({"symbols": ["BTCUSDT", "ETHUSDT"], "start": str(FIRST), "end": str(END)})
    with open_instance(tmp_path) as opened:
        yield opened


def materialize(desk, instance, aim=Aim.FILL):
    keys = asset_keys(desk.catalog().all_series())
    job = build_definitions(desk.catalog()).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[keys[HOURS], keys[OTHER]],
        run_config={"ops": {"binance_spot_1h": {"config": {"aim": aim.name}}}},
        tags={RANGE_START: DAYS[0], RANGE_END: DAYS[-1]},
        raise_on_error=False,
    )


def told(instance) -> list[tuple[str, list[str]]]:
    """Return for each write of materializations the symbol and its days."""
    pieces = instance.event_log_storage.pieces_of(dg.DagsterEventType.ASSET_MATERIALIZATION)
    events = [[entry.get_dagster_event() for entry in piece] for piece in pieces]
    assert all(len({event.asset_key for event in piece}) == 1 for piece in events)
    return sorted(
        (piece[0].asset_key.path[3], [event.partition for event in piece]) for piece in events
    )


def test_the_days_of_a_series_are_one_batch_each_day_once(desk, instance) -> None:
    """Those of one that fell short too: the settled ones. The run's result keeps none of them."""
    desk.sandbox.faults.add(
        Fault(f"*BTCUSDT-1h-{SHORT}.zip", "corrupt"), Fault("/api/v3/klines", "code0")
    )

    result = materialize(desk, instance)

    kept = [event for event in result.all_events if event.is_step_materialization]
    assert not result.success
    assert told(instance) == [
        ("BTCUSDT", [day for day in DAYS if day != SHORT]),
        ("ETHUSDT", DAYS),
    ]
    assert kept == []  # else the history of hundreds of series would fill the memory


def test_days_that_dagster_knows_are_not_told_of_again(desk, instance) -> None:
    """A pass that mends asks for the short day alone; only that one becomes an event."""
    fault = Fault(f"*BTCUSDT-1h-{SHORT}.zip", "corrupt")
    desk.sandbox.faults.add(fault, Fault("/api/v3/klines", "code0"))
    materialize(desk, instance)
    desk.sandbox.faults.clear()
    instance.event_log_storage.pieces.clear()

    result = materialize(desk, instance, Aim.REPAIR)

    assert result.success
    assert told(instance) == [("BTCUSDT", [SHORT])]


def test_days_that_were_committed_without_dagster_are_told_of(desk, instance) -> None:
    """What the lake has and Dagster lacks, a killed run's for one, follows with the next run."""
    desk.fill()

    result = materialize(desk, instance, Aim.MEND)

    assert result.success
    assert told(instance) == [("BTCUSDT", DAYS), ("ETHUSDT", DAYS)]
