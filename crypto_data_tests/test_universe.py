"""Which symbols there are: asked of the exchange's lists, kept in the lake, never lost."""

import time
from dataclasses import replace
from datetime import date

import pytest

from crypto_data.errors import DataSourceError
from crypto_data.lake.checkup import check_lake
from crypto_data.lake.universe import (
    Listing,
    Universe,
    change_universe,
    read_universe,
    universe_path,
    write_universe,
)
from crypto_data.listings import Wanted, find_pauses, learn_days
from crypto_data.resolving import open_catalog, resolve
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.server import Sandbox
from crypto_data.sandbox.symbols import Symbol, instant
from crypto_data.series import Market
from crypto_data.sources.directory import QUOTES, split_pair
from crypto_data.sources.http import Retry
from crypto_data.universe import (
    ASK_AGAIN_MS,
    KEEP_MS,
    find_unmatched,
    refresh_universe,
    stale_places,
)
from crypto_data_tests.conftest import Desk

SPOT = ("binance", Market.SPOT)
PATTERN = {"symbols": ["*USDT", "!S*"], "end": None, "start": "2024-01-10"}
# What the default sandbox lists, without the pattern's `!S*`.
EVERY = ("BTCUSDT", "ETHUSDT", "LUNAUSDT", "NEWUSDT", "OLDUSDT", "币安人生USDT")
ONCE = Retry(max_retries=0)
NOW_MS = instant("2026-11-21T12:00")
TODAY = date(2026, 11, 21)


def refresh(desk, now_ms=NOW_MS) -> list[str]:
    return refresh_universe(desk.catalog(), [SPOT], desk.state, now_ms=now_ms, retry=ONCE)


def known(desk) -> Universe:
    return read_universe(desk.lake.root, *SPOT)


def names(desk) -> tuple[str, ...]:
    return resolve(desk.catalog()).feeds[0].names


def listing(desk, symbol) -> Listing:
    return next(one for one in known(desk).listings if one.symbol == symbol)


@pytest.fixture
def odd_desk(tmp_path, new_desk):
    """Return a desk at an exchange of its own, with odd names and small pages."""
    um = Market.UM
    gone = ((instant("2020-01-01"), instant("2021-03-26T08:00")),)
    symbols = [
        Symbol(market=um, name="BTCUSDT_210326", lives=gone, volume_decimals=3),
        Symbol(market=um, name="CTKUSDTSETTLED", lives=gone, volume_decimals=3),
        Symbol(market=um, name="ICPUSDT_SETTLED", lives=gone, volume_decimals=3),
        Symbol(market=um, name="我踏马来USDT", volume_decimals=3),
    ]
    with Sandbox(page_keys=2, symbols=symbols, now_ms=NOW_MS) as exchange:
        desk = new_desk(tmp_path)
        yield Desk(desk.folder, exchange, desk.environ)


def test_nobody_is_asked_when_a_configuration_is_opened(desk) -> None:
    """Before anybody was asked a pattern means nothing; Dagster loads that without a request."""
    desk.configure(PATTERN)

    catalog = open_catalog(desk.config, desk.environ, TODAY)

    assert catalog.all_series() == {}
    assert desk.asked() == []


def test_a_pattern_means_what_archive_and_exchange_list(desk) -> None:
    """Delisted symbols too, what `!` names left out, in order; then nobody is asked again."""
    desk.configure(PATTERN)

    warnings = refresh(desk)

    desk.sandbox.requests.clear()
    assert warnings == []
    assert names(desk) == EVERY
    assert desk.asked() == []
    assert not listing(desk, "OLDUSDT").is_trading
    assert listing(desk, "BTCUSDT") == Listing("BTCUSDT", "BTC", "USDT", is_trading=True)


