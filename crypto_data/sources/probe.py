"""Each source of a chain tried once for one day, as a doctor would, and what a run makes of that.

The sources are asked through their own code; a person waits for the answer, so nothing is waited
for. What is said of it belongs to `diagnosis`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from crypto_data.coverage import find_gaps
from crypto_data.errors import SourceError, Unreachable
from crypto_data.harvest import Harvest
from crypto_data.intervals import TimeRange, count_open_times
from crypto_data.schema import epoch_ms
from crypto_data.series import Series
from crypto_data.sources.base import Answer, Lifetime, Outcome, Source
from crypto_data.sources.connect import Manner
from crypto_data.sources.failover import FailoverChain
from crypto_data.sources.gate import Closing, Gate, Reason
from crypto_data.sources.sent import Sent
from crypto_data.sources.tally import Tally

_NO_ANSWER = (Outcome.DOWN, Outcome.LIMITED, Outcome.BLOCKED)


class TryingGate(Gate):
    """A gate of one look: hosts that were down are tried again, and one failure closes none.

    Bans and blocks are kept to, and told of at once instead of waited for.
    """

    def __init__(
        self, directory: Path, clock_ms: Callable[[], int], *, sleep: Callable[[float], None]
    ) -> None:
        super().__init__(directory, clock_ms, patience_s=0.0, sleep=sleep)

    def closing(self, host: str) -> Closing | None:
        """Return the ban or block of a host, None when it may be tried."""
        closing = super().closing(host)
        return None if closing is None or closing.reason is Reason.DOWN else closing

    def close_down(self, host: str, detail: str) -> None:
        """Leave a host that did not answer as it is: a run would have asked it again."""


def trying_once(on_sent: Callable[[Sent], None]) -> Manner:
    """Return the manner of a probe: no wait for a limit, a budget, or the exchange's time."""
    return Manner(TryingGate, longest_wait_s=0.0, asks_time=False, on_sent=on_sent)


@dataclass(frozen=True, slots=True)
class Probe:
    """How one source answered for one day.

    `sent` are the requests of the fetch alone. `rows` are the klines that were wanted and keep all
    rules, `newest_ms` the open time of the last of them. `lifetime` is asked for where klines
    lack: when the symbol traded, or why the source could not tell.
    """

    source: Source
    answers: tuple[Answer, ...]
    sent: tuple[Sent, ...]
    lifetime: Lifetime | SourceError | None
    rows: int
    newest_ms: int | None
    seconds: float


def probe_all(
    chain: FailoverChain, series: Series, day: TimeRange, sent: Sequence[Sent]
) -> list[Probe]:
    """Try all sources of a chain side by side, and return how each answered, best first.

    `sent` is where the requests of the chain are noted while they go out.
    """
    probe = partial(_probe, series=series, day=day, now_ms=chain.now_ms(), sent=sent)
    with ThreadPoolExecutor(len(chain.sources), thread_name_prefix="probe") as pool:
        return list(pool.map(probe, chain.sources))


def _probe(
    source: Source, *, series: Series, day: TimeRange, now_ms: int, sent: Sequence[Sent]
) -> Probe:
    tally = Tally(series, [day], now_ms)
    started = time.perf_counter()
    answers = tuple(source.fetch(series, [day]))
    seconds = time.perf_counter() - started
    fetched = tuple(one for one in sent if one.source == source.name)
    tally.take(answers, 0, doubtful_rank=1)
    lifetime = _lifetime(source, series, answers) if tally.still_wanted([day]) else None
    opens_ms = [
        open_ms
        for offer in tally.offers
        for open_ms in epoch_ms(offer.rows["open_time"]).to_pylist()
    ]
    lacking = find_gaps(opens_ms, day, series.interval)
    rows = count_open_times(series.interval, day) - sum(
        count_open_times(series.interval, gap) for gap in lacking
    )
    newest_ms = max(opens_ms, default=None)
    return Probe(source, answers, fetched, lifetime, rows, newest_ms, seconds)


def _lifetime(source: Source, series: Series, answers: Sequence[Answer]) -> Lifetime | SourceError:
    """Return when the symbol traded; a source that just did not answer is not asked again."""
    for answer in answers:
        if answer.outcome in _NO_ANSWER:
            return Unreachable(source.name, str(series), answer.detail)
    try:
        return source.lifetime(series)
    except SourceError as error:
        return error


def replay(
    chain: FailoverChain, probes: Sequence[Probe], series: Series, day: TimeRange
) -> Harvest:
    """Return what a run of the chain would bring, were its sources to answer as they just did."""
    recorded = FailoverChain([_Recorded(probe) for probe in probes], chain.now_ms)
    return recorded.fill(series, [day])


class _Recorded:
    """A source that says again what it said."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe

    @property
    def name(self) -> str:
        """The source's own name."""
        return self._probe.source.name

    def fetch(self, series: Series, gaps: Sequence[TimeRange]) -> Iterator[Answer]:
        """Yield the recorded answers, whatever is asked."""
        del series, gaps
        yield from self._probe.answers

    def lifetime(self, series: Series) -> Lifetime:
        """Return what was recorded; a source that served all is asked now.

        Raises:
            SourceError: as it was recorded, or the source cannot tell.
        """
        match self._probe.lifetime:
            case None:
                return self._probe.source.lifetime(series)
            case SourceError() as error:
                raise error
            case lifetime:
                return lifetime
