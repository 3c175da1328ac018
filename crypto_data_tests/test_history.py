"""How passes over feeds and series went."""

import multiprocessing
from datetime import date

import pytest

from crypto_data.errors import LakeNotWritable
from crypto_data.harvest import Aim
from crypto_data.intervals import DAY_MS, HOUR_MS, Interval
from crypto_data.lake.feeds import Wanted, Wishes, write_wishes
from crypto_data.lake.history import Pass, note_failed_run, note_pass, note_whole, read_history
from crypto_data.lake.history_file import Standing
from crypto_data.lake.layout import HISTORY
from crypto_data.series import Market, Series

BTC, ETH, XRP = (
    Series("binance", Market.SPOT, symbol, Interval.HOUR_1)
    for symbol in ("BTCUSDT", "ETHUSDT", "XRPUSDT")
)
START_MS = 1_709_769_600_000
FILL, MEND, REPAIR, REVISE = Aim.FILL, Aim.MEND, Aim.REPAIR, Aim.REVISE


def note(root, at, aim=FILL, asked=(BTC, ETH), short=(), *, run_id="", feed="spot") -> None:
    """Note a pass, `at` hours after the start."""
    at_ms = START_MS + at * HOUR_MS
    whys = {series: f"{series.symbol} at {at}" for series in short}
    note_pass(root, Pass(run_id or f"run {at}", feed, aim, at_ms, tuple(asked), whys))


def feed_of(root, name="spot") -> tuple[int, int, int]:
    """Return errors in a row, and the hours of the last run and the last success; -1 is never."""
    standing = read_history(root).feeds[name]
    hours = [
        (moment - START_MS) // HOUR_MS if moment else -1
        for moment in (standing.last_run_ms, standing.last_success_ms)
    ]
    return standing.errors_in_a_row, *hours


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        pytest.param([(FILL, (BTC,), ())], (0, 1, 1), id="success"),
        pytest.param([(FILL, (BTC,), (BTC,))], (1, 1, -1), id="error"),
        pytest.param([(FILL, (BTC, ETH), (ETH,))] * 3, (3, 3, -1), id="three-errors"),
        pytest.param([(FILL, (BTC,), (BTC,)), (FILL, (BTC,), ())], (0, 2, 2), id="over"),
        pytest.param([(FILL, (BTC,), (BTC,)), (REPAIR, (BTC,), ())], (0, 2, 2), id="repaired"),
        pytest.param([(REPAIR, (BTC,), (BTC,))], (1, 1, -1), id="repair-in-vain"),
        pytest.param([(FILL, (BTC,), (BTC,)), (MEND, (BTC,), ())], (0, 2, 2), id="mended"),
        pytest.param([(FILL, (BTC,), (BTC,)), (MEND, (BTC,), (BTC,))], (1, 2, -1), id="unmended"),
        pytest.param([(FILL, (BTC,), ()), (MEND, (BTC,), (BTC,))], (0, 2, 1), id="mend-adds-none"),
        pytest.param(
            [(FILL, (BTC, ETH), (BTC,)), (MEND, (ETH,), ())], (1, 2, -1), id="mended-another"
        ),
        pytest.param(
            [(FILL, (BTC, ETH), (BTC, ETH)), (MEND, (ETH,), ()), (MEND, (BTC,), ())],
            (0, 3, 3),
            id="mended-one-by-one",
        ),
        pytest.param([(FILL, (BTC,), ()), (REVISE, (BTC,), (BTC,))], (0, 2, 1), id="revise-error"),
        pytest.param([(FILL, (BTC,), (BTC,)), (REVISE, (BTC,), ())], (1, 2, -1), id="revise-ends"),
    ],
)
def test_which_passes_count_for_a_feed(tmp_path, passes, expected) -> None:
    """Filling and repairing count both ways, mending ends errors alone, revising neither."""
    for hour, (aim, asked, short) in enumerate(passes, start=1):
        note(tmp_path, hour, aim, asked, short)

    assert feed_of(tmp_path) == expected


def test_what_a_feed_and_a_series_say_of_their_errors(tmp_path) -> None:
    """Both say since when and why, and the feed how many other series fell short."""
    note(tmp_path, 1, short=(BTC,))
    note(tmp_path, 2, short=(BTC, ETH))

    history = read_history(tmp_path)
    since_ms = START_MS + HOUR_MS
    last_ms = START_MS + 2 * HOUR_MS
    assert history.feeds["spot"] == Standing(
        last_ms, 0, 2, since_ms, f"{BTC}: BTCUSDT at 2 (and 1 more series)"
    )
    assert history.series[BTC] == Standing(last_ms, 0, 2, since_ms, "BTCUSDT at 2")
    assert history.series[ETH] == Standing(last_ms, since_ms, 1, last_ms, "ETHUSDT at 2")


