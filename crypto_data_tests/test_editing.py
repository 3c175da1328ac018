"""Changes of the configuration: one place changes, every other byte stays."""

import json
import multiprocessing
import re
import resource
import signal
import stat
import textwrap
from datetime import date
from pathlib import Path

import pytest

from crypto_data.catalog.configuration import parse_catalog
from crypto_data.catalog.editing import add_feed, add_items, take_feed, take_items
from crypto_data.catalog.file import rewrite
from crypto_data.errors import CatalogError, CatalogNotWritten, UsageError
from crypto_data.lake.universe import Listing, Universe, write_universe
from crypto_data.partitions import day_start_ms
from crypto_data.series import Market

TODAY = date(2026, 1, 1)
HEAD = "lake: ./lake   # mine\n"


def dedent(text) -> str:
    return textwrap.dedent(text).lstrip("\n")


FLOW = dedent("""
    # my lake
    lake:   './lake'
    feeds:
      # the majors
      - exchange: binance
        market: spot
        symbols: [BTCUSDT, ETHUSDT]   # two of them
        intervals: [1m, 1h]
        start: 2024-01-01   # the year

      - exchange: binance
        market: um
        symbols: [ BTCUSDT ]
        intervals: [ 1h ]
        start: 2024-01-01
    alerts:
      urls: ["${HOOK}"]
""")
BLOCK = dedent("""
    lake: ./lake
    feeds:
    - exchange: binance
      market: spot
      symbols:
      - BTCUSDT   # first
      # ether
      - 'ETHUSDT'
      intervals:
          - 1m
          - 15m: from 1m
      start: 2024-01-01
    keep: {superseded_days: 3}
""")
LONG = dedent("""
    lake: ./lake
    feeds:
      - exchange: binance
        market: spot
        symbols: [
          BTCUSDT,  # a, b
          "ETHUSDT",
          "*USDC",  # all of them
        ]
        intervals: [1h]
        start: 2024-01-01""")
TEXTS = {"flow": FLOW, "block": BLOCK, "long": LONG}


def parse(text):
    return parse_catalog(text, path=Path("/c.yaml"), environ={"HOOK": "http://x/"}, today=TODAY)


def changed_lines(before, after) -> tuple[list[str], list[str]]:
    """Return the lines that went and those that came."""
    old, new = before.splitlines(), after.splitlines()
    return [x for x in old if x not in new], [x for x in new if x not in old]


@pytest.mark.parametrize(
    ("text", "came"),
    [
        pytest.param(FLOW, ["    symbols: [BTCUSDT, ETHUSDT, SOLUSDT]   # two of them"], id="flow"),
        pytest.param(BLOCK, ["  - 'SOLUSDT'"], id="block-like-its-neighbour"),
        pytest.param(LONG, ['      "SOLUSDT",'], id="over-lines"),
        pytest.param(
            FLOW.replace("[BTCUSDT, ETHUSDT]", "[BTCUSDT,\n      ETHUSDT]"),
            ["      ETHUSDT, SOLUSDT]   # two of them"],
            id="closed-behind-the-last",
        ),
        pytest.param(FLOW.replace("\n", "\r\n"), None, id="windows"),
        pytest.param(
            FLOW.replace("[BTCUSDT, ETHUSDT]", '"*USDT"'),
            ['    symbols: ["*USDT", SOLUSDT]   # two of them'],
            id="one-text",
        ),
    ],
)
def test_a_symbol_is_added_at_the_end_of_its_list(text, came) -> None:
    """One line changes; the file can be used and asks for one symbol more."""
    after = add_items(text, 0, "symbols", ["SOLUSDT"])

    assert "SOLUSDT" in parse(after).feeds[0].symbols
    if came:
        assert changed_lines(text, after)[1] == came
    assert after.count("\r\n") == after.count("\n") * ("\r\n" in text)