def test_a_symbol_that_only_the_archive_knows_is_listed(odd_desk) -> None:
    """Settled, dated and foreign names come through pages of two entries, with base and quote."""
    um = ("binance", Market.UM)
    odd_desk.configure({"market": "um", "symbols": ["*"]})
    odd_desk.sandbox.faults.add(Fault("/fapi/v1/exchangeInfo", "status", status=503))

    warnings = refresh_universe(
        odd_desk.catalog(), [um], odd_desk.state, now_ms=NOW_MS, retry=ONCE
    )  # fmt: skip

    listed = read_universe(odd_desk.lake.root, *um).listings
    assert [(one.symbol, one.base, one.quote) for one in listed] == [
        ("1000PEPEUSDT", "1000PEPE", "USDT"),
        ("BTCUSDT", "BTC", "USDT"),
        ("BTCUSDT_210326", "BTC", "USDT"),
        ("CTKUSDTSETTLED", "CTK", "USDT"),
        ("ETHUSDT", "ETH", "USDT"),
        ("ICPUSDT_SETTLED", "ICP", "USDT"),
        ("我踏马来USDT", "我踏马来", "USDT"),
    ]
    assert {one.is_trading for one in listed} == {None}
    assert ["exchangeInfo" in warning for warning in warnings] == [True]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        pytest.param("/listing", "vision", id="archive"),
        pytest.param("/api/v3/exchangeInfo", "rest", id="exchange"),
    ],
)
def test_one_list_stands_in_for_the_other(desk, path, source) -> None:
    """What one list has is taken, with a warning, and both are asked again in five minutes."""
    desk.configure(PATTERN)
    desk.sandbox.faults.add(Fault(path, "status", status=503))

    warnings = refresh(desk)

    assert names(desk) == EVERY
    assert {warning.split(": ")[1] for warning in warnings} == {source}
    soon = NOW_MS + ASK_AGAIN_MS
    assert stale_places(desk.catalog(), soon - 1) == []
    assert stale_places(desk.catalog(), soon) == [SPOT]


def test_without_any_list_the_lakes_copy_stands(desk) -> None:
    """An outage of everything changes nothing but says so."""
    desk.configure(PATTERN)
    refresh(desk)
    before = known(desk)
    desk.sandbox.faults.add(Fault("/*", "status", status=503))

    warnings = refresh(desk, NOW_MS + KEEP_MS)

    assert known(desk).listings == before.listings
    assert len(warnings) == 3


def test_without_any_list_and_copy_there_is_nothing_to_go_by(desk) -> None:
    """The error names both sources and their reasons; nothing is written."""
    desk.configure(PATTERN)
    desk.sandbox.faults.add(Fault("/*", "status", status=503))

    with pytest.raises(DataSourceError) as caught:
        refresh(desk)

    assert {attempt.source for attempt in caught.value.attempts} == {"vision", "rest"}
    assert not universe_path(desk.lake.root, *SPOT).exists()


def test_a_list_that_is_cut_short_takes_no_symbol_away(odd_desk) -> None:
    """The first page counts, what was known stays, nobody is delisted by it."""
    odd_desk.configure(PATTERN)
    refresh(odd_desk)
    before = known(odd_desk)
    odd_desk.sandbox.faults.add(
        Fault("/listing?*marker=*", "status", status=503),
        Fault("/api/v3/exchangeInfo", "html200"),
    )

    warnings = refresh(odd_desk, NOW_MS + KEEP_MS)

    assert known(odd_desk).listings == before.listings
    assert len(warnings) == 3


def test_a_symbol_that_the_exchange_no_longer_names_has_ended(desk) -> None:
    """It stays in the lake's copy for ever, and is delisted; one that came back trades again."""
    desk.configure(PATTERN)
    last = date(2024, 2, 20)
    gone = Listing("GONEUSDT", "GONE", "USDT", is_trading=True)
    back = Listing("BTCUSDT", last_day=last, is_trading=False)
    write_universe(desk.lake.root, *SPOT, Universe((back, gone)))

    refresh(desk)

    assert names(desk) == tuple(sorted((*EVERY, "GONEUSDT")))
    assert listing(desk, "GONEUSDT") == replace(gone, is_trading=False)
    assert listing(desk, "BTCUSDT") == Listing("BTCUSDT", "BTC", "USDT", is_trading=True)


