"""Cron schedules of five fields, UTC: whether one can be used at all.

When a schedule is due belongs to Dagster.
"""

import re

CRON_WORDS = 'five cron fields, UTC, such as "30 0 * * *": minute hour day month weekday'

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")

# Name, lowest and highest number, and the words that stand for numbers.
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("weekday", 0, 7, {name: number for number, name in enumerate(_WEEKDAYS)}),
)
_ITEM = re.compile(r"(?:\*|([0-9A-Z]{1,3})(?:-([0-9A-Z]{1,3}))?)(?:/([0-9]{1,2}))?")
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def check_cron(text: str) -> str:
    """Return the schedule with single blanks between its fields.

    Raises:
        ValueError: a field is wrong, or no month has such a day; the message says which.

    Example:
        >>> check_cron("*/15  6-22 * * MON-FRI")
        '*/15 6-22 * * MON-FRI'
    """
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(f"{CRON_WORDS}; here are {len(parts)}")
    for part, (name, low, high, words) in zip(parts, _FIELDS, strict=True):
        for item in part.upper().split(","):
            if not _numbers(item, low, high, words):
                raise ValueError(f"{CRON_WORDS}; the {name} is {low} to {high}, *, a-b, */n or a,b")
    # Asked even beside a weekday, which cron would take instead: Dagster refuses such a day too.
    _check_day_exists(parts[2], parts[3])
    return " ".join(parts)


def _numbers(item: str, low: int, high: int, words: dict[str, int]) -> range:
    """Return the numbers an item stands for; an empty range when it is wrong."""
    found = _ITEM.fullmatch(item)
    if found is None:
        return range(0)
    first_word, last_word, step = found.groups()
    try:
        first = low if first_word is None else _number(first_word, words)
        last = _number(last_word, words) if last_word else None
    except ValueError:
        return range(0)
    if last is None:
        # `5/10` means every tenth from 5 on.
        last = high if first_word is None or step else first
    stride = int(step or 1)
    if not low <= first <= last <= high or not 1 <= stride <= high:
        return range(0)
    return range(first, last + 1, stride)


def _number(word: str, words: dict[str, int]) -> int:
    return words[word] if word in words else int(word)


def _check_day_exists(days: str, months: str) -> None:
    earliest = min(_numbers(item, 1, 31, {})[0] for item in days.split(","))
    words = _FIELDS[3][3]
    asked = [month for item in months.upper().split(",") for month in _numbers(item, 1, 12, words)]
    if earliest > max(_LONGEST_MONTH[month - 1] for month in asked):
        raise ValueError(
            f"{CRON_WORDS}; a day that exists: day {earliest} is in none of its months"
        )
