"""Patterns and `universe` as a person at a terminal meets them."""

import json

import pytest

from crypto_data.sandbox.faults import Fault

MONTH = {"intervals": ["1d"], "start": "2022-05-01", "end": "2022-06-10"}


def rows_of(done) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_backfill_asks_what_a_pattern_means(desk) -> None:
    """Each matching symbol is whole: a reused name pauses, one that came later is unlisted."""
    desk.configure(MONTH | {"symbols": ["*USDT", "!S*", "!币*"]})

    done = desk.run("backfill")

    again = desk.run("backfill")
    days = rows_of(desk.run("coverage", "--format", "json"))
    states = {}
    for day in days:
        states.setdefault(day["symbol"], []).append(day["state"])
    assert done.returncode == 0, done.stderr
    assert states == {
        "BTCUSDT": ["complete"] * 40,
        "ETHUSDT": ["complete"] * 40,
        "LUNAUSDT": ["complete"] * 12 + ["unlisted"] * 18 + ["complete"] * 10,
        "NEWUSDT": ["unlisted"] * 40,
        "OLDUSDT": ["complete"] * 40,
    }
    assert "nothing to fetch" in again.stderr
    assert len(desk.asked("exchangeInfo")) == 2  # for the pattern, and for who was delisted


def test_validate_asks_once_and_says_so(desk) -> None:
    """What nobody has told yet is asked for; later the lake's copy is enough."""
    desk.configure(MONTH | {"symbols": "*USDT"})

    first = desk.run("validate", "--format", "json")

    desk.sandbox.requests.clear()
    second = desk.run("validate", "--format", "json")
    assert rows_of(first)[0]["symbols"] == 7
    assert "asked binance/spot for its symbols: 7" in first.stderr
    assert rows_of(second) == rows_of(first)
    assert desk.asked() == []


def test_a_dry_run_knows_what_a_pattern_means(desk) -> None:
    """The plan has a line for each series that a fetch would ask for."""
    desk.configure(MONTH | {"symbols": "?UNAUSDT"})

    done = desk.run("backfill", "--dry-run", "--format", "json")

    assert [row["series"] for row in rows_of(done)] == ["binance/spot/LUNAUSDT/1d"]


def test_a_pattern_without_a_match_stops_no_other_feed(desk) -> None:
    """It is said by `validate` and by the fetch; the other feed is fetched, with status 0."""
    desk.configure(
        MONTH | {"symbols": "XYZ*", "name": "empty"}, {"symbols": ["BTCUSDT"], "name": "full"}
    )

    checked, fetched = desk.run("validate"), desk.run("backfill")

    said = "empty: XYZ* matches none of the 7 symbols"
    assert (checked.returncode, fetched.returncode) == (0, 0)
    assert said in checked.stderr
    assert said in fetched.stderr


def test_nothing_but_patterns_without_a_match(desk) -> None:
    """There is nothing to fetch, and that is a fault of the configuration."""
    desk.configure(MONTH | {"symbols": "XYZ*"})

    done = desk.run("backfill")

    assert done.returncode == 2
    assert "XYZ* matches none of the 7 symbols" in done.stderr


@pytest.mark.parametrize("command", ["validate", "backfill", "collect", "repair", "universe"])
def test_nobody_can_say_what_a_pattern_means(desk, command) -> None:
    """Without lists and without a copy in the lake the command ends with each source's reason."""
    desk.configure(MONTH | {"symbols": "*USDT"}, {"symbols": ["BTCUSDT"], "max_retries": 0})
    desk.sandbox.faults.add(Fault("/*", "status", status=403, body="html403"))

    done = desk.run(command)

    assert done.returncode == 1
    assert "binance/spot: the list of its symbols: vision: " in done.stderr
    assert "; rest: " in done.stderr
    assert "Traceback" not in done.stderr


def test_one_list_that_fails_is_a_warning(desk) -> None:
    """The fetch goes on with the other list and with what the lake has."""
    desk.configure(MONTH | {"symbols": "O*USDT", "sources": ["vision"]})
    desk.sandbox.faults.add(Fault("/api/v3/exchangeInfo", "status", status=451, body="451"))

    done = desk.run("backfill")

    assert done.returncode == 0, done.stderr
    assert "binance/spot: rest: " in done.stderr
    assert "went on with the lists at hand" in done.stderr


