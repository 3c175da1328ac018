"""Bars for NautilusTrader: its `ParquetDataCatalog`, written without it.

A bar carries the instant it closes, so that no backtest sees it before. Numbers are integers of
128 bits in units of 1e-16, as in its builds for Linux and macOS; those for Windows have 64 bits.

Source: nautilus_trader 1.221.0, `persistence/catalog/parquet.py` and files that it wrote; checked
2026-11.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crypto_data.errors import UsageError
from crypto_data.exporting.decimals import MOST_DECIMALS, Doubles, least_decimals, to_decimals
from crypto_data.exporting.files import Source, Tally, WrittenFile, replacing
from crypto_data.exporting.pairs import Pair, PairBook
from crypto_data.intervals import Interval
from crypto_data.lake.grid import Numbers, next_grid
from crypto_data.schema import PRICES, epoch_ms
from crypto_data.series import Market, Series

_NUMBER = pa.binary(16)
_FIELDS = [
    *((name, _NUMBER) for name in (*PRICES, "volume")),
    ("ts_event", pa.uint64()),
    ("ts_init", pa.uint64()),
]
# Rows of a group in its own files.
_GROUP_ROWS = 5_000
# Its largest price; quantities may be twice as large.
_LARGEST = 17_014_118_346_046.0
# In the footer of files that are ours to replace.
_OWNER_KEY = b"crypto_data.series"

_STEPS = {"s": "SECOND", "m": "MINUTE", "h": "HOUR", "d": "DAY", "w": "WEEK", "mo": "MONTH"}


@dataclass(frozen=True, slots=True)
class Decimals:
    """How many decimals the prices and the volumes of a series need."""

    price: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Nautilus:
    """Writes below the folder of a `ParquetDataCatalog`."""

    folder: Path
    pairs: PairBook

    def refusal(self, series: Series) -> str:
        """Return `""`: it knows every interval and market of the lake."""
        del series
        return ""

    def place(self, series: Series) -> str:
        """Return the bar type of a series: `BTCUSDT-PERP.BINANCE-1-HOUR-LAST-EXTERNAL`."""
        symbol = _symbol(series, self.pairs)
        count = series.interval.rstrip("smhdwo")
        step = _STEPS[series.interval.removeprefix(count)]
        return f"{symbol}.{series.exchange.upper()}-{count}-{step}-LAST-EXTERNAL"

    def write(self, source: Source) -> Iterator[WrittenFile]:
        """Write the one file of a series, named after its first and last close.

        Files of earlier exports of the series go, as the catalog would read both.
        """
        found = _measure(source)
        if found is None:
            return
        decimals, closes_ms = found
        bar_type = self.place(source.series)
        # The catalog leaves out the slash of `BTC/USD` too.
        folder = self.folder / "data" / "bar" / bar_type.replace("/", "")
        path = folder / f"{_stamp(closes_ms[0])}_{_stamp(closes_ms[1])}.parquet"
        earlier = _earlier_exports(folder, source.series)
        schema = pa.schema([pa.field(*one, nullable=False) for one in _FIELDS]).with_metadata(
            {
                "bar_type": bar_type,
                "instrument_id": bar_type.rsplit("-", 4)[0],
                "price_precision": str(decimals.price),
                "size_precision": str(decimals.size),
            }
        )
        tally = Tally()
        with replacing(path) as file:
            with pq.ParquetWriter(file, schema) as writer:
                for klines in source.pieces():
                    tally.add(klines)
                    table = _bars(klines, source.series, decimals, schema)
                    writer.write_table(table, row_group_size=_GROUP_ROWS)
                writer.add_key_value_metadata({_OWNER_KEY: str(source.series).encode()})
            for old in earlier:  # before the new one appears: a bar read twice is worse than none
                if old != path:
                    old.unlink(missing_ok=True)
        yield tally.written(path, source.span)


def _symbol(series: Series, pairs: PairBook) -> str:
    """Return a symbol as the program's own adapter for the exchange spells it."""
    if series.exchange == "binance" and "/" not in series.symbol:
        if series.market is Market.SPOT or series.symbol[-1].isdigit():
            return series.symbol
        return f"{series.symbol.removesuffix('_PERP')}-PERP"
    pair = pairs.find(series)
    match series.exchange:
        case "okx":
            return f"{pair.base}-{pair.quote}{_ending(pair, '-SWAP')}"
        case "bybit":
            kind = {Market.SPOT: "SPOT", Market.UM: "LINEAR", Market.CM: "INVERSE"}[series.market]
            return f"{pair.base}{pair.quote}{_ending(pair, '')}-{kind}"
        case _:
            return pair.unified


