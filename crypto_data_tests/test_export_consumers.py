"""What is exported is read by the programs it is for: their own loaders, as they are installed."""

import hashlib
import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
from filelock import FileLock

from crypto_data.intervals import TimeRange
from crypto_data.partitions import span_of_days
from crypto_data.schema import epoch_ms
from crypto_data.series import Series

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
FIRST, END = date(2023, 3, 23), date(2023, 3, 26)  # with an outage of spot on the 24th
SPOT = Series.parse("binance/spot/BTCUSDT/1h")
UM = Series.parse("binance/um/BTCUSDT/1h")
# What pip says when there is nobody to ask.
NO_REGISTRY = ("connection broken", "NewConnectionError", "Name or service not known")


def install(cache, requirements) -> Path:
    """Install programs into a folder of pytest's cache, once for all runs and workers."""
    wanted = HERE / requirements
    mark = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:16]
    folder = cache.mkdir("consumers") / f"{wanted.stem}-{mark}"
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / ".ready").exists():
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
                    *("--no-compile", "--disable-pip-version-check", "--retries", "1"),
                    *("--upgrade", "--target", folder, "-r", wanted),
                ],
                capture_output=True, text=True, timeout=300, check=False,
            )  # fmt: skip
            if any(words in done.stderr for words in NO_REGISTRY):
                pytest.skip(f"no package registry can be reached: {done.stderr.splitlines()[-1]}")
            assert done.returncode == 0, done.stderr
            (folder / ".ready").touch()
    return folder


@pytest.fixture(scope="session")
def programs(request) -> Path:
    return install(request.config.cache, "consumers.txt")


@pytest.fixture(scope="session")
def nautilus(request) -> Path:
    if sys.version_info >= (3, 14):
        pytest.skip("nautilus_trader has no release for this Python")
    return install(request.config.cache, "consumers_nautilus.txt")


@pytest.fixture(scope="module")
def shop(tmp_path_factory, new_desk):
    """Return a desk whose lake holds three days of spot and um."""
    desk = new_desk(tmp_path_factory.mktemp("shop"))
    days = {"start": str(FIRST), "end": str(END)}
    desk.configure(
        {"symbols": ["BTCUSDT", "ETHUSDT"], **days},
        {"market": "um", "intervals": ["1h", "1d"], **days},
    )
    desk.fill()
    return desk


def ask(shop, programs, script):
    """Return what a script prints as JSON that sees the programs before the environment's own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=shop.folder,
        # Compiling what vectorbt runs takes longer than running it.
        env=os.environ | {"PYTHONPATH": str(programs), "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def held(shop, series, *columns) -> list[list]:
    """Return klines of the lake: their open time in milliseconds, then some columns."""
    rows = shop.lake.read(series, series_span())
    columns = (epoch_ms(rows["open_time"]), *(rows[name] for name in columns))
    return [list(row) for row in zip(*(one.to_pylist() for one in columns), strict=True)]


def series_span() -> TimeRange:
    return span_of_days(FIRST, END)


@pytest.mark.parametrize(
    ("series", "pair", "kind"),
    [
        pytest.param(SPOT, "BTC/USDT", "SPOT", id="spot"),
        pytest.param(UM, "BTC/USDT:USDT", "FUTURES", id="futures"),
    ],
)
def test_freqtrade_loads_the_klines(series, pair, kind, shop, programs) -> None:
    """Freqtrade's own loader finds the pair and returns the lake's klines, none filled in."""
    done = shop.run("export", "freqtrade", "--to", "user_data", "--allow-gaps")
    assert done.returncode == 0, done.stderr

    read = ask(
        shop,
        programs,
        f"""