@pytest.mark.parametrize(
    ("text", "symbol", "went", "came"),
    [
        pytest.param(FLOW, "BTCUSDT", None, ["    symbols: [ETHUSDT]   # two of them"], id="first"),
        pytest.param(FLOW, "ETHUSDT", None, ["    symbols: [BTCUSDT]   # two of them"], id="last"),
        pytest.param(BLOCK, "BTCUSDT", ["  - BTCUSDT   # first"], [], id="block"),
        pytest.param(LONG, "ETHUSDT", ['      "ETHUSDT",'], [], id="over-lines"),
        pytest.param(LONG, "*USDC", ['      "*USDC",  # all of them'], [], id="over-lines-last"),
    ],
)
def test_a_symbol_is_taken_out(text, symbol, went, came) -> None:
    """Its own words go, and the comments of the others stay."""
    after = take_items(text, 0, "symbols", [symbol])

    lines = changed_lines(text, after)
    assert symbol not in parse(after).feeds[0].symbols
    assert len(parse(after).feeds[0].symbols) == len(parse(text).feeds[0].symbols) - 1
    assert went is None or lines[0] == went
    assert [line.rstrip() for line in lines[1]] == came


@pytest.mark.parametrize(
    ("written", "items", "left"),
    [
        pytest.param(
            "[BTCUSDT\n      , ETHUSDT # e\n      , SOLUSDT]",
            ["BTCUSDT", "ETHUSDT"],
            "[\n      SOLUSDT]",
            id="first-two",
        ),
        pytest.param(
            "[BTCUSDT\n      , ETHUSDT # e\n      , SOLUSDT]",
            ["BTCUSDT"],
            "[\n      ETHUSDT # e\n      , SOLUSDT]",
            id="first",
        ),
        pytest.param(
            "[BTCUSDT\n      , ETHUSDT # e\n      , SOLUSDT]",
            ["ETHUSDT"],
            "[BTCUSDT\n      , SOLUSDT]",
            id="middle",
        ),
        pytest.param(
            "[BTCUSDT\n      , ETHUSDT # e\n      , SOLUSDT]",
            ["SOLUSDT"],
            "[BTCUSDT\n      , ETHUSDT # e\n      ]",
            id="last",
        ),
        pytest.param(
            "[\n      BTCUSDT\n      # keep this, please\n      ,ETHUSDT\n    ]",
            ["ETHUSDT"],
            "[\n      BTCUSDT\n      # keep this, please\n    ]",
            id="comma-in-a-comment",
        ),
        pytest.param(
            "[\n      BTCUSDT\n      # keep this, please\n      ,ETHUSDT\n    ]",
            ["BTCUSDT"],
            "[\n      # keep this, please\n      ETHUSDT\n    ]",
            id="comment-of-the-first",
        ),
        pytest.param(
            "[BTCUSDT, # b, c\n      ETHUSDT]", ["ETHUSDT"], "[BTCUSDT # b, c\n      ]", id="behind"
        ),
    ],
)
def test_leading_commas(written, items, left) -> None:
    """The comma that goes is one of the list, wherever it stands; comments stay whole."""
    text = FLOW.replace("[BTCUSDT, ETHUSDT]   # two of them", written)

    after = take_items(text, 0, "symbols", items)

    found = parse(after).feeds[0].symbols
    was = parse(text).feeds[0].symbols
    assert found == tuple(one for one in was if one not in items)
    assert [one.rstrip() for one in after.splitlines()] == [
        one.rstrip() for one in text.replace(written, left).splitlines()
    ]


