"""The benchmarks run; what they measure is not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_benchmarks_print_a_table_and_write_it(tmp_path) -> None:
    """A quick run ends well, shows each figure with its verdict, and writes the same as JSON."""
    command = [sys.executable, "-m", "bench", "--quick", "--results", str(tmp_path)]
    ran = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )

    assert ran.returncode == 0, ran.stderr
    (written,) = tmp_path.glob("*.json")
    figures = json.loads(written.read_text())["figures"]
    names = [figure["name"] for figure in figures]
    assert names == [
        "daily-archives",
        "help",
        "import",
        "memory",
        "bytes-written",
        "inventory",
        "gap-tick",
        "klines",
        "klines-many",
    ]
    for name in names:
        assert f"{name}:" in ran.stdout
    assert "ok" in ran.stdout or "missed" in ran.stdout
    assert "cores" in ran.stdout
