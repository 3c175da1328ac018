"""README and docs say what is so: their commands and snippets run, their tables fit the code."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
import typer

from crypto_data.catalog.configuration import parse_catalog
from crypto_data.catalog.cron import check_cron
from crypto_data.cli.main import app
from crypto_data.coverage import DayFacts, DayState
from crypto_data.exchanges import EXCHANGES
from crypto_data.harvest import Aim
from crypto_data.lake import layout, part
from crypto_data.lake.checkup import Kind
from crypto_data.lake.corrections import CORRECTIONS_KEY
from crypto_data.lake.ledger import KEY, DayRun
from crypto_data.lake.view_columns import MEANINGS
from crypto_data.lake.views import VIEWS
from crypto_data.orchestration.checks import Check
from crypto_data.sandbox.faults import ACTIONS, Fault, faults_from_json
from crypto_data.sandbox.server import Sandbox, sandbox_config
from crypto_data.schema import KLINES
from crypto_data.sources.base import Outcome
from crypto_data.sources.day_rows import OUTSIDE_RULE
from crypto_data.validation import RULES
from crypto_data_tests.conftest import Desk

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Why a block may stand in a page without being run here.
NOT_RUN = {
    "builds an environment of its own",
    "servers that do not end",
    "a server that does not end",
    "needs the server above",
    "needs an address",
    "needs a container engine",
    "run by test_export_consumers.py, which has the program",
    "sets variables only",
    "Dagster's own settings, test_postgres.py runs with them",
    "curl is no part of the environment; the faults are read by a test",
}
FEEDS = """
  - exchange: binance
    market: spot
    symbols: [BTCUSDT, ETHUSDT]
    intervals: [1m, 1h]
    start: 2023-03-20
    end: 2023-03-27
  - exchange: binance
    market: cm
    symbols: [BTCUSD_PERP]
    intervals: [1h]
    start: 2023-03-20
    end: 2023-03-27
"""
# A daily file that the archive publishes twice.
CHANGED = "*BTCUSDT-1h-2023-03-22.zip"
SECONDS = 60
# What `sandbox` and the configuration of a stand-in say where the pages name a fixed port.
FIXED_URL = "http://127.0.0.1:8900"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it stands, its language, its text, and why it is not run."""

    page: str
    line: int
    language: str
    text: str
    not_run: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page) -> list[Block]:
    text = page.read_text("utf-8")
    found = re.finditer(
        r"^(?:<!-- not run: (?P<why>.*?) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$",
        text,
        re.MULTILINE | re.DOTALL,
    )
    return [
        Block(
            str(page.relative_to(ROOT)),
            text.count("\n", 0, match.start()) + 1,
            match["language"],
            match["text"],
            match["why"] or "",
        )
        for match in found
    ]


# Measurements take minutes; the page about them is held to its links only.
BLOCKS = [block for page in PAGES if page.name != "performance.md" for block in blocks_of(page)]


def chosen(*languages) -> list:
    return [
        pytest.param(block, id=str(block))
        for block in BLOCKS
        if block.language in languages and not block.not_run
    ]


