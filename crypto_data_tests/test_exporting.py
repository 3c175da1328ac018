"""Exports: names, numbers and files of each format, what is refused, and what is said of each."""

import csv
import io
import json
import urllib.request
import zipfile
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather

from crypto_data import backtrader_frame, export, vectorbt_frame
from crypto_data.errors import LakeNotWritable, UsageError
from crypto_data.exporting.archive_csv import ArchiveCsv
from crypto_data.exporting.decimals import MOST_DECIMALS, least_decimals, to_decimals, to_text
from crypto_data.exporting.files import Source, replacing
from crypto_data.exporting.freqtrade import Freqtrade
from crypto_data.exporting.nautilus import Nautilus
from crypto_data.exporting.order import Packing
from crypto_data.exporting.pairs import Pair, PairBook
from crypto_data.harvest import AskedDay, Harvest, Offer
from crypto_data.lake.layout import part_path
from crypto_data.lake.store import Lake
from crypto_data.lake.universe import Listing, Universe, write_universe
from crypto_data.partitions import day_start_ms, expected_opens, span_of_days
from crypto_data.schema import FETCHED, TIME, fetched_table
from crypto_data.series import Market, Series
from crypto_data.sources.archive_file import ArchiveFile, parse_csv, read_archive

SPOT = Series.parse("binance/spot/BTCUSDT/1h")
UM = Series.parse("binance/um/BTCUSDT/1h")
CM = Series.parse("binance/cm/BTCUSD_PERP/1h")
FIRST, END = date(2024, 12, 30), date(2025, 2, 3)  # over the change to microseconds
WHOLE = span_of_days(FIRST, END)
DAY = date(2024, 3, 7)


@pytest.fixture(scope="module")
def shop(tmp_path_factory, new_desk):
    """Return a desk with five weeks of the three markets, and three days with an outage."""
    desk = new_desk(tmp_path_factory.mktemp("shop"))
    days = {"start": str(FIRST), "end": str(END)}
    desk.configure(
        {"intervals": ["1h", "1d"], **days},
        {"market": "um", **days},
        {"market": "cm", "symbols": ["BTCUSD_PERP"], **days},
        {"intervals": ["15m"], "start": "2023-03-23", "end": "2023-03-26"},
    )
    desk.fill()
    return desk


def exported(desk, *arguments, status=0) -> list[dict]:
    """Return the files of an export, as its JSON tells them."""
    done = desk.run("export", *arguments, "--format", "json")

    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def lake_with(tmp_path, series, *, source="vision", price=1.0, volume=1.0, day=DAY) -> Lake:
    """Return a lake with one whole day, its columns of quote and takers empty."""
    opens_ms = expected_opens(series.interval, day)
    micros = pa.array([time * 1000 for time in opens_ms], pa.int64()).cast(TIME)
    plain = dict.fromkeys(("open", "high", "low", "close"), pa.array(np.full(len(micros), price)))
    rows = fetched_table(
        {
            "open_time": micros,
            "close_time": micros,
            "volume": pa.array(np.full(len(micros), volume)),
            **plain,
        }
    )
    harvest = Harvest((source,), (Offer(source, 0, rows),), {day: AskedDay()}, asked_ms=1)
    lake = Lake(tmp_path / "lake")
    lake.commit(series, str(day.year), harvest)
    return lake


@settings(deadline=None)
@given(st.decimals(0, 10**9, places=8, allow_nan=False))
def test_text_of_eight_decimals_reads_back(number) -> None:
    """A number of spot's files is written so that reading gives the same double."""
    values = np.array([float(number)])

    [text] = to_text(values, 8).to_pylist()

    assert float(text) == values[0]
    assert Decimal(text).as_tuple().exponent == -8
    # A double tells fifteen digits apart: up to there it is the very text.
    assert len(number.as_tuple().digits) > 15 or Decimal(text) == number


