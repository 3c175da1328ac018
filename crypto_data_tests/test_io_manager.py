"""The failover IO manager: what assets behind the klines load and store, through real runs."""

from datetime import date, timedelta

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from crypto_data.errors import DataSourceError, UsageError
from crypto_data.orchestration.assets import build_assets
from crypto_data.orchestration.io_manager import FailoverIOManager
from crypto_data.orchestration.names import SERIES_METADATA
from crypto_data.orchestration.resources import LakeResource
from crypto_data.sandbox.faults import Fault
from crypto_data.schema import KLINES
from crypto_data.series import Series

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
MADE = Series.parse("binance/spot/BTCUSDT/4h")
KEY = dg.AssetKey(["klines", "binance", "spot", "BTCUSDT", "1h"])
START, END = "2024-01-01", "2024-02-01"
DAILY = dg.DailyPartitionsDefinition(START, end_date=END)
WEEKLY = dg.WeeklyPartitionsDefinition(START, end_date=END, day_offset=1)
RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")


@pytest.fixture
def materialize(desk, monkeypatch):
    """Return a function that materializes one asset behind the klines for a range of partitions."""
    monkeypatch.setenv("XDG_STATE_HOME", desk.environ["XDG_STATE_HOME"])
    catalog = desk.configure({"start": START, "end": END, "intervals": ["1h"]})
    lake = LakeResource(config=str(catalog.path))
    klines = build_assets(catalog)

    def run(asset, first, last=None):
        return dg.materialize(
            [*klines, asset],
            selection=[asset],
            tags=dict(zip(RANGE, (first, last or first), strict=True)),
            resources={
                "lake": lake,
                "klines_io": FailoverIOManager(lake=lake),
                "io_manager": dg.mem_io_manager,
            },
            instance=dg.DagsterInstance.ephemeral(),
        )

    return run


