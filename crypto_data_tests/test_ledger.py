"""The day ledger: joined runs, and text and back."""

import json
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto_data.coverage import DayFacts, SourceAnswer
from crypto_data.intervals import TimeRange
from crypto_data.lake.ledger import DayRun, decode, encode, to_ledger, to_runs

DAY = date(2024, 2, 28)
WHOLE = DayFacts(rows=1440, sources=(("vision", 1440),), attempts=1, asked_ms=5, ingested_ms=5)
HOLED = DayFacts(
    rows=1438,
    off_grid=2,
    unlisted_rows=1,
    sources=(("rest", 38), ("vision", 1400)),
    absent=(TimeRange(60_000, 120_000),),
    explained=True,
    doubtful=True,
    answers=(SourceAnswer("vision", "served"), SourceAnswer("rest", "down", "502 <html> “…” 币\n")),
    set_aside=(("open_time_is_unique", 3),),
    checksum="ab" * 32,
    address="https://x/y.zip",
    attempts=4,
    asked_ms=1_709_600_000_000,
    ingested_ms=1_709_500_000_000,
)


def test_equal_neighbours_share_an_entry() -> None:
    """A year of equal days is one run; a hole in the calendar or other facts end it."""
    days = {DAY + timedelta(days=n): WHOLE for n in (0, 1, 2, 5)}
    days[DAY + timedelta(days=3)] = HOLED

    assert to_runs(days) == [
        DayRun(DAY, 3, WHOLE),
        DayRun(date(2024, 3, 2), 1, HOLED),
        DayRun(date(2024, 3, 4), 1, WHOLE),
    ]


facts = st.sampled_from([WHOLE, HOLED, DayFacts(), DayFacts(unlisted_rows=24, attempts=1)])


@given(st.dictionaries(st.dates(DAY, DAY + timedelta(days=12)), facts, max_size=12))
def test_text_and_back_is_the_same_ledger(ledger) -> None:
    """No fact of any day is lost or invented by the footer."""
    runs = decode(encode(ledger))

    assert to_ledger(runs) == ledger
    assert runs == to_runs(ledger)
    assert all(one.end <= two.first for one, two in pairwise(runs))


def test_what_equals_its_default_takes_no_room() -> None:
    """A month of settled days is a footer of a few hundred bytes."""
    month = {DAY + timedelta(days=n): WHOLE for n in range(31)}

    text = encode(month)

    assert len(json.loads(text)) == 1
    assert len(text) < 150


@pytest.mark.parametrize(
    "text",
    [b"", b"[]x", b"{}1", b'[{"days":1}]', b'[{"first":"2024-02-28"}]', b"[3]", b'[{"first":3}]'],
)
def test_other_text_is_no_ledger(text) -> None:
    """A damaged footer raises one of the three errors that readers turn into LakeDamaged."""
    with pytest.raises((ValueError, KeyError, TypeError, AttributeError)) as caught:
        decode(text)

    assert not isinstance(caught.value, AttributeError)