def test_names_that_no_file_can_have_are_left_out(tmp_path, new_desk) -> None:
    """They are counted and said, and spoil nothing."""
    symbols = [Symbol(market=Market.SPOT, name="BAD$USDT")]
    with Sandbox(symbols=symbols) as exchange:
        made = new_desk(tmp_path)
        desk = Desk(made.folder, exchange, made.environ)
        desk.configure(PATTERN)

        (warning,) = refresh(desk)

    assert "BAD$USDT" in warning
    assert names(desk) == EVERY


@pytest.mark.parametrize(
    ("told_ms", "is_stale"),
    [
        pytest.param(0, True, id="never"),
        pytest.param(NOW_MS - KEEP_MS, True, id="an-hour-ago"),
        pytest.param(NOW_MS - KEEP_MS + 1, False, id="lately"),
        pytest.param(NOW_MS + 1, True, id="by-a-wrong-clock"),
    ],
)
def test_a_list_is_asked_for_once_an_hour(desk, told_ms, is_stale) -> None:
    """Only markets that patterns need count."""
    desk.configure(PATTERN, {"market": "um", "symbols": ["BTCUSDT"]})
    write_universe(desk.lake.root, *SPOT, Universe((Listing("BTCUSDT"),), told_ms))

    assert stale_places(desk.catalog(), NOW_MS) == ([SPOT] if is_stale else [])


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[1]", b'{"told_ms": 1, "symbols": [["A"]]}', b'{"told_ms": 1, "symbols"']
)
def test_a_damaged_copy_is_asked_for_anew(desk, caplog, text) -> None:
    """It counts as none, which is said; `health` names it; the next fetch replaces it."""
    desk.configure(PATTERN)
    path = universe_path(desk.lake.root, *SPOT)
    path.parent.mkdir(parents=True)
    path.write_bytes(text)

    assert resolve(desk.catalog()).all_series() == {}
    assert "patterns mean no symbol" in caplog.text
    found = check_lake(desk.lake.root, verify=False, local_ms=NOW_MS).findings
    assert [str(desk.lake.root / finding.path) for finding in found] == [str(path)]
    assert stale_places(desk.catalog(), NOW_MS) == [SPOT]
    refresh(desk)
    assert names(desk) == EVERY
    assert path.with_name(f"{path.name}.damaged").read_bytes() == text


def test_what_is_written_is_read(desk) -> None:
    """Every fact of a symbol comes back."""
    pauses = ((date(2022, 5, 13), date(2022, 5, 31)),)
    one = Listing("LUNAUSDT", "LUNA", "USDT", date(2020, 8, 21), date(2025, 1, 1), False, pauses)

    changed = change_universe(desk.lake.root, *SPOT, lambda _none: Universe((one,), 7))

    assert known(desk) == changed == Universe((one,), 7)


def test_days_come_from_the_archives_files(desk) -> None:
    """First and last day exactly; a symbol that trades has no last one; asked once and kept."""
    desk.configure(PATTERN)
    refresh(desk)
    wanted = Wanted(Market.SPOT, frozenset(EVERY))

    learnt, failures = learn(desk, wanted)

    asked = len(desk.asked("/listing"))
    again, _ = learn(desk, wanted)
    days = {one.symbol: (one.first_day, one.last_day) for one in learnt.listings}
    assert failures == []
    assert days["OLDUSDT"] == (date(2017, 8, 17), date(2024, 2, 20))
    assert days["NEWUSDT"] == (date(2024, 5, 17), None)
    assert days["LUNAUSDT"] == (date(2020, 8, 21), None)
    assert days["SOLUSDT"] == (None, None)  # nobody wanted to know
    assert again == learnt
    assert len(desk.asked("/listing")) == asked


def learn(desk, wanted):
    return learn_days(
        desk.catalog(), wanted, desk.state, now_ms=NOW_MS, on_listing=lambda _one: None
    )