import json
from pathlib import Path
from freqtrade.data.history import get_datahandler, load_pair_history
from freqtrade.enums import CandleType, TradingMode
folder, kind = Path("user_data/binance"), CandleType.{kind}
frame = load_pair_history(
    {pair!r}, "1h", folder, data_format="feather", fill_up_missing=False, candle_type=kind
)
handler = get_datahandler(folder, "feather")
frame["date"] = frame["date"].dt.as_unit("ms").astype("int64")
print(json.dumps({{
    "pairs": [one[:2] for one in handler.ohlcv_get_available_data(folder, TradingMode.{kind})],
    "rows": frame.values.tolist(),
}}))
""",
    )

    assert [pair, "1h"] in read["pairs"]
    assert read["rows"] == held(shop, series, "open", "high", "low", "close", "volume")


def test_freqtrade_would_write_the_same_file(shop, programs) -> None:
    """A frame that freqtrade stores itself has the columns and types of ours."""
    shop.run("export", "freqtrade", "--to", "user_data", "--symbols", "BTCUSDT", "--market", "spot")

    theirs, ours = ask(
        shop,
        programs,
        """
import json
from pathlib import Path
import pyarrow.feather as feather
from freqtrade.data.converter import ohlcv_to_dataframe
from freqtrade.data.history import get_datahandler
from freqtrade.enums import CandleType
own, folder = Path("own/binance"), Path("user_data/binance")
own.mkdir(parents=True)
frame = ohlcv_to_dataframe([[1679529600000, 1.0, 2.0, 0.5, 1.5, 3.0]] * 2, "1h", "BTC/USDT")
get_datahandler(own, "feather").ohlcv_store("BTC/USDT", "1h", frame, CandleType.SPOT)
files = [feather.read_table(one / "BTC_USDT-1h.feather") for one in (own, folder)]
print(json.dumps([[[field.name, str(field.type)] for field in one.schema] for one in files]))
""",
    )

    assert ours == theirs


def test_nautilus_reads_the_bars(shop, nautilus) -> None:
    """Its catalog returns every bar with the lake's numbers, stamped when the bar is over."""
    done = shop.run("export", "nautilus", "--to", "catalog")
    assert done.returncode == 0, done.stderr

    read = ask(
        shop,
        nautilus,
        """
import json, os
from nautilus_trader.model.data import Bar
from nautilus_trader.persistence.catalog import ParquetDataCatalog
catalog = ParquetDataCatalog(os.path.abspath("catalog"))
names = ["BTCUSDT.BINANCE-1-HOUR-LAST-EXTERNAL", "BTCUSDT-PERP.BINANCE-1-HOUR-LAST-EXTERNAL"]
def plain(bar):
    prices = (bar.open, bar.high, bar.low, bar.close, bar.volume)
    # Its own float() is a digit off at times.
    return [bar.ts_init // 10**6 - 3_600_000, *(float(str(one)) for one in prices)]
day = {"start": "2023-03-23T00:00:01", "end": "2023-03-24"}
print(json.dumps({
    "bars": [[plain(bar) for bar in catalog.bars(bar_types=[name])] for name in names],
    "types": sorted({str(bar.bar_type) for bar in catalog.bars()}),
    "one_day": len(catalog.bars(bar_types=names[:1], **day)),
}))
""",
    )

    columns = ("open", "high", "low", "close", "volume")
    assert read["bars"] == [held(shop, SPOT, *columns), held(shop, UM, *columns)]
    assert read["types"] == [
        "BTCUSDT-PERP.BINANCE-1-DAY-LAST-EXTERNAL",
        "BTCUSDT-PERP.BINANCE-1-HOUR-LAST-EXTERNAL",
        "BTCUSDT.BINANCE-1-HOUR-LAST-EXTERNAL",
        "ETHUSDT.BINANCE-1-HOUR-LAST-EXTERNAL",
    ]
    assert read["one_day"] == 24


