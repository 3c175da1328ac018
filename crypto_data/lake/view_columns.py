"""What each column of the views means: shown by viewers of `lake.duckdb`, and by the reference.

Words only; the views themselves belong to `lake.views`.
"""

from collections.abc import Iterator

_SERIES = {
    "exchange": "name of the exchange, as ccxt spells it",
    "market": "`spot`, `um` or `cm`",
    "symbol": "the exchange's own spelling",
    "interval": "bar length, such as `1m`",
}

# View -> column -> meaning. Times are UTC.
MEANINGS = {
    "klines": {
        **_SERIES,
        "open_time": "start",
        "open": "first price, quote per base",
        "high": "highest price",
        "low": "lowest price",
        "close": "last price",
        "volume": "traded, in base",
        "quote_volume": "traded, in quote",
        "trade_count": "number of trades",
        "taker_buy_volume": "bought by takers, in base",
        "taker_buy_quote_volume": "bought by takers, in quote",
        "close_time": "last instant, as the exchange gave it",
        "source": "where it came from: `vision`, `rest`, `ccxt:<exchange>` or `made:<interval>`",
        "contract_volume": "contracts traded; `cm` only",
    },
    "inventory": {
        **_SERIES,
        "first_open": "open time of the first kline",
        "last_open": "open time of the last kline",
        "rows": "klines in the lake",
        "expected_rows": "klines that should be there",
        "missing_rows": "of these, absent ones; explained ones too",
        "completeness": "0 to 1: expected and present, of expected",
        "gaps": "open gaps",
        "days_complete": "days that are `complete`",
        "days_partial": "days that are `partial`",
        "days_missing": "days that are `missing`",
        "days_explained": "days that are `explained`",
        "days_unlisted": "days that are `unlisted`",
        "days_provisional": "days that are `provisional`",
        "files": "Parquet files",
        "bytes": "their size",
        "last_ingested": "when rows last changed",
    },
    "coverage": {
        **_SERIES,
        "day": "the UTC day",
        "rows": "klines in the lake",
        "expected": "klines that should be there",
        "state": "what the day is: one of the six states",
        "source": "sources of its rows, joined by `+`",
        "ingested_at": "when its rows last changed",
        "attempts": "how often it was asked for",
        "last_attempt": "when it was last asked for",
        "reason": "what each source said that did not serve everything",
        "set_aside": "rows put into quarantine when it was last asked for",
        "checksum": "sha256 of the archive file its rows came from, or how the finer day stood",
        "address": "address of that file",
    },
    "gaps": {
        **_SERIES,
        "gap_start": "first absent open time",
        "gap_end": "the open time after the last absent one",
        "missing_rows": "absent klines",
        "state": "`open` or `explained`",
        "attempts": "how often it was asked for",
        "last_attempt": "when it was last asked for",
        "reason": "what each source said",
    },
    "corrections": {
        **_SERIES,
        "day": "the UTC day",
        "corrected_at": "when, by the exchange's clock",
        "columns": "columns whose values changed",
        "rows_changed": "klines with other values",
        "rows_added": "klines that were not there",
        "old_source": "sources of the day before, joined by `+`",
        "new_source": "sources of the day after, joined by `+`",
        "old_checksum": "sha256 of the archive file before; empty where there was none",
        "new_checksum": "sha256 of the archive file after; empty where there is none",
        "superseded": "the replaced file, from the lake's folder on; kept for a while",
    },
    "health": {
        "kind": "`feed` or `series`",
        "feed": "its name",
        "exchange": "name of the exchange, as ccxt spells it",
        "market": "`spot`, `um` or `cm`",
        "symbol": "null for a feed",
        "interval": "null for a feed",
        "last_run": "when a run last noted how it went; null: never",
        "last_success": "when a run last served everything it asked for",
        "rows": "klines in the lake; of a feed, those of its series",
        "errors_in_a_row": "runs that fell short or died since",
        "alert": "what is being told just now; null when nothing is",
        "why": "what the last run that fell short was told",
    },
}


def comments(view: str) -> Iterator[str]:
    """Yield the statements that write the meanings of a view's columns into a database."""
    for column, meaning in MEANINGS.get(view, {}).items():
        text = meaning.replace("'", "''").replace("`", "")
        yield f"COMMENT ON COLUMN {view}.\"{column}\" IS '{text}'"
