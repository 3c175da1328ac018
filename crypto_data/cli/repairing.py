"""What `repair` does: damaged files out of the lake, then every gap asked for again."""

from collections.abc import Sequence

from crypto_data.catalog.configuration import Catalog
from crypto_data.cli import fetching, settled
from crypto_data.cli.options import Format, local_ms
from crypto_data.cli.output import complain
from crypto_data.harvest import Aim
from crypto_data.lake.checkup import Wanted, check_lake
from crypto_data.lake.feeds import exchange_ms
from crypto_data.lake.healing import Healed, heal_lake
from crypto_data.partitions import period_days
from crypto_data.planning import check_days, choose_series
from crypto_data.selection import Selection
from crypto_data.series import Series


def repair_lake(catalog: Catalog, chosen: Selection, *, parallel: int, form: Format) -> int:
    """Heal the chosen files, ask again for every gap; return 1 when something is as it was.

    Raises:
        UsageError: the selection names what is not configured; nothing was done.
    """
    fetching.refresh_clock(catalog, chosen)
    now_ms = exchange_ms(catalog.lake, local_ms())
    check_days(choose_series(catalog, chosen), chosen, now_ms)
    healed = _heal(catalog, chosen, now_ms)
    status = 0 if all(one.done for one in healed) else 1
    needs = fetching.find_work(catalog, chosen)
    fetching.note_wishes(catalog)
    if not needs:
        settled.say_nothing_to_fetch(catalog)
        if form is Format.TABLE:
            return status
    return max(status, fetching.fetch(catalog, needs, parallel=parallel, form=form, aim=Aim.REPAIR))


def _heal(catalog: Catalog, chosen: Selection, now_ms: int) -> list[Healed]:
    """Take what is wrong out of the lake, and say so; every chosen row is read."""
    wanted = None if chosen == Selection() else _wanted(chosen)
    checkup = check_lake(catalog.lake, verify=True, local_ms=local_ms(), wanted=wanted)
    healed = heal_lake(catalog.lake, checkup.findings, at_ms=now_ms, local_ms=local_ms())
    complain(map(str, healed))
    complain(_orphans(catalog, healed))
    return healed


def _wanted(chosen: Selection) -> Wanted:
    def is_wanted(series: Series, period: str) -> bool:
        first, end = period_days(period)
        names = (
            (chosen.exchanges, series.exchange),
            (chosen.markets, str(series.market)),
            (chosen.symbols, series.symbol),
            (chosen.intervals, str(series.interval)),
        )
        return (
            all(not allowed or name in allowed for allowed, name in names)
            and (chosen.start is None or chosen.start < end)
            and (chosen.end is None or first < chosen.end)
        )

    return is_wanted


def _orphans(catalog: Catalog, healed: Sequence[Healed]) -> list[str]:
    """Return a line a series that lost a file and that no feed asks for any more."""
    configured = catalog.all_series()
    lost = {one.finding.series for one in healed if one.kept}
    return [
        f"{series}: not in the configuration, so nobody fetches its days again"
        for series in sorted(series for series in lost if series and series not in configured)
    ]
