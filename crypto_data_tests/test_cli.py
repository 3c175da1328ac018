"""The commands as processes: what they print where, and how they end, right and wrong."""

import csv
import io
import json
import re
import signal
import time
from datetime import UTC, date, datetime, timedelta

import pytest
from typer.main import get_command

from crypto_data.catalog.configuration import parse_catalog
from crypto_data.cli.main import app
from crypto_data.intervals import DAY_MS
from crypto_data.lake.feeds import Wishes, read_wishes, write_wishes
from crypto_data.sandbox.faults import Fault

# The columns of contract.md, section 4.
COLUMNS = {
    "inventory": {
        "exchange", "market", "symbol", "interval", "first_open", "last_open", "rows",
        "expected_rows", "missing_rows", "completeness", "gaps", "days_complete", "days_partial",
        "days_missing", "days_explained", "days_unlisted", "days_provisional", "files", "bytes",
        "last_ingested",
    },
    "coverage": {
        "exchange", "market", "symbol", "interval", "day", "rows", "expected", "state", "source",
        "ingested_at",
    },
    "gaps": {
        "exchange", "market", "symbol", "interval", "gap_start", "gap_end", "missing_rows",
        "state", "attempts", "last_attempt", "reason",
    },
}  # fmt: skip
COMMANDS = sorted(get_command(app).commands)


@pytest.fixture(scope="module")
def filled(new_desk, tmp_path_factory):
    """Return a desk after a backfill over an outage, with one symbol that nobody knows."""
    made = new_desk(tmp_path_factory.mktemp("filled"))
    made.configure({"symbols": ["BTCUSDT", "NOPEUSDT"], "start": "2023-03-23", "end": "2023-03-26"})
    made.first = made.run("backfill", "--format", "json")
    return made


def test_a_backfill_ends_with_1_and_names_what_fell_short(filled) -> None:
    """Stdout carries every day; stderr a line for each stretch that fell short, with reasons."""
    days = json.loads(filled.first.stdout)

    assert filled.first.returncode == 1
    assert [(day["series"], day["state"], day["rows"]) for day in days] == [
        ("binance/spot/BTCUSDT/1h", "complete", 24),
        ("binance/spot/BTCUSDT/1h", "explained", 23),
        ("binance/spot/BTCUSDT/1h", "complete", 24),
        ("binance/spot/NOPEUSDT/1h", "missing", 0),
        ("binance/spot/NOPEUSDT/1h", "missing", 0),
        ("binance/spot/NOPEUSDT/1h", "missing", 0),
    ]
    lines = [line for line in filled.first.stderr.splitlines() if "NOPEUSDT/1h 2023" in line]
    assert lines
    assert all("2023-03-2" in line and "Invalid symbol" in line for line in lines)
    assert filled.equals_truth("binance/spot/BTCUSDT/1h", date(2023, 3, 23), date(2023, 3, 26))


@pytest.mark.parametrize("view", COLUMNS)
def test_a_view_as_json_and_csv(filled, view) -> None:
    """JSON parses, CSV has a header, both carry every column that was promised."""
    as_json = filled.run(view, "--format", "json")
    as_csv = filled.run(view, "--format", "csv")

    rows, lines = json.loads(as_json.stdout), list(csv.DictReader(io.StringIO(as_csv.stdout)))
    assert (as_json.returncode, as_csv.returncode) == (0, 0)
    assert len(rows) == len(lines) > 1
    assert set(rows[0]) >= COLUMNS[view]
    assert list(lines[0]) == list(rows[0])
    assert as_json.stderr == as_csv.stderr == ""


@pytest.mark.parametrize(
    ("view", "said"),
    [
        pytest.param("inventory", ["BTCUSDT/1h", "71", "2 complete, 1 explained"], id="inventory"),
        pytest.param("coverage", ["explained", "2023-03-24", "NOPEUSDT"], id="coverage"),
        pytest.param("gaps", ["2023-03-24 13:00", "2023-03-24 14:00", "open"], id="gaps"),
    ],
)
def test_a_view_as_a_table(filled, view, said) -> None:
    """A person reads series, days and states; no name is cut off."""
    done = filled.run(view, environ={"COLUMNS": "200"})

    assert done.returncode == 0
    for words in said:
        assert words in done.stdout
    assert "USDT/…" not in done.stdout