def without_blocks(page) -> str:
    text = page.read_text("utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def tables_of(page) -> dict[str, list[list[str]]]:
    """Return the cells of the tables below each heading, the head of a table left out."""
    tables: dict[str, list[list[str]]] = {}
    heading = ""
    lines = without_blocks(ROOT / page).splitlines()
    for number, line in enumerate(lines):
        if line.startswith("#"):
            heading = line.lstrip("# ").strip("`")
        is_head = number + 1 < len(lines) and lines[number + 1].startswith("| --- |")
        if line.startswith("|") and not line.startswith("| --- |") and not is_head:
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            tables.setdefault(heading, []).append(cells)
    return tables


def names_in(cell) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def first_names(rows) -> list[str]:
    return [name for row in rows for name in names_in(row[0])]


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Hold a folder with a configuration and some days in its lake, beside a running sandbox.

    The archive has published one day anew, with other values.
    """
    folder = tmp_path_factory.mktemp("docs")
    environ = {
        **{name: os.environ[name] for name in ("LANG", "TMPDIR") if name in os.environ},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "XDG_STATE_HOME": str(folder / "state"),
        "DAGSTER_HOME": str(folder / "dagster"),
        "PYTHONWARNINGS": "ignore",
        "COLUMNS": "200",
    }
    with Sandbox() as sandbox:
        text = sandbox_config(sandbox.url, "./lake", FEEDS)
        (folder / "crypto_data.yaml").write_text(text, "utf-8")

        def run(*command, text=None) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                command, cwd=folder, env=environ, input=text,
                capture_output=True, text=True, timeout=SECONDS, check=False,
            )  # fmt: skip

        sandbox.faults.add(Fault(CHANGED, "stale", factor=1.01))
        done = run("crypto-data", "backfill")
        assert done.returncode == 0, done.stderr
        sandbox.republish(CHANGED)
        Desk(folder, sandbox, environ).fill(aim=Aim.REVISE)
        done = run("crypto-data", "backfill")  # builds `lake.duckdb` anew
        assert done.returncode == 0, done.stderr
        yield SimpleNamespace(run=run, url=sandbox.url, folder=folder)


@pytest.mark.slow
@pytest.mark.parametrize("block", chosen("sh"))
def test_commands_of_the_pages_run(block, place) -> None:
    """Every command of a page ends with status 0."""
    done = place.run("sh", "-eu", "-c", block.text.replace(FIXED_URL, place.url))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("block", chosen("console"))
def test_printed_results_are_real(block, place) -> None:
    """What a page shows below a command is what the command prints, blanks and rules aside."""
    command, *shown = block.text.splitlines()

    done = place.run(*shlex.split(command.removeprefix("$ ")))

    printed = [line for line in done.stdout.splitlines() if line.strip(" ─")]
    assert [line.split() for line in printed] == [line.split() for line in shown], done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("block", chosen("python"))
def test_python_of_the_pages_runs(block, place) -> None:
    """Every Python snippet runs as a script in the folder of a configuration."""
    done = place.run(sys.executable, "-", text=block.text)

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("block", chosen("sql"))
def test_sql_of_the_pages_runs_and_finds_rows(block, place) -> None:
    """Every statement is accepted; one that asks for gaps alone may find none."""
    done = place.run("crypto-data", "sql", block.text, "--format", "json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) or "'open'" in block.text or "'partial'" in block.text


@pytest.mark.parametrize("block", chosen("yaml"))
def test_configurations_of_the_pages_are_good(block) -> None:
    """Every configuration of a page is one that the commands accept."""
    today = datetime.now(UTC).date()

    catalog = parse_catalog(block.text, path=ROOT / "some.yaml", environ={}, today=today)

    assert catalog.feeds


def test_what_is_not_run_has_a_known_reason() -> None:
    """A block without a test says why, in words that stand in the list above."""
    assert {block.not_run for block in BLOCKS if block.not_run} == NOT_RUN


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    """No block slips past these tests by its language; `text` holds output and drawings."""
    kinds = {block.language for block in BLOCKS}

    run = {"sh", "console", "python", "sql", "yaml"}
    assert kinds <= run | {"ini", "cron", "dockerfile"} | {"text", "mermaid", "json"}


def words_after(text, program) -> list[list[str]]:
    """Return the arguments of each call of a program in a text, a line of a shell or a list."""
    found = re.findall(rf'(?:^|[\s/"\[]){program}"?,? ([^\n|>&#]*)', text, re.MULTILINE)
    return [shlex.split(one.replace('"', "").replace(",", " ").rstrip("] ")) for one in found]


@pytest.mark.parametrize("block", chosen("ini", "cron", "dockerfile"))
def test_commands_of_services_exist(block) -> None:
    """What systemd, cron and a container are told to call are commands with such options."""
    commands = dict(commands_of(typer.main.get_command(app)))
    calls = words_after(block.text, "crypto-data")

    assert calls
    for name, *arguments in calls:
        known = {option for one in commands[name].params for option in one.opts}
        assert {one for one in arguments if one.startswith("--")} <= known


@pytest.mark.parametrize("block", chosen("ini"))
def test_units_are_units(block) -> None:
    """A systemd unit has its three sections, and ends with the signal that lets work finish."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(block.text)

    assert unit.sections() == ["Unit", "Service", "Install"]
    assert unit["Service"]["KillSignal"] == "SIGTERM"


@pytest.mark.parametrize("block", chosen("cron"))
def test_crontabs_are_crontabs(block) -> None:
    """Every line begins with five fields that name moments which come."""
    fields = [" ".join(line.split()[:5]) for line in block.text.splitlines()]

    assert [check_cron(one) for one in fields] == fields


@pytest.mark.parametrize("block", chosen("dockerfile"))
def test_a_container_installs_what_the_project_pins(block) -> None:
    """The files that its commands read are there, and the variables it sets are ours."""
    files = re.findall(r"-r (\S+)", block.text)
    variables = re.findall(r"(\w+)=/data", block.text)
    told = (ROOT / "docs/configuration.md").read_text("utf-8")

    assert files
    assert all((ROOT / file).exists() for file in files)
    assert variables
    assert all(f"`{name}`" in told for name in variables)


def test_faults_of_the_pages_are_faults() -> None:
    """The JSON handed to curl is a list of faults that the sandbox knows."""
    texts = [
        text for block in BLOCKS for text in re.findall(r"/sandbox/faults -d '(.*?)'", block.text)
    ]

    assert texts
    assert all(faults_from_json(text) for text in texts)


def anchors_of(page) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", without_blocks(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in PAGES])
def test_links_lead_somewhere(page) -> None:
    """Every link inside the project names a file that is there, and a heading it has."""
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_blocks(page)):
        if link.startswith(("http://", "https://")):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            broken.append(link)

    assert not broken


