"""Medians, ratios and verdicts of the benchmarks, and how they are shown."""

import pytest

from bench.against import compare_with
from bench.environments import python_of
from bench.figure import Beside, Better, Figure, Unmeasured
from bench.place import QUICK, Place
from bench.report import write_markdown


@pytest.mark.parametrize(
    ("better", "values", "goal", "met"),
    [
        pytest.param(Better.HIGHER, [1, 9, 5], 5, True, id="median-reaches"),
        pytest.param(Better.HIGHER, [1, 9, 4], 5, False, id="best-alone-does-not-count"),
        pytest.param(Better.LOWER, [1, 9, 5], 5, True, id="median-stays-below"),
        pytest.param(Better.LOWER, [1, 9, 6], 5, False, id="median-above"),
        pytest.param(Better.LOWER, [1, 9, 6], None, None, id="no-goal"),
        pytest.param(Better.LOWER, [], 5, None, id="not-measured"),
    ],
)
def test_the_median_is_judged(better, values, goal, met) -> None:
    """A goal is kept by the median, in the figure's own direction."""
    figure = Figure("a", "what", "s", better, values, goal=goal)

    assert figure.is_met is met


@pytest.mark.parametrize(
    ("better", "beside", "ratio", "met"),
    [
        pytest.param(Better.HIGHER, Beside("raw", [20], 0.6), 0.5, False, id="slower-than-asked"),
        pytest.param(Better.HIGHER, Beside("peer", [2], 5), 5, True, id="times-a-peer"),
        pytest.param(Better.LOWER, Beside("stock", [200], 1 / 20), 0.05, True, id="a-twentieth"),
        pytest.param(Better.LOWER, Beside("stock", [100], 1 / 20), 0.1, False, id="a-tenth"),
        pytest.param(Better.LOWER, Beside("empty", [10]), 1, None, id="to-compare-only"),
        pytest.param(Better.LOWER, Beside("peer", [], 5, "absent"), None, None, id="no-peer"),
    ],
)
def test_the_ratio_of_the_medians_is_judged(better, beside, ratio, met) -> None:
    """What stands beside a figure bounds it as a multiple, in the figure's own direction."""
    figure = Figure("a", "what", "s", better, [10], beside=[beside])

    assert figure.ratio(beside) == ratio
    assert figure.is_met_beside(beside) is met


def test_the_table_has_a_line_for_each_comparison(tmp_path) -> None:
    """Markdown shows the figure, what stands beside it, and why a peer was not measured."""
    beside = [Beside("raw", [1_000_000], 0.6), Beside("peer", (), 5, "needs Python 3.13")]
    figure = Figure(
        "fetch", "how", "rows/s", Better.HIGHER, [650_000, 700_000, 600_000], 600_000, beside
    )

    write_markdown([figure], "Commit x, 2 cores", tmp_path / "table.md")

    assert (tmp_path / "table.md").read_text().splitlines() == [
        "| figure | median | least … most | ratio | goal |  |",
        "| --- | ---: | --- | ---: | --- | --- |",
        "| fetch | 650,000 rows/s | 600,000 … 700,000 |  | ≥ 600,000 | ok |",
        "| ↳ raw | 1,000,000 rows/s |  | 0.65 x | ≥ 0.6 x | ok |",
        "| ↳ peer | not measured | needs Python 3.13 |  | ≥ 5 x |  |",
        "",
        "- **fetch**: how.",
        "",
        "Commit x, 2 cores.",
    ]


def test_a_peer_whose_python_is_absent_is_not_measured(monkeypatch, tmp_path) -> None:
    """An environment whose Python is nowhere is not made, and the reason names the version."""
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))

    with pytest.raises(Unmeasured, match=r"needs Python 3\.99"):
        python_of("ckvd", (3, 99), within=tmp_path)


@pytest.mark.parametrize(
    ("peers", "why_not"),
    [
        pytest.param(True, "it stored 5 of 1,440 rows", id="void"),
        pytest.param(False, "not asked for", id="skipped"),
    ],
)
def test_a_peer_without_the_rows_has_no_time(peers, why_not, tmp_path) -> None:
    """A peer that fell short, or that nobody asked for, stands there with the reason."""
    place = Place("http://127.0.0.1:9", tmp_path / "own", tmp_path, QUICK, peers)

    def fall_short() -> list[float]:
        raise Unmeasured("it stored 5 of 1,440 rows")

    assert compare_with(place, "peer", 5, fall_short) == Beside("peer", (), 5, why_not)