def test_a_view_can_be_filtered(filled) -> None:
    """Symbols, intervals and days choose; rows and counts follow the lake."""
    one = filled.run("coverage", "--symbols", "BTCUSDT", "--start", "2023-03-24", "--end",
                     "2023-03-25", "--intervals", "1h", "--market", "spot", "--exchange",
                     "binance", "--format", "json")  # fmt: skip

    [row] = json.loads(one.stdout)
    assert (row["day"], row["state"], row["rows"], row["expected"]) == (
        "2023-03-24", "explained", 23, 24,
    )  # fmt: skip


def test_an_explained_gap_and_an_open_one(filled) -> None:
    """Each stretch says how often it was asked for, and who said what."""
    gaps = json.loads(filled.run("gaps", "--format", "json").stdout)

    explained, unknown = gaps
    assert (explained["state"], explained["missing_rows"]) == ("explained", 1)
    assert explained["gap_start"] == "2023-03-24T13:00:00Z"
    assert (unknown["state"], unknown["missing_rows"], unknown["attempts"]) == ("open", 72, 1)
    assert "vision: " in unknown["reason"]
    assert "rest: " in unknown["reason"]


@pytest.mark.parametrize(
    ("statement", "status", "said"),
    [
        pytest.param("SELECT count(*) AS n FROM klines", 0, "71", id="right"),
        pytest.param("SELEC 1", 2, "syntax error", id="syntax"),
        pytest.param("SELECT * FROM klinse", 2, "klines", id="near-name"),
        pytest.param("DELETE FROM klines", 2, "only one SELECT", id="delete"),
        pytest.param("CREATE TABLE x AS SELECT 1", 2, "only one SELECT", id="create"),
        pytest.param("SELECT 1; SELECT 2", 2, "only one SELECT", id="two"),
        pytest.param("COPY (SELECT 1) TO 'x.csv'", 2, "only one SELECT", id="copy"),
        pytest.param("SELECT * FROM read_text('/etc/passwd')", 2, "refused", id="outside"),
        pytest.param("", 2, "only one SELECT", id="empty"),
    ],
)
def test_sql(filled, statement, status, said) -> None:
    """One SELECT is run; anything else is refused in a sentence, and writes nothing."""
    done = filled.run("sql", statement, "--format", "csv")

    assert done.returncode == status
    assert said in (done.stdout if status == 0 else done.stderr)
    assert "Traceback" not in done.stderr
    assert status == 0 or done.stdout == ""
    assert not (filled.folder / "x.csv").exists()


def test_status_after_a_failure(filled) -> None:
    """The feed shows its last run, its errors in a row, and why."""
    [feed] = json.loads(filled.run("status", "--format", "json").stdout)

    assert (feed["feed"], feed["result"], feed["errors_in_a_row"]) == ("binance_spot", "failure", 1)
    assert feed["last_success"] is None
    assert "NOPEUSDT" in feed["why"]
    assert feed["days_open"] == 3


def test_status_before_any_run(desk) -> None:
    """Nothing ran, nothing failed."""
    desk.configure()

    done = desk.run("status", "--format", "json")

    [feed] = json.loads(done.stdout)
    assert done.returncode == 0
    assert (feed["result"], feed["last_run"], feed["last_success"]) == ("never ran", None, None)
    assert (feed["errors_in_a_row"], feed["why"]) == (0, "")


@pytest.mark.slow
def test_a_second_backfill_asks_nobody(desk) -> None:
    """What is settled is not asked for again; `collect` asks what the archive has changed."""
    desk.configure({"intervals": ["1h", "1m"], "end": "2024-01-12"})
    first = desk.run("backfill")
    desk.sandbox.requests.clear()

    second = desk.run("backfill")
    asked_by_second = desk.asked()
    third = desk.run("collect", "--format", "json")

    assert (first.returncode, second.returncode, third.returncode) == (0, 0, 0)
    assert asked_by_second == []
    assert {path.partition("?")[0] for path in desk.asked()} == {"/listing", "/api/v3/time"}
    assert "nothing to fetch" in second.stderr
    assert json.loads(third.stdout) == []


