"""Cron schedules: those Dagster accepts, and those nobody could mean."""

import pytest

from crypto_data.catalog.cron import check_cron


@pytest.mark.parametrize(
    "text",
    [
        "30 0 * * *",
        "*/15 * * * *",
        "0,30 6-22/2 * * MON-FRI",
        "5/10 * * * *",
        "0 0 1 JAN,jul *",
        "0 0 29 2 *",
        "0 0 * * 0,7",
        "0 0 * * SUN",
    ],
)
def test_usual_schedules_pass(text) -> None:
    """Numbers, ranges, steps, lists and names in any case are cron."""
    assert check_cron(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("", "here are 0", id="empty"),
        pytest.param("0 0 * *", "here are 4", id="four"),
        pytest.param("0 0 * * * *", "here are 6", id="seconds"),
        pytest.param("60 * * * *", "the minute is 0 to 59", id="minute"),
        pytest.param("* 24 * * *", "the hour is 0 to 23", id="hour"),
        pytest.param("* * 0 * *", "the day is 1 to 31", id="day"),
        pytest.param("* * * 13 *", "the month is 1 to 12", id="month"),
        pytest.param("* * * FEBR *", "the month", id="month-name"),
        pytest.param("* * * * 8", "the weekday is 0 to 7", id="weekday"),
        pytest.param("5-1 * * * *", "the minute", id="backwards"),
        pytest.param("*/0 * * * *", "the minute", id="no-step"),
        pytest.param("1,,2 * * * *", "the minute", id="empty-item"),
        pytest.param("MON * * * *", "the minute", id="name-elsewhere"),
        pytest.param("\u0661 * * * *", "the minute", id="arabic-digit"),
        pytest.param("0 0 30 2 *", "day 30 is in none", id="february"),
        pytest.param("0 0 31 2 MON", "day 31 is in none", id="february-or-monday"),
        pytest.param("0 0 31 4,6 *", "day 31 is in none", id="short-months"),
    ],
)
def test_wrong_schedules_say_which_field(text, said) -> None:
    """The message names the field, or the day that never comes."""
    with pytest.raises(ValueError, match=said):
        check_cron(text)