def _ending(pair: Pair, perpetual: str) -> str:
    if pair.delivery:
        return f"-{pair.delivery}"
    return perpetual if pair.settle else ""


def _measure(source: Source) -> tuple[Decimals, tuple[int, int]] | None:
    """Return the decimals of a series, and its first and last close; None without klines.

    Raises:
        UsageError: the klines cannot be written.
    """
    decimals, closes_ms = Decimals(), []
    for klines in source.pieces():
        volumes = _volumes(klines, source.series)
        decimals = Decimals(
            _widen(decimals.price, *(klines[name].to_numpy() for name in PRICES)),
            _widen(decimals.size, volumes),
        )
        closes = _closes_ms(klines, source.series.interval)
        closes_ms += [int(closes[0]), int(closes[-1])]
    return (decimals, (closes_ms[0], closes_ms[-1])) if closes_ms else None


def _widen(decimals: int, *columns: Doubles) -> int:
    for values in columns:
        if values.max() > _LARGEST:
            raise UsageError(f"{values.max():g} is more than nautilus_trader can hold")
        found = least_decimals(values, decimals)
        if found is None:
            raise UsageError(
                f"some numbers have more than {MOST_DECIMALS} decimals, which nautilus_trader "
                "cannot hold; they came from another exchange's rounding"
            )
        decimals = found
    return decimals


def _volumes(klines: pa.Table, series: Series) -> Doubles:
    """Return what its instruments count: contracts for coin-margined ones, else base."""
    name = "contract_volume" if series.market is Market.CM else "volume"
    lacking = klines[name].null_count
    if lacking:
        raise UsageError(f"{lacking:,} klines have no {name}, which nautilus_trader counts in")
    values: Doubles = klines[name].to_numpy()
    return values


def _bars(klines: pa.Table, series: Series, decimals: Decimals, schema: pa.Schema) -> pa.Table:
    numbers = [_to_raw(klines[name].to_numpy(), decimals.price) for name in PRICES]
    numbers.append(_to_raw(_volumes(klines, series), decimals.size))
    closes = pa.array(_closes_ms(klines, series.interval) * 1_000_000, pa.uint64())
    return pa.Table.from_arrays([*numbers, closes, closes], schema=schema)


def _to_raw(values: Doubles, decimals: int) -> Any:
    """Return numbers as the bytes of little-endian integers: an Arrow decimal is just that.

    Raises:
        UsageError: the lake has changed since the decimals were counted.
    """
    if least_decimals(values, decimals) != decimals:
        raise UsageError("the lake changed while it was read; run the export again")
    raw = to_decimals(values, decimals).cast(pa.decimal128(38, MOST_DECIMALS))
    return pa.Array.from_buffers(_NUMBER, len(raw), [None, raw.buffers()[1]])


def _closes_ms(klines: pa.Table, interval: Interval) -> Numbers:
    """Return when each bar is over: the next open time of the grid."""
    return next_grid(interval, epoch_ms(klines["open_time"]).to_numpy().astype(np.int64) + 1)


def _stamp(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H-%M-%S}-{time_ms % 1000:03}000000Z"


def _earlier_exports(folder: Path, series: Series) -> list[Path]:
    """Return the files of earlier exports of a series.

    Raises:
        UsageError: the folder holds bars that somebody else wrote: the catalog would join them.
    """
    files = sorted(folder.glob("*.parquet"))
    for path in files:
        if _owner(path) != str(series):
            raise UsageError(
                f"{path} was not written by an export of this series; move it away, or choose "
                "another folder with --to"
            )
    return files


def _owner(path: Path) -> str:
    """Return the series whose export wrote a file; `""` for a foreign one."""
    try:
        texts: dict[bytes, bytes] = pq.read_metadata(path).metadata or {}
        return texts.get(_OWNER_KEY, b"").decode()
    except (OSError, pa.ArrowException, UnicodeDecodeError):
        return ""
