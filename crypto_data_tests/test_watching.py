"""What counts as trouble, and that a person is told of it once."""

import json
import threading
from dataclasses import replace
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pyarrow as pa
import pytest

from crypto_data.alerts.state import Alert
from crypto_data.alerts.trouble import Trouble
from crypto_data.catalog.configuration import parse_catalog
from crypto_data.harvest import Aim
from crypto_data.health import current_alerts
from crypto_data.intervals import DAY_MS, HOUR_MS
from crypto_data.lake.census import CORRECTIONS, GAPS, HELD, RUNS, Census
from crypto_data.lake.history import History, Pass, note_pass
from crypto_data.lake.history_file import Standing
from crypto_data.lake.index import FileFault
from crypto_data.lake.layout import ALERTS, part_path
from crypto_data.lake.overdue import count_gap_days, stale_series
from crypto_data.lake.set_aside import SetAside
from crypto_data.partitions import day_start_ms
from crypto_data.series import Series
from crypto_data.sources.gate import Closing, Gate, Reason
from crypto_data.troubles import Scene, find_troubles
from crypto_data.watching import watch

BTC, ETH = (Series.parse(f"binance/spot/{symbol}/1h") for symbol in ("BTCUSDT", "ETHUSDT"))
WEEKLY = Series.parse("binance/um/BTCUSDT/1w")
OTHER = Series.parse("binance/spot/XRPUSDT/1h")
NOW_MS = day_start_ms(date(2024, 3, 15)) + 8 * HOUR_MS
HOST = "rest-spot api.binance.com"


def march(number) -> date:
    return date(2024, 3, number)


def catalog_of(tmp_path, more=""):
    text = f"""
lake: ./lake
feeds:
  - exchange: binance
    market: spot
    symbols: [BTCUSDT, ETHUSDT]
    intervals: [1h]
    start: 2024-03-01
  - exchange: binance
    market: um
    symbols: [BTCUSDT]
    intervals: [1w]
    start: 2024-03-01
{more}
"""
    return parse_catalog(
        text, path=tmp_path / "crypto_data.yaml", environ={}, today=date(2024, 3, 15)
    )


def names_of(series) -> dict:
    return dict(
        zip(("exchange", "market", "symbol", "interval"), str(series).split("/"), strict=True)
    )


def gap(series, first, *, days=1, attempts=8, state="missing", reason="vision: not there"):
    at = datetime(2024, 3, 14, tzinfo=UTC)
    return names_of(series) | {
        "first_day": march(first), "days": days, "state": state, "attempts": attempts,
        "last_attempt": at if attempts else None, "reason": reason,
    }  # fmt: skip


def held(series, settled, due):
    until = march(settled) if settled else None
    return names_of(series) | {"settled_until": until, "due_until": march(due)}


def census_of(runs=(), holds=(), faults=()):
    """Return the tables of a census that trouble is found in."""
    return Census(
        pa.Table.from_pylist(list(runs), schema=RUNS),
        GAPS.empty_table(),
        pa.Table.from_pylist(list(holds), schema=HELD),
        CORRECTIONS.empty_table(),
        tuple(faults),
    )


@pytest.fixture
def scene(tmp_path):
    """Return a lake in which all is well."""
    return Scene(catalog_of(tmp_path), History(), census_of(), {}, (), {}, NOW_MS, NOW_MS)


def one(scene, **changes) -> Trouble | None:
    """Return the only trouble of a scene, None when there is none."""
    troubles = find_troubles(replace(scene, **changes))
    assert len(troubles) <= 1
    return troubles[0] if troubles else None


def told(key, ended_ms=None) -> dict[str, Alert]:
    trouble = Trouble(key, 1, "Something is wrong.", NOW_MS - DAY_MS, "", "")
    return {key: Alert(trouble, NOW_MS - DAY_MS, 1, ended_ms)}


def test_a_lake_that_is_well_has_no_trouble(scene) -> None:
    """Settled series, feeds that succeeded and open hosts are nothing to tell of."""
    history = History({"binance_spot": Standing(NOW_MS, NOW_MS)})
    runs = [gap(BTC, 1, state="complete", attempts=1)]

    assert one(scene, history=history, census=census_of(runs, [held(BTC, 15, 15)])) is None


