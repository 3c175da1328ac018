"""Made series in a real Dagster instance: with their finer ones, alone, and after them."""

import os
from datetime import date

import dagster as dg
import pytest

from crypto_data.harvest import Aim
from crypto_data.intervals import HOUR_MS, MINUTE_MS
from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.checks import Check, check_keys
from crypto_data.orchestration.errands import RANGE_END, RANGE_START
from crypto_data.orchestration.instance import open_instance, prepare_home
from crypto_data.orchestration.judging import judging_config
from crypto_data.orchestration.names import CHECKS_JOB, asset_keys
from crypto_data.partitions import day_start_ms
from crypto_data.sandbox.faults import Fault
from crypto_data.series import Series

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
FOURS = Series.parse("binance/spot/BTCUSDT/4h")
OTHER = Series.parse("binance/spot/ETHUSDT/4h")
FIRST, TENTH, ELEVENTH, END = (date(2024, 1, day) for day in (9, 10, 11, 12))
DAYS = {"2024-01-09", "2024-01-10", "2024-01-11"}
FEED = {
    "symbols": ["BTCUSDT", "ETHUSDT"],
    "intervals": ["1h", {"4h": "from 1h"}],
    "start": str(FIRST),
    "end": str(END),
}
FILE = "*BTCUSDT-1h-2024-01-10.zip"
EARLY_MS = day_start_ms(date(2024, 1, 13))


@pytest.fixture
def instance(desk, monkeypatch):
    """Return an instance; the archive may still publish the tenth."""
    for name, value in desk.environ.items():
        monkeypatch.setenv(name, value)
    desk.sandbox.set_clock(EARLY_MS)
    desk.configure(FEED)
    with open_instance(prepare_home(desk.folder, os.environ)) as opened:
        yield opened


def materialize(desk, instance, *series, config=None):
    """Run some series over all days in one run, as a backfill from the web page does."""
    keys = asset_keys(desk.catalog().all_series())
    job = build_definitions(desk.catalog()).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=[keys[one] for one in series],
        run_config=config,
        tags={RANGE_START: "2024-01-09", RANGE_END: "2024-01-11"},
        raise_on_error=False,
    )


def marked(desk, instance, series) -> set[str]:
    return set(
        instance.get_materialized_partitions(asset_keys(desk.catalog().all_series())[series])
    )


def sense(desk, instance, name):
    feeds = desk.lake.root / "_feeds.json"
    if feeds.exists():
        os.utime(feeds, (0, 0))  # so that the clock is measured anew
    repository = build_definitions(desk.catalog()).get_repository_def()
    with dg.build_sensor_context(instance, repository_def=repository) as context:
        return repository.get_sensor_def(name).evaluate_tick(context)


def execute(desk, instance, request):
    job = build_definitions(desk.catalog()).resolve_implicit_global_asset_job_def()
    return job.execute_in_process(
        instance=instance,
        asset_selection=request.asset_selection,
        run_config=request.run_config,
        tags=request.tags,
        raise_on_error=False,
    )


def test_a_made_series_stands_behind_its_finer_one_in_the_graph(desk, instance) -> None:
    """Each depends on the finer series of its own symbol alone."""
    del instance
    keys = asset_keys(desk.catalog().all_series())

    graph = build_definitions(desk.catalog()).resolve_asset_graph()

    assert graph.get(keys[FOURS]).parent_keys == {keys[HOURS]}
    assert graph.get(keys[HOURS]).parent_keys == set()


def test_both_in_one_run_come_in_order(desk, instance) -> None:
    """The finer days are fetched, then the coarser made of them; both marked, nothing of others."""
    result = materialize(desk, instance, HOURS, FOURS)

    fetching = [
        event.step_key
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_START
        and not event.step_key.startswith("check_")  # judges nothing in a run over days
    ]
    loaded = [
        event for event in result.all_events if event.event_type is dg.DagsterEventType.LOADED_INPUT
    ]
    assert result.success
    assert fetching == ["binance_spot_1h", "binance_spot_4h"]
    assert loaded == []  # Dagster would load inputs of every series of the step, selected or not
    assert marked(desk, instance, HOURS) == marked(desk, instance, FOURS) == DAYS
    assert marked(desk, instance, OTHER) == set()
    assert desk.equals_truth(FOURS, FIRST, END)
    assert not desk.asked("ETHUSDT", "4h")


def test_what_is_made_waits_for_finer_days_that_fell_short(desk, instance) -> None:
    """In one run the step that makes does not begin where the one that fetches has failed."""
    desk.sandbox.faults.add(Fault(FILE, "corrupt"), Fault("/api/v3/klines", "code0"))

    result = materialize(desk, instance, HOURS, FOURS)

    assert not result.success
    assert marked(desk, instance, HOURS) == DAYS - {"2024-01-10"}
    assert marked(desk, instance, FOURS) == set()


def test_alone_it_fetches_what_the_lake_lacks_of_the_finer_one(desk, instance) -> None:
    """A backfill of the made series from the web page needs no other before it."""
    result = materialize(desk, instance, FOURS)

    assert result.success
    assert marked(desk, instance, FOURS) == DAYS
    assert desk.equals_truth(HOURS, FIRST, END)
    assert desk.equals_truth(FOURS, FIRST, END)


