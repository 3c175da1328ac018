"""Wrong values in the configuration: each is reported with its place, all together."""

from datetime import date
from pathlib import Path

import pytest

from crypto_data.catalog.configuration import Catalog, CatalogText, FeedText, parse_catalog
from crypto_data.catalog.settings import (
    Alerts,
    CcxtAddresses,
    Keep,
    RestAddresses,
    SourceSettings,
    VisionAddress,
    WeightBudget,
)
from crypto_data.errors import CatalogError, Fault

TODAY = date(2026, 11, 21)
GOOD = (Path(__file__).parent / "data" / "catalog.yaml").read_text()
SECRET = "hunter2-token"  # noqa: S105
ENVIRON = {"ALERT_WEBHOOK": f"https://hooks.example/{SECRET}", "BAD": SECRET, "EMPTY": ""}


def parse(text, environ=ENVIRON, path=Path("/etc/crypto_data.yaml")) -> Catalog:
    return parse_catalog(text, path=path, environ=environ, today=TODAY)


def faults_of(text, environ=ENVIRON) -> tuple[Fault, ...]:
    with pytest.raises(CatalogError) as caught:
        parse(text, environ)
    return caught.value.faults


# Text of the good file and its replacement; line and key of the one fault; pieces of what it says
# was found and is allowed.
FAULTS = [
    pytest.param(
        ("lake: ./lake", "lake: s3://b/p"), (1, "lake"), ("s3://b/p", "not supported"), id="s3"
    ),
    pytest.param(("lake: ./lake", "lake: ''"), (1, "lake"), ("''", "a folder"), id="empty-lake"),
    pytest.param(
        ("lake: ./lake", "lake: 7"), (1, "lake"), ("'7' (a number)", "quotes"), id="number"
    ),
    pytest.param(
        ("lake: ./lake", "lake: [a]"), (1, "lake"), ("a list", "a folder"), id="list-lake"
    ),
    pytest.param(("lake: ./lake", "lake: ~/x"), (1, "lake"), ("~/x", "$HOME"), id="no-home"),
    pytest.param(
        ("lake: ./lake", "lake: /dev/null"), (1, "lake"), ("null", "no file"), id="file-lake"
    ),
    pytest.param(("lake: ./lake", ""), (1, "lake"), ("nothing", "needed"), id="no-lake"),
    pytest.param(("lake: ./lake", "lake: !x y"), (1, "lake"), ("tag '!x'", "without"), id="tag"),
    pytest.param(
        ("lake: ./lake", "path: a\nlake: b"),
        (1, "path"),
        ("unknown key", "one of lake"),
        id="path-key",
    ),
    pytest.param(
        ("lake: ./lake", "? [a]\n: b\nlake: c"),
        (1, "(whole file)"),
        ("no text", "plain"),
        id="list-key",
    ),
    pytest.param(
        ("    market: spot", "    market: Spot"),
        (4, "feeds[0].market"),
        ("'Spot'", "spot,"),
        id="market",
    ),
    pytest.param(
        ("    market: spot", ""),
        (3, "feeds[0].market"),
        ("nothing", "spot, um, cm"),
        id="no-market",
    ),
    pytest.param(
        ("    market: spot", "    market: spot\n    market: um"),
        (5, "feeds[0].market"),
        ("second time", "line 4"),
        id="double-key",
    ),
    pytest.param(
        ("    symbols: [BTCUSDT, ETHUSDT]", "    symbols: 1000"),
        (5, "feeds[0].symbols"),
        ("1000", "a list"),
        id="symbols-number",
    ),
    pytest.param(
        ("    symbols: [BTCUSDT, ETHUSDT]", "    symbols: []"),
        (5, "feeds[0].symbols"),
        ("an empty list", "a list of symbols"),
        id="no-symbols",
    ),
    pytest.param(
        ("    symbols: [BTCUSDT, ETHUSDT]", '    symbols: ["!BTC*", "!ETHUSDT"]'),
        (5, "feeds[0].symbols"),
        ("only !BTC*, !ETHUSDT", "nothing is included"),
        id="only-left-out",
    ),
    pytest.param(
        ("    symbols: [BTCUSDT, ETHUSDT]", '    symbols: "!BTC*"'),
        (5, "feeds[0].symbols"),
        ("only !BTC*", 'a name or "*"'),
        id="one-text-left-out",
    ),
    pytest.param(
        ("ETHUSDT]", "1000]"), (5, "feeds[0].symbols[1]"), ("1000", "quotes"), id="int-symbol"
    ),
    pytest.param(
        ("ETHUSDT]", "true]"), (5, "feeds[0].symbols[1]"), ("true", "quotes"), id="yes-symbol"
    ),
    pytest.param(
        ("ETHUSDT]", "~]"), (5, "feeds[0].symbols[1]"), ("nothing", "a symbol"), id="null"
    ),
    pytest.param(
        ("ETHUSDT]", "{a: b}]"), (5, "feeds[0].symbols[1]"), ("keys", "a symbol"), id="mapping"
    ),
    pytest.param(
        ("ETHUSDT]", '"*usdt"]'), (5, "feeds[0].symbols[1]"), ("*", "*USDT"), id="pattern"
    ),
    pytest.param(
        ("ETHUSDT]", "ethusdt]"), (5, "feeds[0].symbols[1]"), ("eth", "ETHUSDT"), id="lower"
    ),
    pytest.param(("ETHUSDT]", "../X]"), (5, "feeds[0].symbols[1]"), ("../X", "letters"), id="path"),
    pytest.param(
        ("ETHUSDT]", "BTCUSDT]"), (5, "feeds[0].symbols[1]"), ("second", "line 5"), id="twice"
    ),
    pytest.param(
        ("ETHUSDT]", "X_PERP]"),
        (5, "feeds[0].symbols[1]"),
        ("for spot", "market cm"),
        id="perp-in-spot",
    ),
    pytest.param(("BTCUSD_PERP", "BTCUSDT"), (16, "feeds[1].symbols[0]"), ("cm", "_PERP"), id="cm"),
    pytest.param(
        ("[1m, 1M]", "[1m, 7m]"), (6, "feeds[0].intervals[1]"), ("'7m'", "1mo"), id="interval"
    ),
    pytest.param(
        ("[1m, 1M]", "[1m, 60]"), (6, "feeds[0].intervals[1]"), ("60", "1h"), id="number-bar"
    ),
    pytest.param(
        ("[1m, 1M]", "[1mo, 1M]"), (6, "feeds[0].intervals[1]"), ("1M", "line 6"), id="1M-1mo"
    ),
    pytest.param(("[1m, 1M]", "[]"), (6, "feeds[0].intervals"), ("empty", "1m"), id="no-intervals"),
    pytest.param(
        ("intervals: [1h]", "intervals: [1s]"),
        (17, "feeds[1].intervals[0]"),
        ("cm", "spot"),
        id="1s",
    ),
    pytest.param(
        ("end: null", "end: 2024-01-01"), (8, "feeds[0].end"), ("2024", "after"), id="end"
    ),
    pytest.param(
        ("end: null", "end: 2025-02-29"), (8, "feeds[0].end"), ("29", "calendar"), id="leap"
    ),
    pytest.param(
        ("end: null", "end: soon"), (8, "feeds[0].end"), ("'soon'", "a UTC day"), id="no-date"
    ),
    pytest.param(
        ("end: null", "end: 2025-01-01 00:00:00"),
        (8, "feeds[0].end"),
        ("00:00", "a UTC day"),
        id="time",
    ),
    pytest.param(
        ("end: null", "end: 20250101"), (8, "feeds[0].end"), ("2025", "2024-01-01"), id="digits"
    ),
    pytest.param(
        ("end: null", "name: Mine"), (8, "feeds[0].name"), ("'Mine'", "lower-case"), id="name"
    ),
    pytest.param(
        ("end: null", "shedule: x"),
        (8, "feeds[0].shedule"),
        ("shedule", "schedule perhaps"),
        id="typo",
    ),
    pytest.param(
        ('"30 0 * * *"', '"60 0 * * *"'), (9, "feeds[0].schedule"), ("60", "minute"), id="cron"
    ),
    pytest.param(
        ('"30 0 * * *"', '"@daily"'), (9, "feeds[0].schedule"), ("@", "five"), id="cron-alias"
    ),
    pytest.param(
        ('"30 0 * * *"', '"0 0 31 2 *"'),
        (9, "feeds[0].schedule"),
        ("31", "exists"),
        id="cron-never",
    ),
    pytest.param(
        ("[vision, rest]", "[vision, ccxt:okex]"),
        (10, "feeds[0].sources[1]"),
        ("okex", "okx"),
        id="source",
    ),
    pytest.param(
        ("[vision, rest]", "[rest, rest]"),
        (10, "feeds[0].sources[1]"),
        ("second", "once"),
        id="sources",
    ),
    pytest.param(
        ("[vision, rest]", "[]"), (10, "feeds[0].sources"), ("empty", "vision"), id="no-sources"
    ),
    pytest.param(
        ("max_retries: 3", "max_retries: 21"),
        (11, "feeds[0].max_retries"),
        ("21", "20"),
        id="retries",
    ),
    pytest.param(
        ("max_retries: 3", "max_retries: yes"),
        (11, "feeds[0].max_retries"),
        ("yes", "0 to 20"),
        id="yes",
    ),
    pytest.param(
        ("retry_delay: 1.0", "retry_delay: 0"),
        (12, "feeds[0].retry_delay"),
        ("0", "over 0"),
        id="delay",
    ),
    pytest.param(
        ("retry_delay: 1.0", "retry_delay: .nan"),
        (12, "feeds[0].retry_delay"),
        ("nan", "600"),
        id="nan",
    ),
    pytest.param(
        ("timeout: 20", "timeout: -1"), (23, "sources.timeout"), ("-1", "over 0"), id="timeout"
    ),
    pytest.param(
        ("timeout: 20", "timeout: true"), (23, "sources.timeout"), ("true", "seconds"), id="bool"
    ),
    pytest.param(
        ("timeout: 20", "concurrency: 65"), (23, "sources.concurrency"), ("65", "64"), id="many"
    ),
    pytest.param(
        ("timeout: 20", "concurrency: 1.5"), (23, "sources.concurrency"), ("1.5", "64"), id="half"
    ),
    pytest.param(
        ("{spot: 1200}", "{spot: 0}"), (24, "sources.weights.spot"), ("0", "1 to"), id="weight"
    ),
    pytest.param(
        ("{spot: 1200}", "~"), (24, "sources.weights"), ("nothing", "the keys"), id="null-keys"
    ),
    pytest.param(
        ('["https://api.binance.com"]', "[ftp://x]"),
        (22, "sources.rest.spot[0]"),
        ("ftp", "http"),
        id="ftp",
    ),
    pytest.param(
        ('["https://api.binance.com"]', '["http://"]'),
        (22, "sources.rest.spot[0]"),
        ("//", "host"),
        id="host",
    ),
    pytest.param(
        ('["https://api.binance.com"]', '["http://h:99999"]'),
        (22, "sources.rest.spot[0]"),
        ("9", "host"),
        id="port",
    ),
    pytest.param(
        ('["https://api.binance.com"]', "[]"),
        (22, "sources.rest.spot"),
        ("empty", "list"),
        id="no-url",
    ),
    pytest.param(
        ('"${ALERT_WEBHOOK}"', '"${NOPE}"'),
        (26, "alerts.urls[0]"),
        ("${NOPE}", "NOPE is not"),
        id="unset",
    ),
    pytest.param(
        ('"${ALERT_WEBHOOK}"', '"${NO-PE}"'),
        (26, "alerts.urls[0]"),
        ("${NO-PE}", "digits"),
        id="bad-name",
    ),
    pytest.param(
        ('"${ALERT_WEBHOOK}"', '"${BAD}"'),
        (26, "alerts.urls[0]"),
        ("${BAD}", "http"),
        id="bad-value",
    ),
    pytest.param(
        ('"${ALERT_WEBHOOK}"', '"${EMPTY}"'),
        (26, "alerts.urls[0]"),
        ("${EMPTY}", "http"),
        id="empty-value",
    ),
    pytest.param(
        ('"${ALERT_WEBHOOK}"', "hunter2-token"),
        (26, "alerts.urls[0]"),
        ("not shown", "http"),
        id="literal",
    ),
    pytest.param(
        ("alerts:\n", "alert:\n"), (25, "alert"), ("'alert'", "alerts perhaps"), id="section"
    ),
    pytest.param(
        ("_errors: 5", "_errors: 0"), (27, "alerts.max_consecutive_errors"), ("0", "1"), id="alerts"
    ),
]