@pytest.mark.parametrize(
    ("errors", "level", "what"),
    [
        pytest.param(1, 1, "its last run failed", id="first"),
        pytest.param(2, 1, "2 runs in a row failed", id="below-the-limit"),
        pytest.param(3, 2, "3 runs in a row failed", id="at-the-limit"),
    ],
)
def test_a_feed_that_fails(scene, errors, level, what) -> None:
    """It is worse from the limit on; the command shows the series that fell short."""
    standing = Standing(NOW_MS, 0, errors, NOW_MS - DAY_MS, "rest: HTTP 503")
    history = History({"binance_spot": standing, "gone": standing}, {ETH: standing})

    assert one(scene, history=history) == Trouble(
        "feed/binance_spot",
        level,
        f"Feed binance_spot: {what}.",
        NOW_MS - DAY_MS,
        "rest: HTTP 503",
        "crypto-data gaps --exchange binance --market spot --symbols ETHUSDT --intervals 1h",
    )


def test_a_feed_whose_run_died(scene) -> None:
    """No series fell short, so the command is the one that asks again."""
    history = History({"binance_spot": Standing(NOW_MS, 0, 1, NOW_MS, "out of memory")})

    assert one(scene, history=history).remedy == "crypto-data collect"


@pytest.mark.parametrize(
    ("row", "stale"),
    [
        pytest.param(held(BTC, 15, 15), False, id="up-to-date"),
        pytest.param(held(BTC, 14, 15), False, id="closed-eight-hours-ago"),
        pytest.param(held(BTC, 13, 15), True, id="closed-32-hours-ago"),
        pytest.param(held(BTC, None, 15), False, id="never-settled"),
        pytest.param(held(BTC, 13, 13), False, id="its-feed-ended"),
        pytest.param(held(OTHER, 1, 15), False, id="not-configured"),
        pytest.param(held(WEEKLY, 4, 11), True, id="week-closed-four-days-ago"),
        pytest.param(held(WEEKLY, 11, 11), False, id="week-that-runs"),
    ],
)
def test_when_a_series_is_stale(scene, row, stale) -> None:
    """When the day after its newest settled one closed longer ago than the limit."""
    found = one(scene, census=census_of(holds=[row]))

    assert (found is not None) is stale


def test_what_is_said_of_stale_series(scene) -> None:
    """One trouble a feed: how many, which, since when, and what the last run was told."""
    history = History(series={ETH: Standing(why="vision: not there")})
    census = census_of(holds=[held(BTC, 12, 15), held(ETH, 11, 15)])

    assert one(scene, census=census, history=history) == Trouble(
        "stale/binance_spot",
        1,
        f"Feed binance_spot: nothing new for over 24 hours in 2 of 2 series: {BTC}, {ETH}.",
        day_start_ms(march(12)),
        "vision: not there",
        "crypto-data collect",
    )


def test_the_limit_of_staleness_is_the_configuration_s(tmp_path, scene) -> None:
    """Of a series that is 32 hours behind nobody is told where 48 are allowed."""
    catalog = catalog_of(tmp_path, "alerts: {stale_after_hours: 48}")
    census = census_of(holds=[held(BTC, 13, 15)])

    assert one(scene, census=census, catalog=catalog) is None
    assert one(scene, census=census) is not None


@pytest.mark.parametrize(
    ("run", "given_up"),
    [
        pytest.param(gap(BTC, 3, attempts=8), True, id="missing"),
        pytest.param(gap(BTC, 3, attempts=9, state="partial"), True, id="partial"),
        pytest.param(gap(BTC, 3, attempts=7), False, id="still-tried"),
        pytest.param(gap(BTC, 3, attempts=0), False, id="never-asked-for"),
        pytest.param(gap(BTC, 3, attempts=20, state="explained"), False, id="explained"),
        pytest.param(gap(OTHER, 3, attempts=20), False, id="not-configured"),
    ],
)
def test_which_gaps_are_given_up(scene, run, given_up) -> None:
    """Days that lack klines and were asked for eight times, of configured series."""
    assert (one(scene, census=census_of([run])) is not None) is given_up


