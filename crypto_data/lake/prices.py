"""The first open and the last close of days, read without the rest of their rows.

Three columns of the files these days lie in, one file at a time. Judging them belongs to
`orchestration.verdicts`.
"""

from collections.abc import Collection
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crypto_data.intervals import DAY_MS
from crypto_data.lake.layout import part_path
from crypto_data.lake.part import damaged
from crypto_data.partitions import EPOCH, periods_of
from crypto_data.schema import KLINES, epoch_ms
from crypto_data.series import Series

EDGES = pa.schema([KLINES.field(name) for name in ("open_time", "open", "close")])

# The kline before a monthly one opened at most so many days earlier.
_LONGEST_DAYS = 31


def read_edges(root: Path, series: Series, days: Collection[date]) -> pa.Table:
    """Return the first and the last kline of some days and of the days beside them, `EDGES`.

    Args:
        root: The lake.
        series: Whose klines.
        days: UTC days; those the lake has no rows of are left out.

    Returns:
        Sorted by open time; a day of one kline has one row.

    Raises:
        LakeDamaged: a file of these days cannot be read.
    """
    reach = 1 if series.interval.is_intraday else _LONGEST_DAYS
    beside = {day + timedelta(days=number) for day in days for number in range(-reach, reach + 1)}
    tables = [
        _edges_of_file(part_path(root, series, period), held)
        for period, held in periods_of(series.interval, beside).items()
    ]
    return pa.concat_tables([*tables, EDGES.empty_table()])


def _edges_of_file(path: Path, days: Collection[date]) -> pa.Table:
    try:
        rows = pq.read_table(
            path, columns=EDGES.names, partitioning=None, page_checksum_verification=True
        ).cast(EDGES)
    except FileNotFoundError:
        return EDGES.empty_table()
    except (OSError, pa.ArrowException) as error:
        raise damaged(path, error) from error
    number = epoch_ms(rows["open_time"]).to_numpy() // DAY_MS
    changes = np.diff(number) != 0
    edge = np.ones(len(number), dtype=bool)
    edge[1:-1] = changes[:-1] | changes[1:]
    edge &= np.isin(number, np.array([(day - EPOCH).days for day in days], dtype=np.int64))
    return rows.filter(pa.array(edge))
