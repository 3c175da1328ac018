"""The views over a lake, and the one SELECT a user may run on them."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from crypto_data.errors import LakeDamaged, LakeNotWritable, UsageError
from crypto_data.harvest import AskedDay, Harvest, Offer
from crypto_data.intervals import HOUR_MS, Interval, TimeRange
from crypto_data.lake.census import take_census
from crypto_data.lake.corrections import Correction
from crypto_data.lake.feeds import Wanted, Wishes, write_wishes
from crypto_data.lake.inventory import rebuild_database, relate, run_statement
from crypto_data.lake.layout import part_path
from crypto_data.lake.ledger import to_ledger
from crypto_data.lake.part import read_footer, read_rows, write_part
from crypto_data.lake.store import Lake
from crypto_data.lake.view_rows import read_view
from crypto_data.partitions import day_start_ms, expected_opens
from crypto_data.schema import KLINES, TIME, fetched_table
from crypto_data.selection import Selection
from crypto_data.series import Market, Series
from crypto_data.sources.connect import local_ms

BTC = Series("binance", Market.SPOT, "BTCUSDT", Interval.HOUR_1)
WEEKLY = Series("binance", Market.UM, "1000PEPEUSDT", Interval.WEEK_1)
FRIDAY = date(2024, 3, 1)
START = day_start_ms(FRIDAY)
NOW = int(datetime(2024, 6, 1, tzinfo=UTC).timestamp()) * 1000
SECRET = "hunter2"  # noqa: S105


def day(number) -> date:
    return FRIDAY + timedelta(days=number)


def fetched(opens_ms) -> pa.Table:
    micros = pa.array([t * 1000 for t in opens_ms], pa.int64()).cast(TIME)
    prices = pa.array(np.ones(len(opens_ms)))
    plain = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    return fetched_table({"open_time": micros, "close_time": micros, **plain})


def commit(root, series, one, opens, *, source="vision", lives=None, conclusive=False) -> None:
    asked = AskedDay(conclusive=conclusive)
    offers = (Offer(source, 0 if source == "vision" else 1, fetched(opens)),) if opens else ()
    Lake(root).commit(
        series,
        "2024",
        Harvest(("vision", "rest"), offers, {one: asked}, lives=lives, asked_ms=NOW),
    )


def made_lake(root) -> None:
    """Make six days: unlisted, listing day, whole, explained hole, never asked, open hole."""
    hours = {n: expected_opens(BTC.interval, day(n)) for n in range(6)}
    life = (TimeRange(hours[1][8], 1 << 52),)
    commit(root, BTC, day(0), [], lives=life)
    commit(root, BTC, day(1), hours[1][8:], lives=life)
    commit(root, BTC, day(2), hours[2], source="rest")
    commit(root, BTC, day(3), hours[3][:20], lives=life, conclusive=True)
    commit(root, BTC, day(5), [t for t in hours[5] if t not in hours[5][3:5]])
    wishes = {
        BTC: Wanted(FRIDAY, day(6), "vision"),
        WEEKLY: Wanted(FRIDAY, date(2024, 3, 12), "vision"),
    }
    write_wishes(root, Wishes(wishes))


def ask(root, statement) -> pa.Table:
    return run_statement(root, take_census(root, NOW), statement)


def rows(root, statement) -> list:
    return [tuple(row.values()) for row in ask(root, statement).to_pylist()]


def correct(root) -> None:
    """Note in the file of BTC that a day of it was replaced."""
    path = part_path(root, BTC, "2024")
    one = Correction(day(2), NOW, ("close",), 3, 0, "rest", "vision", "", "ab", "_superseded/x")
    write_part(path, read_rows(path), to_ledger(read_footer(path).runs), (one,))


SERIES = ["exchange", "market", "symbol", "interval"]
COLUMNS = {
    "klines": [*SERIES, *KLINES.names],
    "inventory": [
        *SERIES,
        "first_open",
        "last_open",
        "rows",
        "expected_rows",
        "missing_rows",
        "completeness",
        "gaps",
        "days_complete",
        "days_partial",
        "days_missing",
        "days_explained",
        "days_unlisted",
        "days_provisional",
        "files",
        "bytes",
        "last_ingested",
    ],
    "coverage": [*SERIES, "day", "rows", "expected", "state", "source", "ingested_at"],
    "gaps": [
        *SERIES,
        "gap_start",
        "gap_end",
        "missing_rows",
        "state",
        "attempts",
        "last_attempt",
        "reason",
    ],
    "corrections": [
        *SERIES,
        "day",
        "corrected_at",
        "columns",
        "rows_changed",
        "rows_added",
        "old_source",
        "new_source",
        "old_checksum",
        "new_checksum",
        "superseded",
    ],
}


@pytest.mark.parametrize("filled", [True, False], ids=["filled", "empty"])
@pytest.mark.parametrize("view", COLUMNS)
def test_the_views_have_the_columns_of_the_contract(tmp_path, view, filled) -> None:
    """Names of section 4 are there in an empty lake too, with the same types."""
    if filled:
        made_lake(tmp_path / "lake")
        correct(tmp_path / "lake")
    made_lake(tmp_path / "other")

    table = ask(tmp_path / "lake", f"SELECT * FROM {view}")
    other = ask(tmp_path / "other", f"SELECT * FROM {view}")

    assert set(COLUMNS[view]) <= set(table.column_names)
    assert [*table.schema.names] == other.schema.names
    assert table.schema.types == other.schema.types
    assert bool(table.num_rows) is filled


@pytest.mark.parametrize("filled", [True, False], ids=["filled", "empty"])
@pytest.mark.parametrize("view", [name for name in COLUMNS if name != "klines"])
def test_a_view_is_the_same_without_a_database(tmp_path, view, filled) -> None:
    """Columns, types, rows and order are those of SQL, for series of several shards too."""
    if filled:
        made_lake(tmp_path)
        correct(tmp_path)
        for name in ("binance/um/BTCUSDT/1d", "binance/spot/AUSDT/1h", "binance/spot/BTCUSDT/1d"):
            commit(tmp_path, Series.parse(name), day(1), [day_start_ms(day(1))], source="rest")
    census = take_census(tmp_path, NOW)

    shown = read_view(census, view, Selection())
    told = run_statement(tmp_path, census, f"SELECT * FROM {view} ORDER BY ALL")

    assert shown.schema.equals(told.schema)
    assert shown.to_pylist() == told.to_pylist()
    assert bool(shown.num_rows) is filled


@pytest.mark.parametrize(
    ("view", "touches"),
    [
        ("coverage", "day >= '{}' AND day < '{}'"),
        ("gaps", "gap_end > '{}' AND gap_start < '{}'"),
        ("corrections", "day >= '{}' AND day < '{}'"),
    ],
)
@pytest.mark.parametrize("first", [None, 2, 4], ids=["no-start", "day-2", "day-4"])
@pytest.mark.parametrize("end", [None, 5, 6], ids=["no-end", "day-5", "day-6"])
def test_a_view_is_chosen_by_series_and_days(tmp_path, view, touches, first, end) -> None:
    """Days are those a row touches, the end left out; names must all fit."""
    made_lake(tmp_path)
    correct(tmp_path)
    start, until = (day(one) if one else None for one in (first, end))
    chosen = Selection(("binance",), ("spot",), ("BTCUSDT", "X"), ("1h",), start, until)
    census = take_census(tmp_path, NOW)

    shown = read_view(census, view, chosen)
    told = run_statement(
        tmp_path,
        census,
        f"SELECT * FROM {view} WHERE symbol = 'BTCUSDT' AND "
        f"{touches.format(start or date(2000, 1, 1), until or date(2100, 1, 1))} ORDER BY ALL",
    )

    assert shown.to_pylist() == told.to_pylist()


def test_the_figures_of_a_series_are_sums_over_its_days(tmp_path) -> None:
    """Rows, expected and missing ones and days by state are those that coverage and gaps tell."""
    made_lake(tmp_path)
    states = ("complete", "partial", "missing", "explained", "unlisted", "provisional")
    counts = ", ".join(f"count(*) FILTER (state = '{one}') AS days_{one}" for one in states)

    summed = rows(
        tmp_path,
        f"SELECT symbol, sum(rows)::BIGINT, sum(expected)::BIGINT, {counts}, max(ingested_at), "
        "(SELECT count(*) FROM gaps WHERE gaps.symbol = coverage.symbol AND state = 'open'), "
        "(SELECT coalesce(sum(missing_rows), 0)::BIGINT FROM gaps "
        " WHERE gaps.symbol = coverage.symbol) FROM coverage GROUP BY symbol ORDER BY symbol",
    )
    told = rows(
        tmp_path,
        "SELECT symbol, rows, expected_rows, "
        + ", ".join(f"days_{one}" for one in states)
        + ", last_ingested, gaps, missing_rows FROM inventory ORDER BY symbol",
    )

    assert told == summed


def test_every_day_of_a_feed_has_its_state(tmp_path) -> None:
    """Coverage tells unlisted, listing, whole, explained, never asked and broken days apart."""
    made_lake(tmp_path)

    found = rows(
        tmp_path,
        "SELECT day, rows, expected, state, source FROM coverage "
        "WHERE symbol = 'BTCUSDT' ORDER BY day",
    )

    assert found == [
        (day(0), 0, 0, "unlisted", ""),
        (day(1), 16, 16, "complete", "vision"),
        (day(2), 24, 24, "complete", "rest"),
        (day(3), 20, 24, "explained", "vision"),
        (day(4), 0, 24, "missing", None),
        (day(5), 22, 24, "partial", "vision"),
    ]


def test_the_inventory_adds_up(tmp_path) -> None:
    """Figures of a series are the sums of its days; a series never fetched stands there too."""
    made_lake(tmp_path)

    found = rows(
        tmp_path,
        "SELECT symbol, rows, expected_rows, missing_rows, round(completeness, 4), gaps, "
        "days_complete, days_partial, days_missing, days_explained, days_unlisted, "
        "days_provisional, files FROM inventory ORDER BY symbol",
    )

    assert found == [
        ("1000PEPEUSDT", 0, 2, 2, 0.0, 1, 9, 0, 2, 0, 0, 0, 0),
        ("BTCUSDT", 82, 112, 30, round(82 / 112, 4), 2, 2, 1, 1, 1, 1, 0, 1),
    ]
    [(first, last, size, kept)] = rows(
        tmp_path,
        "SELECT first_open, last_open, bytes, (SELECT count(*) FROM klines) FROM inventory "
        "WHERE files > 0",
    )
    assert int(first.timestamp() * 1000) == START + 32 * HOUR_MS
    assert int(last.timestamp() * 1000) == START + (5 * 24 + 23) * HOUR_MS
    assert size > 0
    assert kept == 82


def test_gaps_tell_open_from_explained(tmp_path) -> None:
    """An explained stretch that touches a day never asked for stays a gap of its own."""
    made_lake(tmp_path)

    found = rows(
        tmp_path,
        f"SELECT (epoch_ms(gap_start) - {START}) // {HOUR_MS}, "
        f"(epoch_ms(gap_end) - {START}) // {HOUR_MS}, missing_rows, state, attempts "
        "FROM gaps WHERE symbol = 'BTCUSDT' ORDER BY gap_start",
    )

    assert found == [
        (92, 96, 4, "explained", 1),
        (96, 120, 24, "open", 0),
        (123, 125, 2, "open", 1),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM klines",
        "WITH k AS (SELECT * FROM klines) SELECT max(close) FROM k",
        "FROM inventory",
        "SELECT 1;",
        "select symbol, day from coverage order by all limit 1 -- with a remark; and more",
        "VALUES (1)",
        "SELECT time_bucket(INTERVAL 1 day, open_time), sum(volume) FROM klines GROUP BY ALL",
    ],
)
def test_one_select_is_run(tmp_path, statement) -> None:
    """Anything that only reads is allowed, as DuckDB writes it."""
    made_lake(tmp_path)

    assert ask(tmp_path, statement).num_rows >= 1


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("", id="nothing"),
        pytest.param("SELEKT 1", id="syntax"),
        pytest.param("SELECT * FROM nowhere", id="no-such-table"),
        pytest.param("SELECT 1; SELECT 2", id="two"),
        pytest.param("SELECT 1; DROP VIEW klines", id="hidden-second"),
        pytest.param("COPY klines TO '{root}/klines/x.parquet'", id="copy-inside"),
        pytest.param("COPY (SELECT 1) TO '{out}/x.csv'", id="copy-outside"),
        pytest.param("EXPORT DATABASE '{out}/x'", id="export"),
        pytest.param("ATTACH '{out}/x.duckdb'", id="attach"),
        pytest.param("INSTALL httpfs", id="install"),
        pytest.param("LOAD httpfs", id="load"),
        pytest.param("CREATE TABLE x AS SELECT 1", id="create"),
        pytest.param("INSERT INTO held SELECT * FROM held", id="insert"),
        pytest.param("DELETE FROM held", id="delete"),
        pytest.param("SELECT * FROM read_parquet('{root}/_index/*.parquet')", id="index"),
        pytest.param("SET enable_external_access = true", id="set"),
        pytest.param("PRAGMA database_list", id="pragma"),
        pytest.param("CALL pragma_version()", id="call"),
        pytest.param("EXPLAIN ANALYZE SELECT 1", id="explain"),
        pytest.param("PREPARE x AS SELECT 1", id="prepare"),
        pytest.param("SELECT * FROM read_csv('{out}/secret.csv')", id="csv"),
        pytest.param("SELECT * FROM read_text('{out}/secret.csv')", id="text"),
        pytest.param("SELECT * FROM read_blob('{out}/secret.csv')", id="blob"),
        pytest.param("SELECT * FROM '{out}/secret.csv'", id="bare-path"),
        pytest.param("SELECT * FROM read_text('{root}/klines/../../secret.csv')", id="dots"),
        pytest.param("SELECT * FROM read_text('{root}/_feeds.json')", id="beside-klines"),
        pytest.param("SELECT * FROM read_text('/etc/passwd')", id="passwd"),
        pytest.param("SELECT * FROM glob('/etc/*')", id="glob"),
        pytest.param("SELECT * FROM read_parquet('http://127.0.0.1:9/x.parquet')", id="http"),
        pytest.param("SELECT * FROM 's3://b/x.parquet'", id="s3"),
        pytest.param("SELECT * FROM query('COPY (SELECT 1) TO ''{out}/y''')", id="query"),
        pytest.param("SELECT * FROM sqlite_scan('{out}/x', 't')", id="sqlite"),
        pytest.param("SELECT * FROM statement", id="python-variable"),
        pytest.param("SELECT * FROM census", id="python-list"),
    ],
)
def test_nothing_else_is_run(tmp_path, statement) -> None:
    """No statement writes, attaches, installs, or reads beyond the klines."""
    root, out = tmp_path / "lake", tmp_path
    made_lake(root)
    (out / "secret.csv").write_text(SECRET)
    census = take_census(root, NOW)
    before = sorted(str(path) for path in tmp_path.rglob("*"))

    with pytest.raises(UsageError) as caught:
        run_statement(root, census, statement.format(root=root, out=out))

    assert SECRET not in str(caught.value)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["a'b", "a[1]", "a b", "a*b", 'a"b', "é币", "a{b,c}", "a%20b"])
def test_the_lake_may_lie_anywhere(tmp_path, name) -> None:
    """Quotes, brackets and spaces of a folder are no SQL and no pattern.

    A `?` is missing here: DuckDB takes what follows it in a database's path for options.
    """
    root = tmp_path / name
    made_lake(root)
    made_lake(tmp_path / "a1")  # what `a[1]` would match

    assert rows(root, "SELECT count(*), count(DISTINCT symbol) FROM klines") == [(82, 1)]
    with duckdb.connect(str(rebuild_database(root, NOW)), read_only=True) as database:
        assert database.execute("SELECT count(*) FROM klines").fetchall() == [(82,)]


def test_a_relative_lake_is_read(tmp_path, monkeypatch) -> None:
    """The root as configured may be relative to where the command runs."""
    made_lake(tmp_path / "lake")
    monkeypatch.chdir(tmp_path)
    root = (tmp_path / "lake").relative_to(tmp_path)

    assert rows(root, "SELECT count(*) FROM klines") == [(82,)]


def test_the_database_is_replaced_while_a_reader_has_it_open(tmp_path) -> None:
    """A reader keeps the old inventory, the next one finds the new; klines are always as is."""
    made_lake(tmp_path)
    path = rebuild_database(tmp_path, NOW)
    missing = "SELECT missing_rows FROM inventory WHERE symbol = 'BTCUSDT'"

    with duckdb.connect(str(path), read_only=True) as old:
        commit(tmp_path, BTC, day(4), expected_opens(BTC.interval, day(4)))
        assert rebuild_database(tmp_path, NOW) == path
        kept = old.execute(missing).fetchall()
        count = old.execute("SELECT count(*) FROM klines").fetchall()
    with duckdb.connect(str(path), read_only=True) as new:
        assert (kept, new.execute(missing).fetchall()) == ([(30,)], [(6,)])
        assert count == [(106,)]

    assert [p.name for p in tmp_path.iterdir() if "lake.duckdb" in p.name] == ["lake.duckdb"]


def test_the_database_opens_in_the_older_duckdb(tmp_path) -> None:
    """Its storage is that of version 1.5, which viewers and shells still have."""
    made_lake(tmp_path)

    with duckdb.connect(str(rebuild_database(tmp_path, NOW)), read_only=True) as database:
        [(tags,)] = database.execute(
            "SELECT tags FROM duckdb_databases() WHERE database_name = 'lake'"
        ).fetchall()

    assert "v1.5" in str(tags)


def test_a_leftover_of_a_killed_rebuild_does_no_harm(tmp_path, monkeypatch) -> None:
    """In a container the next process has the number of the killed one, and its file's name."""
    made_lake(tmp_path)
    leftover = tmp_path / "left.tmp"
    with duckdb.connect(str(leftover)) as database:
        database.execute("CREATE TABLE day_runs (x INTEGER)")
    monkeypatch.setattr("crypto_data.lake.inventory.temporary_of", lambda _path: leftover)

    with duckdb.connect(str(rebuild_database(tmp_path, NOW)), read_only=True) as database:
        assert database.execute("SELECT count(*) FROM inventory").fetchall() == [(2,)]


