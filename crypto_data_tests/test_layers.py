"""The rules of layering and naming, held by parsing the package."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "crypto_data"
PACKAGE = "crypto_data"

# From the bottom up. Modules of one group may import each other; those of two groups of one layer
# may not.
LAYERS = [
    [{"errors", "intervals", "series", "schema", "exchanges", "naming", "addresses"}],
    [
        {
            "catalog.*",
            "partitions",
            "coverage",
            "validation",
            "harvest",
            "selection",
            "patience",
            "making",
            "making.bars",
            "making.days",
        }
    ],
    [{"sources.*"}, {"lake.*"}, {"alerts.*"}, {"sandbox.*"}],
    [
        {"ingest", "reports", "endings"},
        {"making.chain"},
        {"comparing"},
        {"planning", "costs"},
        {"mending", "making.due"},
        {"watching", "troubles", "health"},
        {"resolving", "universe", "listings", "delisting"},
        {"diagnosis"},
        {"exchange_time"},
    ],
    [{"exporting.*"}],
    [{"api.*"}],
    [{"orchestration.*"}],
    [{"cli.*"}],  # commands record what they do in Dagster, so they stand above it
    [{"definitions"}, {""}],
]
# Heavy or dangerous libraries, and the only places that may name them.
ONLY_IN = {
    "dagster": ("orchestration.*", "definitions"),
    "httpx": ("sources.http", "sources.connections", "alerts.courier"),
    "apprise": ("alerts.courier",),
    "stamina": ("sources.http",),
    "duckdb": ("lake.inventory", "orchestration.*"),
    "ccxt": ("sources.*",),
    "websockets": ("sources.*",),
    "typer": ("cli.*",),
}
UNHOMELY = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}


def name_of(path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    name_of(path): path for path in sorted(ROOT.rglob("*.py")) if "__pycache__" not in path.parts
}


def is_in(name, patterns) -> bool:
    return any(
        name == pattern.rstrip(".*")
        or (pattern.endswith("*") and name.startswith(pattern.rstrip("*")))
        for pattern in patterns
    )


def place_of(name) -> tuple[int, int] | None:
    """Return layer and group of a module."""
    for height, groups in enumerate(LAYERS):
        for number, group in enumerate(groups):
            if is_in(name, {one for one in group if one}) or (name == "" and "" in group):
                return height, number
    return None


def tree_of(name) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


def imports_of(tree) -> set[str]:
    """Return every module a tree imports, at its top or inside a function."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or ""))
            if node.module and node.module.startswith(PACKAGE):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def own_imports(tree) -> set[str]:
    names = {
        one.removeprefix(PACKAGE).removeprefix(".")
        for one in imports_of(tree)
        if one == PACKAGE or one.startswith(f"{PACKAGE}.")
    }
    return {name for name in names if name in MODULES and name}


def faults_of(name, tree) -> list[str]:
    """Return what a module imports that it must not."""
    height, group = place_of(name)
    faults = []
    for other in own_imports(tree):
        other_height, other_group = place_of(other)
        if (other_height, other_group) != (height, group) and other_height >= height:
            faults.append(f"{name} imports {other}")
    return faults


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_from_below(name) -> None:
    """Every module has a layer, and names only what lies in a lower one or its own group."""
    assert place_of(name) is not None, f"{name} has no layer; give it one in LAYERS"
    assert faults_of(name, tree_of(name)) == []


@pytest.mark.parametrize(
    ("name", "text", "faulty"),
    [
        ("intervals", "from crypto_data.coverage import x", True),
        ("lake.store", "import crypto_data.sources.base", True),
        ("lake.store", "def f():\n    from crypto_data import ingest", True),
        ("ingest", "from crypto_data.planning import x", True),
        ("orchestration.assets", "from crypto_data.cli.main import x", True),
        ("lake.store", "from crypto_data.lake.part import x", False),
        ("ingest", "from crypto_data.lake import store", False),
    ],
)
def test_the_guard_catches_a_planted_import(name, text, faulty) -> None:
    """An import upwards or across is seen at the top of a module and inside a function."""
    assert bool(faults_of(name, ast.parse(text))) is faulty


def circle_of(name, imports) -> list[str]:
    """Return the modules that a module imports and that import it again, at once or by others."""
    return [one for one in sorted(imports[name]) if name in reached_from(one, imports)]


def reached_from(name, imports) -> set[str]:
    found: set[str] = set()
    coming = [name]
    while coming:
        one = coming.pop()
        coming += imports[one] - found
        found |= imports[one]
    return found


def test_no_modules_import_each_other() -> None:
    """Within a group too each module can be read without those that use it."""
    imports = {name: own_imports(tree_of(name)) for name in MODULES}

    circles = {name: found for name in MODULES if (found := circle_of(name, imports))}

    assert circles == {}


def test_the_guard_catches_a_planted_circle() -> None:
    """One over three modules is seen from each of them, and from no other."""
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}

    assert [name for name in imports if circle_of(name, imports)] == ["a", "b", "c"]


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_named_where_it_belongs(library) -> None:
    """Dagster, HTTP and DuckDB each have one door."""
    users = [
        name
        for name in MODULES
        if any(one.split(".")[0] == library for one in imports_of(tree_of(name)))
    ]

    assert [name for name in users if not is_in(name, ONLY_IN[library])] == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_keeps_the_habits(name) -> None:
    """A docstring, absolute imports, real annotations, a name of its own, at most 300 lines."""
    tree = tree_of(name)
    last = name.rpartition(".")[2]

    assert ast.get_docstring(tree)
    assert not [one for one in imports_of(tree) if one.startswith(".")]
    assert "__future__" not in imports_of(tree)
    assert last not in UNHOMELY or name == "sources.base"
    assert len(MODULES[name].read_text().splitlines()) <= 300


@pytest.mark.parametrize("name", [n for n in MODULES if MODULES[n].name == "__init__.py" and n])
def test_a_package_holds_a_docstring_and_nothing_else(name) -> None:
    """Every name has one import path; only the top of the package is a public door."""
    assert len(tree_of(name).body) == 1


@pytest.mark.parametrize("name", MODULES)
def test_functions_are_short(name) -> None:
    """No function is longer than 50 lines, its docstring not counted."""
    long = []
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if lines > 50:
                long.append(f"{node.name}: {lines} lines")

    assert long == []


def test_no_bare_exception_is_caught_below_the_command_line() -> None:
    """`except Exception` would swallow what nobody thought of."""
    found = [
        f"{name}:{node.lineno}"
        for name in MODULES
        if not is_in(name, ("cli.*",))
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or (isinstance(node.type, ast.Name) and node.type.id == "Exception"))
    ]

    assert found == []