@pytest.mark.slow
def test_a_second_backfill_asks_for_what_is_missing(desk) -> None:
    """Of a week with one broken file the second run asks for that day alone."""
    feed = {"sources": ["vision"], "start": "2024-01-08", "end": "2024-01-12"}
    desk.configure(feed)
    desk.sandbox.faults.add(Fault("/data/*-2024-01-10.zip", "corrupt"))
    first = desk.run("backfill")
    desk.sandbox.faults.clear()
    desk.sandbox.requests.clear()

    second = desk.run("backfill", "--format", "json")

    assert (first.returncode, second.returncode) == (1, 0)
    assert [day["day"] for day in json.loads(second.stdout)] == ["2024-01-10"]
    files = {path.rpartition("/")[2].partition(".")[0] for path in desk.asked("/data/")}
    assert files == {"BTCUSDT-1h-2024-01-10"}
    assert desk.equals_truth("binance/spot/BTCUSDT/1h", date(2024, 1, 8), date(2024, 1, 12))


def test_a_dry_run_asks_nobody_and_writes_nothing(desk) -> None:
    """The plan says days, requests, rows, bytes and time; no file appears anywhere."""
    desk.configure({"symbols": ["BTCUSDT", "ETHUSDT"], "end": "2024-02-10"})

    table = desk.run("backfill", "--dry-run")
    rows = json.loads(desk.run("backfill", "--dry-run", "--format", "json").stdout)

    assert table.returncode == 0
    assert [(row["series"], row["days"], row["rows"]) for row in rows] == [
        ("binance/spot/BTCUSDT/1h", 31, 744),
        ("binance/spot/ETHUSDT/1h", 31, 744),
    ]
    assert all(row["requests"] and row["bytes_fetched"] and row["bytes_kept"] for row in rows)
    assert all("seconds" in row for row in rows)
    assert desk.asked() == []
    assert [path.name for path in desk.folder.parent.rglob("*")] == ["desk", "crypto_data.yaml"]


@pytest.mark.slow
def test_a_backfill_of_some_series_and_days(desk) -> None:
    """Filters choose symbols, intervals and days; what is not chosen is left alone."""
    desk.configure(
        {"symbols": ["BTCUSDT", "ETHUSDT"], "intervals": ["1h", "1d"], "end": "2024-01-20"}
    )

    done = desk.run("backfill", "--symbols", "ETHUSDT", "--intervals", "1h", "--start",
                    "2024-01-12", "--end", "2024-01-14", "--exchange", "binance", "--market",
                    "spot", "--parallel", "2", "--format", "csv")  # fmt: skip

    days = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.returncode == 0
    assert [(day["series"], day["day"]) for day in days] == [
        ("binance/spot/ETHUSDT/1h", "2024-01-12"),
        ("binance/spot/ETHUSDT/1h", "2024-01-13"),
    ]
    assert {path.stem for path in desk.lake.root.rglob("*.parquet")} == {"2024"}
    assert len(list(desk.lake.root.rglob("*.parquet"))) == 1
    assert (desk.lake.root / "lake.duckdb").exists()


@pytest.mark.slow
def test_collect_goes_up_to_the_last_closed_day(desk) -> None:
    """A feed without end is brought up to yesterday, and today is left alone."""
    today = datetime.now(UTC).date()
    desk.configure(
        {"start": f"{today - timedelta(days=3)}", "end": None, "intervals": ["1h", "1d"]}
    )

    done = desk.run("collect", "--format", "json")

    days = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert sorted({day["day"] for day in days}) == [
        f"{today - timedelta(days=back)}" for back in (3, 2, 1)
    ]
    assert {day["state"] for day in days} <= {"complete", "provisional"}