def test_what_is_said_of_gaps_that_stayed(scene) -> None:
    """How many days, the first few, why, and the repair that covers them all."""
    runs = [gap(BTC, 3, days=2), gap(ETH, 5, reason="rest: none"), gap(ETH, 8), gap(ETH, 12)]

    assert one(scene, census=census_of(runs)) == Trouble(
        "gaps/binance_spot",
        1,
        "Feed binance_spot: 5 days stayed without klines through 8 attempts and more: "
        f"{BTC} 2024-03-03 to 2024-03-04, {ETH} 2024-03-05, {ETH} 2024-03-08 and 1 more.",
        day_start_ms(march(14)),
        "vision: not there",
        "crypto-data repair --exchange binance --market spot --symbols BTCUSDT,ETHUSDT "
        "--intervals 1h --start 2024-03-03 --end 2024-03-13",
    )


PART = "klines/exchange=binance/market=spot/interval=1h/symbol=BTCUSDT/2024.parquet"


def test_a_file_that_cannot_be_read(scene) -> None:
    """It is named as it lies in the lake, with the words of who tried, and the repair of it."""
    path = str(scene.catalog.lake / PART)
    fault = FileFault(BTC, path, "Permission denied")

    assert one(scene, census=census_of(faults=[fault])) == Trouble(
        f"damage/{PART}",
        1,
        f"A file of the lake cannot be read: {PART}.",
        NOW_MS,
        "Permission denied",
        "crypto-data repair --exchange binance --market spot --symbols BTCUSDT --intervals 1h",
    )


def aside(at_ms=NOW_MS - HOUR_MS, period="2024") -> SetAside:
    return SetAside(PART, BTC, period, at_ms, "truncated", f"_set_aside/{PART}")


@pytest.mark.parametrize(
    ("runs", "at_ms", "known", "is_told"),
    [
        pytest.param([], NOW_MS, {}, True, id="healed-and-never-told"),
        pytest.param([], NOW_MS, told(f"damage/{PART}"), False, id="healed-and-told"),
        pytest.param([], NOW_MS - 9 * DAY_MS, {}, False, id="healed-long-ago"),
        pytest.param(
            [], NOW_MS - 2 * HOUR_MS, told(f"damage/{PART}", NOW_MS - HOUR_MS), False, id="over"
        ),
        pytest.param(
            [], NOW_MS, told(f"damage/{PART}", NOW_MS - HOUR_MS), True, id="damaged-once-more"
        ),
        pytest.param(
            [gap(BTC, 3, attempts=1)], NOW_MS - 9 * DAY_MS, told(f"damage/{PART}"), True,
            id="days-are-missing",
        ),
        pytest.param([gap(ETH, 3, attempts=1)], NOW_MS, told(f"damage/{PART}"), False, id="other"),
    ],
)  # fmt: skip
def test_until_when_a_moved_file_is_trouble(scene, runs, at_ms, known, is_told) -> None:
    """Until all its days are there again, and once at least, even if that took a second."""
    found = one(scene, census=census_of(runs), set_aside=[aside(at_ms)], known=known)

    assert (found is not None) is is_told


def test_a_moved_file_answers_for_its_own_days_only(scene) -> None:
    """Of a file of 2023 nobody hears because a day of 2024 is missing."""
    census = census_of([gap(BTC, 3, attempts=1)])
    told_of = told(f"damage/{PART}")

    assert one(scene, census=census, set_aside=[aside(period="2023")], known=told_of) is None
    assert one(scene, census=census, set_aside=[aside(period="2024")], known=told_of) is not None


def test_bad_rows_that_were_moved_aside_are_no_days(scene) -> None:
    """A damaged file of quarantined rows is told of once; gaps of that month are not its own."""
    record = replace(aside(), original=PART.replace("klines", "_quarantine"))
    census = census_of([gap(BTC, 3, attempts=1)])

    assert "none of its days" in one(scene, census=census, set_aside=[record]).what