def reader(partitions, seen):
    """Return an asset that keeps what it was given."""

    @dg.asset(
        ins={"klines": dg.AssetIn(key=KEY)},
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def behind(klines: pa.Table) -> None:
        seen.append(klines)

    return behind


def test_a_daily_asset_is_given_its_day(desk, materialize) -> None:
    """A day that the lake lacks is fetched through the chain and stored, then handed over."""
    seen = []

    result = materialize(reader(DAILY, seen), "2024-01-10")

    [klines] = seen
    assert result.success
    assert klines.schema == KLINES
    assert klines.num_rows == 24
    assert desk.equals_truth(HOURS, date(2024, 1, 10), date(2024, 1, 11))
    assert klines.to_pylist() == desk.rows(HOURS, date(2024, 1, 10), date(2024, 1, 11))
    assert len(desk.asked("/data/")) == 2


def test_a_range_of_days_is_one_table(desk, materialize) -> None:
    """What the lake has is not asked for again; only absent days are."""
    desk.fill(date(2024, 1, 10), date(2024, 1, 12))
    desk.sandbox.requests.clear()
    seen = []

    materialize(reader(DAILY, seen), "2024-01-10", "2024-01-13")

    [klines] = seen
    assert klines.num_rows == 96
    assert {path.rpartition("/")[2][:21] for path in desk.asked("/data/")} == {
        "BTCUSDT-1h-2024-01-12",
        "BTCUSDT-1h-2024-01-13",
    }


def test_a_weekly_asset_is_given_its_seven_days(desk, materialize) -> None:
    """Partitions of another length are mapped to days by Dagster, and loaded as one table."""
    seen = []

    materialize(reader(WEEKLY, seen), "2024-01-08")

    [klines] = seen
    opens = klines["open_time"]
    assert klines.num_rows == 7 * 24
    assert pc.min(opens).as_py().date() == date(2024, 1, 8)
    assert pc.max(opens).as_py().date() == date(2024, 1, 14)
    assert desk.equals_truth(HOURS, date(2024, 1, 8), date(2024, 1, 15))


def test_an_absent_archive_day_is_loaded_from_rest(desk, materialize) -> None:
    """The chain decides; each row says where it is from."""
    desk.sandbox.faults.add(Fault("*2024-01-10.zip", "absent"))
    seen = []

    materialize(reader(DAILY, seen), "2024-01-10")

    assert pc.unique(seen[0]["source"].cast(pa.string())).to_pylist() == ["rest"]


def test_when_all_is_down_the_error_has_every_attempt(desk, materialize) -> None:
    """`DataSourceError`, with the day and each source's own reason in `.attempts`."""
    desk.fill(date(2024, 1, 10), date(2024, 1, 11))
    desk.sandbox.faults.add(Fault("*", "status", status=503, msg="closed for repairs"))

    with pytest.raises(DataSourceError) as caught:
        materialize(reader(DAILY, []), "2024-01-10", "2024-01-12")

    error = caught.value
    assert error.series == str(HOURS)
    assert [attempt.source for attempt in error.attempts] == ["2024-01-11", "2024-01-12"]
    for attempt in error.attempts:
        assert attempt.outcome == "missing"
        assert "vision: " in attempt.detail
        assert "rest: " in attempt.detail
        assert "closed for repairs" in attempt.detail


def derived(make, series=MADE, **more):
    """Return an asset of a series that is made here, from the hours of the same days."""

    @dg.asset(
        ins={"klines": dg.AssetIn(key=KEY)},
        partitions_def=DAILY,
        backfill_policy=dg.BackfillPolicy.single_run(),
        io_manager_key="klines_io",
        metadata={SERIES_METADATA: str(series)} if series else {},
        **more,
    )
    def made(klines: pa.Table) -> pa.Table:
        return make(klines)

    return made


def every_fourth(klines: pa.Table) -> pa.Table:
    return klines.take(list(range(0, klines.num_rows, 4)))


def test_a_derived_series_is_committed(desk, materialize) -> None:
    """What an asset returns stands in the lake, each day judged, with its rows' own sources."""
    result = materialize(derived(every_fourth), "2024-01-10", "2024-01-11")

    [event] = result.get_asset_materialization_events()[:1]
    rows = desk.rows(MADE, date(2024, 1, 10), date(2024, 1, 12))
    ledger = desk.lake.ledger(MADE, [date(2024, 1, 10), date(2024, 1, 11)])
    assert [row["open_time"].hour for row in rows] == [0, 4, 8, 12, 16, 20] * 2
    assert {row["source"] for row in rows} == {"vision"}
    assert [facts.rows for facts in ledger.values()] == [6, 6]
    assert event.materialization.metadata["rows"].value == 12
    assert event.materialization.metadata["bytes_written"].value > 0


def test_a_derived_series_is_committed_once(desk, materialize) -> None:
    """The same rows again change no file."""
    materialize(derived(every_fourth), "2024-01-10")
    path = next(path for path in desk.lake.root.rglob("2024.parquet") if "=4h" in str(path))
    before = path.stat().st_mtime_ns, path.read_bytes()

    materialize(derived(every_fourth), "2024-01-10")

    assert len(desk.rows(MADE, date(2024, 1, 10), date(2024, 1, 11))) == 6
    assert path.read_bytes()[:4] == before[1][:4]


def test_a_broken_row_of_a_derived_series_is_set_aside(desk, materialize) -> None:
    """It is not stored, and stands in quarantine under the rule it broke."""

    def spoil(klines):
        rows = every_fourth(klines)
        prices = [float("nan"), *rows["close"].to_pylist()[1:]]
        place = rows.schema.get_field_index("close")
        return rows.set_column(place, KLINES.field("close"), pa.array(prices))

    materialize(derived(spoil), "2024-01-10")

    assert len(desk.rows(MADE, date(2024, 1, 10), date(2024, 1, 11))) == 5
    assert list((desk.lake.root / "_quarantine").rglob("2024.parquet"))


def a_day_late(klines: pa.Table) -> pa.Table:
    day = pa.scalar(timedelta(days=1), pa.duration("us"))
    return klines.set_column(0, KLINES.field(0), pc.add(klines["open_time"], day))


@pytest.mark.parametrize(
    ("asset", "said"),
    [
        pytest.param(derived(every_fourth, series=None), "names no series", id="no-series"),
        pytest.param(
            derived(a_day_late), "rows outside the days 2024-01-10 to 2024-01-11", id="other-days"
        ),
    ],
)
def test_what_cannot_be_stored_is_refused(desk, materialize, asset, said) -> None:
    """The error says what the asset lacks or which days it may hand over; nothing is stored."""
    with pytest.raises(UsageError, match=said):
        materialize(asset, "2024-01-10")

    assert desk.rows(MADE, date(2024, 1, 1), date(2024, 2, 1)) == []
