"""The failover chain: who is asked for what, what is kept, and when an absence is explained."""

from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from crypto_data.coverage import DayFacts, SourceAnswer
from crypto_data.errors import Rejected, Unreachable
from crypto_data.harvest import Aim, Harvest
from crypto_data.intervals import DAY_MS, HOUR_MS, Interval, TimeRange
from crypto_data.lake.merge import merge
from crypto_data.partitions import day_range, day_start_ms, days_touched, expected_opens
from crypto_data.schema import TIME, empty_klines, epoch_ms, fetched_table
from crypto_data.series import Market, Series
from crypto_data.sources.base import Answer, Lifetime, Outcome, Trust
from crypto_data.sources.failover import END_OF_TIME_MS, FailoverChain

SERIES = Series("binance", Market.SPOT, "BTCUSDT", Interval.HOUR_1)
MONDAY, TUESDAY = date(2024, 3, 4), date(2024, 3, 5)
START = day_start_ms(MONDAY)
RECENT = START + 3 * DAY_MS  # the archive may still publish Monday
LONG_AFTER = START + 60 * DAY_MS
ALIVE = Lifetime(START - 100 * DAY_MS)
UNKNOWN = Lifetime(None)


def fetched(opens_ms, price=1.0) -> pa.Table:
    micros = pa.array([t * 1000 for t in opens_ms], pa.int64())
    prices = pa.array(np.full(len(opens_ms), price), pa.float64())
    plain = dict.fromkeys(("open", "high", "low", "close", "volume"), prices)
    return fetched_table({"open_time": micros.cast(TIME), "close_time": micros.cast(TIME), **plain})


def hours(*numbers, day=MONDAY) -> list[int]:
    return [day_start_ms(day) + n * HOUR_MS for n in numbers]


@dataclass
class FakeSource:
    """Answers by day from a table; what it was asked for stands in `asked`."""

    name: str
    answers: dict = field(default_factory=dict)  # day -> Answer keywords, or a list of them
    life: Lifetime | Exception = ALIVE
    asked: list = field(default_factory=list)
    lifetimes: int = 0

    def fetch(self, _series, gaps):
        self.asked.append(list(gaps))
        for day in days_touched(gaps):
            given = self.answers.get(day, {"outcome": Outcome.NOTHING})
            for one in given if isinstance(given, list) else [given]:
                yield Answer(
                    **{"source": self.name, "days": (day,), "outcome": Outcome.SERVED} | one
                )

    def lifetime(self, _series):
        self.lifetimes += 1
        if isinstance(self.life, Exception):
            raise self.life
        return self.life


def chain(*sources, now_ms=LONG_AFTER) -> FailoverChain:
    return FailoverChain(sources, lambda: now_ms)


def whole(day=MONDAY, price=1.0, **more) -> dict:
    rows = fetched(expected_opens(Interval.HOUR_1, day), price)
    return {"outcome": Outcome.SERVED, "rows": rows} | more


def some(*numbers, price=1.0, **more) -> dict:
    return {"outcome": Outcome.SERVED, "rows": fetched(hours(*numbers), price)} | more