def test_a_list_that_cannot_be_changed_safely(desk) -> None:
    """Where a dash stands in a comment, below an item's own, the file stays as it is."""
    text = BLOCK.replace("  - BTCUSDT   # first", "  -\n    # the first - of two\n    BTCUSDT")
    desk.config.write_text(text)

    done = desk.run("remove", "BTCUSDT")

    assert done.returncode == 2
    assert "feeds[0].symbols is written so that it cannot be changed safely" in done.stderr
    assert desk.config.read_text() == text


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("symbol", ["SOLUSDT", "*EUR", "!BNB*", "1INCHUSDT", "NO", "币安人生USDT"])
def test_adding_and_taking_out_leaves_every_byte(name, symbol) -> None:
    """What was added and taken out again never happened."""
    text = TEXTS[name]

    added = add_items(text, 0, "symbols", [symbol])

    assert parse(added).feeds[0].symbols == (*parse(text).feeds[0].symbols, symbol)
    assert take_items(added, 0, "symbols", [symbol]).rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize("name", TEXTS)
def test_a_feed_is_added_and_taken_out(name) -> None:
    """A new feed stands behind the others, indented as they are, and goes again without a trace."""
    text = TEXTS[name]
    keys = {
        "name": "new", "exchange": "kraken", "market": "spot", "symbols": ["BTC/USD"],
        "intervals": ["1h"], "start": "2024-01-01",
    }  # fmt: skip

    added = add_feed(text, keys)

    before, after = parse(text), parse(added)
    assert after.feeds[:-1] == before.feeds
    assert (after.feeds[-1].name, after.feeds[-1].symbols) == ("new", ("BTC/USD",))
    assert changed_lines(text, added)[0] == []
    assert take_feed(added, len(before.feeds)).rstrip("\n") == text.rstrip("\n")


def test_the_last_feed_leaves_an_empty_list() -> None:
    """Without any feed the key stays, and the next feed goes there."""
    text = "lake: ./lake\nfeeds: # mine\n- {exchange: binance, market: spot}\nkeep: {run_days: 3}\n"

    empty = take_feed(text, 0)
    again = add_feed(empty, {"exchange": "binance", "market": "spot"})

    assert empty == "lake: ./lake\nfeeds: [] # mine\nkeep: {run_days: 3}\n"
    assert parse(empty).feeds == ()
    assert "feeds:\n  - exchange: binance\n    market: spot # mine\nkeep" in again


def test_feeds_in_one_line() -> None:
    """Feeds written as a flow list are changed in it."""
    text = HEAD + (
        "feeds: [{exchange: binance, market: spot, symbols: [BTCUSDT], intervals: [1h], "
        "start: 2024-01-01}]\n"
    )
    keys = {"exchange": "binance", "market": "um", "symbols": ["BTCUSDT"], "intervals": ["1h"],
            "start": "2024-01-01"}  # fmt: skip

    added = add_feed(text, keys)

    assert [str(feed.market) for feed in parse(added).feeds] == ["spot", "um"]
    assert take_feed(added, 1) == text
    assert parse(take_feed(text, 0)).feeds == ()


def test_a_shared_list_is_refused() -> None:
    """A list that an alias puts into two feeds would change in both."""
    text = FLOW.replace("[BTCUSDT, ETHUSDT]", "&all [BTCUSDT, ETHUSDT]").replace(
        "[ BTCUSDT ]", "*all"
    )

    for place in (0, 1):
        with pytest.raises(UsageError, match="alias"):
            add_items(text, place, "symbols", ["SOLUSDT"])


@pytest.mark.parametrize("item", ["1mo", "15m", "1h"])
def test_an_interval_is_taken_out_however_it_is_written(item) -> None:
    """`1M` is `1mo`, and `15m: from 1m` is `15m`."""
    text = FLOW.replace("[1m, 1h]", "[1m, 1h, 1M, 15m: from 1m]")

    after = add_items(take_items(text, 0, "intervals", [item]), 0, "intervals", ["4h"])

    left = {"1m", "1h", "1mo", "15m", "4h"} - {item}
    assert set(map(str, parse(after).feeds[0].intervals)) == left


def test_an_item_from_the_environment_is_refused() -> None:
    """What stands in the file is a variable, which other feeds may share."""
    text = FLOW.replace("[BTCUSDT, ETHUSDT]", '["${COIN}", ETHUSDT]')

    with pytest.raises(UsageError, match="BTCUSDT is written by a variable"):
        take_items(text, 0, "symbols", ["BTCUSDT"])


