"""A login in a configured address is used, and neither shown nor stored."""

import json
from datetime import UTC, datetime

import pytest

from crypto_data.addresses import place_of, public_url, split_login
from crypto_data.sandbox.faults import Fault

PASSWORD = "s3cretPW"  # noqa: S105 - looked for in all files and words
OKX = {"symbols": ["BTCUSDT"], "sources": ["vision", "rest", "ccxt:okx"], "max_retries": 0}
KRAKEN = {
    "exchange": "kraken",
    "symbols": ["BTC/USD"],
    "start": "2024-03-18",
    "end": "2024-03-19",
    "sources": ["ccxt:kraken"],
    "max_retries": 0,
}


@pytest.mark.parametrize(
    ("url", "public", "place", "login"),
    [
        pytest.param("https://a.b/c", "https://a.b/c", "a.b", None, id="plain"),
        pytest.param("http://u:p@a.b:1/c", "http://a.b:1/c", "a.b:1", ("u", "p"), id="login"),
        pytest.param("http://u@a.b", "http://a.b", "a.b", ("u", ""), id="user-alone"),
        pytest.param("http://u:p%40q@a.b", "http://a.b", "a.b", ("u", "p@q"), id="quoted"),
        pytest.param("http://u:p@q@a.b", "http://a.b", "a.b", ("u", "p@q"), id="two-ats"),
        pytest.param("http://u:p@[::1]:8/", "http://[::1]:8/", "[::1]:8", ("u", "p"), id="ipv6"),
        pytest.param("binance/spot/BTCUSDT/1h", "binance/spot/BTCUSDT/1h", "", None, id="series"),
        pytest.param("", "", "", None, id="none"),
    ],
)
def test_what_of_an_address_may_be_seen(url, public, place, login) -> None:
    """The login is parted from the rest, unquoted, and of nothing else anything is lost."""
    assert (public_url(url), place_of(url), split_login(url)[1]) == (public, place, login)
    assert split_login(f"{url}?x=1") == (f"{public}?x=1", login)


def with_logins(desk) -> None:
    text = desk.config.read_text()
    desk.config.write_text(text.replace("http://127", f"http://bob:{PASSWORD}@127"))


def told_of(done) -> list[str]:
    return [line for line in (done.stdout + done.stderr).splitlines() if PASSWORD in line]


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(None, id="all-is-well"),
        pytest.param({"action": "status", "status": 503}, id="503"),
        pytest.param({"action": "status", "status": 418, "retry_after": 3600}, id="ban"),
        pytest.param({"action": "html200"}, id="html"),
    ],
)
def test_a_login_is_shown_and_stored_nowhere(desk, fault) -> None:
    """Not in logs at DEBUG, tables, the lake, or what is remembered of hosts, whatever happens."""
    desk.configure(OKX, KRAKEN)
    with_logins(desk)
    desk.sandbox.set_clock(int(datetime(2024, 3, 20, 12, 30, tzinfo=UTC).timestamp() * 1000))
    if fault:
        desk.sandbox.faults.add(Fault("/*", **fault))

    filled = desk.run("backfill", "--log-level", "DEBUG")
    place = ["--exchange", "kraken", "--market", "spot", "--interval", "1h"]
    tried = desk.run("diagnose", "BTC/USD", *place, "--log-level", "DEBUG")
    listed = desk.run("coverage", "--format", "json")

    assert "DEBUG" in filled.stderr
    assert json.loads(listed.stdout)
    assert [told_of(done) for done in (filled, tried, listed)] == [[], [], []]
    files = [path for path in desk.folder.parent.rglob("*") if path.is_file()]
    assert any(path.suffix == ".parquet" for path in files) or fault
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == [desk.config]
    assert not [path for path in desk.folder.parent.rglob("*") if PASSWORD in path.name]


def test_a_stored_address_has_no_login_and_is_known_again(desk) -> None:
    """The next look at the archive takes nothing for new because its address is another."""
    desk.configure({})
    desk.fill()
    with_logins(desk)
    desk.sandbox.requests.clear()

    found = desk.run("collect")

    assert found.returncode == 0, found.stderr
    assert desk.asked("/listing")
    assert not desk.asked("/data/")
    held = desk.run("coverage", "--format", "json")
    assert PASSWORD not in held.stdout


def test_a_fault_of_the_configuration_does_not_cite_a_login(desk) -> None:
    """An address that cannot be used is named by its line and key."""
    desk.configure({})
    text = desk.config.read_text()
    desk.config.write_text(text.replace("http://127", f"http://bob:{PASSWORD}@127 "))

    done = desk.run("validate")

    assert done.returncode == 2
    assert "sources." in done.stderr
    assert told_of(done) == []