@pytest.mark.parametrize(
    ("values", "at_least", "decimals"),
    [
        pytest.param([1.0, 250.0], 0, 0, id="whole"),
        pytest.param([42000.1, 0.29], 0, 2, id="cents"),
        pytest.param([42000.1], 8, 8, id="at-least"),
        pytest.param([220503863.6731098], 0, 7, id="beyond-2**52"),
        pytest.param([0.1 + 0.2], 0, None, id="noise"),
        pytest.param([1e-16], 0, MOST_DECIMALS, id="smallest"),
        pytest.param([1e-17], 0, None, id="too-small"),
    ],
)
def test_least_decimals_hold_every_value(values, at_least, decimals) -> None:
    """The fewest decimals that read back as the values, None when sixteen do not."""
    assert least_decimals(np.array(values), at_least) == decimals


def test_large_numbers_keep_the_digits_that_were_written() -> None:
    """Where several decimals are one double, the shortest is taken, not the double's own digits."""
    values = np.array([220503863.6731098, 0.5])

    assert to_decimals(values, 8).to_pylist() == [Decimal("220503863.67310980"), Decimal("0.5")]


def test_a_number_of_too_many_decimals_is_written_out() -> None:
    """Text without a length has the digits a number needs, and no exponent."""
    assert to_text(np.array([0.1 + 0.2, 1e-17]), None).to_pylist() == [
        "0.30000000000000004",
        "0.00000000000000001",
    ]


@pytest.mark.parametrize(
    ("series", "pair"),
    [
        ("binance/spot/BTCUSDT/1h", Pair("BTC", "USDT")),
        ("binance/um/1000PEPEUSDT/1h", Pair("1000PEPE", "USDT", "USDT")),
        ("binance/um/BTCUSDT_240628/1h", Pair("BTC", "USDT", "USDT", "240628")),
        ("binance/cm/BTCUSD_PERP/1h", Pair("BTC", "USD", "BTC")),
        ("binance/spot/TOLDME/1h", Pair("TO", "LDME")),
        ("kraken/spot/BTC/USD/1h", Pair("BTC", "USD")),
        ("okx/um/BTC/USDT:USDT/1h", Pair("BTC", "USDT", "USDT")),
        ("okx/um/BTC/USDT:USDT-260925/1h", Pair("BTC", "USDT", "USDT", "260925")),
    ],
)
def test_a_symbol_is_split_into_base_and_quote(series, pair, tmp_path) -> None:
    """As the exchange told the lake, else by the symbol's ending, else by ccxt's signs."""
    told = Universe((Listing("TOLDME", "TO", "LDME"),), 1)
    write_universe(tmp_path, "binance", Market.SPOT, told)

    assert PairBook(tmp_path).find(Series.parse(series)) == pair


def test_a_symbol_nobody_can_split_is_refused(tmp_path) -> None:
    """The message names the command that would know."""
    with pytest.raises(UsageError, match="crypto-data universe --exchange binance --market spot"):
        PairBook(tmp_path).find(Series.parse("binance/spot/WHATISIT/1h"))


