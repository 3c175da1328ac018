"""What asset checks find of a series, which series are due, and what Dagster keeps of it."""

from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pyarrow as pa
import pytest

from crypto_data.harvest import Aim
from crypto_data.intervals import Interval
from crypto_data.lake.census import CORRECTIONS, GAPS, HELD, RUNS, Census
from crypto_data.lake.prices import EDGES, read_edges
from crypto_data.mending import Errand
from crypto_data.orchestration import verdicts
from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.backfill import run_backfill
from crypto_data.orchestration.checks import (
    OF_FETCHED,
    SERIES_A_RUN,
    Check,
    check_keys,
    due_checks,
)
from crypto_data.orchestration.errands import PARTITION, RANGE_END, RANGE_START, run_request
from crypto_data.orchestration.evaluations import JUDGED_UNTIL
from crypto_data.orchestration.instance import open_instance
from crypto_data.orchestration.judging import judging_config
from crypto_data.orchestration.names import CHECKS_JOB, asset_keys
from crypto_data.partitions import day_start_ms
from crypto_data.planning import RunPlan
from crypto_data.sandbox.faults import Fault
from crypto_data.series import Series
from crypto_data_tests.test_mending import catalog_of

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
OTHER = Series.parse("binance/spot/ETHUSDT/1h")
FIRST, END = date(2024, 1, 10), date(2024, 1, 13)
DAY = date(2024, 3, 5)
NOW_MS = day_start_ms(date(2024, 6, 10))
HOUR_MS = 3_600_000


def table_of(schema, *entries, series=HOURS):
    names = dict(
        zip(("exchange", "market", "symbol", "interval"), str(series).split("/"), strict=True)
    )
    return pa.Table.from_pylist([names | entry for entry in entries], schema)


def moment(epoch_ms):
    return datetime.fromtimestamp(epoch_ms / 1000, UTC) if epoch_ms else None


def run(first=DAY, days=1, state="complete", *, attempts=1, asked_ms=NOW_MS, **more):
    return {
        "first_day": first, "days": days, "state": state, "attempts": attempts, "rows": 24,
        "last_attempt": moment(asked_ms), "ingested_at": moment(asked_ms), "set_aside": 0,
    } | more  # fmt: skip


def runs_of(*runs, series=HOURS):
    return table_of(RUNS, *runs, series=series)


@pytest.mark.parametrize(
    ("runs", "passed", "days"),
    [
        pytest.param([run(days=3)], True, (), id="complete"),
        pytest.param([run(state="explained")], True, (), id="explained"),
        pytest.param([run(state="unlisted"), run(state="provisional")], True, (), id="other-good"),
        pytest.param([run(), run(state="partial")], False, (DAY,), id="partial"),
        pytest.param([run(state="missing")], False, (DAY,), id="missing-after-asking"),
        pytest.param(
            [run(date(2024, 6, 7), 3, "missing", attempts=0, asked_ms=0)],
            False,
            (date(2024, 6, 8), date(2024, 6, 7)),
            id="never-asked-is-the-schedules-for-a-day",
        ),
        pytest.param(
            [run(date(2024, 6, 9), 1, "missing")], False, (date(2024, 6, 9),), id="asked-in-vain"
        ),
    ],
)
def test_a_gap_fails_completeness(runs, passed, days) -> None:
    """A partial or missing day fails, however long ago; the day that just closed gets its time."""
    verdict = verdicts.judge_complete(runs_of(*runs), 1, date(2024, 6, 9))

    assert (verdict.passed, verdict.days) == (passed, days)


def test_an_old_gap_does_not_turn_green_when_another_day_changes() -> None:
    """The verdict is over all days; only the count tells how many changed."""
    runs = runs_of(
        run(date(2024, 1, 1), state="missing", asked_ms=NOW_MS - 90 * HOUR_MS),
        run(date(2024, 1, 2), 5),
    )
    changed = verdicts.changed_runs(runs, NOW_MS)

    verdict = verdicts.judge_complete(runs, changed["days"].to_pylist()[0], date(2024, 6, 9))

    assert not verdict.passed
    assert verdict.counts["days_changed"] == 5
    assert (verdict.counts["days_missing"], verdict.counts["days_complete"]) == (1, 5)


