"""Whose days are whose: a schedule asks for what just closed, the gap sensor for what is left."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from crypto_data.mending import SETTLE_MS
from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.errands import RANGE_END, RANGE_START
from crypto_data.orchestration.instance import open_instance, prepare_home
from crypto_data.orchestration.schedules import TURN, is_catching_up, last_turns_ms
from crypto_data.sources.connect import local_ms

HOUR = timedelta(hours=1)
START = (datetime.now(UTC) - timedelta(days=5)).date()


def cron_at(moment: datetime) -> str:
    """Return the schedule that ticks daily at the minute of a moment."""
    return f"{moment.minute} {moment.hour} * * *"


@pytest.mark.parametrize(
    ("ago", "days_ago"),
    [
        pytest.param(TURN + HOUR, 0, id="had-its-turn-today"),
        pytest.param(TURN - HOUR / 2, 1, id="ticked-a-moment-ago"),
    ],
)
def test_a_schedule_has_had_its_turn_an_hour_after_its_tick(desk, ago, days_ago) -> None:
    """Told by the exchange's clock, which here is a day ahead of this machine's."""
    tick = (datetime.now(UTC) - ago).replace(second=0, microsecond=0)
    catalog = desk.configure({"schedule": cron_at(tick)})
    day_ms = 86_400_000

    [turn_ms] = last_turns_ms(catalog, local_ms() + day_ms).values()

    expected_ms = int(tick.timestamp() * 1000) + day_ms - days_ago * day_ms
    assert abs(turn_ms - expected_ms) < 1000


@pytest.mark.parametrize(
    ("looked", "catching_up"),
    [
        pytest.param(None, False, id="never-looked"),
        pytest.param(HOUR, True, id="ticked-since"),
        pytest.param(HOUR / 60, False, id="looked-since"),
    ],
)
def test_a_schedule_that_ticked_since_the_last_look_asks_first(desk, looked, catching_up) -> None:
    """Its run may not be seen yet; at a first look there is nothing that it has missed."""
    now = datetime.now(UTC)
    [feed] = desk.configure({"schedule": cron_at(now - HOUR / 2)}).feeds

    assert is_catching_up(feed, looked and (now - looked).timestamp()) is catching_up


def asked_by_gaps(desk, monkeypatch, *, looked_s) -> list[tuple[str, str]]:
    """Return the first and last day of each run that the gap sensor asks for."""
    for name, value in desk.environ.items():
        monkeypatch.setenv(name, value)
    repository = build_definitions(desk.catalog()).get_repository_def()
    home = prepare_home(desk.folder, desk.environ)
    with (
        open_instance(home) as instance,
        dg.SensorEvaluationContext(
            None,
            last_tick_completion_time=looked_s,
            instance=instance,
            repository_def=repository,
        ) as context,
    ):
        ticked = repository.get_sensor_def("gaps").evaluate_tick(context)
    return [(run.tags[RANGE_START], run.tags[RANGE_END]) for run in ticked.run_requests or []]


def test_a_new_lake_is_filled_up_to_yesterday(desk, monkeypatch) -> None:
    """The schedule's tick of today is over: nobody waits for tomorrow's to ask for yesterday."""
    tick = datetime.now(UTC) - TURN - HOUR / 60
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    closed_before_tick = tick.date() > yesterday
    desk.configure({"schedule": cron_at(tick), "start": f"{START}", "end": None})

    asked = asked_by_gaps(desk, monkeypatch, looked_s=None)

    newest = yesterday if closed_before_tick else _left_to_schedule() - timedelta(days=1)
    assert asked == [(f"{START}", f"{newest}")]


def _left_to_schedule() -> date:
    return datetime.fromtimestamp((local_ms() - SETTLE_MS) / 1000, UTC).date()


def test_after_a_pause_the_schedule_asks_first(desk, monkeypatch) -> None:
    """Ticks were missed since the sensor last looked: the same days are not asked for twice."""
    now = datetime.now(UTC)
    desk.configure({"schedule": cron_at(now - 2 * HOUR), "start": f"{START}", "end": None})

    paused = asked_by_gaps(desk, monkeypatch, looked_s=(now - 4 * HOUR).timestamp())
    later = asked_by_gaps(desk, monkeypatch, looked_s=now.timestamp())

    assert paused == []
    assert len(later) == 1