def test_what_is_said_of_a_moved_file(scene) -> None:
    """While days are missing, the repair of just those; afterwards that there is nothing to do."""
    runs = [gap(BTC, 3, days=2, attempts=1), gap(BTC, 9, attempts=1)]
    lacking = one(scene, census=census_of(runs), set_aside=[aside()])
    healed = one(scene, set_aside=[aside()])

    assert (lacking.key, lacking.since_ms, lacking.words) == (
        f"damage/{PART}", NOW_MS - HOUR_MS, "truncated",
    )  # fmt: skip
    assert lacking.remedy.endswith("--intervals 1h --start 2024-03-03 --end 2024-03-10")
    assert healed.remedy.startswith("Nothing to run")


MINUTE_S = 60_000


@pytest.mark.parametrize(
    ("closing", "known", "is_told"),
    [
        pytest.param(Closing(NOW_MS + MINUTE_S, Reason.LIMITED, "HTTP 429"), {}, False, id="short"),
        pytest.param(
            Closing(NOW_MS + 5 * MINUTE_S, Reason.LIMITED, "HTTP 429"), {}, True, id="long"
        ),
        pytest.param(Closing(NOW_MS + MINUTE_S, Reason.LIMITED, "HTTP 418"), {}, True, id="ban"),
        pytest.param(
            Closing(NOW_MS + MINUTE_S, Reason.LIMITED, "HTTP 429"),
            told(f"ban/{HOST}"),
            True,
            id="near-its-end",
        ),
        pytest.param(
            Closing(NOW_MS + MINUTE_S, Reason.BLOCKED, "HTTP 451"), {}, True, id="blocked"
        ),
        pytest.param(
            Closing(NOW_MS + 9 * MINUTE_S, Reason.DOWN, "HTTP 503"),
            told(f"ban/{HOST}"),
            False,
            id="down",
        ),
    ],
)
def test_which_refusals_are_trouble(scene, closing, known, is_told) -> None:
    """Bans, blocks and limits longer than is waited for; a short limit and a host down are none."""
    found = one(scene, closings={HOST: closing}, known=known)

    assert (found is not None) is is_told
    assert found is None or (found.key, found.words) == (f"ban/{HOST}", closing.detail)


def test_another_lake_s_host_is_not_ours(scene) -> None:
    """Limits are remembered for the whole machine; only configured hosts are told of."""
    closing = Closing(NOW_MS + HOUR_MS, Reason.LIMITED, "HTTP 418")

    assert one(scene, closings={"rest-spot 127.0.0.1:8900": closing}) is None


def test_an_exchange_behind_ccxt_is_told_of_where_a_feed_asks_it(scene) -> None:
    """It goes by its name, or by the address that the configuration gives it."""
    closing = Closing(NOW_MS + HOUR_MS, Reason.BLOCKED, "HTTP 451")
    feeds = tuple(
        feed.model_copy(update={"sources": (*feed.sources, "ccxt:okx")})
        for feed in scene.catalog.feeds
    )
    catalog = scene.catalog.model_copy(update={"feeds": feeds})

    assert one(scene, catalog=catalog, closings={"ccxt:okx okx": closing}) is not None
    assert one(scene, catalog=catalog, closings={"ccxt:kraken kraken": closing}) is None


def test_until_when_is_said_by_the_exchange_s_clock(scene) -> None:
    """A machine whose clock is a day behind says the time that a person's watch shows."""
    behind_ms = NOW_MS - DAY_MS
    closing = Closing(behind_ms + HOUR_MS, Reason.LIMITED, "HTTP 418")

    found = one(scene, closings={HOST: closing}, local_ms=behind_ms)

    assert "2024-03-15 09:00:00 UTC" in found.what


def test_alerts_by_feed_and_series(scene) -> None:
    """A feed shows what is told of it, a series what of that concerns itself."""
    census = census_of([gap(BTC, 3)], [held(BTC, 14, 15), held(ETH, 12, 15)])
    known = told("gaps/binance_spot") | told("stale/binance_spot") | told("feed/x", NOW_MS)

    alerts = current_alerts(scene.catalog, census, known, NOW_MS)
    none = current_alerts(scene.catalog, census, {}, NOW_MS)

    assert alerts == {
        "binance_spot": "Something is wrong. Something is wrong.",
        str(BTC): f"Given up: {BTC} 2024-03-03.",
        str(ETH): "Nothing new since 2024-03-13 00:00:00 UTC.",
    }
    assert none == {}


