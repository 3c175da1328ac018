"""Instants as users write them: text, dates, datetimes of any library, as UTC epoch milliseconds.

Reading alone. Which instants make sense for a series belongs to `api.asking`.
"""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from crypto_data.errors import UsageError

# Text, a date, a datetime, a pandas Timestamp or a numpy datetime64.
Instant = str | date | datetime | Any

_FORMS = 'write "2024-03-01", "2024-03-01T12:30", a date or a datetime; without a zone it is UTC'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
# fromisoformat would also take "20240301" and "2024-W09-5", where a number is soon mistaken.
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ].+)?")


def to_ms(name: str, value: Instant) -> int:
    """Return an instant as UTC epoch milliseconds, rounded up.

    Rounded up, as a kline opens on a whole millisecond: `[start, end)` means the same klines.

    Args:
        name: `start` or `end`, for the message.
        value: Text as ISO 8601 writes it, a date (its first instant), a datetime or something like
            it. Without a zone it is UTC.

    Raises:
        UsageError: it is none of these.

    Example:
        >>> to_ms("start", "1970-01-02") == to_ms("start", date(1970, 1, 2)) == 86_400_000
        True
    """
    moment = _to_datetime(name, value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return -((_EPOCH - moment) // _MILLISECOND)


def _to_datetime(name: str, value: Instant) -> datetime:
    if isinstance(value, datetime):
        if value != value:  # noqa: PLR0124 - pandas' NaT is a datetime that equals nothing
            raise UsageError(f"{name}: NaT is no time; {_FORMS}")
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if type(value).__name__ == "datetime64":
        value = str(value)
    if not isinstance(value, str):
        raise UsageError(f"{name}: {value!r} is no time; {_FORMS}")
    if not _ISO.fullmatch(value.strip()):
        raise UsageError(f"{name}: {value!r} is no time; {_FORMS}")
    try:
        return datetime.fromisoformat(value.strip())
    except ValueError as error:
        raise UsageError(f"{name}: {value!r} is no time ({error}); {_FORMS}") from None
