"""Klines as the data frames that users of pandas, Polars, backtrader and vectorbt expect.

None of these is needed by anything else here, nor imported before it is.
"""

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

SYMBOL, OPEN_TIME = "symbol", "open_time"
_PRICED = ("open", "high", "low", "close", "volume")


def to_pandas(klines: pa.Table) -> "pd.DataFrame":
    """Return klines indexed by open_time, or by symbol and open_time where they have a symbol.

    Times are UTC, in microseconds. Prices and volumes are `float64`, NaN where unknown;
    `trade_count` is pandas' `Int64`, so that its type does not hang on whether one is unknown;
    `source` is a category.

    Args:
        klines: What `klines` of an open lake returned.

    Raises:
        UsageError: pandas is not installed.
    """
    pd = _pandas()
    frame = klines.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    keys = [name for name in (SYMBOL, OPEN_TIME) if name in frame.columns]
    return frame.set_index(keys) if keys else frame


def to_polars(klines: pa.Table) -> "pl.DataFrame":
    """Return klines with their columns; times are `Datetime("us", "UTC")`, names are `String`.

    Args:
        klines: What `klines` of an open lake returned.

    Raises:
        UsageError: Polars is not installed.
    """
    try:
        import polars as pl
    except ImportError:
        raise UsageError("Polars is not installed; run: pip install polars") from None
    # Categories of two frames do not compare; text does.
    plain = pa.schema(
        [
            field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field
            for field in klines.schema
        ]
    )
    frame = pl.from_arrow(klines.cast(plain))
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - a table makes no Series
    return frame


def backtrader_frame(klines: pa.Table) -> "pd.DataFrame":
    """Return klines of one series as `backtrader.feeds.PandasData` reads them.

    Args:
        klines: Columns open_time, open, high, low, close and volume, ascending.

    Returns:
        Columns open, high, low, close, volume and openinterest, which is 0; the index is the open
        time in UTC without a zone. No row is added for an absent kline.

    Raises:
        UsageError: the table holds several series, or pandas is not installed.
    """
    if "symbol" in klines.column_names and len(pc.unique(klines["symbol"])) > 1:
        raise UsageError("a feed of backtrader is one symbol; ask for one at a time")
    frame = _indexed(klines.select(["open_time", *_PRICED]))
    frame["openinterest"] = 0.0
    frame.index = frame.index.tz_localize(None)
    return frame


def vectorbt_frame(klines: pa.Table, column: str = "close") -> "pd.DataFrame":
    """Return one column of klines as vectorbt reads it: a column a symbol, a row an open time.

    Args:
        klines: Columns symbol, open_time and `column`; each symbol's open times once.
        column: `open`, `high`, `low`, `close`, `volume` or any other number of a kline.

    Returns:
        Rows ascending by open time (UTC), columns by symbol. NaN where a symbol has no kline;
        where all lack it there is no row.

    Raises:
        UsageError: the table lacks a column, or pandas is not installed.
    """
    lacking = [name for name in ("symbol", "open_time", column) if name not in klines.column_names]
    if lacking:
        raise UsageError(
            f"the klines have no column {lacking[0]!r}; ask for a list of symbols, as "
            f'lake.klines(["BTCUSDT"], "1h"); they have {", ".join(klines.column_names)}'
        )
    frame = _indexed(klines.select(["open_time", "symbol", column]))
    # pivot_table would average open times that come twice; pivot refuses them.
    wide = frame.pivot(columns="symbol", values=column)  # noqa: PD010
    return wide.sort_index().sort_index(axis="columns")


def _indexed(klines: pa.Table) -> "pd.DataFrame":
    """Return a table as a frame with open_time as its index."""
    _pandas()
    return klines.to_pandas().set_index(OPEN_TIME)


def _pandas() -> Any:
    try:
        import pandas as pd
    except ImportError:
        raise UsageError("pandas is not installed; run: pip install pandas") from None
    return pd