def add_one(path, name) -> None:
    rewrite(path, lambda text: add_items(text, 0, "symbols", [name]), path.parent / "state")


def test_changes_at_once_lose_nothing(tmp_path) -> None:
    """Twenty processes that each add a symbol all find theirs in the file."""
    path = tmp_path / "crypto_data.yaml"
    path.write_text(FLOW)
    names = [f"S{number:02}USDT" for number in range(20)]

    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(add_one, [(path, name) for name in names])

    assert sorted(parse(path.read_text()).feeds[0].symbols) == ["BTCUSDT", "ETHUSDT", *names]


def test_mode_link_and_mark_stay(tmp_path) -> None:
    """The file behind a link is replaced, with its mode and its byte order mark."""
    real = tmp_path / "real" / "my.yaml"
    real.parent.mkdir()
    real.write_bytes(b"\xef\xbb\xbf" + FLOW.encode())
    real.chmod(0o640)
    link = tmp_path / "crypto_data.yaml"
    link.symlink_to(real)

    rewrite(link, lambda text: add_items(text, 0, "symbols", ["SOLUSDT"]), tmp_path / "state")

    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert real.read_bytes().startswith(b"\xef\xbb\xbf# my lake")
    assert [one.name for one in real.parent.iterdir()] == ["my.yaml"]


def test_an_editor_that_saves_meanwhile_wins(tmp_path) -> None:
    """A file that was changed since it was read is left as the other left it."""
    path = tmp_path / "crypto_data.yaml"
    path.write_text(FLOW)

    def change(text) -> str:
        path.write_text(BLOCK)
        return add_items(text, 0, "symbols", ["SOLUSDT"])

    with pytest.raises(CatalogNotWritten, match="changed meanwhile"):
        rewrite(path, change, tmp_path / "state")

    assert path.read_text() == BLOCK


def test_a_file_that_is_no_text(tmp_path) -> None:
    """It is named as the other commands name it, and stays as it is."""
    path = tmp_path / "crypto_data.yaml"
    path.write_bytes(FLOW.encode("utf-16"))

    with pytest.raises(CatalogError, match="bytes that are no UTF-8; allowed: UTF-8 text"):
        rewrite(path, lambda text: f"{text}\n", tmp_path / "state")

    assert path.read_bytes() == FLOW.encode("utf-16")


def test_a_file_that_cannot_be_read(tmp_path) -> None:
    """The system's own words, and what would help."""
    path = tmp_path / "crypto_data.yaml"
    path.mkdir()

    with pytest.raises(CatalogError, match="Is a directory; allowed: a file that can be read"):
        rewrite(path, lambda text: f"{text}\n", tmp_path / "state")


def test_without_a_place_for_the_lock(tmp_path) -> None:
    """Nothing is changed unlocked; the message names the folder and the way out."""
    path = tmp_path / "crypto_data.yaml"
    path.write_text(FLOW)
    (tmp_path / "state").write_text("a file")

    with pytest.raises(CatalogNotWritten, match="XDG_STATE_HOME to another folder"):
        rewrite(path, lambda text: f"{text}\n", tmp_path / "state")

    assert path.read_text() == FLOW


