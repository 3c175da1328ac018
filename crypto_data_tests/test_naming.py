"""Names that nobody knows: the nearest ones are found, and said before the others."""

import pytest

from crypto_data.intervals import Interval
from crypto_data.naming import describe_unknown, nearest


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        pytest.param("btcusdt", ["ETHUSDT", "BTCUSDT"], "BTCUSDT", id="small-letters"),
        pytest.param("BTCUSTD", ["ETHUSDT", "BTCUSDT"], "BTCUSDT", id="typo"),
        pytest.param("Rest", ["vision", "rest"], "rest", id="capital"),
        pytest.param("1hour", list(Interval), "1h", id="interval"),
        pytest.param("europe/berln", ["Europe/Berlin"], "Europe/Berlin", id="case-of-the-known"),
        pytest.param("swap", ["spot", "um", "cm"], None, id="nothing-near"),
        pytest.param("x", [], None, id="nothing-known"),
    ],
)
def test_the_nearest_name(name, known, found) -> None:
    """Case does not matter; what is like nothing has no nearest."""
    assert nearest(name, known) == ([found] if found else [])


def test_what_there_is_is_said_nearest_first() -> None:
    """Values of an enum are said as they are written, and a long list ends in dots."""
    said = describe_unknown(Interval.HOUR_1, [Interval.DAY_1, Interval.HOUR_12], "no interval")
    long = describe_unknown("X9", [f"X{number}" for number in range(20, 40)])

    assert said == "'1h' is no interval; did you mean 12h? there is 12h, 1d"
    assert long.endswith(", …")
    assert describe_unknown("x", []) == "'x' is not known; there is none"