def test_a_database_that_cannot_be_written_is_an_error_of_the_lake(tmp_path) -> None:
    """Whatever DuckDB or the system refuses names the path, and the old file stays."""
    made_lake(tmp_path)
    (tmp_path / "lake.duckdb").mkdir()
    (tmp_path / "lake.duckdb" / "inside").write_bytes(b"")

    with pytest.raises(LakeNotWritable, match=r"lake\.duckdb"):
        rebuild_database(tmp_path, NOW)


def test_views_can_be_opened_without_a_lake(tmp_path) -> None:
    """A folder that is not there yet is an empty lake, and is not made by looking."""
    assert rows(tmp_path / "none", "SELECT count(*) FROM klines") == [(0,)]
    assert list(tmp_path.iterdir()) == []


def test_corrections_are_a_row_a_replaced_day(tmp_path) -> None:
    """The view tells what, when and which columns; a filter by days applies to the day."""
    made_lake(tmp_path)
    assert rows(tmp_path, "SELECT * FROM corrections") == []
    correct(tmp_path)
    census = take_census(tmp_path, NOW)

    inside = read_view(census, "corrections", Selection(start=day(2), end=day(3)))
    after = read_view(census, "corrections", Selection(start=day(3)))

    assert inside.select(["symbol", "day", "columns", "rows_changed"]).to_pylist() == [
        {"symbol": "BTCUSDT", "day": day(2), "columns": ["close"], "rows_changed": 3}
    ]
    assert after.num_rows == 0
    assert rows(tmp_path, "SELECT columns[1] FROM corrections") == [("close",)]