@pytest.mark.parametrize(
    ("series", "freqtrade", "nautilus"),
    [
        (
            "binance/spot/BTCUSDT/1h",
            "binance/BTC_USDT-1h.feather",
            "BTCUSDT.BINANCE-1-HOUR-LAST-EXTERNAL",
        ),
        (
            "binance/spot/BTCUSDT/1mo",
            "binance/BTC_USDT-1Mo.feather",
            "BTCUSDT.BINANCE-1-MONTH-LAST-EXTERNAL",
        ),
        (
            "binance/um/BTCUSDT/15m",
            "binance/futures/BTC_USDT_USDT-15m-futures.feather",
            "BTCUSDT-PERP.BINANCE-15-MINUTE-LAST-EXTERNAL",
        ),
        (
            "binance/um/BTCUSDT_240628/3d",
            "binance/futures/BTC_USDT_USDT-240628-3d-futures.feather",
            "BTCUSDT_240628.BINANCE-3-DAY-LAST-EXTERNAL",
        ),
        (
            "okx/um/BTC/USDT:USDT/1h",
            "okx/futures/BTC_USDT_USDT-1h-futures.feather",
            "BTC-USDT-SWAP.OKX-1-HOUR-LAST-EXTERNAL",
        ),
        (
            "bybit/spot/BTC/USDT/1h",
            "bybit/BTC_USDT-1h.feather",
            "BTCUSDT-SPOT.BYBIT-1-HOUR-LAST-EXTERNAL",
        ),
        (
            "kraken/spot/BTC/USD/1d",
            "kraken/BTC_USD-1d.feather",
            "BTC/USD.KRAKEN-1-DAY-LAST-EXTERNAL",
        ),
    ],
)
def test_series_are_named_as_each_program_does(series, freqtrade, nautilus, tmp_path) -> None:
    """Pair, contract and interval stand in the name as the program looks for them."""
    pairs, series = PairBook(tmp_path), Series.parse(series)

    assert Freqtrade(tmp_path, pairs).place(series) == freqtrade
    assert Nautilus(tmp_path, pairs).place(series) == nautilus


def archive_text(desk, file) -> bytes:
    """Return the CSV of a file as the exchange's archive has it."""
    with urllib.request.urlopen(f"{desk.sandbox.url}/{file}.zip") as answer:  # noqa: S310 - loopback
        packed = zipfile.ZipFile(io.BytesIO(answer.read()))
    return packed.read(packed.namelist()[0])


@pytest.mark.parametrize(
    ("series", "file"),
    [
        (SPOT, "spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-12-31"),
        (SPOT, "spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01"),
        (SPOT, "spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2025-02-02"),
        (UM, "futures/um/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01"),
    ],
)
def test_csv_is_what_the_archive_has(series, file, shop, tmp_path) -> None:
    """Whole months and other days lie where the archive has them, equal in every byte."""
    market = str(series.market)
    files = exported(shop, "csv", "--to", tmp_path, "--market", market, "--intervals", "1h")

    assert len(files) == 5
    assert str(tmp_path / "data" / f"{file}.csv") in {one["file"] for one in files}
    assert (tmp_path / "data" / f"{file}.csv").read_bytes() == archive_text(shop, f"data/{file}")


def test_csv_of_coin_margined_contracts_reads_back(shop, tmp_path) -> None:
    """Contracts and base volume have their columns; takers' contracts, which we lack, none."""
    exported(shop, "csv", "--to", tmp_path, "--market", "cm")

    path = tmp_path / "data/futures/cm/monthly/klines/BTCUSD_PERP/1h/BTCUSD_PERP-1h-2025-01.csv"
    file = ArchiveFile(CM, "2025-01")
    assert parse_csv(file, path.read_bytes()).equals(
        shop.lake.read(CM, file.span).select(FETCHED.names).cast(FETCHED)
    )
    theirs = csv.reader(
        io.StringIO(archive_text(shop, path.relative_to(tmp_path).with_suffix("")).decode())
    )
    without_takers = [[*row[:9], *row[10:]] for row in theirs]
    with path.open() as ours:
        assert [[*row[:9], *row[10:]] for row in csv.reader(ours)] == without_takers


def test_a_zip_has_its_checksum_and_the_same_bytes_each_time(shop, tmp_path) -> None:
    """Our own reader of the archive takes the pair; a second export changes no byte."""
    arguments = ("csv", "--to", tmp_path, "--market", "spot", "--intervals", "1d", "--zip")
    exported(shop, *arguments)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}

    exported(shop, *arguments)

    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
    file = ArchiveFile(Series.parse("binance/spot/BTCUSDT/1d"), "2025-01")
    path = tmp_path / file.key
    rows = read_archive(file, before[path], before[path.with_name(f"{path.name}.CHECKSUM")]).rows
    assert rows.num_rows == 31


