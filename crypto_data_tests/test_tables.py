"""Tables in a terminal: what may be wrapped, what may not, at any width."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crypto_data.cli.tables import Column, draw

NUMBERS = st.integers(0, 10**9).map("{:,}".format)
NAMES = st.from_regex(r"[a-zA-Z]{1,20}", fullmatch=True)
LISTS = st.lists(st.sampled_from(["vision", "rest", "ccxt:okx"]), min_size=1, max_size=3).map(
    " then ".join
)
PROSE = st.lists(NAMES, max_size=12).map(" ".join)


@st.composite
def tables(draw_from):
    """Return columns of two rows, each of one kind."""
    columns = []
    for number in range(draw_from(st.integers(1, 8))):
        kind = draw_from(st.sampled_from(["number", "name", "list", "prose"]))
        cells = {"number": NUMBERS, "name": NAMES, "list": LISTS, "prose": PROSE}[kind]
        columns.append(
            Column(
                f"column_{number}",
                tuple(draw_from(cells) for _ in range(2)),
                is_prose=kind == "prose",
                is_list=kind == "list",
                is_number=kind == "number",
            )
        )
    return columns


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(columns=tables(), width=st.integers(30, 200))
@example(columns=[Column(one, ("A " * 12,), is_prose=True) for one in "xy"], width=30)  # no row
def test_no_word_or_number_is_cut(monkeypatch, capsys, columns, width) -> None:
    """Every word and number stands whole at any width: a cut number looks like a right one."""
    monkeypatch.setenv("COLUMNS", str(width))

    draw(columns)

    printed = capsys.readouterr().out.split()
    words = [word for column in columns for cell in column.cells for word in cell.split()]
    assert [word for word in words if word not in printed] == []


@pytest.mark.parametrize("width", [40, 100])
def test_what_is_said_of_a_row_follows_it(monkeypatch, capsys, width) -> None:
    """Where prose has no room beside its row it stands below it, lists or not."""
    monkeypatch.setenv("COLUMNS", str(width))
    sources = Column("sources", ("vision then rest", "rest then ccxt:okx"), is_list=True)
    series = Column("series", ("binance/spot/BTCUSDT/1h", "binance/spot/ETHUSDT/1h"))
    why = Column("why", ("first " * 20, "second " * 20), is_prose=True)

    draw([series, sources, why])

    printed = capsys.readouterr().out
    places = [printed.index(word) for word in ("BTCUSDT", "first", "ETHUSDT", "second")]
    assert places == sorted(places)
