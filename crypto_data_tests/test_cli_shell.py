"""What all commands share: zones, completion, tables that fit, and the order of `--help`."""

import json
import re
from datetime import date
from importlib.metadata import version

import pytest
from typer.main import get_command

from crypto_data.cli.main import app
from crypto_data.cli.output import print_table
from crypto_data.cli.shell import PANELS
from crypto_data.harvest import Aim
from crypto_data.lake.history import Pass, note_pass
from crypto_data.partitions import day_start_ms
from crypto_data.sandbox.faults import Fault
from crypto_data.series import Series

BTC = Series.parse("binance/spot/BTCUSDT/1h")
AT_MS = day_start_ms(date(2024, 7, 12))
LONG = "https://data.binance.vision/data/spot/daily/klines/BTCUSDT/1h/BTCUSDT-1h-2024-01-10.zip"


@pytest.fixture
def ran(desk):
    """Return a desk whose feed ran once, in summer."""
    desk.configure()
    note_pass(desk.lake.root, Pass("1", "binance_spot", Aim.FILL, AT_MS, (BTC,), {}))
    return desk


@pytest.mark.parametrize(
    ("words", "environ"),
    [
        pytest.param("--timezone Europe/Berlin status", {}, id="before"),
        pytest.param("status --timezone Europe/Berlin", {}, id="behind"),
        pytest.param("status --timezone=Europe/Berlin", {}, id="equals"),
        pytest.param("status", {"CRYPTO_DATA_TIMEZONE": "Europe/Berlin"}, id="environment"),
    ],
)
def test_instants_of_tables_are_shown_in_a_zone(ran, words, environ) -> None:
    """The table says the local time with its offset; JSON stays UTC."""
    table = ran.run(*words.split(), environ=environ)
    rows = json.loads(ran.run(*words.split(), "--format", "json", environ=environ).stdout)

    assert table.returncode == 0, table.stderr
    assert "2024-07-12 02:00+02:00" in table.stdout
    assert rows[0]["last_run"] == "2024-07-12T00:00:00Z"


def leaves_of(group, before=()) -> list[tuple[str, ...]]:
    """Return the words of every command: `status`, `alerts test`."""
    found = []
    for name, command in group.commands.items():
        found.append((*before, name))
        found += leaves_of(command, (*before, name)) if hasattr(command, "commands") else []
    return found


@pytest.mark.parametrize("words", leaves_of(get_command(app)), ids=" ".join)
def test_every_command_takes_a_log_level(desk, words) -> None:
    """Behind the command too; a level that is none is refused."""
    taken = desk.run(*words, "--log-level", "debug", "--help")
    refused = desk.run(*words, "--log-level=loud", "--help")

    assert (taken.returncode, words[-1] in taken.stdout) == (0, True), taken.stderr
    said = " ".join(refused.stderr.replace("│", " ").split())  # it stands in a box
    assert (refused.returncode, "'loud' is not one of" in said) == (2, True)
    assert "Value error" not in said


@pytest.mark.parametrize("option", ["--log-level", "--timezone"])
def test_an_option_of_every_command_without_its_value(desk, option) -> None:
    """It is not taken for an option that the command lacks, nor the command for its value."""
    done = desk.run("status", option)

    assert done.returncode == 2
    assert f"Option '{option}' requires an argument" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param("validate --format yaml", "'--format': 'yaml' is not one of", id="format"),
        pytest.param("export nope --to x", "'program': 'nope' is not one of", id="argument"),
        pytest.param("alerts test --format yaml", "'--format': 'yaml' is", id="below-a-command"),
        pytest.param("backfill --parallel x", "'--parallel': no whole number", id="number"),
        pytest.param("backfill --parallel 99", "it should be less than or equal", id="range"),
    ],
)
def test_a_value_that_an_option_cannot_have(desk, words, said) -> None:
    """It is refused in words that name no library."""
    done = desk.run(*words.split())

    found = " ".join(done.stderr.replace("│", " ").split())  # it stands in a box
    assert done.returncode == 2
    assert said in found
    assert "Value error" not in found
    assert "Input should" not in found