@pytest.mark.parametrize(
    ("asked_ms", "changed"),
    [
        pytest.param(NOW_MS + 1, True, id="later"),
        pytest.param(NOW_MS - HOUR_MS // 2, True, id="committed-behind-a-newer-one"),
        pytest.param(NOW_MS - 2 * HOUR_MS, False, id="earlier"),
        pytest.param(0, False, id="never-asked"),
    ],
)
def test_changed_days_are_those_asked_for_since(asked_ms, changed) -> None:
    """By when they were asked for; a commit that came late is not lost."""
    assert bool(verdicts.changed_runs(runs_of(run(asked_ms=asked_ms)), NOW_MS).num_rows) is changed
    assert bool(verdicts.changed_runs(runs_of(run(asked_ms=asked_ms)), 0).num_rows) is bool(
        asked_ms
    )


def test_rows_set_aside_are_counted_by_rule() -> None:
    """The verdict names each rule, how many rows broke it, the days, and where they lie."""
    aside = {DAY: {"high_is_highest": 2, "off_grid": 1}, DAY + timedelta(days=1): {}}

    verdict = verdicts.judge_rules(aside, 2, "_quarantine/here")

    assert not verdict.passed
    assert verdict.days == (DAY,)
    assert verdict.counts["rows_set_aside"] == 3
    assert verdict.words == (
        "3 rows set aside (high_is_highest: 2, off_grid: 1); they lie in _quarantine/here"
    )
    assert verdicts.judge_rules({DAY: {}}, 1, "here").passed


def correction(at_ms, day=DAY):
    return {
        "day": day, "corrected_at": moment(at_ms), "columns": ["close", "high"],
        "rows_changed": 3, "rows_added": 1,
    }  # fmt: skip


def test_a_correction_is_told_once() -> None:
    """What the archive changed since the last time fails the check; older changes do not."""
    runs = runs_of(run(state="provisional", days=2))
    corrections = table_of(
        CORRECTIONS, correction(NOW_MS), correction(NOW_MS - 9 * HOUR_MS, date(2024, 1, 1))
    )

    now = verdicts.judge_revised(runs, corrections, NOW_MS)
    later = verdicts.judge_revised(runs, corrections, NOW_MS + 9 * HOUR_MS)

    assert (now.passed, now.days) == (False, (DAY,))
    assert (now.counts["rows_changed"], now.counts["rows_added"]) == (3, 1)
    assert "close, high" in now.words
    assert (later.passed, later.counts["days_provisional"]) == (True, 2)


def prices(*days, interval=Interval.HOUR_1, step=1):
    """Return edges: for each day its first open and its last close."""
    rows = []
    for number, (first_open, last_close) in enumerate(days):
        start_ms = day_start_ms(DAY) + number * step * 24 * HOUR_MS
        if interval.is_intraday and interval is not Interval.DAY_1:
            rows.append((start_ms, first_open, first_open))
            rows.append((start_ms + 23 * HOUR_MS, last_close, last_close))
        else:
            rows.append((start_ms, first_open, last_close))
    entries = [{"open_time": moment(ms), "open": o, "close": c} for ms, o, c in rows]
    return pa.Table.from_pylist(entries, EDGES)


@pytest.mark.parametrize(
    ("days", "interval", "step", "breaks"),
    [
        pytest.param([(10, 11), (11.5, 12), (12, 9)], Interval.HOUR_1, 1, 0, id="goes-on"),
        pytest.param([(10, 11), (110, 120), (12, 9)], Interval.HOUR_1, 1, 2, id="ten-times"),
        pytest.param([(10, 10), (8.9, 9), (9, 9)], Interval.HOUR_1, 1, 1, id="falls-at-the-start"),
        pytest.param([(10, 10), (10, 10), (12, 9)], Interval.HOUR_1, 1, 1, id="jumps-at-the-end"),
        pytest.param([(10, 0), (10, 10)], Interval.HOUR_1, 1, 1, id="zero"),
        pytest.param([(10, float("nan")), (10, 10)], Interval.HOUR_1, 1, 1, id="no-number"),
        pytest.param([(10, 11), (99, 12)], Interval.HOUR_1, 2, 0, id="a-pause-between"),
        pytest.param([(10, 11), (99, 99)], Interval.DAY_1, 1, 1, id="daily-bars"),
        pytest.param([(10, 11), (99, 99)], Interval.WEEK_1, 7, 1, id="weekly-bars"),
        pytest.param([(10, 11), (99, 99)], Interval.WEEK_1, 14, 0, id="a-week-missing"),
    ],
)
def test_a_price_that_jumps_between_days_is_a_break(days, interval, step, breaks) -> None:
    """At both ends of the day that is judged; klines with a hole between are not compared."""
    judged = [DAY + timedelta(days=step)]

    verdict = verdicts.judge_prices(
        prices(*days, interval=interval, step=step), interval, judged, 0
    )

    assert verdict.counts["breaks"] == breaks
    assert verdict.passed is (breaks == 0)


def test_borders_of_other_days_are_not_judged() -> None:
    """A break between two days that did not change was told when they did."""
    rows = prices((10, 10), (50, 50), (50, 50), (50, 50))

    verdict = verdicts.judge_prices(rows, Interval.HOUR_1, [DAY + timedelta(days=3)], 7)

    assert verdict.passed
    assert (verdict.counts["borders_compared"], verdict.counts["days_not_judged"]) == (1, 7)


@pytest.mark.parametrize(
    ("settled", "due", "since_ms", "passed"),
    [
        pytest.param(DAY, DAY, None, True, id="up-to-date"),
        pytest.param(DAY - timedelta(days=1), DAY, None, True, id="not-for-long"),
        pytest.param(DAY - timedelta(days=3), DAY, NOW_MS - 50 * HOUR_MS, False, id="stale"),
        pytest.param(None, DAY, None, False, id="nothing-settled"),
        pytest.param(None, None, None, True, id="nothing-due"),
    ],
)
def test_freshness_is_of_the_newest_settled_day(settled, due, since_ms, passed) -> None:
    """Only the newest settled day counts, and only by how long nothing new has come."""
    assert verdicts.judge_fresh(settled, due, since_ms, NOW_MS).passed is passed


def census_of(runs, held=()):
    return Census(
        pa.concat_tables(runs),
        GAPS.empty_table(),
        pa.concat_tables([*held, HELD.empty_table()]),
        CORRECTIONS.empty_table(),
    )


def held_of(series, settled_until, due_until):
    return table_of(HELD, {"settled_until": settled_until, "due_until": due_until}, series=series)


def test_a_series_is_due_once_a_change() -> None:
    """After a change it is returned once; a commit that is dated before others is not missed."""
    catalog = catalog_of()
    first = census_of([runs_of(run()), runs_of(run(), series=OTHER)])
    late = census_of([runs_of(run()), runs_of(run(asked_ms=NOW_MS - 5 * HOUR_MS), series=OTHER)])

    due, cursor = due_checks(first, catalog, None, NOW_MS)
    nothing, again = due_checks(first, catalog, cursor, NOW_MS)
    changed, _ = due_checks(late, catalog, again, NOW_MS)

    assert due == [HOURS, OTHER]
    assert (nothing, again) == ([], cursor)
    assert changed == [OTHER]


def test_a_series_is_due_when_it_grows_stale() -> None:
    """Its ledger has not changed, time has passed; and it is due again when that is over."""
    catalog, runs = catalog_of(), [runs_of(run())]
    fresh = census_of(runs, [held_of(HOURS, DAY, DAY)])
    late = census_of(runs, [held_of(HOURS, DAY, DAY + timedelta(days=5))])

    _, cursor = due_checks(fresh, catalog, None, NOW_MS)
    due, cursor = due_checks(late, catalog, cursor, NOW_MS)
    nothing, _ = due_checks(late, catalog, cursor, NOW_MS)

    assert due == [HOURS]
    assert nothing == []


def test_a_series_that_was_never_asked_for_is_not_due() -> None:
    """Nor one that the configuration no longer has."""
    gone = Series.parse("binance/spot/XRPUSDT/1h")
    census = census_of(
        [runs_of(run(state="missing", attempts=0, asked_ms=0)), runs_of(run(), series=gone)]
    )

    assert due_checks(census, catalog_of(), None, NOW_MS)[0] == []


def test_many_series_are_due_in_turn() -> None:
    """A bounded number at once; the others follow, none is lost and none comes twice."""
    names = [f"S{number:03}USDT" for number in range(SERIES_A_RUN + 50)]
    catalog = catalog_of(symbols=", ".join(names))
    census = census_of([runs_of(run(), series=series) for series in catalog.all_series()])

    first, cursor = due_checks(census, catalog, None, NOW_MS)
    second, cursor = due_checks(census, catalog, cursor, NOW_MS)
    third, _ = due_checks(census, catalog, cursor, NOW_MS)

    assert (len(first), len(second), third) == (SERIES_A_RUN, 50, [])
    assert set(first) | set(second) == set(catalog.all_series())


@pytest.fixture
def home(desk, tmp_path, monkeypatch):
    """Return Dagster's home, with two series over twenty closed days configured."""
    monkeypatch.setenv("XDG_STATE_HOME", desk.environ["XDG_STATE_HOME"])
    home = tmp_path / "dagster"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    desk.configure({"symbols": ["BTCUSDT", "ETHUSDT"], "end": "2024-01-20"})
    return home


@pytest.fixture
def instance(home):
    with open_instance(home) as opened:
        yield opened


def judge(desk, instance, *series):
    """Run the checks of some series as the sensor asks for them."""
    defs, keys = build_definitions(desk.catalog()), asset_keys(desk.catalog().all_series())
    wanted = [key for one in series for key in check_keys(keys[one])]
    done = defs.resolve_job_def(CHECKS_JOB).execute_in_process(
        instance=instance, run_config=judging_config(series)
    )
    assert done.success
    return {
        (key.asset_key.path[3], key.name): instance.get_latest_asset_check_evaluation_record(key)
        .event.get_dagster_event()
        .asset_check_evaluation_data
        for key in wanted
    }


def values(evaluation):
    return {name: entry.value for name, entry in evaluation.metadata.items()}


def test_the_checks_of_a_run_are_kept_with_their_counts(desk, instance) -> None:
    """Five a series, in a run of their own: passed or failed, how severe, counts and days."""
    desk.sandbox.faults.add(Fault("*BTCUSDT-1h-2024-01-11.zip", "corrupt"))
    desk.sandbox.faults.add(Fault("/api/v3/klines", "code0"))
    desk.fill(FIRST, END)

    found = judge(desk, instance, HOURS, OTHER)

    complete = found["BTCUSDT", Check.COMPLETE]
    assert len(found) == 10
    assert {name for name in found if not found[name].passed} == {
        ("BTCUSDT", Check.COMPLETE), ("BTCUSDT", Check.FRESH),
        ("ETHUSDT", Check.COMPLETE), ("ETHUSDT", Check.FRESH),
    }  # fmt: skip
    assert complete.severity is dg.AssetCheckSeverity.ERROR
    assert found["BTCUSDT", Check.FRESH].severity is dg.AssetCheckSeverity.WARN
    assert "2024-01-11" in values(complete)["days"]
    assert values(complete)["days_missing"] == 8
    assert values(found["ETHUSDT", Check.COMPLETE])["days_missing"] == 7
    assert values(found["BTCUSDT", Check.PRICES])["days_judged"] == 2
    assert values(found["ETHUSDT", Check.PRICES])["borders_compared"] == 2
    assert values(complete)[JUDGED_UNTIL] > day_start_ms(END)


def test_only_days_that_changed_are_judged_again(desk, instance) -> None:
    """The mark of the last evaluation is read back; a day before it is not read a second time."""
    desk.fill(date(2024, 1, 10), date(2024, 1, 15))
    before = judge(desk, instance, HOURS)
    key = check_keys(asset_keys(desk.catalog().all_series())[HOURS])
    old_ms = values(before["BTCUSDT", Check.PRICES])[JUDGED_UNTIL]
    for one in key:
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=one.asset_key,
                check_name=one.name,
                passed=True,
                metadata={JUDGED_UNTIL: old_ms + 2 * HOUR_MS},
            )
        )

    after = judge(desk, instance, HOURS)

    assert values(before["BTCUSDT", Check.PRICES])["days_judged"] == 5
    assert values(after["BTCUSDT", Check.PRICES])["days_judged"] == 0
    assert values(after["BTCUSDT", Check.COMPLETE])["days_changed"] == 0
    assert values(after["BTCUSDT", Check.COMPLETE])["days_complete"] == 5