def test_a_made_day_that_falls_short_fails_the_run_and_is_named(desk, instance) -> None:
    """The days whose finer ones are whole are marked; the others say what these lack."""
    desk.sandbox.faults.add(Fault(FILE, "corrupt"), Fault("/api/v3/klines", "code0"))

    result = materialize(desk, instance, FOURS)

    [failure] = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    said = failure.get_dagster_event().step_failure_data.user_failure_data.metadata[str(FOURS)]
    assert not result.success
    assert marked(desk, instance, FOURS) == DAYS - {"2024-01-10"}
    assert said.value.startswith("- 2024-01-10: 0 of 6 rows, missing: made:1h: 1h is missing: ")


def test_the_gap_sensor_has_days_made_anew(desk, instance) -> None:
    """A revision of the finer day is followed by one run over the made day alone, then by none."""
    desk.sandbox.faults.add(Fault(FILE, "stale", factor=1.02))
    desk.fill()
    desk.sandbox.republish(FILE, EARLY_MS + MINUTE_MS)
    desk.sandbox.set_clock(EARLY_MS + HOUR_MS)
    hours = {"ops": {"binance_spot_1h": {"config": {"aim": Aim.REVISE.name}}}}
    assert materialize(desk, instance, HOURS, config=hours).success
    assert not desk.equals_truth(FOURS, FIRST, END)

    (request,) = sense(desk, instance, "gaps").run_requests
    result = execute(desk, instance, request)

    assert result.success
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2024-01-10", "2024-01-10")
    assert request.asset_selection == [asset_keys(desk.catalog().all_series())[FOURS]]
    assert desk.equals_truth(FOURS, FIRST, END)
    assert not sense(desk, instance, "gaps").run_requests


def test_made_days_wait_while_their_finer_series_is_in_work(desk, instance) -> None:
    """A queued run over the finer days may change them: what is made of them comes after it."""
    desk.configure(FEED | {"intervals": ["1h"]})
    desk.fill()
    catalog = desk.configure(FEED)
    job = build_definitions(catalog).resolve_implicit_global_asset_job_def()
    instance.create_run_for_job(
        job,
        asset_selection=frozenset({asset_keys(catalog.all_series())[HOURS]}),
        tags={RANGE_START: "2024-01-09", RANGE_END: "2024-01-11"},
        status=dg.DagsterRunStatus.NOT_STARTED,
    )

    (request,) = sense(desk, instance, "gaps").run_requests

    assert request.asset_selection == [asset_keys(catalog.all_series())[OTHER]]


@pytest.mark.parametrize(
    ("faults", "passed", "words"),
    [
        pytest.param(
            [], True, "12 klines compared with the exchange's own, none differs", id="equal"
        ),
        pytest.param(
            [Fault("*4h-2024-01-11.zip", "stale", factor=1.02)],
            False,
            "6 of 12 klines differ (close, high, low, open, quote_volume",
            id="differs",
        ),
        pytest.param(
            [Fault("*4h-2024-01-11.zip", "absent"), Fault("/api/v3/klines", "status", status=503)],
            False,
            "2024-01-11 could not be compared: vision: ",
            id="nobody-answers",
        ),
    ],
)
def test_the_newest_made_days_are_compared_with_the_exchange(
    desk, instance, faults, passed, words
) -> None:
    """A check of made series alone, a warning; nothing of the exchange's own bars is stored."""
    desk.fill()
    desk.sandbox.faults.add(*faults)
    defs, keys = build_definitions(desk.catalog()), asset_keys(desk.catalog().all_series())
    [key] = check_keys(keys[FOURS], [Check.EQUALS])

    done = defs.resolve_job_def(CHECKS_JOB).execute_in_process(
        instance=instance, run_config=judging_config([HOURS, FOURS])
    )

    record = instance.get_latest_asset_check_evaluation_record(key)
    found = record.event.get_dagster_event().asset_check_evaluation_data
    [fetched] = check_keys(keys[HOURS], [Check.EQUALS])
    assert done.success
    assert (found.passed, found.severity) == (passed, dg.AssetCheckSeverity.WARN)
    assert found.description.startswith(words)
    assert instance.get_latest_asset_check_evaluation_record(fetched) is None
    assert {row["source"] for row in desk.rows(FOURS, FIRST, END)} == {"made:1h"}


@pytest.mark.slow
def test_a_pass_of_collect_makes_anew_what_it_has_revised(desk, instance) -> None:
    """Without a daemon too: provisional days are compared, then made of the archive's klines."""
    del instance
    desk.sandbox.faults.add(Fault(FILE, "absent"))
    desk.configure(FEED | {"end": None, "start": str(TENTH)})
    first = desk.run("collect")
    early = {row["source"] for row in desk.rows(FOURS, TENTH, ELEVENTH)}
    desk.sandbox.faults.clear()
    desk.sandbox.republish(FILE, EARLY_MS + MINUTE_MS)
    desk.sandbox.set_clock(EARLY_MS + HOUR_MS)

    second = desk.run("collect")

    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert early == {"made:1h:rest"}
    assert {row["source"] for row in desk.rows(FOURS, TENTH, ELEVENTH)} == {"made:1h"}