def test_what_is_made_of_a_relation_reads_klines_too(tmp_path) -> None:
    """A relation that named no klines itself may be joined with them afterwards."""
    made_lake(tmp_path)
    census = take_census(tmp_path, NOW)
    told = relate(tmp_path, census, "SELECT symbol FROM inventory LIMIT 1")

    counted = told.project("(SELECT count(*) FROM klines)").fetchall()

    assert counted == [(ask(tmp_path, "SELECT count(*) AS n FROM klines")["n"][0].as_py(),)]
    assert counted[0][0] > 0


def test_further_views_can_be_handed_in(tmp_path) -> None:
    """A table that others make is a view like the rest, in a statement and in the database."""
    made_lake(tmp_path)
    census = take_census(tmp_path, NOW)
    extra = {"moods": pa.table({"symbol": ["B", "A"], "mood": ["good", "bad"]})}

    shown = run_statement(tmp_path, census, "SELECT * FROM moods WHERE symbol = 'A'", extra)
    told = run_statement(tmp_path, census, "SELECT count(*) AS n FROM moods, inventory", extra)
    path = rebuild_database(tmp_path, NOW, lambda _census: extra)

    assert shown.to_pylist() == [{"symbol": "A", "mood": "bad"}]
    assert told["n"].to_pylist() == [4]
    with duckdb.connect(str(path), read_only=True) as database:
        assert database.execute("SELECT count(*) FROM moods").fetchall() == [(2,)]
    with pytest.raises(UsageError, match="moods"):
        run_statement(tmp_path, census, "SELECT * FROM moods")


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("SELECT count(*) FROM klines", id="plain"),
        pytest.param("FROM inventory SELECT (SELECT count(*) FROM KLINES) LIMIT 1", id="capitals"),
        pytest.param(
            'WITH held AS (FROM memory.main."klines") SELECT count(*) FROM held', id="cte"
        ),
        pytest.param("SELECT count(*) FROM query_table('klines')", id="named-by-text"),
        pytest.param("SELECT count(*) FROM query('FROM kl' || 'ines')", id="text-made-up"),
        pytest.param("SELECT count FROM (SUMMARIZE klines) LIMIT 1", id="summarize"),
    ],
)
def test_klines_are_found_wherever_a_statement_names_them(tmp_path, statement) -> None:
    """In a subquery, under a name of its own, or by a function."""
    made_lake(tmp_path)

    assert rows(tmp_path, statement) == [(82,)]


