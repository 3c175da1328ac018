"""The zone in which tables show instants; what is stored and asked for stays UTC."""

from contextvars import ContextVar
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from crypto_data.errors import UsageError
from crypto_data.naming import nearest

_ZONE: ContextVar[tzinfo] = ContextVar("zone", default=UTC)
# Of so many similar names the nearest come first.
MOST_NAMES = 5


def show_in(name: str) -> None:
    """Show instants in a zone from now on, such as `Europe/Berlin`.

    Raises:
        UsageError: there is no such zone; the message names the nearest.
    """
    try:
        _ZONE.set(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(_unknown(name)) from None


def _unknown(name: str) -> str:
    zones = sorted(available_timezones())
    # `Berlin` and `europe/berlin` are what people write.
    keys = {
        key: zone for zone in zones for key in (zone.casefold(), zone.split("/")[-1].casefold())
    }
    names = list(dict.fromkeys(keys[key] for key in nearest(name, keys, MOST_NAMES)))
    hint = f"did you mean {' or '.join(names)}?" if names else "write it as Europe/Berlin"
    return f"--timezone: there is no zone {name!r}; {hint}"


def show_instant(moment: datetime, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return an instant in the zone that was asked for, with its offset unless that is UTC.

    A time without a zone, as a SELECT may make one, is shown as it is.
    """
    zone = _ZONE.get()
    if moment.tzinfo is None or zone is UTC:
        return f"{moment:{form}}"
    local = moment.astimezone(zone)
    offset = f"{local:%z}"
    return f"{local:{form}}{offset[:3]}:{offset[3:5]}"