@pytest.mark.parametrize("words", [[], ["sql"], ["alerts", "test"]])
def test_help_is_short_too(desk, words) -> None:
    """`-h` is `--help`, of every command."""
    short, long = desk.run(*words, "-h"), desk.run(*words, "--help")

    assert (short.returncode, short.stdout) == (0, long.stdout)


def test_the_version(desk) -> None:
    """It is the installed one, and needs no configuration."""
    done = desk.run("--version")

    assert (done.returncode, done.stdout) == (0, f"crypto-data {version('crypto-data')}\n")


@pytest.mark.parametrize("name", ["", "crypto_data.yaml"])
def test_a_folder_in_place_of_the_configuration(desk, tmp_path, name) -> None:
    """The file in it is named, or the one to make; nothing is to be written over the folder."""
    folder = tmp_path / "place"
    folder.mkdir()
    if name:
        (folder / name).write_text("lake: ./lake")

    done = desk.run("validate", "--config", folder)

    said = "name the file in it" if name else "To make one, write this to"
    assert done.returncode == 2
    assert f"{folder} is a folder" in done.stderr
    assert f"{said}{':' if name else ''} {folder / 'crypto_data.yaml'}" in done.stderr


def test_a_statement_keeps_its_names_and_digits(desk) -> None:
    """Columns are called as the statement calls them, and no number is rounded."""
    statement = """SELECT 1 AS open_time, count(*), 469578810.25 ::DOUBLE AS [volume],
        sum(12345678901) AS total FROM range(1)""".replace("[volume]", '"[red]volume"')
    desk.configure()

    lines = desk.run("sql", statement).stdout.splitlines()

    assert lines[0].split() == ["open_time", "count_star()", "[red]volume", "total"]
    assert lines[-1].split() == ["1", "1", "469,578,810.25", "12,345,678,901"]