@pytest.mark.slow
@pytest.mark.parametrize("days_off", [1, -1], ids=["local-clock-ahead", "local-clock-behind"])
def test_the_exchanges_clock_counts(desk, days_off) -> None:
    """A local clock that is a day off stores no unfinished day and calls no future day missing."""
    now_ms = time.time_ns() // 1_000_000 - days_off * 86_400_000
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()  # at the exchange
    start = datetime.now(UTC).date() - timedelta(days=4)
    desk.configure({"start": f"{start}", "end": None, "sources": ["rest"]})
    desk.sandbox.set_clock(now_ms)

    done = desk.run("backfill", "--format", "json")
    states = json.loads(desk.run("coverage", "--format", "json").stdout)

    days = [day["day"] for day in json.loads(done.stdout)]
    assert done.returncode == 0, done.stderr
    assert max(days) <= f"{today - timedelta(days=1)}"
    assert max(row["day"] for row in states) == f"{today - timedelta(days=1)}"
    assert desk.equals_truth(
        "binance/spot/BTCUSDT/1h", start, date.fromisoformat(max(days)) + timedelta(days=1)
    )
    assert "the local clock is" in done.stderr


@pytest.mark.slow
def test_a_clock_that_was_put_right_is_noticed(desk) -> None:
    """What was remembered of a clock that was days ahead does not hide the days since."""
    today = datetime.now(UTC).date()
    desk.configure({"start": f"{today - timedelta(days=3)}", "end": None, "sources": ["rest"]})
    desk.sandbox.set_clock(time.time_ns() // 1_000_000)
    write_wishes(desk.lake.root, Wishes({}, -4 * DAY_MS))

    done = desk.run("backfill", "--format", "json")

    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 3
    assert abs(read_wishes(desk.lake.root).clock_ahead_ms) < DAY_MS


@pytest.mark.slow
def test_logs_go_to_stderr_and_debug_shows_each_request(desk) -> None:
    """At DEBUG every request stands with source, status, latency and weight; stdout stays clean."""
    desk.configure({"end": "2024-01-12"})
    desk.sandbox.faults.add(Fault("/data/*-2024-01-11.zip", "absent"))

    done = desk.run("backfill", "--log-level", "debug", "--format", "json")

    line = re.compile(r"DEBUG (vision|rest|clock): .* HTTP (\d{3}) in \d+ ms, weight used (\d+|-)")
    logged = [found.groups() for found in map(line.search, done.stderr.splitlines()) if found]
    assert done.returncode == 0
    assert len(json.loads(done.stdout)) == 2
    assert len(logged) == len(desk.asked())
    assert ("vision", "404", "-") in logged
    assert any(source == "rest" and weight.isdigit() for source, _, weight in logged)


@pytest.mark.slow
def test_the_log_level_may_stand_in_the_environment(desk) -> None:
    """CRYPTO_DATA_LOG_LEVEL is the default of --log-level."""
    desk.configure()

    done = desk.run("backfill", environ={"CRYPTO_DATA_LOG_LEVEL": "DEBUG"})

    assert done.returncode == 0
    assert "DEBUG vision: " in done.stderr
    assert "DEBUG" not in done.stdout


def test_validate_says_what_is_asked_for(desk) -> None:
    """A line a feed with series, days and expected rows; nobody is asked, nothing is written."""
    desk.configure(
        {"symbols": ["BTCUSDT", "ETHUSDT"], "intervals": ["1m", "1h"], "end": "2024-01-12"}
    )

    done = desk.run("validate", "--format", "json")

    [feed] = json.loads(done.stdout)
    assert done.returncode == 0
    assert (feed["series"], feed["days"], feed["rows"]) == (4, 8, 2 * 2 * (1440 + 24))
    assert desk.asked() == []
    assert not desk.lake.root.exists()


def test_a_broken_configuration_lists_all_faults(desk) -> None:
    """File, line and key of each fault at once; status 2, no traceback, nothing on stdout."""
    desk.config.write_text(
        "lake: ./lake\n"
        "lakes: ./lake\n"
        "feeds:\n"
        "  - exchange: binance\n"
        "    market: sport\n"
        "    symbols: [BTCUSDT]\n"
        "    intervals: [1m, 7m]\n"
        "    start: 2024-02-30\n"
        '    schedule: "61 * * * *"\n'
    )

    for command in ("validate", "backfill", "collect", "inventory", "status", "start"):
        done = desk.run(command)

        assert done.returncode == 2
        assert done.stdout == ""
        assert "Traceback" not in done.stderr
        places = re.findall(r"crypto_data\.yaml:(\d+): ", done.stderr)
        assert places == ["2", "5", "7", "8", "9"]


@pytest.mark.parametrize(
    "command",
    [("validate",), ("backfill",), ("collect",), ("inventory",), ("coverage",), ("gaps",),
     ("status",), ("sql", "SELECT 1"), ("start",)],
    ids=lambda words: words[0],
)  # fmt: skip
def test_no_configuration(desk, command) -> None:
    """It says where it looked and how to make one."""
    done = desk.run(*command)

    assert done.returncode == 2
    assert "There is no configuration. Looked at" in done.stderr
    assert "feeds:" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "said"),
    [
        pytest.param("backfill --symbols BTCUSTD", "did you mean BTCUSDT?", id="symbol"),
        pytest.param("backfill --symbols btcusdt", "did you mean BTCUSDT?", id="small-letters"),
        pytest.param("backfill --market sport", "did you mean spot?", id="market"),
        pytest.param("backfill --exchange binanse", "did you mean binance?", id="exchange"),
        pytest.param("backfill --intervals 7m", "'7m' is no interval", id="interval"),
        pytest.param("backfill --intervals 1d", "'1d' is not configured", id="other-interval"),
        pytest.param("backfill --start 2024-13-01", "'2024-13-01' is no day", id="month-13"),
        pytest.param("backfill --start yesterday", "write it as 2024-01-01", id="no-date"),
        pytest.param(
            "backfill --start 2024-02-01 --end 2024-01-01",
            "end 2024-01-01 is not after start 2024-02-01",
            id="end-before-start",
        ),
        pytest.param("backfill --start 2030-01-01", "no day of these series", id="future"),
        pytest.param("backfill --end 2012-01-01", "no day of these series", id="before-the-feed"),
        pytest.param("backfill --symbols ,", "no name was given", id="empty-list"),
        pytest.param("backfill --symbol BTCUSDT", "--symbols", id="unknown-option"),
        pytest.param("backfill --parallel 65", "--parallel", id="parallel"),
        pytest.param("backfill --log-level loud", "--log-level", id="log-level"),
        pytest.param("collect --start 2024-01-01", "--start", id="collect-takes-no-days"),
        pytest.param("validate --format yaml", "--format", id="format"),
        pytest.param("inventory --symbols BTCUSTD", "did you mean BTCUSDT?", id="inventory-symbol"),
        pytest.param("coverage --symbols BTCUSTD", "did you mean BTCUSDT?", id="coverage-symbol"),
        pytest.param("coverage --end 2024-1-1", "'2024-1-1' is no day", id="coverage-day"),
        pytest.param("gaps --intervals 7m", "'7m' is no interval", id="gaps-interval"),
        pytest.param("gaps --market umm", "did you mean um?", id="gaps-market"),
        pytest.param("status --format xml", "--format", id="status-format"),
        pytest.param("sql", "argument 'statement'", id="sql-without-statement"),
        pytest.param("start --port 70000", "--port", id="start-port"),
        pytest.param("sandbox --port -1", "--port", id="sandbox-port"),
        pytest.param("bakcfill", "backfill", id="unknown-command"),
        pytest.param("validate --config nothing.yaml", "there is no file", id="config"),
    ],
)  # fmt: skip
def test_a_wrong_command_says_what_is_allowed(desk, command, said) -> None:
    """Status 2 and a sentence on stderr; nobody is asked and nothing is printed."""
    desk.configure({}, {"market": "um"})

    done = desk.run(*command.split())

    assert done.returncode == 2
    # Typer draws its own complaints in a box.
    assert said in " ".join(re.sub("[│╭╰─╮╯]", " ", done.stderr).split())
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert desk.asked() == []