def test_a_statement_that_names_no_klines_looks_for_none(tmp_path) -> None:
    """The view is there, typed, and stands on no file: there may be a hundred thousand."""
    made_lake(tmp_path)
    text = "SELECT sql FROM duckdb_views() WHERE view_name = 'klines'"

    [(without,)] = rows(tmp_path, text)
    [(other,)] = rows(tmp_path, f"WITH klines AS (SELECT 1 AS n) {text} AND 1 IN (FROM klines)")
    [(with_klines,)] = rows(tmp_path, f"{text} AND EXISTS (FROM klines)")
    columns = rows(tmp_path, "SELECT column_name, column_type FROM (DESCRIBE klines)")

    assert "read_parquet" not in without
    assert "read_parquet" not in other
    assert "read_parquet" in with_klines
    assert [name for name, _ in columns] == COLUMNS["klines"]


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "garbage": lambda path: path.write_bytes(b"PAR1 this is none PAR1"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_stops_only_the_klines(tmp_path, damage) -> None:
    """All views but `klines` go on without it; `klines` names the file and what helps."""
    made_lake(tmp_path)
    eth = Series("binance", Market.SPOT, "ETHUSDT", Interval.HOUR_1)
    commit(tmp_path, eth, day(0), expected_opens(eth.interval, day(0)))
    rebuild_database(tmp_path, NOW)
    path = part_path(tmp_path, BTC, "2024")
    DAMAGES[damage](path)

    assert rows(tmp_path, "SELECT symbol, rows, days_missing FROM inventory ORDER BY symbol") == [
        ("1000PEPEUSDT", 0, 2),
        ("BTCUSDT", 0, 6),
        ("ETHUSDT", 24, 0),
    ]
    with pytest.raises(LakeDamaged) as caught:
        rows(tmp_path, "SELECT sum(close) FROM klines")
    assert str(caught.value).startswith(f"{path}: cannot be read (")
    assert str(caught.value).endswith("run: crypto-data repair")
    others = "SELECT count(*) FROM klines WHERE symbol = 'ETHUSDT'"
    assert rows(tmp_path, others) == [(24,)]
    with duckdb.connect(str(rebuild_database(tmp_path, NOW)), read_only=True) as database:
        assert database.execute("SELECT sum(rows) FROM inventory").fetchall() == [(24,)]
        assert database.execute(others).fetchall() == [(24,)]
    with pytest.raises(UsageError, match="nowhere"):
        rows(tmp_path, "SELECT * FROM nowhere")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM klines",
        "SELECT symbol FROM klines LIMIT 1",
        "SELECT max(open_time) FROM klines WHERE symbol = 'BTCUSDT' AND close = 1",
        "SELECT count(*) FROM inventory JOIN klines USING (symbol)",
    ],
)
def test_klines_without_any_readable_file_are_an_error(tmp_path, statement) -> None:
    """A lake whose only file is damaged never looks like an empty one."""
    made_lake(tmp_path)
    DAMAGES["cut"](part_path(tmp_path, BTC, "2024"))

    assert rows(tmp_path, "SELECT count(*) FROM inventory") == [(2,)]
    with pytest.raises(LakeDamaged, match=r"2024\.parquet: cannot be read .*crypto-data repair"):
        rows(tmp_path, statement)