@pytest.mark.parametrize(("change", "place", "words"), FAULTS)
def test_each_fault_names_its_place(change, place, words) -> None:
    """One change to a good file gives one fault with line, key, what was found and is allowed."""
    assert change[0] in GOOD

    (fault,) = faults_of(GOOD.replace(*change, 1))

    assert (fault.line, fault.key) == place
    assert words[0] in fault.found
    assert words[1] in fault.allowed
    assert SECRET not in str(fault)


@pytest.mark.parametrize(
    "model",
    [
        CatalogText,
        FeedText,
        SourceSettings,
        VisionAddress,
        RestAddresses,
        CcxtAddresses,
        WeightBudget,
        Alerts,
        Keep,
    ],
)
def test_every_key_says_what_it_may_hold(model) -> None:
    """A key without a description could not tell a person what is allowed."""
    assert [name for name, field in model.model_fields.items() if not field.description] == []


def test_all_faults_are_reported_together_in_the_order_of_the_file() -> None:
    """Faults of text, values and rules come in one error, each with its own line."""
    text = (
        GOOD.replace("./lake", "s3://bucket")
        .replace("ETHUSDT]", "ethusdt, 1000]")
        .replace("end: null", "end: 2023-01-01\n    end: null")
        .replace("intervals: [1h]", "intervals: [1s, 9h]")
        .replace("timeout: 20", "timeot: 20")
        .replace("ALERT_WEBHOOK", "NOPE")
    )

    assert [(fault.line, fault.key) for fault in faults_of(text)] == [
        (1, "lake"),
        (5, "feeds[0].symbols[1]"),
        (5, "feeds[0].symbols[2]"),
        (9, "feeds[0].end"),
        (18, "feeds[1].intervals[1]"),
        (18, "feeds[1].intervals[0]"),
        (24, "sources.timeot"),
        (27, "alerts.urls[0]"),
    ]


