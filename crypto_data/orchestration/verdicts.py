"""What the asset checks of a series find: values in, a verdict out.

Pure functions of the ledger's tables and of klines. Which days are looked at again, reading them
and telling Dagster belong to `orchestration.checks`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crypto_data.comparing import Comparison
from crypto_data.coverage import DayState
from crypto_data.intervals import DAY_MS, HOUR_MS, Interval
from crypto_data.partitions import EPOCH, day_of
from crypto_data.schema import epoch_ms

# A day's facts carry the moment they were asked for; the commit follows it. So long after it the
# day may still turn up behind a newer one that was committed first.
LATE_MS = HOUR_MS
# From one kline's close to the next one's open a price that trades moves by far less.
BREAK = 0.10


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a check passed, why in a sentence, what was counted, and the days it is about."""

    passed: bool
    words: str
    counts: Mapping[str, int] = field(default_factory=dict)
    days: tuple[date, ...] = ()  # newest first


def marks_ms(runs: pa.Table) -> Any:
    """Return when each run of days was last asked for or last changed, UTC epoch ms, as an array.

    0 where nobody has asked yet.
    """
    asked, ingested = (
        pc.fill_null(runs[name].cast(pa.int64()), 0) for name in ("last_attempt", "ingested_at")
    )
    return pc.max_element_wise(asked, ingested).to_numpy() // 1000


def newest_mark_ms(runs: pa.Table) -> int:
    """Return when any of the runs was last asked for or changed, UTC epoch ms; 0 for never."""
    return int(marks_ms(runs).max(initial=0))


def changed_runs(runs: pa.Table, since_ms: int) -> pa.Table:
    """Return the runs of days that were asked for or changed since a moment, or shortly before.

    `since_ms` is 0 for all that were ever asked for.
    """
    marks = marks_ms(runs)
    return runs.filter(pa.array((marks > 0) & (marks >= since_ms - LATE_MS)))


def days_of(runs: pa.Table) -> list[date]:
    """Return the days of some runs, the newest first."""
    spans = zip(runs["first_day"].to_pylist(), runs["days"].to_pylist(), strict=True)
    days = {first + timedelta(days=number) for first, count in spans for number in range(count)}
    return sorted(days, reverse=True)


def judge_complete(runs: pa.Table, changed: int, left_to_schedule: date) -> Verdict:
    """Judge whether every closed day of a series is complete or its gap is explained.

    Args:
        runs: All runs of days of the series.
        changed: How many days changed since the last time.
        left_to_schedule: Days from here on that nobody has asked for yet are no gaps: their feed's
            schedule is about to.
    """
    states = runs["state"].cast(pa.string()).to_pylist()
    counts = {str(state): 0 for state in DayState}
    gaps: list[date] = []
    for state, attempts, first, days in zip(
        states, *(runs[name].to_pylist() for name in ("attempts", "first_day", "days")), strict=True
    ):
        awaited = 0 if attempts else _overlap(first, days, left_to_schedule)
        counts[state] += days - (awaited if DayState(state).is_gap else 0)
        if DayState(state).is_gap:
            gaps += [first + timedelta(days=number) for number in range(days - awaited)]
    words = f"{len(gaps)} days are partial or missing" if gaps else "no day is partial or missing"
    return Verdict(
        not gaps,
        words,
        {"days_changed": changed} | {f"days_{name}": count for name, count in counts.items()},
        tuple(sorted(gaps, reverse=True)),
    )


def _overlap(first: date, days: int, start: date) -> int:
    """Return how many of the days from `first` on lie at or after `start`."""
    return max(0, min(days, (first - start).days + days))


def judge_rules(set_aside: Mapping[date, Mapping[str, int]], judged: int, where: str) -> Verdict:
    """Judge whether rows of the changed days broke a rule of validation.

    Args:
        set_aside: Day, rule and rows that were put into quarantine.
        judged: How many days were looked at.
        where: The folder these rows lie in.
    """
    rules: dict[str, int] = {}
    for counts in set_aside.values():
        for rule, count in counts.items():
            rules[rule] = rules.get(rule, 0) + count
    total = sum(rules.values())
    named = ", ".join(f"{rule}: {count}" for rule, count in sorted(rules.items()))
    words = (
        f"{total} rows set aside ({named}); they lie in {where}" if total else "no row broke one"
    )
    return Verdict(
        not total,
        words,
        {"days_judged": judged, "rows_set_aside": total} | rules,
        tuple(sorted((day for day, counts in set_aside.items() if counts), reverse=True)),
    )


def judge_revised(runs: pa.Table, corrections: pa.Table, since_ms: int) -> Verdict:
    """Judge whether the archive had other values than the lake on days looked at since.

    Args:
        runs: All runs of days of the series.
        corrections: All replaced days of the series.
        since_ms: UTC epoch milliseconds; older corrections were told already. 0 for all.
    """
    corrected_ms = pc.divide(corrections["corrected_at"].cast(pa.int64()), 1000)
    recent = corrections.filter(pc.greater_equal(corrected_ms, since_ms - LATE_MS))
    waiting = runs.filter(pc.equal(runs["state"].cast(pa.string()), str(DayState.PROVISIONAL)))
    days = sorted(set(recent["day"].to_pylist()), reverse=True)
    changed, added = (pc.sum(recent[name]).as_py() or 0 for name in ("rows_changed", "rows_added"))
    columns = sorted({name for names in recent["columns"].to_pylist() for name in names})
    words = (
        f"the archive's rows replaced others on {len(days)} days ({', '.join(columns)})"
        if days
        else "the archive confirmed what it was compared with"
    )
    counts = {
        "days_corrected": len(days),
        "rows_changed": changed,
        "rows_added": added,
        "days_provisional": pc.sum(waiting["days"]).as_py() or 0,
    }
    return Verdict(not days, words, counts, tuple(days))


