"""What the stand-in exchange knows: the bars of any symbol and interval, at any time.

Recorded days where there are some, made bars elsewhere; coarser bars always aggregate the minutes.
How they are served belongs to `archive` and `rest`; in what other exchanges differ, to
`instruments`.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

from crypto_data.intervals import MINUTE_MS, SECOND_MS, Interval, TimeRange
from crypto_data.sandbox.bars import (
    Bars,
    Column,
    aggregate,
    join,
    no_bars,
    overlay,
    select,
    split_seconds,
)
from crypto_data.sandbox.made import minute_bars
from crypto_data.sandbox.recordings import recorded_bars, recordings_of
from crypto_data.sandbox.symbols import Outage, Symbol, SymbolBook

Value = TypeVar("Value")

# A month of minutes is 4 MB, one of hourly bars 65 KB: apart, so that minutes push no others out.
_MINUTE_BYTES = 96 * 2**20
_COARSE_BYTES = 64 * 2**20


class Memory(Generic[Value]):
    """Keeps what was used last, up to a number of bytes; safe between threads."""

    def __init__(self, limit: int, size_of: Callable[[Value], int]) -> None:
        self._limit = limit
        self._size_of = size_of
        self._held: OrderedDict[Hashable, Value] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def peek(self, key: Hashable) -> Value | None:
        """Return what is held under the key, or None."""
        return self._held.get(key)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return what is held under the key; make and hold it when there is nothing."""
        with self._lock:
            held = self._held.get(key)
            if held is not None:
                self._held.move_to_end(key)
                return held
        made = make()
        with self._lock:
            if key not in self._held:
                self._held[key] = made
                self._bytes += self._size_of(made)
            while self._bytes > self._limit and len(self._held) > 1:
                _, dropped = self._held.popitem(last=False)
                self._bytes -= self._size_of(dropped)
        return made


# What an exchange makes of the bars of a symbol and interval, as a block of the same bars.
Alter = Callable[[Symbol, Interval, Bars], Bars]


def unaltered(symbol: Symbol, interval: Interval, bars: Bars) -> Bars:
    """Return the bars as they are: Binance's own."""
    del symbol, interval
    return bars