def test_days_stay_utc(desk) -> None:
    """A gap is shown in the zone, a day is the same day everywhere."""
    desk.configure({"start": "2023-03-24", "end": "2023-03-25"})
    desk.fill()

    gaps = desk.run("gaps", "--timezone", "Asia/Tokyo").stdout
    coverage = desk.run("coverage", "--timezone", "Asia/Tokyo").stdout

    assert "2023-03-24 22:00+09:00" in gaps
    assert "2023-03-24" in coverage
    assert "+09:00" not in coverage


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("Europe/Berln", "did you mean Europe/Berlin", id="typo"),
        pytest.param("berlin", "did you mean Europe/Berlin", id="city"),
        pytest.param("../../etc/passwd", "there is no zone", id="path"),
        pytest.param("###", "write it as Europe/Berlin", id="nothing-near"),
    ],
)
def test_a_wrong_zone(desk, name, said) -> None:
    """Status 2, and the nearest names."""
    done = desk.run("status", "--timezone", name)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        pytest.param(["ba"], {"backfill"}, id="command"),
        pytest.param(["backfill", "--symbols", "B"], {"BTCUSDT", "BNBUSDT"}, id="symbol"),
        pytest.param(["gaps", "--symbols", "BTCUSDT,E"], {"BTCUSDT,ETHUSDT"}, id="list"),
        pytest.param(["gaps", "--intervals", ""], {"1h", "1d"}, id="interval"),
        pytest.param(["remove", "E"], {"ETHUSDT"}, id="argument"),
        pytest.param(["add", "X", "--feed", ""], {"binance_spot", "binance_um"}, id="feed"),
        pytest.param(["sql", "x", "--format", "c"], {"csv"}, id="choice"),
        pytest.param(["status", "--log-level", "D"], {"DEBUG"}, id="everywhere"),
    ],
)
def test_completion(desk, shell, words, offered) -> None:
    """Commands complete, and names that stand in the configuration."""
    desk.configure(
        {"symbols": ["BTCUSDT", "BNBUSDT", "ETHUSDT"], "intervals": ["1h", "1d"]}, {"market": "um"}
    )
    line = " ".join(["crypto-data", *words])
    environ = {
        "_CRYPTO_DATA_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words)),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }

    done = desk.run(environ=environ)

    found = set(re.findall(r"[\w,]+", done.stdout))
    assert done.returncode == 0
    assert offered <= found
    assert done.stderr == ""
    assert found.isdisjoint({"inventory", "SOLUSDT"})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_installed(desk, shell) -> None:
    """The script for a shell is printed, to be loaded by it."""
    done = desk.run(environ={"_CRYPTO_DATA_COMPLETE": f"source_{shell}"})

    assert done.returncode == 0, done.stderr
    assert f"_CRYPTO_DATA_COMPLETE=complete_{shell}" in done.stdout


def test_completion_without_a_configuration_offers_nothing(desk) -> None:
    """Silence, no traceback."""
    environ = {
        "_CRYPTO_DATA_COMPLETE": "complete_bash",
        "COMP_WORDS": "crypto-data gaps --symbols B",
        "COMP_CWORD": "3",
    }

    done = desk.run(environ=environ)

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_help_has_every_command_in_a_panel() -> None:
    """Each command has a place among the panels, and the panels name no other."""
    placed = [name for names in PANELS.values() for name in names]

    commands = list(get_command(app).commands)

    assert [name for name in placed if name in commands] == commands


def test_tables_fit_into_100_columns(desk) -> None:
    """In a pipe no line is longer, though reasons are; they stand whole below their row."""
    desk.configure({"symbols": ["BTCUSDT", "NOPEUSDT"], "start": "2023-03-20", "end": "2023-03-26"})
    desk.sandbox.faults.add(Fault("/data/*", "status", status=403, body="html403"))
    desk.run("backfill")

    for command in ("status", "inventory", "coverage", "gaps", "validate"):
        done = desk.run(command)
        assert done.returncode == 0
        assert max(map(len, done.stdout.splitlines())) <= 100, done.stdout
    said = " ".join(desk.run("gaps").stdout.split())
    assert "why: vision: 127.0.0.1:" in said
    assert "code -1121: Invalid symbol." in said


@pytest.mark.parametrize(
    ("row", "lines"),
    [
        pytest.param(
            {"why": f"{LONG}: HTTP 404"},
            ["data.binance.vision/…/BTCUSDT-1h-2024-01-10.zip: HTTP 404"],
            id="link",
        ),
        pytest.param({"why": "see https://x.org."}, ["see x.org."], id="short-link"),
        pytest.param(
            {"name": "N" * 90, "why": "because " * 9},
            ["N" * 90, f"    why: {'because ' * 9}".rstrip()],
            id="below",
        ),
        pytest.param(
            {"errors_in_a_row": 3, "name": "N" * 90},
            ["errors", "  in a", "   row  name", f"     3  {'N' * 90}"],
            id="header",
        ),
        pytest.param({"name": "N" * 120}, ["N" * 120], id="names-are-never-broken"),
    ],
)
def test_how_a_table_makes_room(capsys, monkeypatch, row, lines) -> None:
    """Addresses are cut to host and file, headers wrapped, prose put below; names stay whole."""
    monkeypatch.delenv("COLUMNS", raising=False)

    print_table([row])

    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line for line in printed if line in lines] == lines


def test_a_wait_is_said_once(desk) -> None:
    """A command that waits for a limit to end says so, how long and why."""
    desk.configure({"sources": ["rest"], "symbols": ["BTCUSDT", "ETHUSDT"]})
    desk.sandbox.faults.add(Fault("/api/v3/klines", "status", status=429, retry_after=4, times=1))

    done = desk.run("backfill", "--parallel", "2")

    assert done.returncode == 0, done.stderr
    waits = [line for line in done.stderr.splitlines() if "waiting" in line]
    assert len(waits) == 1
    assert re.search(r"rest-spot 127\.0\.0\.1:\d+: waiting 4 s, until .*HTTP 429", waits[0])