def test_a_flipped_byte_is_blamed_on_the_lake(tmp_path) -> None:
    """Damage inside of a file, which footers do not tell, is never called a wrong statement."""
    made_lake(tmp_path)
    path = part_path(tmp_path, BTC, "2024")
    good, said = path.read_bytes(), []
    for place in range(4, len(good) - 2000, 61):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            rows(tmp_path, "SELECT sum(close), max(open_time), max(close_time) FROM klines")
        except LakeDamaged as error:
            said.append(str(error))

    assert len(said) > 5
    assert all("klines" in one and "; run: crypto-data " in one for one in said)


@pytest.mark.slow
def test_commands_go_on_beside_a_damaged_file(desk) -> None:
    """Each view's command names the file and the remedy on stderr, and prints the rest."""
    desk.configure({"symbols": ["BTCUSDT", "ETHUSDT"]})
    desk.fill()
    path = part_path(desk.lake.root, BTC, "2024")
    DAMAGES["cut"](path)

    done = {view: desk.run(view, "--format", "csv") for view in ("inventory", "coverage", "gaps")}
    klines = desk.run("sql", "SELECT count(*) FROM klines")
    others = desk.run("sql", "SELECT count(*) AS n FROM klines WHERE symbol = 'ETHUSDT'")

    for one in done.values():
        assert one.returncode == 0
        assert one.stderr.startswith(f"{path}: cannot be read (")
        assert one.stderr.endswith("; run: crypto-data repair\n")
    assert ",BTCUSDT,1h,2024-01-10,0,24,missing," in done["coverage"].stdout
    assert ",ETHUSDT,1h,2024-01-10,24,24,complete," in done["coverage"].stdout
    assert (klines.returncode, klines.stdout) == (1, "")
    assert klines.stderr.splitlines()[-1].startswith(f"{path}: cannot be read (")
    assert "crypto-data repair" in klines.stderr.splitlines()[-1]
    assert (others.returncode, "24" in others.stdout) == (0, True)


