"""Files for freqtrade: Feather, one a pair and timeframe, as its own `download-data` writes them.

Source: freqtrade 2026.9, `freqtrade/data/history/datahandlers`; checked 2026-11.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from crypto_data.exporting.files import Source, Tally, WrittenFile, replacing
from crypto_data.exporting.pairs import PairBook
from crypto_data.intervals import Interval
from crypto_data.schema import PRICES, TIME
from crypto_data.series import Market, Series

_COLUMNS = pa.schema(
    [
        pa.field("date", TIME),
        *(pa.field(name, pa.float64()) for name in (*PRICES, "volume")),
    ]
)
_COMPRESSION = pa.ipc.IpcWriteOptions(compression=pa.Codec("lz4", 9))
_BATCH_ROWS = 65_536
# What its `pair_to_filename` replaces.
_NO_LETTERS = str.maketrans(dict.fromkeys("/ .@$+:", "_"))


@dataclass(frozen=True, slots=True)
class Freqtrade:
    """Writes below freqtrade's data folder, `user_data/data`."""

    folder: Path
    pairs: PairBook

    def refusal(self, series: Series) -> str:
        """Return why freqtrade cannot use a series."""
        if series.market is Market.CM:
            return "freqtrade trades no coin-margined contracts; it knows spot and um"
        if series.interval is Interval.SECOND_1:
            known = ", ".join(one for one in Interval if one is not Interval.SECOND_1)
            return f"freqtrade knows no timeframe below a minute; it knows {known}"
        return ""

    def place(self, series: Series) -> str:
        """Return the path of the one file of a series: `binance/BTC_USDT-1h.feather`."""
        pair = self.pairs.find(series).unified.translate(_NO_LETTERS)
        # The month is 1Mo on its disk.
        timeframe = series.interval.rest_name.replace("M", "Mo")
        if series.market is Market.SPOT:
            return f"{series.exchange}/{pair}-{timeframe}.feather"
        return f"{series.exchange}/futures/{pair}-{timeframe}-futures.feather"

    def write(self, source: Source) -> Iterator[WrittenFile]:
        """Write the file of a series; absent klines stay absent."""
        path = self.folder / self.place(source.series)
        tally = Tally()
        pieces = source.pieces()
        first = next(pieces, None)
        if first is None:
            return
        with (
            replacing(path) as file,
            pa.ipc.new_file(file, _COLUMNS, options=_COMPRESSION) as writer,
        ):
            for klines in chain((first,), pieces):
                tally.add(klines)
                writer.write_table(_columns(klines), max_chunksize=_BATCH_ROWS)
        yield tally.written(path, source.span)


def _columns(klines: pa.Table) -> pa.Table:
    chosen = klines.select(["open_time", *_COLUMNS.names[1:]])
    return chosen.rename_columns(_COLUMNS.names).cast(_COLUMNS)