def test_csv_refuses_klines_without_all_columns(tmp_path) -> None:
    """Klines of an API that tells no quote volume are named with their source."""
    lake = lake_with(tmp_path, SPOT, source="ccxt:okx")
    source = Source(lake, SPOT, span_of_days(DAY, date(2024, 3, 8)))

    with pytest.raises(UsageError, match="24 klines from ccxt:okx have no trade_count"):
        list(ArchiveCsv(tmp_path / "out", Packing.PLAIN).write(source))

    assert not (tmp_path / "out").exists()


def test_freqtrade_files_hold_the_lakes_klines(shop, tmp_path) -> None:
    """The six columns are those of the lake, nothing filled in, nothing left out."""
    [file] = exported(shop, "freqtrade", "--to", tmp_path, "--market", "spot", "--intervals", "15m")

    table = feather.read_table(file["file"])
    names = ["open_time", "open", "high", "low", "close", "volume"]
    held = shop.lake.read(
        Series.parse("binance/spot/BTCUSDT/15m"), span_of_days(date(2023, 1, 1), END)
    )
    assert table.equals(held.select(names).rename_columns(["date", *names[1:]]).cast(table.schema))
    assert file["rows"] == 288 - file["missing_explained"]
    assert file["missing_explained"] > 0
    assert file["missing_open"] == 0


def bars(path) -> list[tuple[float, ...]]:
    """Return the numbers of a file of bars, read by its own description."""
    table = pq.read_table(path)
    return [
        tuple(int.from_bytes(row[name], "little") / 10**16 for name in ("open", "close", "volume"))
        for row in table.to_pylist()
    ]


def test_nautilus_bars_carry_their_end_and_count_contracts(shop, tmp_path) -> None:
    """A bar is stamped when it is over; the volume of coin-margined ones is contracts."""
    [file] = exported(shop, "nautilus", "--to", tmp_path, "--market", "cm")

    table, held = pq.read_table(file["file"]), shop.lake.read(CM, WHOLE)
    assert table["ts_init"].equals(table["ts_event"])
    assert table["ts_init"][0].as_py() == (day_start_ms(FIRST) + 3_600_000) * 10**6
    columns = (held[name].to_pylist() for name in ("open", "close", "contract_volume"))
    assert bars(file["file"]) == list(zip(*columns, strict=True))


def test_a_longer_export_replaces_the_shorter_one(shop, tmp_path) -> None:
    """The catalog reads every file of a folder, so the file of the earlier export goes."""
    arguments = ("nautilus", "--to", tmp_path, "--market", "um")
    [short] = exported(shop, *arguments, "--end", "2025-01-10")

    [long] = exported(shop, *arguments)

    assert [str(path) for path in tmp_path.rglob("*.*") if path.is_file()] == [long["file"]]
    assert long["file"] != short["file"]
    assert long["rows"] == 35 * 24


