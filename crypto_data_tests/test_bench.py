"""The benchmarks run; what they measure is not judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Each name measures these figures. `pages` needs a browser, and an environment that is installed.
FETCHING = {
    "daily-archives": ["daily-archives"],
    "rest-year": ["rest-year"],
    "full-history": ["full-history", "full-history-memory"],
    "many-series": ["many-series"],
    "top-up": [
        "top-up-1d", "top-up-1d-written", "top-up-1h", "top-up-1h-written", "top-up-1m",
        "top-up-1m-written",
    ],
    "bytes-written": ["bytes-written"],
    "memory": ["memory"],
}  # fmt: skip
LOOKING = {
    "dagster-3000": ["dagster-3000"],
    "inventory": ["inventory"],
    "inventory-25": ["inventory-25"],
    "gap-tick": ["gap-tick"],
    "definitions": ["definitions"],
    "backfills": ["backfill-of-1", "backfill-of-2"],
    "klines": ["klines"],
    "klines-many": ["klines-many"],
    "help": ["help"],
    "import": ["import"],
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "chosen", [pytest.param(FETCHING, id="fetching"), pytest.param(LOOKING, id="looking")]
)
def test_the_benchmarks_print_a_table_and_write_it(chosen, tmp_path) -> None:
    """A quick run measures every figure and shows each, with JSON and Markdown of the same."""
    ran = _bench(tmp_path, *chosen)

    assert ran.returncode == 0, ran.stderr
    figures = _written(tmp_path)
    expected = [name for names in chosen.values() for name in names]
    assert [figure["name"] for figure in figures] == expected
    assert all(figure["values"] for figure in figures), ran.stdout
    (markdown,) = tmp_path.glob("*.md")
    for figure in figures:
        assert f"{figure['name']}: {figure['what']}" in ran.stdout
        assert f"| {figure['name']} |" in markdown.read_text()
    assert max(map(len, ran.stdout[: ran.stdout.index("└")].splitlines())) <= 120
    assert "cores (load" in ran.stdout


@pytest.mark.slow
def test_what_cannot_be_measured_says_why_and_stops_nothing_else(tmp_path) -> None:
    """Without a browser there are no pages, and the other figures are still measured."""
    ran = _bench(tmp_path, "pages", "help", path="/nonexistent")

    assert ran.returncode == 0, ran.stderr
    pages, answer = _written(tmp_path)
    assert pages["values"] == []
    assert "no chromium" in pages["why_not"]
    assert answer["values"]
    assert "not measured" in ran.stdout


def _bench(results: Path, *names: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "--quick", "--no-peers", "--results", str(results)]
    return subprocess.run(
        [*command, *(part for name in names for part in ("--only", name))],
        cwd=ROOT,
        env=os.environ | ({"PATH": path} if path else {}),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def _written(results: Path) -> list[dict]:
    (path,) = results.glob("*.json")
    return json.loads(path.read_text())["figures"]