def test_the_pause_of_a_reused_name_is_found(desk) -> None:
    """LUNAUSDT rested from 2022-05-13 until another coin took the name on 2022-05-31."""
    desk.configure(PATTERN)
    refresh(desk)

    learn(desk, Wanted(Market.SPOT, frozenset(["LUNAUSDT", "BTCUSDT"]), pauses=True))

    assert listing(desk, "LUNAUSDT").pauses == ((date(2022, 5, 13), date(2022, 5, 31)),)
    assert listing(desk, "BTCUSDT").pauses == ()


@pytest.mark.parametrize(
    ("days", "pauses"),
    [
        pytest.param([], (), id="nothing"),
        pytest.param([1, 2, 3], (), id="none"),
        pytest.param([1, 3], (), id="one-file-missing"),
        pytest.param([1, 4, 9], ((2, 4), (5, 9)), id="two"),
    ],
)
def test_a_single_missing_file_is_no_pause(days, pauses) -> None:
    """It is a hole of the archive; a name rests for days."""
    files = [date(2024, 1, day) for day in days]

    assert find_pauses(files) == tuple(
        (date(2024, 1, start), date(2024, 1, end)) for start, end in pauses
    )


def test_days_that_cannot_be_asked_stay_unknown(desk) -> None:
    """The reason is handed on, and the next command asks again."""
    desk.configure(PATTERN)
    refresh(desk)
    desk.sandbox.faults.add(Fault("/listing?*OLDUSDT*", "html200"))

    learnt, failures = learn(desk, Wanted(Market.SPOT, frozenset(["OLDUSDT", "NEWUSDT"])))

    days = {one.symbol: one.first_day for one in learnt.listings}
    assert (days["OLDUSDT"], days["NEWUSDT"]) == (None, date(2024, 5, 17))
    assert len(failures) == 1


def test_who_does_not_trade_is_told_by_silence_alone(desk) -> None:
    """Without exchangeInfo a symbol whose last file is weeks old has ended, another has not."""
    desk.configure(PATTERN)
    desk.sandbox.faults.add(Fault("/api/v3/exchangeInfo", "status", status=503))
    refresh(desk)
    now_ms = time.time_ns() // 1_000_000

    learn_days(
        desk.catalog(),
        Wanted(Market.SPOT, frozenset(["OLDUSDT", "BTCUSDT"])),
        desk.state,
        now_ms=now_ms,
        on_listing=lambda _one: None,
    )

    assert listing(desk, "OLDUSDT").last_day == date(2024, 2, 20)
    assert listing(desk, "BTCUSDT").last_day is None


@pytest.mark.parametrize(
    ("symbol", "market", "pair"),
    [
        pytest.param("BTCUSDT", Market.SPOT, ("BTC", "USDT"), id="plain"),
        pytest.param("USDTTRY", Market.SPOT, ("USDT", "TRY"), id="quote-as-base"),
        pytest.param("BNBUSD_PERP", Market.CM, ("BNB", "USD"), id="not-BUSD"),
        pytest.param("1000SHIBUSDT", Market.UM, ("1000SHIB", "USDT"), id="digits"),
        pytest.param("AERGOUSDTSETTLEDSETTLED", Market.UM, ("AERGO", "USDT"), id="settled-twice"),
        pytest.param("USDT", Market.SPOT, ("", ""), id="no-pair"),
        pytest.param("ABCXYZ", Market.SPOT, ("", ""), id="unknown"),
    ],
)
def test_a_pair_is_read_from_its_name(symbol, market, pair) -> None:
    """The longest quote it ends in; both empty where none fits."""
    assert split_pair(symbol, QUOTES[market]) == pair


def test_a_pattern_that_matches_nothing_is_said(desk) -> None:
    """With the number of symbols it was tried on, or that nobody was asked yet."""
    desk.configure({"symbols": ["X*"]}, {"symbols": ["*USDT"], "name": "good"})

    unasked = [str(one) for one in find_unmatched(resolve(desk.catalog()))]
    refresh(desk)
    (unmatched,) = find_unmatched(resolve(desk.catalog()))

    assert len(unasked) == 2
    assert "not asked yet" in unasked[0]
    assert str(unmatched).startswith("binance_spot: X* matches none of the 7 symbols")