@pytest.mark.parametrize(
    ("start", "allowed"),
    [
        pytest.param("2026-11-22", "today (2026-11-21) or earlier", id="future"),
        pytest.param("2009-01-02", "2009-01-03, the first day of Bitcoin, or later", id="ancient"),
    ],
)
def test_a_feed_starts_in_the_life_of_bitcoin(start, allowed) -> None:
    """A start outside 2009-01-03 to today is a fault of its key."""
    (fault,) = faults_of(GOOD.replace("start: 2024-01-01", f"start: {start}", 1))

    assert (fault.line, fault.key, fault.allowed) == (7, "feeds[0].start", allowed)


def test_a_series_in_two_feeds_names_both_lines() -> None:
    """The later feed gets one fault a symbol, which points at the earlier one."""
    extra = (
        "  - exchange: binance\n    market: spot\n    symbols: [LTCUSDT, ETHUSDT]\n"
        "    intervals: [1h, 1m, 1mo]\n    start: 2025-01-01\n"
    )

    (fault,) = faults_of(GOOD.replace("sources:\n  vision", f"{extra}sources:\n  vision"))

    assert (fault.line, fault.key) == (21, "feeds[2].symbols[1]")
    assert fault.found == "'ETHUSDT' in '1m', '1mo' a second time"
    assert "line 5" in fault.allowed