def test_a_backfill_of_old_days_does_not_make_a_series_fresh(desk, instance) -> None:
    """The newest closed day decides: it stays stale until that day is settled."""
    desk.fill(FIRST, END)
    stale = judge(desk, instance, HOURS)["BTCUSDT", Check.FRESH]
    desk.fill(date(2024, 1, 13), date(2024, 1, 18))
    still = judge(desk, instance, HOURS)["BTCUSDT", Check.FRESH]
    desk.fill(date(2024, 1, 18), date(2024, 1, 20))
    fresh = judge(desk, instance, HOURS)["BTCUSDT", Check.FRESH]

    assert [one.passed for one in (stale, still, fresh)] == [False, False, True]


def test_a_file_that_cannot_be_read_fails_the_check_and_no_other(desk, instance) -> None:
    """The verdict names the file; the checks of the other series are as they were."""
    desk.fill(FIRST, END)
    path = next((desk.lake.root / "klines").rglob("symbol=BTCUSDT/2024.parquet"))
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)  # its footer can be read, its rows cannot
    path.write_bytes(content)

    found = judge(desk, instance, HOURS, OTHER)

    prices_of_it = found["BTCUSDT", Check.PRICES]
    assert not prices_of_it.passed
    assert str(path) in prices_of_it.description
    assert found["ETHUSDT", Check.PRICES].passed