def test_reference_tables_are_current() -> None:
    """Options, keys and columns stand in the pages as the code has them; `make docs` writes."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "reference.py"), "--check"],
        cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["commands.md", "configuration.md", "views.md"])
def test_a_page_that_is_not_current_is_named(tmp_path, page) -> None:
    """A table that was changed by hand ends the check with 1; writing puts it right."""
    docs = shutil.copytree(ROOT / "docs", tmp_path / "docs")
    good = (docs / page).read_text("utf-8")
    (docs / page).write_text(good.replace("\n| `", "\n| `x", 1), "utf-8")
    tool = [sys.executable, str(docs / "reference.py")]

    def run(*more) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*tool, *more], capture_output=True, text=True, timeout=SECONDS, check=False
        )

    checked = run("--check")
    written = run()

    assert (checked.returncode, written.returncode) == (1, 0)
    assert page in checked.stderr
    assert (docs / page).read_text("utf-8") == good


def test_defaults_of_the_page_are_the_defaults() -> None:
    """The example with everything written out means what the least one means."""
    blocks = [b for b in BLOCKS if b.page == "docs/configuration.md" and b.language == "yaml"]
    today = datetime.now(UTC).date()

    least, full = (
        parse_catalog(b.text, path=ROOT / "some.yaml", environ={}, today=today) for b in blocks
    )

    assert (full.sources, full.alerts) == (least.sources, least.alerts)
    fields = {"name", "end", "schedule", "sources", "max_retries", "retry_delay"}
    assert full.feeds[0].model_dump(include=fields) == least.feeds[0].model_dump(include=fields)


def commands_of(group, before="") -> list[tuple[str, Any]]:
    """Return all commands of a group by name, those of a command after it: `alerts test`."""
    found = []
    for name, command in group.commands.items():
        found.append((f"{before}{name}", command))
        if hasattr(command, "commands"):
            found += commands_of(command, f"{before}{name} ")
    return found


@pytest.mark.parametrize("page", [pytest.param(p, id=str(p.relative_to(ROOT))) for p in PAGES])
def test_no_page_speaks_of_a_command_that_is_not_there(page) -> None:
    """Every `crypto-data NAME` in code is a command."""
    text = page.read_text("utf-8")
    inline = re.findall(r"`(?:[^`\n]*/)?crypto-data ([a-z]+)", text)
    fenced = re.findall(
        r"^(?:\$ |.*/)?crypto-data ([a-z]+)", "".join(b.text for b in blocks_of(page)), re.MULTILINE
    )

    assert {*inline, *fenced} <= set(typer.main.get_command(app).commands)


def test_every_command_has_exit_statuses_and_an_example() -> None:
    """A section of the page says how its command ends and shows it."""
    page = (ROOT / "docs/commands.md").read_text("utf-8")
    sections = dict(re.findall(r"^## ([\w ]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    names = {name for name, _ in commands_of(typer.main.get_command(app))}

    lacking = {
        name
        for name in names
        if "Exit status:" not in sections[name] or f"\ncrypto-data {name}" not in sections[name]
    }

    assert not lacking


@pytest.mark.slow
@pytest.mark.parametrize("view", [*VIEWS, "health"])
def test_every_column_of_a_view_says_what_it_means(view, place) -> None:
    """Viewers of `lake.duckdb` show the meaning of each column, and no meaning is left over."""
    with duckdb.connect(str(place.folder / "lake" / "lake.duckdb"), read_only=True) as lake:
        found = lake.execute(
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = ?", [view]
        ).fetchall()

    assert [name for name, _ in found] == list(MEANINGS[view])
    assert all(comment for _, comment in found)


def test_columns_of_the_lake_are_described() -> None:
    """The page has the columns of a file with their types, in order."""
    rows = tables_of("docs/lake.md")["Columns"]

    described = [(names_in(row[0])[0], row[1]) for row in rows]

    assert described == [(field.name, str(field.type)) for field in KLINES]


def test_fields_of_the_ledger_are_described() -> None:
    """The page has every field of a ledger entry."""
    fields = {"first", "days", *DayFacts.__slots__}

    assert set(first_names(tables_of("docs/lake.md")["The ledger"])) == fields
    assert {"first", "days"} < set(DayRun.__slots__)


def test_keys_of_the_footer_are_described() -> None:
    """The page has every key that a file's footer may carry."""
    keys = {key.decode() for key in (KEY, CORRECTIONS_KEY, part.SUM_KEY, part.OWNER_KEY)}

    assert set(first_names(tables_of("docs/lake.md")["The footer"])) == keys


