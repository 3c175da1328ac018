"""The rows of one page as ccxt hands them over, as a table.

Which page is asked for belongs to `sources.ccxt_source`.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.intervals import Interval
from crypto_data.schema import FETCHED, TIME, epoch_ms, fetched_table
from crypto_data.sources.archive_file import timestamps

# What ccxt gives of a kline, in its order.
COLUMNS = ("open_time", "open", "high", "low", "close", "volume")


def page_table(came: Sequence[Sequence[Any]], interval: Interval) -> Any:
    """Return ccxt's rows as a `FETCHED` table, in the order they came.

    ccxt hands on base volume and nothing else of what was traded; the close is reckoned.

    Raises:
        ValueError: a row is no list of six numbers.
    """
    if not came:
        return FETCHED.empty_table()
    if set(map(len, came)) != {len(COLUMNS)}:
        raise ValueError(f"rows are not lists of {len(COLUMNS)} items: {str(came[0])[:200]}")
    items = list(chain.from_iterable(came))
    if None in items:
        raise ValueError(f"a kline without a value: {came[items.index(None) // len(COLUMNS)]}")
    try:
        opens = timestamps(pa.array(items[:: len(COLUMNS)], pa.int64()))
        columns = {
            name: pa.array(items[place :: len(COLUMNS)], pa.float64())
            for place, name in enumerate(COLUMNS[1:], 1)
        }
        return fetched_table(
            {"open_time": opens, "close_time": _close_times(opens, interval), **columns}
        )
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise ValueError(f"damaged klines: {error}") from error


def _close_times(opens: Any, interval: Interval) -> Any:
    """Return the last millisecond of each bar, as `TIME`."""
    next_ms = [
        interval.next_open(interval.floor(open_ms)) for open_ms in epoch_ms(opens).to_pylist()
    ]
    return pc.multiply(pc.subtract(pa.array(next_ms, pa.int64()), 1), 1000).cast(TIME)
