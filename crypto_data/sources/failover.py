"""The failover chain: which source is asked for what, in which order, and when it is enough.

The only place that goes from one source to the next, and that says which source served a row.
Retries of one source belong to `sources.http`; storing what came belongs to `lake.store`.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date

from crypto_data.coverage import ARCHIVE, DayFacts
from crypto_data.errors import Rejected, SourceError
from crypto_data.exchanges import is_foreign, is_stand_in
from crypto_data.harvest import NOTHING_STOOD_IN, Aim, Harvest, StoodIn, rank_in
from crypto_data.intervals import TimeRange, merge_ranges
from crypto_data.partitions import day_range, days_touched
from crypto_data.series import Series
from crypto_data.sources.base import Answer, Lifetime, Reviser, Source
from crypto_data.sources.tally import Tally

END_OF_TIME_MS = 1 << 52

log = logging.getLogger("crypto_data.sources")


class FailoverChain:
    """Asks the sources of one feed, best first, until nothing is wanted any more.

    Safe to use from several threads. `clock_ms` is the exchange's clock: a kline that is not
    closed by it is never handed on.
    """

    def __init__(self, sources: Sequence[Source], clock_ms: Callable[[], int]) -> None:
        self._sources = tuple(sources)
        best = sources[0].name
        self._better = [source for source in sources if not is_stand_in(source.name, best)]
        self._stand_ins = [source for source in sources if is_stand_in(source.name, best)]
        self._clock_ms = clock_ms
        self._lives: dict[Series, dict[str, Lifetime]] = {}
        self._asking: dict[Series, threading.Lock] = {}
        self._lives_lock = threading.Lock()

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources, best first."""
        return self._sources

    @property
    def ranking(self) -> tuple[str, ...]:
        """The names of the sources, best first."""
        return tuple(source.name for source in self._sources)

    def now_ms(self) -> int:
        """Return the exchange's clock, UTC epoch milliseconds."""
        return self._clock_ms()

    def fill(
        self,
        series: Series,
        gaps: Sequence[TimeRange],
        aim: Aim = Aim.FILL,
        stood_in: StoodIn = NOTHING_STOOD_IN,
    ) -> Harvest:
        """Ask for the klines of some ranges and return all that came, with every answer.

        Args:
            series: What is wanted.
            gaps: Ascending, disjoint ranges of open times. A source may hand over the whole days
                they touch; rows of other days are not kept.
            aim: To repair, the best source is asked last: it has had its chance. Which of two rows
                wins does not depend on the order.
            stood_in: What is wanted of better sources than those named alone.

        Sources that stand in come last, and within the symbol's life, where that is known. Never
        raises for a source that fails: its answer stands in the harvest.
        """
        every = merge_ranges([*gaps, *(span for held in stood_in.values() for span in held)])
        tally = Tally(series, every, self._clock_ms())
        lacking = self._after_listing(series, every, tally)
        for source in self._order(aim):
            lacking = self._ask(source, tally, lacking)
        for source in self._stand_ins:
            worse = [
                held
                for name, held in stood_in.items()
                if self._rank(name) > self._rank(source.name)
            ]
            wanted = merge_ranges([*gaps, *(span for held in worse for span in held)])
            self._ask_stand_in(source, tally, _common(lacking, wanted))
        return self._harvest(tally, self._judge(tally, lacking))

    def _order(self, aim: Aim) -> Sequence[Source]:
        """Return the sources of the exchange itself, in the order in which they are asked."""
        best, *others = self._better
        return [*others, best] if aim is Aim.REPAIR else self._better

    def _ask(self, source: Source, tally: Tally, wanted: Sequence[TimeRange]) -> list[TimeRange]:
        """Ask one source for some ranges; return what is then still wanted."""
        if not wanted:
            return []
        tally.tell_holes(wanted)
        rank = self._rank(source.name)
        answers = source.fetch(tally.series, wanted)
        tally.take(answers, rank, doubtful_rank=len(self._sources) + rank)
        return tally.still_wanted(wanted)

    def _ask_stand_in(self, source: Source, tally: Tally, wanted: Sequence[TimeRange]) -> None:
        """Ask for what nobody better has, where the symbol traded as far as anybody knows."""
        wanted = tally.absent(wanted)
        lives = self.lives(tally.series, tally.first_open_ms) if wanted else None
        self._ask(source, tally, wanted if lives is None else _common(wanted, lives))

    def _rank(self, name: str) -> int:
        return rank_in(self.ranking, name)

    def _harvest(self, tally: Tally, lives: tuple[TimeRange, ...] | None) -> Harvest:
        return Harvest(
            ranking=self.ranking,
            offers=tuple(tally.offers),
            days=tally.days,
            quarantined=tuple(tally.quarantined),
            lives=lives,
            asked_ms=tally.now_ms,
        )

    def revise(self, series: Series, period: str, known: Mapping[date, DayFacts]) -> Harvest | None:
        """Ask the archive, and nobody else, for the days of which it has something new.

        Args:
            series: What is wanted.
            period: The year, month or day that the days lie in.
            known: What the ledger knows of each day that may be asked for.

        Returns:
            What came, with the days that were asked for alone; None when nothing is new, or when
            the feed's best source is no archive.

        Raises:
            SourceError: the archive could not be asked for anything.
        """
        best = self._sources[0]
        if best.name != ARCHIVE or not isinstance(best, Reviser):
            return None
        answers = _until_it_fails(best.revise(series, period, known))
        if not answers:
            return None
        days = sorted({day for answer in answers for day in answer.days})
        tally = Tally(series, [day_range(day) for day in days], self._clock_ms())
        tally.take(answers, 0, doubtful_rank=len(self._sources))
        # A file that lacks what an earlier one had takes nothing away, but it is said.
        tally.tell_holes(tally.still_wanted([day_range(day) for day in days]))
        for day, asked in tally.days.items():
            if known[day].explained and asked.checksum:
                # The others have said before that they have none of what is absent.
                asked.conclusive = True
                asked.answers += [said for said in known[day].answers if said.source != ARCHIVE]
        return self._harvest(tally, None)

    def learn_lives(self, series: Series) -> None:
        """Ask the sources when the symbol traded, so that no day before it is asked for."""
        self._lifetimes(series)

    def _after_listing(
        self, series: Series, gaps: Sequence[TimeRange], tally: "Tally"
    ) -> list[TimeRange]:
        """Return the gaps without the days before the listing, where that is known already."""
        if len(self._lives.get(series, ())) < len(self._own(series)):
            return list(gaps)
        lives = self.lives(series)
        if not lives:
            return list(gaps)
        listed = TimeRange(lives[0].start_ms, END_OF_TIME_MS)
        wanted = [part for gap in gaps if (part := gap.intersect(listed))]
        tally.unlisted = wanted != list(gaps)
        return wanted

    def _judge(self, tally: "Tally", wanted: Sequence[TimeRange]) -> tuple[TimeRange, ...] | None:
        """Mark the days that every source has answered for good; return when the symbol lived.

        `wanted` is what the exchange's own sources left open, be it that others stood in.
        """
        if not wanted and not tally.unlisted:
            return None
        lives = self.lives(tally.series, tally.first_open_ms)
        if not lives:
            return None  # nobody knows the symbol, or not every source could say: nothing is final
        spoilt = tally.spoilt_days(wanted)
        for day in days_touched(wanted):
            if day not in spoilt:
                tally.conclude(day, [source.name for source in self._better])
        return tally.without_pauses(lives)

    def lives(
        self, series: Series, first_open_ms: int | None = None
    ) -> tuple[TimeRange, ...] | None:
        """Return when the symbol traded; `()` if no source knows it, None if one cannot tell.

        `first_open_ms` is the first kline at hand: an archive knows its first file's day only.
        """
        known = self._lifetimes(series)
        if len(known) < len(self._own(series)):
            return None
        if all(life.first_ms is None for life in known.values()):
            return ()
        start_ms = _life_start(known.values(), first_open_ms)
        ends = [life.last_ms for life in known.values() if life.last_ms is not None]
        return (TimeRange(start_ms, max([*ends, start_ms]) if ends else END_OF_TIME_MS),)

    def _own(self, series: Series) -> list[Source]:
        """Return the sources that ask the series' own exchange: others know nothing of its life."""
        return [one for one in self._sources if not is_foreign(one.name, series.exchange)]

    def _lifetimes(self, series: Series) -> dict[str, Lifetime]:
        with self._lives_lock:
            known = self._lives.setdefault(series, {})
            asking = self._asking.setdefault(series, threading.Lock())
        with asking:  # the files of one series begin together, and one of them asks for all
            for source in self._own(series):
                if source.name not in known:
                    try:
                        known[source.name] = source.lifetime(series)
                    except Rejected:
                        known[source.name] = Lifetime(None)  # it has never heard of the symbol
                    except SourceError:
                        continue  # asked again by the next day that needs it; the day stays open
        return known


def _common(ranges: Iterable[TimeRange], others: Sequence[TimeRange]) -> list[TimeRange]:
    """Return what some ranges have in common with others, both ascending and disjoint."""
    return [part for one in ranges for other in others if (part := one.intersect(other))]


def _until_it_fails(answers: Iterable[Answer]) -> list[Answer]:
    """Return the answers of a source that raises when it can go no further."""
    taken: list[Answer] = []
    try:
        taken.extend(answers)
    except SourceError as error:
        if not taken:
            raise
        log.warning("%s; the rest is looked at again in the next pass", error)
    return taken


def _life_start(lifetimes: Iterable[Lifetime], first_open_ms: int | None) -> int:
    """Return the first kline's open time: exact from an API, else the first row at hand.

    The start of an archive's first file stands only where nothing exact lies within that file.
    """
    known = [(life.first_ms, life.slack_ms) for life in lifetimes if life.first_ms is not None]
    exact = [first_ms for first_ms, slack_ms in known if not slack_ms]
    if first_open_ms is not None:
        exact.append(first_open_ms)
    vague = [
        first_ms
        for first_ms, slack_ms in known
        if slack_ms and not any(time_ms < first_ms + slack_ms for time_ms in exact)
    ]
    return min([*exact, *vague])