@pytest.mark.parametrize(
    ("command", "status", "symbols", "said"),
    [
        pytest.param(
            "add SOLUSDT", 0, "BTCUSDT ETHUSDT SOLUSDT|BTCUSDT", "SOLUSDT: added", id="add"
        ),
        pytest.param(
            "add SOLUSDT --market um", 0, "BTCUSDT ETHUSDT|BTCUSDT SOLUSDT", "next: ", id="market"
        ),
        pytest.param(
            "add SOLUSDT --feed binance_um",
            0,
            "BTCUSDT ETHUSDT|BTCUSDT SOLUSDT",
            "binance_um",
            id="feed",
        ),
        pytest.param("add BTCUSDT", 0, "BTCUSDT ETHUSDT|BTCUSDT", "already there", id="already"),
        pytest.param(
            "add SOLUSDT --interval 1d", 2, None, "--start 2024-01-01", id="new-feed-too-little"
        ),
        pytest.param(
            "add SOLUSDT --interval 1d --start 2024-02-01",
            0,
            "BTCUSDT ETHUSDT|BTCUSDT|SOLUSDT",
            "in a new feed: feed binance_spot_2",
            id="new-feed",
        ),
        pytest.param(
            "add BTCUSDT --interval 1h,1d --start 2024-02-01 --feed daily",
            0,
            "BTCUSDT ETHUSDT|BTCUSDT|BTCUSDT",
            "feed daily",
            id="missing-interval-only",
        ),
        pytest.param(
            "add ETHUSDT --feed nope",
            2,
            None,
            "'nope' is no feed; there is binance_spot, binance_um; a new feed needs --interval",
            id="no-such-feed",
        ),
        pytest.param(
            "add ETHUSDT --feed binance_uk --start 2024-01-01",
            2,
            None,
            "did you mean binance_um?",
            id="feed-misspelt",
        ),
        pytest.param(
            "add SOLUSDT --interval 1d --start 2024-02-01 --end 2024-01-01",
            2,
            None,
            "a day after start",
            id="end-before-start",
        ),
        pytest.param(
            "add !SOLUSDT --market um --feed binance_um",
            0,
            "BTCUSDT ETHUSDT|BTCUSDT !SOLUSDT",
            "next: crypto-data backfill\n",
            id="left-out",
        ),
        pytest.param(
            "add !SOLUSDT --interval 1d --start 2024-02-01",
            2,
            None,
            "nothing is included",
            id="only-left-out",
        ),
        pytest.param("add solusdt", 2, None, "SOLUSDT", id="small-letters"),
        pytest.param(
            "add SOLUSDT --market sport", 2, None, "did you mean spot?", id="market-wrong"
        ),
        pytest.param(
            "add SOLUSDT --exchange krakn", 2, None, "did you mean kraken?", id="exchange-wrong"
        ),
        pytest.param(
            "add SOLUSDT --exchange kraken --interval 1h --start 2024-01-01",
            2,
            None,
            "ccxt's spelling",
            id="spelling",
        ),
        pytest.param(
            "add SOLUSDT --interval 7m --start 2024-01-01",
            2,
            None,
            "--interval: '7m' is no interval",
            id="interval-wrong",
        ),
        pytest.param(
            "add SOLUSDT --interval 1d --start 2030-01-01", 2, None, "or earlier", id="future"
        ),
        pytest.param(
            "add SOLUSDT --feed binance_um --market spot",
            2,
            None,
            "leave the other options out",
            id="feed-against-market",
        ),
        pytest.param(
            "remove BTCUSDT ETHUSDT --interval 1h,7m",
            2,
            None,
            "'7m' is no interval",
            id="remove-no-interval",
        ),
        pytest.param(
            "remove BTCUSDT --market um --interval 1h,1m",
            2,
            None,
            "'1m' is not in these feeds; there is 1h",
            id="remove-interval-of-others",
        ),
        pytest.param(
            "remove BTCUSDT --exchange binanc",
            2,
            None,
            "did you mean binance?",
            id="remove-exchange-wrong",
        ),
        pytest.param(
            "remove BTCUSDT --market sport", 2, None, "did you mean spot?", id="remove-market-wrong"
        ),
        pytest.param("remove ETHUSDT", 0, "BTCUSDT|BTCUSDT", "ETHUSDT: removed", id="remove"),
        pytest.param(
            "remove BTCUSDT", 0, "ETHUSDT", "removed, with the feed", id="remove-everywhere"
        ),
        pytest.param(
            "remove BTCUSDT --market um", 0, "BTCUSDT ETHUSDT", "stays", id="remove-in-market"
        ),
        pytest.param("remove BTCUSDT ETHUSDT", 0, "", "with the feed", id="remove-all"),
        pytest.param("remove BTCUSTD", 2, None, "did you mean BTCUSDT?", id="remove-unknown"),
        pytest.param(
            "remove ETHUSDT --feed nope",
            2,
            None,
            "'nope' is no feed; there is binance_spot, binance_um",
            id="remove-no-feed",
        ),
        pytest.param(
            "remove BTCUSDT --interval 1h --market spot",
            2,
            None,
            "a feed of its own",
            id="remove-interval-of-one",
        ),
        pytest.param(
            "remove BTCUSDT ETHUSDT --interval 1h --market spot",
            0,
            "BTCUSDT ETHUSDT|BTCUSDT",
            "removed in 1h",
            id="remove-interval",
        ),
    ],
)
def test_add_and_remove(desk, command, status, symbols, said) -> None:
    """The file says what was asked for, or is as it was byte for byte, and a sentence says why."""
    desk.config.write_text(FLOW)
    before = desk.config.read_bytes()

    done = desk.run(*command.split(), environ={"HOOK": "http://x/"})

    assert (done.returncode, said in done.stdout + done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
    if symbols is None:
        assert desk.config.read_bytes() == before
        assert done.stdout == ""
    else:
        feeds = parse(desk.config.read_text()).feeds
        assert "|".join(" ".join(feed.symbols) for feed in feeds) == symbols
        assert '"${HOOK}"' in desk.config.read_text()
        assert not desk.lake.root.exists()


@pytest.mark.parametrize(
    ("command", "commands"),
    [
        pytest.param(
            "add SOLUSDT BTCUSDT --market um",
            ["--exchange binance --market um --symbols SOLUSDT --intervals 1h"],
            id="one-is-there",
        ),
        pytest.param(
            "add SOLUSDT BTCUSDT --market um --interval 1d --start 2024-02-01",
            ["--exchange binance --market um --symbols SOLUSDT,BTCUSDT --intervals 1d"],
            id="new-feed",
        ),
        pytest.param("add BTCUSDT", [], id="nothing-new"),
    ],
)
def test_the_next_command_means_what_was_added(desk, command, commands) -> None:
    """Exchange, market and intervals are said, and it chooses just those series."""
    desk.config.write_text(FLOW)

    done = desk.run(*command.split(), environ={"HOOK": "http://x/"})

    said = [line for line in done.stderr.splitlines() if line.startswith("next: ")]
    assert said == [f"next: crypto-data backfill {one}" for one in commands]


def test_keeping_one_interval_keeps_the_end(desk) -> None:
    """The advised commands ask for the same days; what no option says is named."""
    more = "\n    end: 2024-02-01\n    sources: [rest]"
    desk.config.write_text(FLOW.replace("start: 2024-01-01   #", f"start: 2024-01-01{more}   #"))
    environ = {"HOOK": "http://x/"}

    refused = desk.run("remove", "ETHUSDT", "--interval", "1h", "--market", "spot", environ=environ)
    for advised in re.findall(r"crypto-data ((?:add|remove) [^,;]+)", refused.stderr):
        assert desk.run(*advised.split(), environ=environ).returncode == 0

    first, _, last = parse(desk.config.read_text()).feeds
    assert refused.returncode == 2
    assert "; then write sources into that feed by hand" in refused.stderr
    assert (first.symbols, last.symbols, last.intervals) == (("BTCUSDT",), ("ETHUSDT",), ("1m",))
    assert (last.start, last.end) == (first.start, first.end)


def test_a_symbol_that_the_exchange_does_not_list(desk) -> None:
    """It is added all the same, with a warning; without a copy of the list nothing is said."""
    desk.configure()
    before = desk.run("add", "BTCUSTD")
    listings = (Listing("BTCUSDT"), Listing("SOLUSDT"))
    universe = Universe(listings, day_start_ms(date(2024, 7, 12)))
    write_universe(desk.lake.root, "binance", Market.SPOT, universe)

    after = desk.run("add", "SOLUSTD", "SOLUSDT")

    assert (before.returncode, after.returncode) == (0, 0), after.stderr
    assert "warning" not in before.stderr
    warning = (
        "warning: SOLUSTD is none of the 2 symbols that binance spot listed on 2024-07-12; "
        "did you mean SOLUSDT?"
    )
    warned = [line for line in after.stderr.splitlines() if line.startswith("warning")]
    assert warned == [warning]
    assert desk.catalog().feeds[0].symbols == ("BTCUSDT", "BTCUSTD", "SOLUSTD", "SOLUSDT")


def test_a_pattern_is_narrowed_and_widened(desk) -> None:
    """What only a pattern matches is left out by name, and comes back without a word of its own."""
    text = FLOW.replace("[BTCUSDT, ETHUSDT]", '["*USDT"]')
    desk.config.write_text(text)
    environ = {"HOOK": "http://x/"}

    desk.run("remove", "LUNAUSDT", "--market", "spot", environ=environ)
    left_out = parse(desk.config.read_text()).feeds[0].symbols
    again = desk.run("add", "LUNAUSDT", "--format", "json", environ=environ)
    twice = desk.run("add", "LUNAUSDT", "--format", "json", environ=environ)

    assert left_out == ("*USDT", "!LUNAUSDT")
    assert desk.config.read_text() == text
    assert [json.loads(one.stdout)[0]["change"] for one in (again, twice)] == [
        "added", "already there",
    ]  # fmt: skip


@pytest.mark.parametrize("written", ["1M", "1mo"])
@pytest.mark.parametrize("asked", ["1M", "1mo"])
def test_a_month_is_a_month(desk, written, asked) -> None:
    """Either spelling is there already where the other one stands, and takes it out again."""
    desk.config.write_text(FLOW.replace("[1m, 1h]", f"[1m, {written}]"))
    environ = {"HOOK": "http://x/"}

    added = desk.run("add", "BTCUSDT", "--interval", asked, environ=environ)
    removed = desk.run("remove", "BTCUSDT", "ETHUSDT", "--interval", asked, environ=environ)

    assert (added.returncode, "already there" in added.stderr) == (0, True), added.stderr
    assert (removed.returncode, "removed in 1mo" in removed.stderr) == (0, True), removed.stderr
    assert list(map(str, parse(desk.config.read_text()).feeds[0].intervals)) == ["1m"]


def test_a_file_that_is_no_text_is_said_to_be_none(desk) -> None:
    """Status 2 with file and line, and no traceback."""
    desk.config.write_bytes(FLOW.encode() + b"# \xe4\n")

    for command in ("add", "remove"):
        done = desk.run(command, "BTCUSDT", environ={"HOOK": "http://x/"})
        assert done.returncode == 2
        assert "bytes that are no UTF-8" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_broken_file_is_not_touched(desk) -> None:
    """A configuration with faults is refused with them, before and after the change."""
    desk.config.write_text(FLOW.replace("market: um", "market: ux"))
    before = desk.config.read_bytes()

    done = desk.run("add", "SOLUSDT", environ={"HOOK": "http://x/"})

    assert done.returncode == 2
    assert "crypto_data.yaml:12: feeds[1].market" in done.stderr
    assert desk.config.read_bytes() == before


def test_a_full_disk(desk) -> None:
    """It is said in a sentence, the file stays, and no half of another one lies about."""
    desk.config.write_text(FLOW)

    def cramp() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    done = desk.run("add", "SOLUSDT", environ={"HOOK": "http://x/"}, preexec_fn=cramp)

    assert done.returncode == 1
    assert "cannot be written (File too large); it is as it was" in done.stderr
    assert desk.config.read_text() == FLOW
    assert [one.name for one in desk.folder.iterdir()] == [desk.config.name]
