"""A census cut into pages, one a series."""

import pyarrow as pa

from crypto_data.lake.census import CORRECTIONS, GAPS, HELD, RUNS, Census
from crypto_data.orchestration.pages import pages_of
from crypto_data.series import Series

HOURS, OTHER, LEFT_OUT, ABSENT = (
    Series.parse(f"binance/spot/{symbol}/1h")
    for symbol in ("BTCUSDT", "ETHUSDT", "XRPUSDT", "LTCUSDT")
)
NAMES = ("exchange", "market", "symbol", "interval")


def rows(schema, *entries):
    """Return a table of the census; an entry is a series and one further column."""
    return pa.Table.from_pylist(
        [dict(zip(NAMES, str(series).split("/"), strict=True)) | more for series, more in entries],
        schema,
    )


def test_each_page_has_the_rows_of_its_series_in_their_order() -> None:
    """Rows of several series lie mixed; one that is not asked for is left out, one has none."""
    census = Census(
        rows(
            RUNS,
            (OTHER, {"days": 1}),
            (HOURS, {"days": 2}),
            (LEFT_OUT, {"days": 3}),
            (OTHER, {"days": 4}),
            (HOURS, {"days": 5}),
        ),
        GAPS.empty_table(),
        rows(HELD, (HOURS, {})),
        CORRECTIONS.empty_table(),
    )

    pages = pages_of(census, [HOURS, OTHER, ABSENT])

    days = {series: page.runs["days"].to_pylist() for series, page in pages.items()}
    assert days == {HOURS: [2, 5], OTHER: [1, 4], ABSENT: []}
    assert [page.held.num_rows for page in pages.values()] == [1, 0, 0]
    assert [page.corrections.num_rows for page in pages.values()] == [0, 0, 0]
    assert pages_of(census, []) == {}
