"""The configuration as YAML: mistakes of the text itself end as faults, never as tracebacks."""

from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crypto_data.catalog.configuration import Catalog, load_catalog, parse_catalog
from crypto_data.errors import CatalogError, Fault

TODAY = date(2026, 11, 21)
GOOD = (Path(__file__).parent / "data" / "catalog.yaml").read_text()
SECRET = "hunter2-token"  # noqa: S105
ENVIRON = {"ALERT_WEBHOOK": f"https://hooks.example/{SECRET}", "BAD": SECRET, "EMPTY": ""}


def parse(text, environ=ENVIRON, path=Path("/etc/crypto_data.yaml")) -> Catalog:
    return parse_catalog(text, path=path, environ=environ, today=TODAY)


def faults_of(text, environ=ENVIRON) -> tuple[Fault, ...]:
    with pytest.raises(CatalogError) as caught:
        parse(text, environ)
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        pytest.param("", 1, "an empty file", id="empty"),
        pytest.param("# nothing yet\n", 1, "an empty file", id="comment"),
        pytest.param("- a\n- b\n", 1, "a list", id="list"),
        pytest.param("\nlake\n", 2, "a single value", id="word"),
        pytest.param("lake: a\nfeeds:\n\t- b\n", 3, "'\\t'", id="tab"),
        pytest.param("lake: a: b\n", 1, "mapping values", id="colon"),
        pytest.param("lake: [a\nfeeds: []\n", 2, "expected", id="bracket"),
        pytest.param("lake: a\n---\nlake: b\n", 2, "another document", id="two-documents"),
        pytest.param("lake: *a\n", 1, "undefined alias", id="alias"),
        pytest.param("lake: &a [*a]\n", 1, "contains itself", id="recursive"),
        pytest.param("lake: \0\n", 1, "special characters", id="nul"),
        pytest.param("[" * 800, 1, "nested too deeply", id="deep"),
        pytest.param("urls: [${X}]\n", 1, "'{'", id="unquoted-variable"),
    ],
)
def test_text_that_is_no_configuration_is_one_fault(text, line, found) -> None:
    """YAML mistakes and other shapes are reported with their line, never as a traceback."""
    (fault,) = faults_of(text)

    assert (fault.line, fault.key) == (line, "(whole file)")
    assert found in fault.found


def test_aliases_cannot_unfold_without_end() -> None:
    """A few lines that stand for billions of values are refused at once."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40)]

    (fault,) = faults_of("\n".join(lines))

    assert "aliases unfold" in fault.found


def test_a_byte_order_mark_and_windows_lines_are_fine(tmp_path) -> None:
    """A file saved by a Windows editor reads the same."""
    path = tmp_path / "crypto_data.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())

    assert load_catalog(path, ENVIRON, TODAY).feeds == parse(GOOD).feeds


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(None, "No such file", id="absent"),
        pytest.param(b"lake: \xff\n", "no UTF-8", id="latin-1"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_fault(tmp_path, content, found) -> None:
    """Reading fails as the same error as a wrong value."""
    path = tmp_path / "crypto_data.yaml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(CatalogError) as caught:
        load_catalog(path, {}, TODAY)

    assert found in caught.value.faults[0].found
    assert caught.value.faults[0].file == str(path)


PIECES = st.sampled_from(
    [
        *"\t\n :-[]{}#&*!|>'\"%@`,?~0",
        "${",
        "${BAD}",
        "1.5",
        "null",
        "- ",
        "<<: ",
        "\x00",
        "é",
        "!!int ",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD)), st.integers(0, 12), PIECES), min_size=1, max_size=4
    )
)
def test_no_text_ends_in_a_traceback(edits) -> None:
    """Any mutation of a good file is either a catalog or a list of faults with lines."""
    text = GOOD
    for place, length, piece in edits:
        text = text[:place] + piece + text[place + length :]
    try:
        parse(text)
        faults = None
    except CatalogError as error:
        faults = error.faults

    if faults is not None:
        assert faults
        assert all(1 <= fault.line <= text.count("\n") + 1 for fault in faults)
        assert SECRET not in str(faults)