@pytest.mark.parametrize(
    "days",
    [
        pytest.param({RANGE_START: "2024-01-10", RANGE_END: "2024-01-12"}, id="range"),
        pytest.param({PARTITION: "2024-01-10"}, id="day"),
    ],
)
def test_a_run_over_days_leaves_no_check_planned(desk, instance, days) -> None:
    """As the web page asks for it, checks and all: nothing is planned or judged beside the days."""
    keys = asset_keys(desk.catalog().all_series())
    job = build_definitions(desk.catalog()).resolve_implicit_global_asset_job_def()

    done = job.execute_in_process(
        instance=instance,
        asset_selection=[keys[HOURS]],
        tags=days,
    )

    records = [
        record
        for key in check_keys(keys[HOURS])
        for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
    ]
    assert done.success
    assert len(instance.get_materialized_partitions(keys[HOURS])) == (
        3 if RANGE_START in days else 1
    )
    assert records == []


def test_a_run_that_a_sensor_or_command_asks_for_judges_nothing(desk, instance) -> None:
    """Checks have runs of their own: five events a series would cost more than a day's klines."""
    catalog = desk.catalog()
    keys = asset_keys(catalog.all_series())
    errand = Errand(catalog.feeds[0], FIRST, END, (HOURS,))

    request = run_request(errand, keys, Aim.MEND, moment="now")
    result = run_backfill(
        catalog, [RunPlan(FIRST, END, (HOURS,))], instance, parallel=2, on_days=lambda *_: None
    )

    assert request.asset_check_keys == []
    assert result.failed_runs == []
    assert len(instance.get_materialized_partitions(keys[HOURS])) == 3
    assert [instance.get_latest_asset_check_evaluation_record(key)
            for key in check_keys(keys[HOURS])] == [None] * len(OF_FETCHED)  # fmt: skip


def test_edges_are_the_first_and_last_klines_of_days(desk) -> None:
    """Of the days asked for and those beside them, and nothing of the others."""
    desk.configure({"end": "2024-01-20"})
    desk.fill(date(2024, 1, 10), date(2024, 1, 20))

    edges = read_edges(desk.lake.root, HOURS, [date(2024, 1, 14)])

    rows = desk.rows(HOURS, date(2024, 1, 13), date(2024, 1, 16))
    ends = [rows[0], rows[23], rows[24], rows[47], rows[48], rows[71]]
    assert edges.to_pylist() == [
        {name: row[name] for name in ("open_time", "open", "close")} for row in ends
    ]