def test_universe_prints_every_symbol_that_was(desk) -> None:
    """First day, last day and status; delisted ones too; pauses where they are asked for."""
    desk.configure()

    shown = rows_of(desk.run("universe", "--quote", "USDT", "--pauses", "--format", "json"))

    found = {row["symbol"]: row for row in shown}
    assert found["OLDUSDT"] == {
        "symbol": "OLDUSDT",
        "base": "OLD",
        "quote": "USDT",
        "first_day": "2017-08-17",
        "last_day": "2024-02-20",
        "status": "delisted",
        "pauses": [],
    }
    assert found["LUNAUSDT"]["pauses"] == [{"start": "2022-05-13", "end": "2022-05-31"}]
    assert found["NEWUSDT"]["first_day"] == "2024-05-17"
    assert found["NEWUSDT"]["last_day"] is None


@pytest.mark.parametrize(
    ("options", "symbols"),
    [
        pytest.param(["--symbols", "B*,O*"], ["BTCUSDT", "OLDUSDT"], id="patterns"),
        pytest.param(["--symbols", "!*T"], None, id="all-left-out"),
        pytest.param(
            ["--symbols", "!S*,!币*,!L*,!E*"], ["BTCUSDT", "NEWUSDT", "OLDUSDT"], id="but"
        ),
        pytest.param(["--delisted"], ["OLDUSDT"], id="delisted"),
        pytest.param(["--trading", "--symbols", "O*,N*"], ["NEWUSDT"], id="trading"),
        pytest.param(["--market", "cm", "--symbols", "ETH*"], ["ETHUSD_PERP"], id="market"),
    ],
)
def test_universe_prints_what_was_chosen(desk, options, symbols) -> None:
    """A choice that nothing fits is refused."""
    desk.configure()

    done = desk.run("universe", *options, "--format", "json")

    if symbols is None:
        assert done.returncode == 2
        assert "none of the 7 symbols of this market fits" in done.stderr
    else:
        assert [row["symbol"] for row in rows_of(done)] == symbols


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        pytest.param(["--quote", "USDX"], "did you mean USDT?", id="quote"),
        pytest.param(["--symbols", "BTCUSD"], "did you mean BTCUSDT?", id="symbol"),
        pytest.param(["--exchange", "binanc"], "did you mean binance?", id="exchange"),
        pytest.param(["--market", "sport"], "did you mean spot?", id="market"),
        pytest.param(
            ["--exchange", "kraken", "--market", "um"], "there is spot", id="no-such-market"
        ),
        pytest.param(["--symbols", "b*"], "'b*' is no pattern", id="pattern"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(desk, options, hint) -> None:
    """Status 2, and what there is."""
    desk.configure()

    done = desk.run("universe", *options)

    assert done.returncode == 2
    assert hint in done.stderr
    assert done.stdout == ""


def test_universe_says_what_it_could_not_learn(desk) -> None:
    """The lines are printed all the same, with status 1."""
    desk.configure()
    desk.sandbox.faults.add(Fault("/listing?*OLDUSDT*", "html200"))

    done = desk.run("universe", "--symbols", "O*,N*", "--format", "csv")

    assert done.returncode == 1
    assert "days of 1 symbols are not known: vision: " in done.stderr
    assert done.stdout.splitlines()[1:] == [
        "NEWUSDT,NEW,USDT,2024-05-17,,trading,",
        "OLDUSDT,OLD,USDT,,,delisted,",
    ]


def test_other_exchanges_list_what_trades(desk) -> None:
    """Through ccxt there are no days; a pattern works for a feed of their own."""
    desk.configure(
        {"exchange": "kraken", "symbols": "*/USD", "intervals": ["1d"], "sources": ["ccxt:kraken"]}
    )

    shown = rows_of(desk.run("universe", "--exchange", "kraken", "--format", "json"))

    demands = rows_of(desk.run("validate", "--format", "json"))
    assert {"BTC/USD", "ETH/USD"} <= {row["symbol"] for row in shown}
    assert {row["first_day"] for row in shown} == {None}
    assert demands[0]["symbols"] >= 2