def test_an_alias_of_an_interval_is_understood(desk) -> None:
    """`1M` is the month, for fetching and for looking at what was fetched."""
    desk.configure({"intervals": ["1M"], "start": "2024-01-01", "end": "2024-03-01"})

    plan = json.loads(
        desk.run("backfill", "--intervals", "1M", "--dry-run", "--format", "json").stdout
    )
    gaps = desk.run("gaps", "--intervals", "1M", "--format", "json")

    assert [row["series"] for row in plan] == ["binance/spot/BTCUSDT/1mo"]
    assert gaps.returncode == 0


def test_a_configuration_from_another_folder(desk, tmp_path) -> None:
    """A relative lake lies beside its configuration, wherever the command is given."""
    desk.configure()
    other = tmp_path / "other"
    other.mkdir()

    for words, environ in (
        (("--config", desk.config), {}),
        ((), {"CRYPTO_DATA_CONFIG": str(desk.config)}),
    ):
        moved = type(desk)(other, desk.sandbox, desk.environ)
        done = moved.run("validate", *words, environ=environ)
        assert done.returncode == 0
        assert str(desk.lake.root) in done.stderr


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_help_has_an_example_and_is_quick(desk, command) -> None:
    """A person finds a line to copy; nothing heavy is imported for it."""
    started = time.monotonic()

    done = desk.run(*command.split(), "--help", environ={"PYTHONPROFILEIMPORTTIME": "1"})

    assert done.returncode == 0
    assert re.search(r"Example|Start with", done.stdout)
    assert "crypto-data " in done.stdout
    assert time.monotonic() - started < 5
    for heavy in ("dagster", "pyarrow", "duckdb", "httpx", "ccxt"):
        assert not re.search(rf"\| +{heavy}$", done.stderr, re.MULTILINE)