class Tape:
    """The bars of symbols: what was traded, interrupted by outages, as one exchange tells it."""

    def __init__(self, outages: tuple[Outage, ...], alter: Alter) -> None:
        self.outages = outages
        self._alter = alter
        self._minutes: Memory[Bars] = Memory(_MINUTE_BYTES, _size_of)
        self._coarse: Memory[Bars] = Memory(_COARSE_BYTES, _size_of)

    def bars(self, symbol: Symbol, interval: Interval, span: TimeRange) -> Bars:
        """Return all bars that open inside the span, whatever the clock says."""
        if interval is Interval.SECOND_1:
            return self._seconds(symbol, span)
        blocks = [
            select(self._block(symbol, interval, month), span)
            for month in _months(span)
            if symbol.trades_in(bars_reach(interval, month))
        ]
        return join(blocks)

    def bars_at(self, symbol: Symbol, interval: Interval, span: TimeRange, now_ms: int) -> Bars:
        """Return the bars of the span as seen at `now_ms`: closed ones, and the unfinished one."""
        seen = TimeRange(span.start_ms, max(span.start_ms, min(span.end_ms, now_ms + 1)))
        bars = self.bars(symbol, interval, seen)
        closed = bars[:, bars[Column.CLOSE_TIME] < now_ms]
        if closed.shape[1] == bars.shape[1]:
            return bars
        opened_ms = int(bars[Column.OPEN_TIME, closed.shape[1]])
        return join([closed, self._unfinished(symbol, interval, opened_ms, now_ms)])

    def newest_bars(
        self, symbol: Symbol, interval: Interval, window: TimeRange, *, limit: int, now_ms: int
    ) -> Bars:
        """Return the newest `limit` bars of a window as seen at `now_ms`, ascending."""
        # A month at least, to cross dead stretches in few steps.
        step_ms = max(limit * interval.length_ms, Interval.MONTH_1.length_ms)
        blocks: list[Bars] = []
        count, cursor = 0, window.end_ms
        while count < limit and cursor > window.start_ms:
            span = TimeRange(max(cursor - step_ms, window.start_ms), cursor)
            blocks.insert(0, self.bars_at(symbol, interval, span, now_ms))
            count += blocks[0].shape[1]
            cursor = span.start_ms
        return join(blocks)[:, -limit:]

    def closed_bars(self, symbol: Symbol, interval: Interval, span: TimeRange, now_ms: int) -> Bars:
        """Return the bars of the span that are closed at `now_ms`."""
        bars = self.bars(symbol, interval, span)
        return bars[:, bars[Column.CLOSE_TIME] < now_ms]

    def _unfinished(self, symbol: Symbol, interval: Interval, opened_ms: int, now_ms: int) -> Bars:
        """Return the one bar that opened at `opened_ms`, from what was traded until now."""
        minute_ms = max(opened_ms, now_ms - now_ms % MINUTE_MS)
        whole = self.bars(symbol, Interval.MINUTE_1, TimeRange(opened_ms, minute_ms))
        seconds = self._seconds(symbol, TimeRange(minute_ms, now_ms + 1))
        if interval is Interval.SECOND_1:
            return select(seconds, TimeRange(opened_ms, opened_ms + SECOND_MS))
        running = aggregate(seconds, Interval.MINUTE_1, length_ms=SECOND_MS)
        bar = aggregate(join([whole, running]), interval)
        bar[Column.CLOSE_TIME] = interval.next_open(opened_ms) - 1
        return bar

    def _seconds(self, symbol: Symbol, span: TimeRange) -> Bars:
        start_ms = span.start_ms - span.start_ms % MINUTE_MS
        minutes = self.bars(symbol, Interval.MINUTE_1, TimeRange(start_ms, span.end_ms))
        return select(split_seconds(minutes), span) if minutes.shape[1] else no_bars()

    def _block(self, symbol: Symbol, interval: Interval, month: TimeRange) -> Bars:
        key = (symbol.market, symbol.name, interval, month.start_ms)
        memory = self._minutes if interval is Interval.MINUTE_1 else self._coarse
        return memory.get(key, lambda: self._make_block(symbol, interval, month))

    def _make_block(self, symbol: Symbol, interval: Interval, month: TimeRange) -> Bars:
        if interval is Interval.MINUTE_1:
            bars = self._alter(symbol, interval, minute_bars(symbol, month, self.outages))
        else:
            minutes = self.bars(symbol, Interval.MINUTE_1, bars_reach(interval, month))
            bars = aggregate(minutes, interval)
        for recording in recordings_of(symbol.market, symbol.name, interval):
            if span := recording.span.intersect(month):
                recorded = self._alter(symbol, interval, recorded_bars(recording))
                bars = overlay(bars, recorded, span)
        bars.flags.writeable = False
        return bars


class Exchange(Tape):
    """Binance: its symbols, their outages, and their bars."""

    def __init__(self, symbols: SymbolBook, outages: tuple[Outage, ...]) -> None:
        super().__init__(outages, unaltered)
        self.symbols = symbols


def _size_of(bars: Bars) -> int:
    return int(bars.nbytes) + 200


def _months(span: TimeRange) -> Iterator[TimeRange]:
    """Yield the calendar months that the span touches."""
    start_ms = Interval.MONTH_1.floor(span.start_ms)
    while start_ms < span.end_ms:
        end_ms = Interval.MONTH_1.next_open(start_ms)
        yield TimeRange(start_ms, end_ms)
        start_ms = end_ms


def bars_reach(interval: Interval, span: TimeRange) -> TimeRange:
    """Return the stretch of time covered by the bars that open inside the span."""
    start_ms = interval.ceil(span.start_ms)
    return TimeRange(start_ms, max(start_ms, interval.ceil(span.end_ms)))