def kept(harvest: Harvest) -> dict:
    """Return hour of Monday -> (source, price) as the lake would keep it."""
    rows = merge(empty_klines(), harvest.offers, harvest.ranking, [])
    numbers = [(t - START) // HOUR_MS for t in epoch_ms(rows["open_time"]).to_pylist()]
    values = zip(rows["source"].to_pylist(), rows["close"].to_pylist(), strict=True)
    return dict(zip(numbers, values, strict=True))


MONDAY_ONLY = [day_range(MONDAY)]

# How a source answers for Monday, whether it told all it has (long after, recently), which hours
# it brought and whether they are firm.
KINDS = {
    "ok": (whole(), True, True, range(24), True),
    "partial": (some(*range(20)), True, True, range(20), True),
    "doubtful": (some(*range(20), trust=Trust.DOUBTFUL), True, True, range(20), False),
    "nothing": ({"outcome": Outcome.NOTHING}, True, True, (), True),
    "absent": ({"outcome": Outcome.ABSENT, "detail": "404"}, True, False, (), True),
    "unsupported": ({"outcome": Outcome.UNSUPPORTED}, True, True, (), True),
    "rejected": ({"outcome": Outcome.REJECTED, "detail": "-1121"}, True, True, (), True),
    "broken": ({"outcome": Outcome.BROKEN, "detail": "sha256"}, False, False, (), True),
    "broken-with-rows": (some(1, 2, outcome=Outcome.BROKEN), False, False, (1, 2), True),
    "blocked": ({"outcome": Outcome.BLOCKED, "detail": "451"}, False, False, (), True),
    "limited": ({"outcome": Outcome.LIMITED, "detail": "418"}, False, False, (), True),
    "down": ({"outcome": Outcome.DOWN, "detail": "timeout"}, False, False, (), True),
    "down-with-rows": (some(0, outcome=Outcome.DOWN), False, False, (0,), True),
}


@pytest.mark.parametrize("now_ms", [LONG_AFTER, RECENT], ids=["long-after", "recent"])
@pytest.mark.parametrize("second", KINDS)
@pytest.mark.parametrize("first", KINDS)
def test_two_sources_of_every_kind(first, second, now_ms) -> None:
    """The union is kept with its source, the first's firm rows win, and only full answers end it.

    The second source is asked for exactly what the first left open. The day is conclusive only
    when something is absent and both have told all they will ever tell.
    """
    one_answer, one_long, one_recent, one_hours, one_firm = KINDS[first]
    two_answer, two_long, two_recent, two_hours, two_firm = KINDS[second]
    best = FakeSource("vision", {MONDAY: one_answer})
    other_answer = dict(two_answer)
    if "rows" in other_answer:
        other_answer["rows"] = fetched(hours(*two_hours), price=2.0)
    other = FakeSource("rest", {MONDAY: other_answer})

    harvest = chain(best, other, now_ms=now_ms).fill(SERIES, MONDAY_ONLY)

    firm = set(one_hours) if one_firm else set()
    open_hours = set(range(24)) - firm
    if not open_hours:
        assert other.asked == []
        assert not harvest.days[MONDAY].conclusive
        return
    asked = other.asked[0]
    assert [t for t in expected_opens(SERIES.interval, MONDAY) if any(t in g for g in asked)] == (
        hours(*sorted(open_hours))
    )
    expected = dict.fromkeys(one_hours, ("vision", 1.0))
    for hour in two_hours:
        both_doubtful = not one_firm and not two_firm and hour in expected
        if hour not in firm and not both_doubtful:
            expected[hour] = ("rest", 2.0)
    assert kept(harvest) == dict(sorted(expected.items()))
    told = one_long and two_long if now_ms == LONG_AFTER else one_recent and two_recent
    nothing_open = not (open_hours - (set(two_hours) if two_firm else set()))
    doubt = harvest.days[MONDAY].doubtful
    assert harvest.days[MONDAY].conclusive is (told and (not nothing_open or doubt))
    assert [a.source for a in harvest.days[MONDAY].answers] == ["vision", "rest"]


def test_a_better_source_is_never_asked_twice_nor_overwritten() -> None:
    """Rows of the worse source beside those of the better are dropped by the merge, not kept."""
    best = FakeSource("vision", {MONDAY: some(0, 1, 2)})
    other = FakeSource("rest", {MONDAY: whole(price=2.0)})  # hands over more than it was asked

    harvest = chain(best, other).fill(SERIES, MONDAY_ONLY)

    rows = kept(harvest)
    assert [rows[hour][0] for hour in range(24)] == ["vision"] * 3 + ["rest"] * 21
    assert len(best.asked) == 1


def test_the_second_source_is_asked_for_the_holes_alone() -> None:
    """Two holes of one day are two ranges; a whole day in between is not asked for."""
    wednesday = date(2024, 3, 6)
    best = FakeSource(
        "vision",
        {
            MONDAY: some(*[h for h in range(24) if h not in (3, 4, 9)]),
            TUESDAY: whole(TUESDAY),
            wednesday: {"outcome": Outcome.ABSENT},
        },
    )
    other = FakeSource("rest")

    chain(best, other).fill(SERIES, [TimeRange(START, START + 3 * DAY_MS)])

    assert other.asked == [
        [
            TimeRange(START + 3 * HOUR_MS, START + 5 * HOUR_MS),
            TimeRange(START + 9 * HOUR_MS, START + 10 * HOUR_MS),
            day_range(wednesday),
        ]
    ]


def test_a_doubtful_day_is_asked_for_as_a_whole() -> None:
    """The next source's rows replace all of a doubtful archive's that it has."""
    best = FakeSource("vision", {MONDAY: some(*range(24), trust=Trust.DOUBTFUL)})
    other = FakeSource("rest", {MONDAY: some(0, 1, price=2.0)})

    harvest = chain(best, other).fill(SERIES, [TimeRange(START, START + HOUR_MS)])

    assert other.asked == [MONDAY_ONLY]
    assert kept(harvest)[1] == ("rest", 2.0)
    assert kept(harvest)[2] == ("vision", 1.0)
    assert not harvest.days[MONDAY].doubtful


@pytest.mark.parametrize("outcome", ["nothing", "down", "blocked"])
def test_a_doubt_that_nobody_settles_stays(outcome) -> None:
    """Rows of a doubtful archive are kept as such until a source serves the day."""
    best = FakeSource("vision", {MONDAY: some(*range(20), trust=Trust.DOUBTFUL)})
    other = FakeSource("rest", {MONDAY: KINDS[outcome][0]})

    assert chain(best, other).fill(SERIES, MONDAY_ONLY).days[MONDAY].doubtful


@pytest.mark.parametrize(
    "outcome", [Outcome.DOWN, Outcome.LIMITED, Outcome.BLOCKED, Outcome.BROKEN]
)
@pytest.mark.parametrize("served_last", [True, False])
def test_a_day_served_in_part_explains_nothing(outcome, served_last) -> None:
    """Of two holes of one day one answered and one cut off: the day stays open."""
    answers = [{"outcome": Outcome.NOTHING}, {"outcome": outcome}]
    only = FakeSource("rest", {MONDAY: answers[::-1] if served_last else answers})

    assert not chain(only).fill(SERIES, MONDAY_ONLY).days[MONDAY].conclusive


def test_a_broken_monthly_file_beside_a_good_daily_is_no_hindrance() -> None:
    """An archive that served the day by its other file has told all it has."""
    only = FakeSource("vision", {MONDAY: [{"outcome": Outcome.BROKEN}, some(*range(20))]})

    assert chain(only).fill(SERIES, MONDAY_ONLY).days[MONDAY].conclusive


LISTED = START + 8 * HOUR_MS
ARCHIVED = Lifetime(START, slack_ms=DAY_MS)  # the first file is Monday's


@pytest.mark.parametrize(
    ("lives", "expected"),
    [
        pytest.param((ALIVE, ALIVE), (START - 100 * DAY_MS, END_OF_TIME_MS), id="alive"),
        pytest.param((UNKNOWN, UNKNOWN), None, id="nobody-knows-it"),
        pytest.param((ALIVE, Unreachable("rest", "s", "x")), None, id="one-cannot-tell"),
        pytest.param(
            (ALIVE, Rejected("rest", "s", "-1121")),
            (START - 100 * DAY_MS, END_OF_TIME_MS),
            id="delisted-at-rest-and-forgotten",
        ),
        pytest.param((ARCHIVED, Lifetime(LISTED)), (LISTED, END_OF_TIME_MS), id="exact-from-rest"),
        pytest.param(
            (ARCHIVED, Lifetime(START + 5 * DAY_MS)),
            (START, END_OF_TIME_MS),
            id="archive-goes-further-back",
        ),
        pytest.param(
            (ARCHIVED, Lifetime(START + DAY_MS)), (START, END_OF_TIME_MS), id="one-day-further-back"
        ),
        pytest.param(
            (Lifetime(START + 5 * DAY_MS, slack_ms=DAY_MS), Lifetime(LISTED)),
            (LISTED, END_OF_TIME_MS),
            id="rest-goes-further-back",
        ),
        pytest.param(
            (ARCHIVED, Lifetime(LISTED, LISTED + DAY_MS)),
            (LISTED, LISTED + DAY_MS),
            id="delisted",
        ),
    ],
)
def test_when_a_symbol_lived(lives, expected) -> None:
    """The life is known only when every source could say; an API is exact, an archive is not."""
    best, other = map(FakeSource, ("vision", "rest"), ({}, {}), lives)

    harvest = chain(best, other).fill(SERIES, MONDAY_ONLY)

    assert harvest.lives == (None if expected is None else (TimeRange(*expected),))
    assert harvest.days[MONDAY].conclusive is (expected is not None)


def test_a_first_file_that_is_broken_does_not_move_the_listing() -> None:
    """Monday's file exists, so Monday is no day before the listing, though Tuesday's came first."""
    only = FakeSource(
        "vision", {MONDAY: {"outcome": Outcome.BROKEN}, TUESDAY: whole(TUESDAY)}, life=ARCHIVED
    )

    harvest = chain(only).fill(SERIES, [TimeRange(START, START + 2 * DAY_MS)])

    assert harvest.lives == (TimeRange(START, END_OF_TIME_MS),)
    assert not harvest.days[MONDAY].conclusive


def test_an_unknown_symbol_is_never_explained() -> None:
    """When no source has heard of it, a typing error is likelier than an empty market."""
    best = FakeSource("vision", {MONDAY: {"outcome": Outcome.ABSENT}}, life=UNKNOWN)
    rejected = Rejected("rest", str(SERIES), "Invalid symbol.")
    other = FakeSource(
        "rest", {MONDAY: {"outcome": Outcome.REJECTED, "detail": "Invalid symbol."}}, life=rejected
    )

    harvest = chain(best, other).fill(SERIES, MONDAY_ONLY)

    assert (harvest.lives, harvest.days[MONDAY].conclusive) == (None, False)


def test_days_before_the_listing_are_not_asked_for_once_it_is_known() -> None:
    """A learned life spares the requests, and the harvest says when the symbol lived."""
    source = FakeSource("rest", {TUESDAY: whole(TUESDAY)}, life=Lifetime(day_start_ms(TUESDAY)))
    asked = chain(source)
    asked.learn_lives(SERIES)

    harvest = asked.fill(SERIES, [TimeRange(START, START + 2 * DAY_MS)])

    assert source.asked == [[day_range(TUESDAY)]]
    assert harvest.lives == (TimeRange(day_start_ms(TUESDAY), END_OF_TIME_MS),)
    assert source.lifetimes == 1


def test_a_listing_day_that_is_filled_from_its_first_kline_tells_the_life() -> None:
    """The hours before the listing were not asked for, so the harvest must say why."""
    source = FakeSource("rest", {MONDAY: some(*range(8, 24))}, life=Lifetime(LISTED))
    asked = chain(source)
    asked.learn_lives(SERIES)

    harvest = asked.fill(SERIES, MONDAY_ONLY)

    assert source.asked == [[TimeRange(LISTED, START + DAY_MS)]]
    assert harvest.lives == (TimeRange(LISTED, END_OF_TIME_MS),)


@pytest.mark.parametrize(
    ("interval", "day"),
    [
        (Interval.WEEK_1, MONDAY),
        (Interval.DAY_3, date(2024, 3, 3)),
        (Interval.MONTH_1, date(2024, 3, 1)),
    ],
)
def test_a_long_bar_that_nobody_has_is_a_day_like_any_other(interval, day) -> None:
    """A gap of a week or month is one day to ask for; its other days are nobody's concern."""
    series = Series("binance", Market.SPOT, "BTCUSDT", interval)
    best, other = FakeSource("vision"), FakeSource("rest")

    harvest = chain(best, other).fill(series, [day_range(day)])

    assert list(harvest.days) == [day]
    assert harvest.days[day].conclusive
    assert other.asked == [[day_range(day)]]


def test_bad_rows_are_set_aside_and_asked_for_again() -> None:
    """A row that breaks a rule does not fill its hour: the next source is asked for it."""
    rows = pa.concat_tables([fetched(hours(*range(23))), fetched(hours(23), price=float("nan"))])
    best = FakeSource("vision", {MONDAY: {"rows": rows}})
    other = FakeSource("rest", {MONDAY: some(23, price=2.0)})

    harvest = chain(best, other).fill(SERIES, MONDAY_ONLY)

    assert other.asked == [[TimeRange(START + 23 * HOUR_MS, START + DAY_MS)]]
    assert harvest.days[MONDAY].set_aside == {"prices_are_finite": 1}
    assert [table.num_rows for table in harvest.quarantined] == [1]
    assert kept(harvest)[23] == ("rest", 2.0)


def test_a_row_without_a_time_is_counted() -> None:
    """It lies in no day, and still is set aside, not dropped."""
    nameless = fetched(hours(0)).set_column(0, "open_time", pa.nulls(1, TIME))
    only = FakeSource("rest", {MONDAY: {"rows": pa.concat_tables([whole()["rows"], nameless])}})

    harvest = chain(only).fill(SERIES, MONDAY_ONLY)

    assert harvest.days[MONDAY].set_aside == {"times_are_known": 1}
    assert len(kept(harvest)) == 24


def test_rows_of_other_days_are_not_kept() -> None:
    """A monthly file may hand over its neighbours; only whole days that were wanted stay."""
    both = pa.concat_tables([whole()["rows"], whole(TUESDAY)["rows"]])
    only = FakeSource("vision", {MONDAY: {"rows": both}})

    harvest = chain(only).fill(SERIES, [TimeRange(START + HOUR_MS, START + 2 * HOUR_MS)])

    assert sorted(kept(harvest)) == list(range(24))


def test_a_kline_that_is_not_closed_is_never_handed_on() -> None:
    """The exchange's clock decides, whatever a source hands over."""
    only = FakeSource("rest", {MONDAY: whole()})

    harvest = chain(only, now_ms=START + 5 * HOUR_MS + 1).fill(SERIES, MONDAY_ONLY)

    assert sorted(kept(harvest)) == [0, 1, 2, 3, 4]
    assert harvest.days[MONDAY].set_aside == {"kline_is_closed": 19}


def test_a_life_that_could_not_be_told_is_asked_for_again() -> None:
    """An unreachable source costs one pass, not the knowledge for good."""
    source = FakeSource("rest", life=Unreachable("rest", str(SERIES), "timeout"))
    asked = chain(source)
    assert asked.fill(SERIES, MONDAY_ONLY).lives is None

    source.life = ALIVE

    assert asked.fill(SERIES, MONDAY_ONLY).days[MONDAY].conclusive
    assert asked.fill(SERIES, MONDAY_ONLY).days[MONDAY].conclusive
    assert source.lifetimes == 2


def test_what_each_source_said_is_kept_in_its_own_words() -> None:
    """Checksum, address, requests and words of every answer stand with the day."""
    best = FakeSource(
        "vision",
        {MONDAY: some(0, checksum="ab", address="https://x/a.zip", attempts=3, seconds=1.5)},
    )
    other = FakeSource("rest", {MONDAY: {"outcome": Outcome.DOWN, "detail": "502", "attempts": 4}})

    day = chain(best, other).fill(SERIES, MONDAY_ONLY).days[MONDAY]

    assert (day.checksum, day.address) == ("ab", "https://x/a.zip")
    assert (day.requests, day.seconds) == (7, 1.5)
    assert [(a.source, a.outcome, a.detail) for a in day.answers] == [
        ("vision", "served", "lacks 23 of 24 klines"),
        ("rest", "down", "502"),
    ]


def test_to_repair_the_best_source_is_asked_last_and_wins_all_the_same() -> None:
    """The others are asked for the holes first; of two rows the best source's stays."""
    best = FakeSource("vision", {MONDAY: whole()})
    other = FakeSource("rest", {MONDAY: some(0, 1, price=2.0)})
    third = FakeSource("stream", {MONDAY: some(2, price=3.0)})

    harvest = chain(best, other, third).fill(SERIES, MONDAY_ONLY, Aim.REPAIR)

    assert other.asked == [MONDAY_ONLY]
    assert third.asked == [[TimeRange(START + 2 * HOUR_MS, START + DAY_MS)]]
    assert best.asked == [[TimeRange(START + 3 * HOUR_MS, START + DAY_MS)]]
    assert set(kept(harvest).values()) == {("vision", 1.0)}
    assert [said.source for said in harvest.days[MONDAY].answers] == [
        "rest", "stream", "vision",
    ]  # fmt: skip


AFTERNOON = [TimeRange(START + 12 * HOUR_MS, START + DAY_MS)]


@pytest.mark.parametrize("aim", [Aim.FILL, Aim.REPAIR])
def test_another_exchange_is_asked_last_for_what_nobody_better_has(aim) -> None:
    """Whatever the pass is for; its rows rank behind all others, doubtful ones too."""
    best = FakeSource("vision", {MONDAY: some(*range(6), trust=Trust.DOUBTFUL)})
    other = FakeSource("rest", {MONDAY: some(*range(6, 12), price=2.0)})
    okx = FakeSource("ccxt:okx", {MONDAY: whole(price=3.0)})

    harvest = chain(best, okx, other).fill(SERIES, MONDAY_ONLY, aim)

    assert okx.asked == [AFTERNOON]
    assert {hour: source for hour, (source, _) in kept(harvest).items()} == (
        dict.fromkeys(range(6), "vision")
        | dict.fromkeys(range(6, 12), "rest")
        | dict.fromkeys(range(12, 24), "ccxt:okx")
    )


def test_another_exchange_confirms_nothing() -> None:
    """What the archive could not vouch for stays doubtful, though the day is whole by now."""
    best = FakeSource("vision", {MONDAY: some(*range(6), trust=Trust.DOUBTFUL)})
    okx = FakeSource("ccxt:okx", {MONDAY: whole(price=3.0)})

    harvest = chain(best, okx).fill(SERIES, MONDAY_ONLY)

    assert len(kept(harvest)) == 24
    assert harvest.days[MONDAY].doubtful


@pytest.mark.parametrize(
    ("said", "conclusive"),
    [
        pytest.param({"outcome": Outcome.NOTHING}, True, id="nothing"),
        pytest.param({"outcome": Outcome.REJECTED}, True, id="not-listed"),
        pytest.param({"outcome": Outcome.UNSUPPORTED}, True, id="no-such-interval"),
        pytest.param({"outcome": Outcome.DOWN}, False, id="down"),
        pytest.param({"outcome": Outcome.BEYOND}, False, id="beyond"),
        pytest.param(whole(), True, id="has-them"),
        pytest.param(some(1, outcome=Outcome.DOWN), False, id="has-one-and-is-cut-short"),
    ],
)
def test_what_a_stand_in_says_counts_where_it_was_asked(said, conclusive) -> None:
    """A day is settled when the exchange and whoever was asked for it have told all."""
    okx = FakeSource("ccxt:okx", {MONDAY: said}, life=Unreachable("ccxt:okx", "", "never asked"))

    harvest = chain(FakeSource("vision"), FakeSource("rest"), okx).fill(SERIES, MONDAY_ONLY)

    assert harvest.days[MONDAY].conclusive is conclusive
    assert okx.lifetimes == 0


@pytest.mark.parametrize(
    ("life", "asked"),
    [
        pytest.param(Lifetime(START + 12 * HOUR_MS), [AFTERNOON], id="listed-at-noon"),
        pytest.param(Lifetime(START + DAY_MS), [], id="listed-later"),
        pytest.param(UNKNOWN, [], id="never-listed"),
        pytest.param(Unreachable("rest", "", "down"), [MONDAY_ONLY], id="nobody-can-tell"),
    ],
)
def test_a_stand_in_is_asked_within_the_symbols_life(life, asked) -> None:
    """Which the exchange itself tells; where it can't, for all that lacks."""
    okx = FakeSource("ccxt:okx", {MONDAY: whole()}, life=Lifetime(0))
    own = FakeSource("rest", {MONDAY: {"outcome": Outcome.DOWN}}, life=life)

    harvest = chain(own, okx).fill(SERIES, MONDAY_ONLY)

    assert okx.asked == asked
    assert not harvest.days[MONDAY].conclusive


def test_days_that_are_stood_in_for_are_wanted_of_better_sources_alone() -> None:
    """Of stand-ins too, the better one is asked for what a worse one holds."""
    own, middle = FakeSource("rest"), FakeSource("ccxt:binance")
    okx, last = FakeSource("ccxt:okx"), FakeSource("ccxt:kraken")
    stood_in = {"ccxt:okx": MONDAY_ONLY}

    chain(own, middle, okx, last).fill(SERIES, [day_range(TUESDAY)], Aim.FILL, stood_in)

    both = [TimeRange(START, START + 2 * DAY_MS)]
    assert (own.asked, middle.asked) == ([both], [both])
    assert (okx.asked, last.asked) == ([[day_range(TUESDAY)]], [[day_range(TUESDAY)]])


def test_to_repair_a_day_that_the_others_have_the_best_source_is_not_asked() -> None:
    """A day without rows is served by the next source alone, with its own rank."""
    best, other = FakeSource("vision"), FakeSource("rest", {MONDAY: whole()})

    harvest = chain(best, other).fill(SERIES, MONDAY_ONLY, Aim.REPAIR)

    assert best.asked == []
    assert [(offer.source, offer.rank) for offer in harvest.offers] == [("rest", 1)]


@dataclass
class FakeArchive(FakeSource):
    """Has news of some days, and is down after `last` answers."""

    last: int = 99

    def revise(self, _series, _period, known):
        for number, day in enumerate(known):
            if number == self.last:
                raise Unreachable("vision", str(SERIES), "timeout")
            yield Answer(**{"source": self.name, "days": (day,)} | self.answers[day])


KNOWN = {MONDAY: DayFacts(rows=24), TUESDAY: DayFacts(rows=24)}


def test_what_an_archive_told_before_it_failed_is_kept() -> None:
    """The day it did not come to is not marked as asked for: the next pass looks again."""
    best = FakeArchive("vision", {MONDAY: whole(), TUESDAY: whole(TUESDAY)}, last=1)

    harvest = chain(best, FakeSource("rest")).revise(SERIES, "2024", KNOWN)

    assert list(harvest.days) == [MONDAY]
    assert (len(kept(harvest)), harvest.lives) == (24, None)


def test_an_archive_that_tells_nothing_raises_its_own_words() -> None:
    """To have compared nothing is not to have found nothing new."""
    best = FakeArchive("vision", last=0)

    with pytest.raises(Unreachable, match="timeout"):
        chain(best).revise(SERIES, "2024", KNOWN)


@pytest.mark.parametrize(
    "sources",
    [
        pytest.param([FakeSource("rest"), FakeArchive("vision")], id="rest-is-best"),
        pytest.param([FakeArchive("ccxt:kraken")], id="no-archive"),
    ],
)
def test_only_an_archive_that_stands_first_is_revised(sources) -> None:
    """Rows of a better source are not replaced by the archive's."""
    assert chain(*sources).revise(SERIES, "2024", KNOWN) is None


@pytest.mark.parametrize(("checksum", "conclusive"), [("ab", True), ("", False)])
def test_an_explained_day_stays_so_when_the_archive_tells_no_more(checksum, conclusive) -> None:
    """What the others said before still stands, once the archive has told anew all it has."""
    outcome = Outcome.SERVED if checksum else Outcome.BROKEN
    best = FakeArchive("vision", {MONDAY: {"outcome": outcome, "checksum": checksum}})
    said = (SourceAnswer("vision", "absent"), SourceAnswer("rest", "nothing"))
    known = {MONDAY: DayFacts(rows=20, explained=True, answers=said)}

    day = chain(best, FakeSource("rest")).revise(SERIES, "2024", known).days[MONDAY]

    assert day.conclusive is conclusive
    assert [one.source for one in day.answers] == ["vision", "rest"][: 1 + conclusive]


def test_answers_that_follow_each_other_are_one_offer() -> None:
    """Rows of two days in their order are judged and handed on together."""
    source = FakeSource("rest", {MONDAY: whole(), TUESDAY: whole(TUESDAY)})

    harvest = chain(source).fill(SERIES, [TimeRange(START, START + 2 * DAY_MS)])

    (offer,) = harvest.offers
    assert offer.rows.num_rows == 48


def test_a_bad_row_spoils_its_own_answer_alone() -> None:
    """Judged with others it is counted on its day, and set aside once."""
    bad = whole(TUESDAY, price=-1.0)
    source = FakeSource("rest", {MONDAY: whole(), TUESDAY: bad})

    harvest = chain(source).fill(SERIES, [TimeRange(START, START + 2 * DAY_MS)])

    assert [offer.rows.num_rows for offer in harvest.offers] == [24]
    assert harvest.days[MONDAY].set_aside == {}
    assert harvest.days[TUESDAY].set_aside == {"prices_are_positive": 24}
    assert [table.num_rows for table in harvest.quarantined] == [24]


def test_doubtful_rows_keep_a_rank_of_their_own() -> None:
    """Firm and doubtful rows of neighbouring days are two offers."""
    doubtful = whole(TUESDAY, trust=Trust.DOUBTFUL)
    source = FakeSource("vision", {MONDAY: whole(), TUESDAY: doubtful})

    harvest = chain(source).fill(SERIES, [TimeRange(START, START + 2 * DAY_MS)])

    assert [offer.rank for offer in harvest.offers] == [0, 1]