@pytest.mark.parametrize(
    ("aim", "errors"), [(FILL, 1), (MEND, 1), (REPAIR, 1), (REVISE, 0)], ids=str
)
def test_series_count_all_but_revising(tmp_path, aim, errors) -> None:
    """A series that fell short while it was mended has an error, though its feed has none."""
    note(tmp_path, 1, aim, (BTC,), (BTC,))

    standing = read_history(tmp_path).series.get(BTC, Standing())
    assert standing.errors_in_a_row == errors


@pytest.mark.parametrize(
    ("steps", "errors", "errors_of_btc"),
    [
        pytest.param([((BTC,), ()), ((ETH,), (ETH,))], 2, 0, id="short-later"),
        pytest.param([((BTC,), (BTC,)), ((ETH,), ())], 2, 2, id="short-first"),
        pytest.param([((BTC,), (BTC,)), ((ETH,), (ETH,))], 2, 2, id="both-short"),
        pytest.param([((BTC,), ()), ((ETH,), ())], 0, 0, id="both-whole"),
        pytest.param([((BTC,), (BTC,)), ((BTC,), ())], 1, 0, id="a-step-again"),
        pytest.param([((BTC,), (BTC,)), ((BTC,), (BTC,))], 2, 2, id="a-step-again-in-vain"),
    ],
)
def test_the_steps_of_one_run_count_once(tmp_path, steps, errors, errors_of_btc) -> None:
    """A run with a step for each interval is one success or one error, whichever comes first."""
    note(tmp_path, 1, asked=(BTC, ETH), short=(BTC, ETH))
    for asked, short in steps:
        note(tmp_path, 2, asked=asked, short=short, run_id="the second")

    history = read_history(tmp_path)
    assert history.feeds["spot"].errors_in_a_row == errors
    assert history.series[BTC].errors_in_a_row == errors_of_btc
    assert history.run_ids["spot"] == ("run 1", "the second")


def test_a_run_that_died_counts_once_for_each_feed(tmp_path) -> None:
    """It is an error of all its feeds, however often it is told, but not beside its own words."""
    note(tmp_path, 1, run_id="died", feed="um", asked=(XRP,), short=(XRP,))
    for _ in range(2):
        note_failed_run(tmp_path, "died", ["spot", "um"], START_MS + HOUR_MS, "out of memory")

    history = read_history(tmp_path)
    assert history.feeds["spot"] == Standing(
        START_MS + HOUR_MS, 0, 1, START_MS + HOUR_MS, "out of memory"
    )
    assert feed_of(tmp_path, "um") == (1, 1, -1)
    assert history.feeds["um"].why != "out of memory"
    assert history.run_ids == {"spot": ("died",), "um": ("died",)}


def test_a_feed_with_nothing_left_to_mend_has_no_errors(tmp_path) -> None:
    """Its errors end as they were seen; those of a run that came in between do not."""
    note(tmp_path, 1, short=(BTC,))
    seen = dict(read_history(tmp_path).feeds)
    note(tmp_path, 2, short=(BTC,))

    note_whole(tmp_path, seen, START_MS)
    assert feed_of(tmp_path) == (2, 2, -1)
    note_whole(tmp_path, read_history(tmp_path).feeds, START_MS)
    assert feed_of(tmp_path) == (0, 2, -1)


def test_a_good_run_of_other_series_does_not_end_an_error(tmp_path) -> None:
    """Errors add up over passes whose other runs went well, and end when their series does."""
    for at in (1, 3, 5):
        note(tmp_path, at, asked=(BTC,), short=(BTC,))
        note(tmp_path, at + 1, asked=(ETH,))

    assert feed_of(tmp_path) == (3, 6, -1)
    note(tmp_path, 7, asked=(BTC,))
    assert feed_of(tmp_path) == (0, 7, 7)


def test_a_run_that_died_after_one_good_step_counts_as_an_error(tmp_path) -> None:
    """What its first step noted is taken back, once; a run that noted an error is left as it is."""
    note(tmp_path, 1, short=(BTC,))
    note(tmp_path, 2)
    note_failed_run(tmp_path, "run 1", ["spot"], START_MS + 3 * HOUR_MS, "killed")
    assert feed_of(tmp_path) == (0, 2, 2)

    for _ in range(2):
        note_failed_run(tmp_path, "run 2", ["spot"], START_MS + 3 * HOUR_MS, "killed")
    assert feed_of(tmp_path) == (2, 3, -1)
    assert read_history(tmp_path).feeds["spot"].why == "killed"