def test_nautilus_would_write_the_same_file(shop, nautilus) -> None:
    """The bars that it reads and writes again give a file of the same name and content."""
    shop.run("export", "nautilus", "--to", "catalog")

    same = ask(
        shop,
        nautilus,
        """
import json, os
from pathlib import Path
import pyarrow.parquet as pq
from nautilus_trader.persistence.catalog import ParquetDataCatalog
Path("own").mkdir(exist_ok=True)
bars = ParquetDataCatalog(os.path.abspath("catalog")).bars()
ParquetDataCatalog(os.path.abspath("own")).write_data(bars)
files = [sorted(path.relative_to(one) for path in Path(one).rglob("*.parquet"))
         for one in ("own", "catalog")]
tables = [pq.read_table(Path(one) / file) for file in files[0] for one in ("own", "catalog")]
print(json.dumps(files[0] == files[1] and all(
    a.equals(b) and a.schema.metadata == b.schema.metadata
    for a, b in zip(tables[::2], tables[1::2], strict=True)
)))
""",
    )

    assert same


READ = """
import json
from crypto_data import open_lake
from crypto_data import backtrader_frame, vectorbt_frame
lake = open_lake()
"""


def test_backtrader_runs_over_the_frame(shop, programs) -> None:
    """A strategy sees every kline of the lake once, at its open time, with its numbers."""
    seen = ask(
        shop,
        programs,
        READ
        + """
import backtrader
class Seeing(backtrader.Strategy):
    seen = []
    def next(self):
        data, moment = self.data, self.data.datetime.datetime(0)
        self.seen.append([moment.isoformat(), data.open[0], data.close[0], data.volume[0]])
frame = backtrader_frame(lake.klines("BTCUSDT", "1h", source="lake", end="2023-03-26"))
cerebro = backtrader.Cerebro(stdstats=False)
cerebro.adddata(backtrader.feeds.PandasData(dataname=frame))
cerebro.addstrategy(Seeing)
cerebro.run()
print(json.dumps(Seeing.seen))
""",
    )

    rows = shop.lake.read(SPOT, series_span()).to_pylist()
    # It keeps times as days in a double, a few microseconds apart.
    assert [one[0][:16] for one in seen] == [f"{row['open_time']:%Y-%m-%dT%H:%M}" for row in rows]
    assert [one[1:] for one in seen] == [[row["open"], row["close"], row["volume"]] for row in rows]


def test_vectorbt_runs_over_the_frame(shop, programs) -> None:
    """Holding each symbol returns what its first and last close say."""
    returns = ask(
        shop,
        programs,
        READ
        + """
import vectorbt
klines = lake.klines(["BTCUSDT", "ETHUSDT"], "1h", source="lake", end="2023-03-26")
portfolio = vectorbt.Portfolio.from_holding(vectorbt_frame(klines), freq="1h")
print(json.dumps(portfolio.total_return().to_dict()))
""",
    )

    closes = {
        symbol: shop.lake.read(Series.parse(f"binance/spot/{symbol}/1h"), series_span())["close"]
        for symbol in ("BTCUSDT", "ETHUSDT")
    }
    assert returns == pytest.approx(
        {name: held[-1].as_py() / held[0].as_py() - 1 for name, held in closes.items()}
    )


PAGE = (HERE.parent / "docs" / "exports.md").read_text("utf-8")
SNIPPETS = re.findall(
    r"<!-- not run: run by test_export_consumers.py.*? -->\n```python\n(.*?)^```$",
    PAGE,
    re.MULTILINE | re.DOTALL,
)


@pytest.mark.parametrize(
    "snippet", [pytest.param(one, id=str(number)) for number, one in enumerate(SNIPPETS)]
)
def test_snippets_of_the_page_run(snippet, shop, request) -> None:
    """What the page shows of each program runs behind the page's own commands."""
    folder = request.getfixturevalue("nautilus" if "nautilus" in snippet else "programs")
    for program, place in (("freqtrade", "user_data/data"), ("nautilus", "catalog")):
        assert shop.run("export", program, "--to", place, "--market", "spot").returncode == 0

    answer = ask(shop, folder, f"{snippet}\nprint('true')")

    assert answer is True


def test_the_page_shows_every_program() -> None:
    """No snippet is lost by its form."""
    assert len(SNIPPETS) == 4
