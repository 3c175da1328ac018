"""The commands that fetch: a plan, its runs in Dagster, progress, and what fell short."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from crypto_data.catalog.configuration import Catalog
from crypto_data.catalog.location import state_folder
from crypto_data.cli.options import Format, local_ms
from crypto_data.cli.output import complain, print_rows, shorten_links, show_bytes
from crypto_data.costs import estimate
from crypto_data.coverage import DayState
from crypto_data.exchanges import is_stand_in
from crypto_data.harvest import Aim
from crypto_data.intervals import DAY_MS
from crypto_data.lake.feeds import (
    current_wishes,
    exchange_ms,
    is_clock_fresh,
    write_wishes,
)
from crypto_data.lake.store import Lake
from crypto_data.partitions import closed_end
from crypto_data.planning import (
    Need,
    check_days,
    choose_series,
    find_needs,
    plan_runs,
)
from crypto_data.reports import DayReport
from crypto_data.selection import Selection
from crypto_data.series import Series

# On loopback and on a fast line alike, measured: the archive gives this many rows a second.
ROWS_A_SECOND = 300_000


def find_work(catalog: Catalog, chosen: Selection) -> list[Need]:
    """Return what the chosen series lack by the clock that was last measured; writes nothing.

    Raises:
        UsageError: the selection names what is not configured.
    """
    series = choose_series(catalog, chosen)
    now_ms = exchange_ms(catalog.lake, local_ms())
    check_days(series, chosen, now_ms)
    return find_needs(Lake(catalog.lake), series, chosen, now_ms)


def refresh_clock(catalog: Catalog, chosen: Selection) -> None:
    """Ask the exchange for its time, unless it told it a moment ago: it says which days are over.

    Raises:
        UsageError: the selection names what is not configured; nobody was asked.
    """
    series = choose_series(catalog, chosen)
    # Days that no clock could make right are refused before anybody is asked.
    check_days(series, chosen, exchange_ms(catalog.lake, local_ms()) + DAY_MS)
    if not is_clock_fresh(catalog.lake):
        from crypto_data.exchange_time import measure_clock

        measure_clock(catalog, state_folder(os.environ))


def note_wishes(catalog: Catalog) -> None:
    """Note in the lake what it is asked to hold."""
    write_wishes(catalog.lake, current_wishes(catalog))


def print_plan(needs: Sequence[Need], form: Format) -> None:
    """Print what a backfill would ask for."""
    rows: list[dict[str, Any]] = []
    for need in needs:
        cost = estimate([need])
        rows.append(
            {
                "series": str(need.series),
                "first": need.days[0],
                "last": need.days[-1],
                "days": cost.days,
                "rows": cost.rows,
                "requests": cost.requests,
                "bytes_fetched": cost.bytes_fetched,
                "bytes_kept": cost.bytes_kept,
                "seconds": round(cost.rows / ROWS_A_SECOND + cost.requests * 0.005, 1),
            }
        )
    shown = [
        row
        | {
            "bytes_fetched": show_bytes(row["bytes_fetched"]),
            "bytes_kept": show_bytes(row["bytes_kept"]),
        }
        for row in rows
    ]
    print_rows(rows, form, columns=_PLAN_COLUMNS, shown=shown)


_PLAN_COLUMNS = (
    "series", "first", "last", "days", "rows", "requests", "bytes_fetched", "bytes_kept", "seconds",
)  # fmt: skip


def fetch(
    catalog: Catalog,
    needs: Sequence[Need],
    *,
    parallel: int,
    form: Format,
    aim: Aim = Aim.FILL,
) -> int:
    """Run the plan in Dagster and print how it ended; return the exit status."""
    from crypto_data.cli.progress import showing_progress
    from crypto_data.cli.start_up import end_loading
    from crypto_data.orchestration.backfill import run_backfill
    from crypto_data.orchestration.foreground import stopping_on_signals
    from crypto_data.orchestration.instance import open_instance, prepare_home
    from crypto_data.orchestration.runs import note_failed_runs

    end_loading()
    home = prepare_home(catalog.path.parent, os.environ)
    os.environ["DAGSTER_HOME"] = str(home)
    with (
        stopping_on_signals(_announce_stop),
        open_instance(home) as instance,
        showing_progress(needs) as on_days,
    ):
        result = run_backfill(
            catalog, plan_runs(needs, aim), instance, parallel=parallel, on_days=on_days
        )
        note_failed_runs(instance, catalog, exchange_ms(catalog.lake, local_ms()))
    needs = _over_at_the_exchange(catalog, needs)
    _print_result(needs, result.days, form)
    short = _short_days(needs, result.days)
    complain(short)
    complain(_stand_ins(needs, result.days))
    complain(_corrected(needs, result.days))
    if result.interrupted:
        complain(["interrupted: what is committed stays; run the command again to go on"])
    else:
        complain(result.failed_runs)
    return 1 if result.interrupted or result.failed_runs or short else 0


def _over_at_the_exchange(catalog: Catalog, needs: Sequence[Need]) -> list[Need]:
    """Return the needs without days that are not over by the exchange's clock, known only now."""
    now_ms = exchange_ms(catalog.lake, local_ms())
    kept = [
        replace(
            need, days=tuple(d for d in need.days if d < closed_end(need.series.interval, now_ms))
        )
        for need in needs
    ]
    return [need for need in kept if need.days]