@pytest.mark.parametrize(
    ("aim", "errors"),
    [pytest.param(MEND, 1, id="mend"), pytest.param(FILL, 0, id="fill")],
)
def test_mending_other_days_does_not_end_the_error_of_a_run_that_died(
    tmp_path, aim, errors
) -> None:
    """Nobody knows what it left undone; a pass that fills, or a lake without gaps, ends it."""
    note_failed_run(tmp_path, "died", ["spot"], START_MS, "killed")
    note(tmp_path, 1, aim, (ETH,))

    assert feed_of(tmp_path)[0] == errors
    note_whole(tmp_path, read_history(tmp_path).feeds, START_MS)
    note(tmp_path, 2, MEND, (ETH,))
    assert feed_of(tmp_path)[0] == 0


def test_a_run_that_died_counts_once_however_many_follow(tmp_path) -> None:
    """Dead runs are looked for a day back, in which hundreds may mend one feed."""
    note_failed_run(tmp_path, "died", ["spot"], START_MS, "killed")
    for _ in range(300):
        note(tmp_path, 1, MEND, (ETH,))
    note(tmp_path, 2, FILL, (ETH,))
    note_failed_run(tmp_path, "died", ["spot"], START_MS, "killed")

    assert feed_of(tmp_path)[0] == 0


def test_what_left_the_configuration_is_forgotten_after_a_month(tmp_path) -> None:
    """A feed or series that is still wanted stays, however long ago it ran."""
    write_wishes(tmp_path, Wishes({BTC: Wanted(date(2024, 1, 1), None, "vision", "spot")}))
    note(tmp_path, 0, asked=(BTC, ETH))
    note(tmp_path, 0, feed="old", asked=(XRP,))
    note(tmp_path, 29 * 24, feed="um", asked=())
    before = read_history(tmp_path)
    note(tmp_path, 31 * 24, feed="um", asked=())

    after = read_history(tmp_path)
    assert (set(before.feeds), set(before.series)) == ({"spot", "old", "um"}, {BTC, ETH, XRP})
    assert (set(after.feeds), set(after.series)) == ({"spot", "um"}, {BTC})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x00" * 100, id="zeros"),
        pytest.param(b'{"feeds": {}', id="half"),
        pytest.param(b"[]", id="another-form"),
        pytest.param(b'{"feeds": {"spot": {}}, "series": {}}', id="a-key-lacks"),
        pytest.param(b'{"feeds": {}, "series": {"x": [0, 0, "1", 0, ""]}}', id="another-type"),
    ],
)
def test_a_damaged_file_is_moved_beside_and_begun_anew(tmp_path, caplog, content) -> None:
    """Reading it tells nothing, the next pass keeps it under another name, and both say so."""
    note(tmp_path, 1)
    (tmp_path / HISTORY).write_bytes(content)
    empty = read_history(tmp_path)
    note(tmp_path, 2)

    assert empty.feeds == {}
    assert feed_of(tmp_path) == (0, 2, 2)
    assert (tmp_path / f"{HISTORY}.damaged").read_bytes() == content
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_no_history_is_no_error(tmp_path) -> None:
    """A lake that nothing ran for has an empty one, and reading it writes nothing."""
    history = read_history(tmp_path / "lake")

    assert (history.feeds, history.series, history.run_ids) == ({}, {}, {})
    assert not (tmp_path / "lake").exists()


def test_a_history_that_cannot_be_written_stays_as_it_was(tmp_path) -> None:
    """The error names the file; what was noted before is still there."""
    note(tmp_path, 1)
    (tmp_path / "_locks" / "history.lock").unlink()
    (tmp_path / "_locks").rmdir()
    (tmp_path / "_locks").write_text("a file where a folder should be")
    with pytest.raises(LakeNotWritable, match="_locks"):
        note(tmp_path, 2)

    assert feed_of(tmp_path) == (0, 1, 1)


def _note_many(root, number) -> None:
    for hour in range(20):
        note(root, hour, feed=f"feed{number}", asked=(), run_id=f"{number} {hour}")


@pytest.mark.slow
def test_processes_that_note_at_once_lose_nothing(tmp_path) -> None:
    """Each process finds every run that it and the others noted."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_note_many, args=(tmp_path, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)

    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert {name: len(runs) for name, runs in read_history(tmp_path).run_ids.items()} == {
        f"feed{n}": 20 for n in range(3)
    }


def test_many_series_stay_small(tmp_path) -> None:
    """Noting pass after pass over 1,200 series that all fall short does not let the file grow."""
    series = tuple(
        Series("binance", Market.SPOT, f"S{n}USDT", Interval.MINUTE_1) for n in range(1200)
    )
    short = dict.fromkeys(series, "rest: HTTP 503: the exchange is closed for repairs")
    sizes = []
    for run in range(5):
        note_pass(tmp_path, Pass(str(run), "spot", FILL, START_MS + run * DAY_MS, series, short))
        sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))

    assert sizes[-1] < 1.1 * sizes[0] < 300_000
    assert len(read_history(tmp_path).series) == 1200
