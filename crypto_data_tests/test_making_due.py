"""Days that are to be made: told for all at once, as for each day alone."""

import tempfile
from datetime import date
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from crypto_data.catalog.configuration import load_catalog
from crypto_data.coverage import DayFacts
from crypto_data.harvest import Aim
from crypto_data.intervals import DAY_MS, HOUR_MS, TimeRange
from crypto_data.lake.census import take_census
from crypto_data.lake.feeds import current_wishes
from crypto_data.lake.layout import part_path
from crypto_data.lake.part import write_part
from crypto_data.making.days import Making
from crypto_data.making.due import unmade_days
from crypto_data.partitions import ONE_DAY, day_of, day_start_ms, days_in, periods_of
from crypto_data.schema import KLINES
from crypto_data.series import Series

HOURS = Series.parse("binance/spot/BTCUSDT/1h")
FOURS = Series.parse("binance/spot/BTCUSDT/4h")
# Over the end of a file.
START, DAYS = date(2023, 12, 28), 8
DAYS_HELD = [START + n * ONE_DAY for n in range(DAYS)]
CONFIG = """
lake: ./lake
feeds:
  - {{exchange: binance, market: spot, symbols: [BTCUSDT], intervals: [1h, 4h: from 1h],
     start: {start}, sources: [{sources}]}}
"""


@st.composite
def finer_days(draw, day):
    """Draw what the ledger may know of a finer day: every state, few moments."""
    start_ms = day_start_ms(day)
    rows = draw(st.sampled_from([0, 20, 24]))
    unlisted = draw(st.sampled_from([0, 4, 24]))
    absent = (TimeRange(start_ms, start_ms + 4 * HOUR_MS),) if rows == 20 and not unlisted else ()
    source = draw(st.sampled_from(["vision", "rest", "ccxt:okx"]))
    return DayFacts(
        rows=rows,
        off_grid=draw(st.sampled_from([0, 2])),
        unlisted_rows=unlisted,
        sources=((source, rows),) if rows else (),
        absent=absent,
        explained=draw(st.booleans()),
        attempts=1,
        ingested_ms=draw(st.sampled_from([0, 7, 1_704_067_200_123])) if rows else 0,
    )


@st.composite
def made_days(draw, making, day, finer, now_ms):
    """Draw what was made of a day: by how its finer day stands or stood, if there was one."""
    stood = draw(st.one_of(st.just(finer), st.none(), finer_days(day)))
    mark = making.look_at(stood, day, now_ms).mark
    rows = draw(st.sampled_from([0, 6]))
    return DayFacts(
        rows=rows,
        sources=(("made:1h", rows),) if rows else (),
        checksum=draw(st.sampled_from([mark, mark, ""])),
        attempts=1,
        ingested_ms=9 if rows else 0,
    )


def put(root, series, ledger) -> None:
    for period, days in periods_of(series.interval, ledger).items():
        path = part_path(root, series, period)
        write_part(path, KLINES.empty_table(), {one: ledger[one] for one in days})


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_census_tells_what_each_day_tells_alone(data) -> None:
    """Whatever the ledgers hold, the same days are to be made: both write the same mark."""
    sources = data.draw(st.sampled_from(["vision, rest", "rest", "vision, rest, ccxt:okx"]))
    now_ms = day_start_ms(START) + data.draw(st.integers(DAYS, 20)) * DAY_MS
    making = Making(FOURS, HOURS, sources.split(",", maxsplit=1)[0])
    chosen = st.lists(st.sampled_from(DAYS_HELD), unique=True)
    finer = {day: data.draw(finer_days(day)) for day in data.draw(chosen)}
    made = {
        day: data.draw(made_days(making, day, finer.get(day), now_ms)) for day in data.draw(chosen)
    }
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "crypto_data.yaml"
        config.write_text(CONFIG.format(start=START, sources=sources))
        catalog = load_catalog(config, {}, START)
        put(catalog.lake, HOURS, finer)
        put(catalog.lake, FOURS, made)

        runs = take_census(catalog.lake, now_ms, current_wishes(catalog)).runs
        told = unmade_days(runs, catalog)

    closed = list(days_in(START, day_of(now_ms)))
    alone = making.find_unmade(closed, made, finer, aim=Aim.MEND, now_ms=now_ms)
    assert {one.series for one in told} <= {FOURS}
    assert [day for one in told for day in days_in(one.first, one.end)] == alone