def test_gap_days_are_counted_by_series() -> None:
    """Partial and missing days count, in whichever runs they stand; other states do not."""
    runs = [gap(BTC, 1, days=3), gap(BTC, 8, state="partial"), gap(ETH, 1, state="explained")]

    assert count_gap_days(census_of(runs).runs) == {BTC: 4}


def test_staleness_begins_when_the_next_day_has_closed() -> None:
    """A day that is closed for exactly as long as is allowed is not stale yet."""
    rows = census_of(holds=[held(BTC, 13, 15), held(ETH, 13, 15)]).held
    limit_ms = day_start_ms(march(14)) + 24 * HOUR_MS

    assert stale_series(rows, {BTC}, 24, limit_ms) == {}
    assert stale_series(rows, {BTC}, 24, limit_ms + 1) == {BTC: day_start_ms(march(14))}


@pytest.fixture
def receiver():
    """Return a server that takes messages, and the list of those it took."""
    texts = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            texts.append(json.loads(body)["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments) -> None:
            del arguments

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", texts
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_a_failing_feed_is_told_of_and_so_is_its_end(desk, receiver) -> None:
    """One message when it starts, none while it lasts, one when it is over; a ban likewise."""
    url, texts = receiver
    catalog = desk.configure(more=f"alerts: {{urls: ['{url}']}}\n")
    desk.fill()
    [series] = catalog.all_series()
    at_ms = day_start_ms(date(2024, 1, 12))
    work = Pass("1", "binance_spot", Aim.FILL, at_ms, (series,), {series: "rest: HTTP 503"})
    gate = Gate(desk.state, lambda: at_ms)
    host = f"rest-spot {desk.sandbox.url.partition('//')[2]}"

    note_pass(desk.lake.root, work)
    gate.close(host, at_ms + HOUR_MS, Reason.LIMITED, "HTTP 418: banned")
    watch(catalog, desk.state, at_ms)
    watch(catalog, desk.state, at_ms + 60_000)
    note_pass(desk.lake.root, replace(work, run_id="2", short={}))
    report = watch(catalog, desk.state, at_ms + 2 * HOUR_MS)

    openings = [text.splitlines()[0].removeprefix("crypto-data: ") for text in texts]
    assert openings[0] == "Feed binance_spot: its last run failed."
    assert openings[1].startswith(f"{host} refuses us")
    assert openings[2] == "over: Feed binance_spot: its last run failed."
    assert openings[3].startswith(f"over: {host} refuses us")
    assert (len(texts), report.waiting, report.failures) == (4, 0, ())
    assert (desk.lake.root / ALERTS).is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("healed_first", [False, True], ids=["while-it-lasts", "afterwards"])
def test_a_damaged_file_is_told_of(desk, receiver, healed_first) -> None:
    """It is told once and over once, even when it was whole again before anyone looked."""
    url, texts = receiver
    catalog = desk.configure(more=f"alerts: {{urls: ['{url}']}}\n")
    desk.fill()
    [series] = catalog.all_series()
    part = part_path(desk.lake.root, series, "2024")
    part.write_bytes(part.read_bytes()[:-20])
    at_ms = day_start_ms(date(2024, 1, 12))

    desk.lake.set_aside_damaged(series, "2024", at_ms)
    if healed_first:
        desk.fill()
    watch(catalog, desk.state, at_ms + 1)
    desk.fill()
    for minute in range(1, 4):
        watch(catalog, desk.state, at_ms + minute * 60_000)

    first, over = [text.splitlines()[0] for text in texts]
    state = "none of its days is" if healed_first else "some of its days are still"
    name = part.relative_to(desk.lake.root)
    what = f"A file of the lake was damaged and moved aside, {state} missing: {name}."
    assert first == f"crypto-data: {what}"
    assert over == f"crypto-data: over: {what}"