def judge_prices(
    rows: pa.Table, interval: Interval, days: Collection[date], left_out: int
) -> Verdict:
    """Judge whether the price goes on across the borders of some days.

    The first open of a day is compared with the close of the kline right before it, at both ends of
    each day. Klines with a hole, a pause or an unlisted stretch between them are not compared.

    Args:
        rows: Klines of these days and their neighbours: `open_time`, `open`, `close`; sorted.
        interval: The bar length.
        days: The days to judge.
        left_out: How many changed days are not judged, being too many.
    """
    open_ms = epoch_ms(rows["open_time"]).to_numpy()
    judged = np.array(sorted((day - EPOCH).days for day in days), dtype=np.int64)
    number = open_ms // DAY_MS
    place = np.flatnonzero(np.diff(number)) + 1  # the first kline of a day
    place = place[np.isin(number[place], judged) | np.isin(number[place - 1], judged)]
    joined = _follows(open_ms[place - 1], open_ms[place], interval)
    opens = rows["open"].to_numpy()[place]
    closes = rows["close"].to_numpy()[place - 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.maximum(opens / closes, closes / opens) - 1
    broken = joined & ~(ratio <= BREAK)  # what is no number is broken too
    breaks = tuple(sorted({day_of(int(time)) for time in open_ms[place[broken]]}, reverse=True))
    worst = f", by up to {ratio[broken].max():.0%}" if breaks else ""
    return Verdict(
        not breaks,
        f"the price jumps into {len(breaks)} days{worst}" if breaks else "the price goes on",
        {
            "days_judged": len(days),
            "borders_compared": int(joined.sum()),
            "borders_not_compared": int((~joined).sum()),
            "breaks": len(breaks),
            "days_not_judged": left_out,
        },
        breaks,
    )


def _follows(before_ms: Any, after_ms: Any, interval: Interval) -> Any:
    """Return for each pair of open times whether the second is the kline after the first."""
    if interval.is_month:
        pairs = zip(before_ms, after_ms, strict=True)
        return np.array([interval.next_open(int(a)) == b for a, b in pairs], dtype=bool)
    return after_ms - before_ms == interval.length_ms


def comparable_days(runs: pa.Table) -> list[date]:
    """Return the days of some runs that no source has a last word about any more, newest first."""
    last = pa.array([str(DayState.COMPLETE), str(DayState.EXPLAINED)])
    return days_of(runs.filter(pc.is_in(runs["state"].cast(pa.string()), last)))


def judge_equal(found: Sequence[Comparison]) -> Verdict:
    """Judge whether klines made here equal the exchange's own.

    A day that the exchange did not serve whole passes no check: it was not compared.

    Args:
        found: What came of comparing some days.
    """
    differences = [difference for one in found for difference in one.differences]
    bars = {difference.open_time for difference in differences}
    unanswered = {day: why for one in found for day, why in one.unanswered.items()}
    columns = sorted({difference.column for difference in differences})
    rows = sum(one.rows for one in found)
    words = [f"{len(bars)} of {rows} klines differ ({', '.join(columns)})"] if bars else []
    words += [f"{day} could not be compared: {why}" for day, why in unanswered.items()]
    days = {difference.day for difference in differences} | set(unanswered)
    return Verdict(
        not days,
        "; ".join(words) or f"{rows} klines compared with the exchange's own, none differs",
        {
            "days_compared": sum(len(one.days) for one in found) - len(unanswered),
            "days_not_compared": len(unanswered),
            "klines_compared": rows,
            "klines_differing": len(bars),
        },
        tuple(sorted(days, reverse=True)),
    )


def judge_fresh(
    settled_until: date | None, due_until: date | None, stale_since_ms: int | None, now_ms: int
) -> Verdict:
    """Judge a series by its newest settled day, whatever older days a backfill has filled.

    Args:
        settled_until: The day after the newest settled one; None when no day is settled.
        due_until: The end of the days that are over; None when none is.
        stale_since_ms: Since when it had nothing new for too long, UTC epoch ms; None where it has.
        now_ms: The exchange's clock, UTC epoch milliseconds.
    """
    if due_until is None:
        return Verdict(True, "no day is over yet")
    if settled_until is None:
        return Verdict(False, "no day is settled yet")
    behind = max(0, (due_until - settled_until).days)
    counts = {"days_behind": behind}
    if stale_since_ms is None:
        return Verdict(True, f"settled up to {settled_until} (exclusive)", counts)
    hours = (now_ms - stale_since_ms) // HOUR_MS
    counts["hours_behind"] = hours
    words = f"nothing new for {hours} hours; settled up to {settled_until} (exclusive)"
    return Verdict(False, words, counts, (settled_until,))