def test_a_name_given_twice_is_a_fault() -> None:
    """Two feeds cannot share a Dagster group by accident."""
    text = GOOD.replace("end: null", "name: a").replace(
        "    market: cm", "    market: cm\n    name: a"
    )

    (fault,) = faults_of(text)

    assert (fault.line, fault.key) == (15, "feeds[1].name")
    assert "line 8" in fault.allowed


@pytest.mark.parametrize(
    "old",
    [
        pytest.param("./lake", id="lake"),
        pytest.param("market: spot", id="market"),
        pytest.param("BTCUSDT", id="symbol"),
        pytest.param("BTCUSD_PERP", id="cm-symbol"),
        pytest.param("1m", id="interval"),
        pytest.param("2024-01-01", id="start"),
        pytest.param("null", id="end"),
        pytest.param('"30 0 * * *"', id="schedule"),
        pytest.param("vision, rest", id="source"),
        pytest.param("http://127.0.0.1:8080/archive/", id="vision"),
        pytest.param("https://api.binance.com", id="rest"),
        pytest.param("timeout: 20", id="timeout"),
        pytest.param("${ALERT_WEBHOOK}", id="alert"),
    ],
)
@pytest.mark.parametrize("value", [f"s3://{SECRET} x", f"https://{SECRET}:x@[/", f"{SECRET}\n*"])
def test_no_fault_shows_what_a_variable_holds(old, value) -> None:
    """A wrong value from the environment is cited by the variable's name only."""
    key = old.partition(": ")[0] + ": " if old in {"market: spot", "timeout: 20"} else ""
    new = f"{key}${{BAD}}" if f'"{old}"' in GOOD else f'{key}"${{BAD}}"'
    text = GOOD.replace(old, new, 1)

    faults = faults_of(text, ENVIRON | {"BAD": value})

    shown = f"{CatalogError(faults)} {faults!r}"
    assert "${BAD}" in shown
    assert SECRET not in shown