def test_the_sandbox_prints_a_usable_configuration(desk) -> None:
    """What it prints loads as it is, and its addresses answer; SIGTERM ends it with status 0."""
    process = desk.start("sandbox", "--port", "0")
    try:
        text = ""
        while not text.endswith('cm: ["http') and "cm: [" not in text:
            text += process.stdout.readline()
        catalog = parse_catalog(text, path=desk.config, environ={}, today=date(2026, 1, 1))
        desk.config.write_text(text)
        validated = desk.run("validate")
    finally:
        process.send_signal(signal.SIGTERM)
        rest, said = process.communicate(timeout=10)

    assert process.returncode == 0
    assert rest == ""
    assert catalog.sources.vision.url in said
    assert validated.returncode == 0
    assert len(catalog.all_series()) == 4


def test_a_sandbox_on_a_taken_port(desk) -> None:
    """The port is named, and no traceback printed."""
    port = desk.sandbox.url.rpartition(":")[2]

    done = desk.run("sandbox", "--port", port)

    assert done.returncode == 2
    assert f"--port {port}: cannot be listened on" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_early_is_no_error(filled) -> None:
    """`crypto-data coverage | head -1` ends quietly."""
    process = filled.start("coverage", "--format", "csv")
    process.stdout.readline()
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    process.wait(timeout=20)

    assert "Traceback" not in said
    assert "Exception" not in said


def test_json_carries_what_sql_can_answer(filled) -> None:
    """Sums, times, lists and numbers that are none come out as JSON that parses."""
    done = filled.run(
        "sql",
        "SELECT sum(rows) AS rows, TIME '01:02:03' AS t, [1.5] AS l, 'nan'::DOUBLE AS n "
        "FROM inventory WHERE rows > 0",
        "--format", "json",
    )  # fmt: skip

    [row] = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert isinstance(row["rows"], int)
    assert (row["t"], row["l"], row["n"]) == ("01:02:03", [1.5], None)


def test_a_feed_that_was_just_added_shows_what_it_lacks(desk) -> None:
    """Views and status judge by the configuration as it is, not as it was at the last fetch."""
    desk.configure({"symbols": ["BTCUSDT"], "end": "2024-01-12"})

    gaps = json.loads(desk.run("gaps", "--format", "json").stdout)
    status = json.loads(desk.run("status", "--format", "json").stdout)

    assert [(gap["state"], gap["reason"]) for gap in gaps] == [("open", "never asked for")]
    assert status[0]["days_open"] > 0