def _announce_stop() -> None:
    complain(["stopping: files in work are finished first; once more to kill"])


Days = dict[Series, dict[date, DayReport]]


def _print_result(needs: Sequence[Need], done: Days, form: Format) -> None:
    rows = [
        {
            "series": str(need.series),
            "day": report.day,
            "state": str(report.state),
            "rows": report.rows,
            "expected": report.expected,
            "source": report.source,
            "requests": report.requests,
            "attempts": report.attempts,
            "failover": report.failovers,
        }
        for need in needs
        for report in _asked(need, done)
    ]
    columns = (
        "series", "day", "state", "rows", "expected", "source", "requests", "attempts", "failover",
    )  # fmt: skip
    shown = [_summary(need, _asked(need, done)) for need in needs]
    print_rows(rows, form, columns=columns, shown=shown)


def _asked(need: Need, done: Days) -> list[DayReport]:
    reports = done.get(need.series, {})
    return [reports[day] for day in need.days if day in reports]


def _summary(need: Need, reports: Sequence[DayReport]) -> dict[str, Any]:
    return {
        "series": str(need.series),
        "days": len(need.days),
        "settled": sum(report.is_settled for report in reports),
        "short": len(need.days) - sum(report.is_settled for report in reports),
        "rows": sum(report.rows for report in reports),
        "requests": sum(report.requests for report in reports),
        "fetched_from": _count(report.source or "nobody" for report in reports),
        "states": _count(str(report.state) for report in reports),
    }


def _count(words: Iterator[str]) -> str:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return ", ".join(f"{word} {count}" for word, count in counts.items())


def _stand_ins(needs: Sequence[Need], done: Days) -> Iterator[str]:
    """Yield a line a series some of whose days another exchange or API stands in for."""
    for need in needs:
        best = need.feed.best_source(need.series)
        days = [
            report
            for report in _asked(need, done)
            if any(is_stand_in(name, best) for name in report.source.split("+"))
        ]
        if days and not need.is_made:
            yield (
                f"{need.series} {days[0].day} to {days[-1].day}: {_days(len(days))} with klines "
                f"that only stand in ({days[-1].source}) until better sources serve: "
                f"{days[-1].failovers}"
            )


def _corrected(needs: Sequence[Need], done: Days) -> Iterator[str]:
    """Yield a line a series whose klines were replaced by different ones."""
    for need in needs:
        days = [report.day for report in _asked(need, done) if report.correction]
        if days:
            yield (
                f"{need.series} {days[0]} to {days[-1]}: klines of {_days(len(days))} were "
                "replaced by different ones; see the view corrections"
            )


def _days(count: int) -> str:
    return f"{count} day{'s' if count != 1 else ''}"


# The same file of another day is no other reason.
_DATES = re.compile(r"\d{4}-\d{2}(-\d{2})?")


def _short_days(needs: Sequence[Need], done: Days) -> list[str]:
    """Return a line for each stretch of days that fell short for one reason."""
    lines = []
    for need in needs:
        reports = done.get(need.series, {})
        stretches: list[tuple[date, date, str]] = []
        for day in need.days:
            why = _why_short(reports.get(day))
            if why is None:
                continue
            if (
                stretches
                and _DATES.sub("", stretches[-1][2]) == _DATES.sub("", why)
                and day - stretches[-1][1] == timedelta(days=1)
            ):
                stretches[-1] = (stretches[-1][0], day, why)
            else:
                stretches.append((day, day, why))
        for first, last, why in stretches:
            when = str(first) if first == last else f"{first} to {last}"
            lines.append(f"{need.series} {when}: {shorten_links(why)}")
    return lines


def _why_short(report: DayReport | None) -> str | None:
    if report is None:
        return "not fetched in this run"
    if report.is_settled:
        return None
    rows = (
        "nothing"
        if report.state is DayState.MISSING
        else f"{report.rows} of {report.expected} rows"
    )
    return f"{rows}; {report.failovers or 'no source had it'}"