def test_bars_that_somebody_else_wrote_are_left(shop, tmp_path) -> None:
    """A foreign file beside ours would be joined with it: nothing is written, and it is named."""
    foreign = tmp_path / "data/bar/BTCUSDT-PERP.BINANCE-1-HOUR-LAST-EXTERNAL/mine.parquet"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"bars")

    done = shop.run("export", "nautilus", "--to", tmp_path, "--market", "um")

    assert done.returncode == 1
    assert "mine.parquet was not written by an export of this series" in done.stderr
    assert foreign.read_bytes() == b"bars"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"price": 0.1 + 0.2}, "more than 16 decimals", id="noise"),
        pytest.param({"volume": 5e13}, "more than nautilus_trader can hold", id="too-large"),
    ],
)
def test_numbers_that_nautilus_cannot_hold_are_refused(change, words, tmp_path) -> None:
    """Nothing is rounded or cut off in silence."""
    lake = lake_with(tmp_path, SPOT, **change)
    source = Source(lake, SPOT, span_of_days(DAY, date(2024, 3, 8)))

    with pytest.raises(UsageError, match=words):
        list(Nautilus(tmp_path / "out", PairBook(lake.root)).write(source))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(
            ["freqtrade", "--market", "cm"], "trades no coin-margined contracts", id="market"
        ),
        pytest.param(["freqtrade", "--zip"], "only csv can be packed", id="zip"),
        pytest.param(["csv", "--to", "lake/out"], "lies in the lake", id="in-the-lake"),
        pytest.param(["csv", "--to", "crypto_data.yaml"], "is no folder", id="no-folder"),
        pytest.param(["csv", "--symbols", "BTCUSD"], "did you mean BTCUSDT?", id="symbol"),
        pytest.param(
            ["csv", "--market", "um", "--intervals", "1d"], "no series of the lake", id="no-series"
        ),
        pytest.param(["csv", "--end", "2025"], "is no day", id="day"),
        pytest.param(["csv", "--start", "2999-01-01"], "lies in the future", id="future"),
        pytest.param(["matlab"], "'freqtrade', 'nautilus', 'csv'", id="program"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_written(
    arguments, words, shop, tmp_path
) -> None:
    """Status 2, with what can be done instead."""
    where = [] if "--to" in arguments else ["--to", tmp_path / "out"]

    done = shop.run("export", *arguments, *where)

    assert done.returncode == 2, done.stderr
    assert words in " ".join(done.stderr.replace("│", "").split())
    assert not (tmp_path / "out").exists()


def test_two_series_never_share_a_file(desk, tmp_path) -> None:
    """A symbol and its settled namesake are one pair to freqtrade: both are named."""
    desk.configure({"symbols": ["BTCUSDT", "BTCUSDTSETTLED"], "market": "um"})

    done = desk.run("export", "freqtrade", "--to", tmp_path / "out")

    assert done.returncode == 2
    assert "um/BTCUSDTSETTLED/1h: its file would be that of binance/um/BTCUSDT/1h" in done.stderr


def test_a_series_with_unknown_days_is_named_and_not_written(shop, tmp_path) -> None:
    """Days before the feed's start were never asked for: status 1, with the way out."""
    arguments = ("export", "csv", "--to", tmp_path, "--intervals", "1d", "--start", "2024-12-28")

    done = shop.run(*arguments)

    assert done.returncode == 1
    assert "2 days are missing or partial: 2024-12-28 to 2024-12-29" in done.stderr
    assert "the lake is asked for 2024-12-30 up to 2025-02-03 (exclusive)" in done.stderr
    assert "allow gaps (--allow-gaps)" in done.stderr
    assert not list(tmp_path.iterdir())
    [row] = exported(shop, *arguments[1:], status=1)
    assert (row["series"], row["file"], row["rows"]) == ("binance/spot/BTCUSDT/1d", None, 0)
    assert row["reason"] in done.stderr


def test_days_that_were_never_filled_are_repaired_not_cut(desk, tmp_path) -> None:
    """Within the feed the way out is to fetch them."""
    desk.configure()

    done = desk.run("export", "freqtrade", "--to", tmp_path / "out")

    assert done.returncode == 1
    assert "1 day is missing or partial: 2024-01-10; run: crypto-data repair" in done.stderr


def test_gaps_that_are_allowed_are_written_and_counted(shop, tmp_path) -> None:
    """The file holds what there is; the table and stderr say what it lacks."""
    arguments = ("--to", tmp_path, "--intervals", "1d", "--start", "2024-12-28", "--allow-gaps")

    [file] = exported(shop, "freqtrade", *arguments)

    assert (file["rows"], file["missing_open"], file["missing_explained"]) == (35, 2, 0)
    assert file["first_open"] == "2024-12-30T00:00:00Z"
    assert "2 klines are missing" in shop.run("export", "freqtrade", *arguments).stderr


def test_days_without_a_file_are_counted_too(shop, tmp_path) -> None:
    """A csv file is a day or a month; of days without any kline there is none, and that is said."""
    arguments = ("--to", tmp_path, "--intervals", "1d", "--start", "2024-12-28", "--allow-gaps")

    rows = exported(shop, "csv", *arguments)

    assert sum(row["missing_open"] for row in rows) == 2
    assert "2 klines are missing" in shop.run("export", "csv", *arguments).stderr


def test_python_exports_as_the_command_does(shop, tmp_path) -> None:
    """The same files with the same numbers, and what fell short is in the answer."""
    told = exported(shop, "freqtrade", "--to", tmp_path, "--intervals", "1d")

    [one] = export("freqtrade", tmp_path, config=shop.config, intervals="1d")
    [short] = export(
        "csv", tmp_path, config=shop.config, intervals=["1d"], start="2024-12-01", packing="zip"
    )

    assert [(str(file.path), file.rows) for file in one.files] == [
        (row["file"], row["rows"]) for row in told
    ]
    assert (one.is_done, one.reason) == (True, "")
    assert (short.is_done, short.files) == (False, ())
    assert "29 days are missing or partial" in short.reason


@pytest.mark.parametrize("wrong", [{"program": "matlab"}, {"packing": "rar"}])
def test_python_refuses_what_there_is_not(wrong, shop, tmp_path) -> None:
    """The message lists what there is."""
    arguments = {"program": "csv", "to": tmp_path / "out", "config": shop.config} | wrong

    with pytest.raises(UsageError, match=r"is none of .*csv"):
        export(**arguments)


def test_an_empty_range_is_said(desk, tmp_path) -> None:
    """Before a symbol was listed there is nothing, which is no failure and makes no file."""
    desk.configure({"symbols": ["NEWUSDT"], "start": "2024-05-10", "end": "2024-05-20"})
    desk.fill()

    done = desk.run("export", "freqtrade", "--to", tmp_path / "out", "--end", "2024-05-15")

    assert done.returncode == 0, done.stderr
    assert "binance/spot/NEWUSDT/1h: no klines in this range" in done.stderr
    assert "nothing was written" in done.stderr
    assert not (tmp_path / "out").exists()


def test_klines_that_stand_in_are_counted_and_named(desk, tmp_path) -> None:
    """Prices of another exchange are told, by their number and their source."""
    desk.configure(
        {"sources": ["vision", "rest", "ccxt:okx"], "start": str(DAY), "end": "2024-03-08"}
    )
    lake = lake_with(tmp_path, SPOT, source="ccxt:okx")
    lake.root.rename(desk.folder / "lake")

    [file] = exported(desk, "freqtrade", "--to", tmp_path / "out")

    assert (file["stand_in_rows"], file["sources"]) == (24, "ccxt:okx 24")
    said = desk.run("export", "freqtrade", "--to", tmp_path / "out").stderr
    assert "24 klines only stand in" in said


def test_provisional_days_are_counted(desk, tmp_path) -> None:
    """A day of REST that the archive has yet to publish is told as such."""
    today = datetime.now(UTC).date()
    desk.configure({"start": str(today - timedelta(days=1)), "end": None})
    lake = lake_with(tmp_path, SPOT, source="rest", day=today - timedelta(days=1))
    lake.root.rename(desk.folder / "lake")

    [file] = exported(desk, "freqtrade", "--to", tmp_path / "out")

    assert (file["rows"], file["provisional_days"], file["stand_in_rows"]) == (24, 1, 0)


def test_a_damaged_file_costs_only_its_own_series(desk, tmp_path) -> None:
    """Its series is named with the remedy and not written; the others are; status 1."""
    desk.configure({"symbols": ["BTCUSDT", "ETHUSDT"]})
    desk.fill()
    path = part_path(desk.lake.root, SPOT, "2024")
    content = bytearray(path.read_bytes())
    content[200] ^= 1  # a page: the footer still says that all is there
    path.write_bytes(content)

    done = desk.run("export", "freqtrade", "--to", tmp_path / "out")

    assert done.returncode == 1
    assert "binance/spot/BTCUSDT/1h: " in done.stderr
    assert "run: crypto-data repair" in done.stderr
    assert [path.name for path in (tmp_path / "out").rglob("*.*")] == ["ETH_USDT-1h.feather"]


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        pytest.param(OSError(28, "No space left on device"), LakeNotWritable, id="disk-full"),
        pytest.param(KeyboardInterrupt(), KeyboardInterrupt, id="interrupted"),
    ],
)
def test_a_file_is_replaced_whole_or_not_at_all(fault, raised, tmp_path) -> None:
    """What breaks off in the middle leaves the old file and nothing beside it."""
    path = tmp_path / "new" / "file"
    with replacing(path) as file:
        file.write(b"old")

    def fail() -> None:
        with replacing(path) as half:
            half.write(b"new")
            raise fault

    with pytest.raises(raised):
        fail()

    assert [one.read_bytes() for one in path.parent.iterdir()] == [b"old"]


