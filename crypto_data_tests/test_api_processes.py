"""The Python API from many threads of many processes at once: nothing lost, nothing broken."""

import multiprocessing
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta

import pyarrow as pa
import pytest

from crypto_data import OpenLake, open_lake
from crypto_data.coverage import DayState
from crypto_data.partitions import days_in, span_of_days
from crypto_data.schema import FETCHED, KLINES
from crypto_data.series import Series

PROCESSES, THREADS, CALLS = 4, 8, 4
FIRST, END = date(2024, 2, 20), date(2024, 3, 12)  # over the end of a month, a file of 1m
SYMBOLS, INTERVALS = ("BTCUSDT", "ETHUSDT"), ("1m", "1h")

Answer = tuple[str, date, date, pa.Table]


def read_much(lake: OpenLake, seed: int) -> list[Answer]:
    """Read overlapping ranges in several threads; return each with what came."""

    def read(number: int) -> list[Answer]:
        draw = random.Random(seed * THREADS + number)  # noqa: S311 - chance, no secret
        answers = []
        for _ in range(CALLS):
            symbol, interval = draw.choice(SYMBOLS), draw.choice(INTERVALS)
            first = FIRST + timedelta(days=draw.randrange((END - FIRST).days - 2))
            end = min(END, first + timedelta(days=draw.randint(1, 6)))
            klines = lake.klines(symbol, interval, first, end)
            answers.append((f"binance/spot/{symbol}/{interval}", first, end, klines))
        return answers

    with ThreadPoolExecutor(THREADS) as pool:
        return [answer for answers in pool.map(read, range(THREADS)) for answer in answers]


@pytest.mark.slow
def test_many_threads_of_many_processes_share_one_lake(desk, monkeypatch) -> None:
    """All read and fetch overlapping ranges; every answer and the lake itself equal the truth."""
    monkeypatch.setenv("XDG_STATE_HOME", desk.environ["XDG_STATE_HOME"])
    feed = {"symbols": list(SYMBOLS), "intervals": list(INTERVALS)}
    desk.configure(feed | {"start": str(FIRST), "end": str(END)})
    lake = open_lake(desk.config)

    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        work = [(lake, seed) for seed in range(PROCESSES)]
        answers = [one for many in pool.starmap(read_much, work) for one in many]
    everything = {
        (symbol, interval): lake.klines(symbol, interval)
        for symbol in SYMBOLS
        for interval in INTERVALS
    }

    assert len(answers) == PROCESSES * THREADS * CALLS
    for name, first, end, klines in answers:
        truth = desk.sandbox.klines(Series.parse(name), span_of_days(first, end))
        assert klines.schema == KLINES
        assert klines.select(FETCHED.names).cast(FETCHED).equals(truth), (name, first, end)
    for (symbol, interval), klines in everything.items():
        assert klines.num_rows == (END - FIRST).days * {"1m": 1440, "1h": 24}[interval]
        assert desk.equals_truth(f"binance/spot/{symbol}/{interval}", FIRST, END)
    states = lake.coverage(start=FIRST, end=END)["state"].value_counts().to_pylist()
    days = len(list(days_in(FIRST, END))) * len(everything)
    assert states == [{"values": DayState.COMPLETE, "counts": days}]