FULL = """
import pathlib, resource, signal, sys
from crypto_data.errors import LakeNotWritable
from crypto_data.lake.inventory import rebuild_database
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    rebuild_database(pathlib.Path(sys.argv[1]), 0)
except LakeNotWritable as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_database(tmp_path) -> None:
    """A database that does not fit is never put in the place of one that works."""
    rebuild_database(tmp_path, 0)
    before = (tmp_path / "lake.duckdb").read_bytes()

    done = subprocess.run(
        [sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=True
    )

    assert "what was there is untouched" in done.stdout
    assert (tmp_path / "lake.duckdb").read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["lake.duckdb"]


def test_an_unreadable_foreign_file_that_sorts_first_stops_no_view(desk) -> None:
    """DuckDB would take the columns from it; the lake's own files are read instead."""
    desk.configure()
    desk.fill()
    folder = next((desk.lake.root / "klines").rglob("symbol=BTCUSDT"))
    (folder / "2023-12.parquet").write_bytes((folder / "2024.parquet").read_bytes()[:3000])

    census = take_census(desk.lake.root, local_ms())
    states = run_statement(desk.lake.root, census, "SELECT DISTINCT state FROM coverage")
    klines = run_statement(desk.lake.root, census, "SELECT count(*) AS n FROM klines")

    assert states.to_pylist() == [{"state": "complete"}]
    assert klines.to_pylist() == [{"n": 24}]
    assert rebuild_database(desk.lake.root, local_ms()).exists()


def test_files_of_other_names_add_no_rows(desk) -> None:
    """What somebody else put below the klines is in no view, readable or not."""
    desk.configure()
    desk.fill()
    folder = next((desk.lake.root / "klines").rglob("symbol=BTCUSDT"))
    (folder / "mine.parquet").write_bytes((folder / "2024.parquet").read_bytes())
    (folder / "zz.parquet").touch()

    census = take_census(desk.lake.root, local_ms())
    klines = run_statement(desk.lake.root, census, "SELECT count(*) AS n FROM klines")
    held = run_statement(desk.lake.root, census, "SELECT sum(rows) AS n FROM inventory")

    assert klines.to_pylist() == held.to_pylist() == [{"n": 24}]