def test_pieces_are_files_of_the_lake(shop) -> None:
    """A series is read a file at a time, cut to the range, and no piece is empty."""
    span = span_of_days(date(2024, 12, 31), date(2025, 1, 3))

    pieces = list(Source(shop.lake, SPOT, span).pieces())

    assert [piece.num_rows for piece in pieces] == [24, 48]


def named(lake, symbol) -> pa.Table:
    """Return three days of a symbol as a read of several symbols has them."""
    rows = lake.read(
        Series.parse(f"binance/spot/{symbol}/1h"), span_of_days(FIRST, date(2025, 1, 2))
    )
    return rows.add_column(0, "symbol", pa.repeat(symbol, rows.num_rows))


def test_a_frame_of_backtrader_has_its_columns(shop) -> None:
    """Open times without a zone, the five numbers, and an open interest that is none."""
    klines = named(shop.lake, "BTCUSDT")

    frame = backtrader_frame(klines)

    assert list(frame) == ["open", "high", "low", "close", "volume", "openinterest"]
    assert frame.index.tz is None
    assert frame.index[0].isoformat() == "2024-12-30T00:00:00"
    assert frame["close"].tolist() == klines["close"].to_pylist()
    assert not frame["openinterest"].any()


def test_a_frame_of_vectorbt_fills_nothing_in(shop) -> None:
    """A column a symbol; where one has no kline stands NaN, where none has one stands no row."""
    rows = named(shop.lake, "BTCUSDT")
    other = rows.slice(1, 10).set_column(0, "symbol", pa.repeat("AAAUSDT", 10))
    klines = pa.concat_tables([rows.slice(2), other])

    frame = vectorbt_frame(klines, "open")

    assert list(frame) == ["AAAUSDT", "BTCUSDT"]
    assert len(frame) == rows.num_rows - 1
    assert frame["BTCUSDT"].isna().sum() == 1
    assert frame["AAAUSDT"].dropna().tolist() == rows["open"].to_pylist()[1:11]
    assert frame.index.is_monotonic_increasing


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(backtrader_frame, "one symbol", id="several-symbols"),
        pytest.param(lambda rows: vectorbt_frame(rows, "price"), "'price'", id="no-column"),
        pytest.param(
            lambda rows: vectorbt_frame(rows.drop(["symbol"])), "'symbol'", id="no-symbols"
        ),
    ],
)
def test_frames_refuse_what_they_cannot_be_made_of(make, words, shop) -> None:
    """The message says what the klines lack."""
    rows = named(shop.lake, "BTCUSDT")
    klines = pa.concat_tables([rows, rows.set_column(0, "symbol", pa.repeat("X", rows.num_rows))])

    with pytest.raises(UsageError, match=words):
        make(klines)