def test_everything_beside_the_klines_may_be_deleted_or_not() -> None:
    """The page says of each folder and file of a lake what happens when it is deleted."""
    names = {
        value
        for name, value in vars(layout).items()
        if isinstance(value, str) and name.isupper() and not name.startswith("_")
    }

    told = set(first_names(tables_of("docs/lake.md")["What is safe to delete"]))

    assert names
    assert names <= told


def test_rules_are_described() -> None:
    """The page has every rule by which a row is set aside."""
    source = (ROOT / "crypto_data" / "validation.py").read_text("utf-8")
    rules = {*RULES, *re.findall(r'_blame\(broken, "(\w+)"', source)}
    page = "\n".join("|".join(row) for row in tables_of("docs/lake.md")["Quarantine"])

    assert set(re.findall(r"^`(\w+)`", page, re.MULTILINE)) == rules
    assert f"`{OUTSIDE_RULE}`" in (ROOT / "docs/lake.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        pytest.param("README.md", "What each day is", set(DayState), id="readme-states"),
        pytest.param("docs/states.md", "The six states of a day", set(DayState), id="states"),
        pytest.param("docs/sources.md", "What an answer counts as", set(Outcome), id="outcomes"),
        pytest.param("docs/sources.md", "ccxt", set(EXCHANGES), id="exchanges"),
        pytest.param("docs/sandbox.md", "Faults", ACTIONS, id="faults"),
        pytest.param("docs/lake.md", "Damage", set(Kind), id="damage"),
        pytest.param("docs/dagster.md", "Checks", set(Check), id="checks"),
    ],
)
def test_closed_lists_are_described_whole(page, heading, names) -> None:
    """A table about a fixed set has exactly its members."""
    rows = tables_of(page)[heading]

    assert {names_in(row[0])[0] for row in rows} == {str(name) for name in names}


def test_the_changelog_has_the_version() -> None:
    """The version of the package stands in the list of changes."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    version = re.search(r'^version = "(.*)"$', project, re.MULTILINE)

    assert version
    assert f"## [{version[1]}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
