"""The configuration: what its keys become, and where the file is found."""

import pickle
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from crypto_data.catalog.configuration import (
    Catalog,
    Feed,
    load_catalog,
    parse_catalog,
)
from crypto_data.catalog.location import find_catalog
from crypto_data.errors import CatalogError, Fault, UsageError
from crypto_data.intervals import Interval
from crypto_data.series import Market, Series

TODAY = date(2026, 11, 21)
GOOD = (Path(__file__).parent / "data" / "catalog.yaml").read_text()
SECRET = "hunter2-token"  # noqa: S105
ENVIRON = {"ALERT_WEBHOOK": f"https://hooks.example/{SECRET}", "BAD": SECRET}


def parse(text, environ=ENVIRON, path=Path("/etc/crypto_data.yaml")) -> Catalog:
    return parse_catalog(text, path=path, environ=environ, today=TODAY)


def test_a_good_file_becomes_values() -> None:
    """Every key of the file ends up in its field, and a series knows its feed."""
    catalog = parse(GOOD)

    spot, coin = catalog.feeds
    assert (spot.name, spot.market, spot.start, spot.end) == (
        "binance_spot",
        Market.SPOT,
        date(2024, 1, 1),
        None,
    )
    assert spot.intervals == (Interval.MINUTE_1, Interval.MONTH_1)
    assert coin.name == "binance_cm"
    assert catalog.sources.vision.url == "http://127.0.0.1:8080/archive"
    assert (catalog.sources.timeout, catalog.sources.weights.spot) == (20.0, 1200)
    assert catalog.alerts.urls[0].get_secret_value() == ENVIRON["ALERT_WEBHOOK"]
    assert catalog.all_series() == {
        Series("binance", Market.SPOT, "BTCUSDT", Interval.MINUTE_1): spot,
        Series("binance", Market.SPOT, "BTCUSDT", Interval.MONTH_1): spot,
        Series("binance", Market.SPOT, "ETHUSDT", Interval.MINUTE_1): spot,
        Series("binance", Market.SPOT, "ETHUSDT", Interval.MONTH_1): spot,
        Series("binance", Market.CM, "BTCUSD_PERP", Interval.HOUR_1): coin,
    }


def test_all_but_seven_keys_have_defaults() -> None:
    """The shortest file asks the public addresses with the documented settings."""
    feed = "{exchange: binance, market: um, symbols: [BTCUSDT], intervals: [1m], start: 2024-01-01}"

    catalog = parse(f"lake: /data\nfeeds: [{feed}]\n")

    assert catalog.feeds[0].model_dump() == {
        "name": "binance_um",
        "exchange": "binance",
        "market": Market.UM,
        "symbols": ("BTCUSDT",),
        "intervals": (Interval.MINUTE_1,),
        "start": date(2024, 1, 1),
        "end": None,
        "schedule": "30 0 * * *",
        "sources": ("vision", "rest"),
        "max_retries": 3,
        "retry_delay": 1.0,
        "made_from": {},
        "chosen": None,
    }
    assert catalog.sources.model_dump() == {
        "vision": {
            "url": "https://data.binance.vision",
            "listing": "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision",
        },
        "rest": {
            "spot": ("https://api.binance.com", "https://data-api.binance.vision"),
            "um": ("https://fapi.binance.com",),
            "cm": ("https://dapi.binance.com",),
        },
        "ccxt": {"urls": {}},
        "timeout": 30.0,
        "concurrency": 4,
        "weights": {"spot": 6000, "um": 2400, "cm": 2400},
    }
    assert catalog.alerts.model_dump() == {
        "urls": (),
        "max_consecutive_errors": 3,
        "stale_after_hours": 24,
    }
    assert catalog.keep.model_dump() == {"superseded_days": 30, "run_days": 30}


def test_a_feed_may_start_today_and_on_the_first_day() -> None:
    """Both ends of the allowed days are allowed."""
    for start in ("2026-11-21", "2009-01-03"):
        assert parse(GOOD.replace("2024-01-01", start)).feeds[0].start.isoformat() == start


def test_feeds_get_names_of_their_own() -> None:
    """Defaults are numbered, and step aside for names that were written."""
    feed = "{{exchange: binance, market: um, symbols: [{}], intervals: [1m], start: 2024-01-01{}}}"
    feeds = [
        feed.format("A", ""),
        feed.format("B", ", name: binance_um"),
        feed.format("C", ""),
        feed.format("D", ", name: majors"),
    ]

    catalog = parse(f"lake: x\nfeeds: [{', '.join(feeds)}]\n")

    assert [feed.name for feed in catalog.feeds] == [
        "binance_um_2",
        "binance_um",
        "binance_um_3",
        "majors",
    ]


def test_variables_are_filled_in_anywhere() -> None:
    """`${NAME}` works inside any value, more than once, and for numbers and days."""
    environ = ENVIRON | {"D": "data", "S": "2024-02-03", "T": "12.5"}
    text = GOOD.replace("./lake", "/${D}/${D}").replace("timeout: 20", 'timeout: "${T}"')

    catalog = parse(text.replace("start: 2024-01-01", 'start: "${S}"'), environ)

    assert catalog.lake == Path("/data/data")
    assert catalog.sources.timeout == 12.5
    assert catalog.feeds[0].start == date(2024, 2, 3)


def test_secrets_are_hidden_in_the_values_too() -> None:
    """Neither alert addresses nor source addresses are part of the catalog's repr."""
    catalog = parse(GOOD.replace("https://api.binance.com", "https://${BAD}.example"))

    assert SECRET not in f"{catalog!r} {catalog}"
    assert catalog.sources.rest.spot == (f"https://{SECRET}.example",)


def test_the_error_and_the_catalog_pickle() -> None:
    """Both cross process borders whole."""
    error = CatalogError([Fault("a.yaml", 1, "lake", "nothing", "a folder")])
    catalog = parse(GOOD)

    assert pickle.loads(pickle.dumps(error)).faults == error.faults  # noqa: S301
    assert pickle.loads(pickle.dumps(catalog)) == catalog  # noqa: S301


def test_the_values_are_frozen_and_checked_in_python_too() -> None:
    """A feed built in code obeys the same rules as one from the file."""
    feed = Feed(
        name="a",
        exchange="binance",
        market=Market.SPOT,
        symbols=("BTCUSDT",),
        intervals=(Interval.MINUTE_1,),
        start=date(2024, 1, 1),
    )

    with pytest.raises(ValueError, match="frozen"):
        feed.name = "b"
    with pytest.raises(ValueError, match="a symbol such as BTCUSDT"):
        Feed.model_validate(feed.model_dump() | {"symbols": ["A B"]})


def test_a_relative_lake_starts_at_the_file(tmp_path, monkeypatch) -> None:
    """The lake does not depend on the folder a command is run in, nor on the file's own path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "crypto_data.yaml").write_text(GOOD.replace("./lake", "../lake"))

    catalog = load_catalog(Path("conf/crypto_data.yaml"), ENVIRON, TODAY)

    assert catalog.path == tmp_path / "conf" / "crypto_data.yaml"
    assert catalog.lake == tmp_path / "lake"


def test_a_lake_in_the_home_folder() -> None:
    """`~` is the home folder of the given environment."""
    catalog = parse(GOOD.replace("./lake", "~/lake"), ENVIRON | {"HOME": "/home/ada"})

    assert catalog.lake == Path("/home/ada/lake")


def test_the_configuration_is_found_in_order(tmp_path) -> None:
    """--config, the variable, the folder, XDG, and the home folder, each before the next."""
    here, home = tmp_path / "here", tmp_path / "home"
    places = {
        "config": here / "a.yaml",
        "variable": here / "b.yaml",
        "folder": here / "crypto_data.yaml",
        "xdg": tmp_path / "xdg" / "crypto-data" / "crypto_data.yaml",
        "home": home / ".config" / "crypto-data" / "crypto_data.yaml",
    }
    for place in places.values():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    environ = {
        "CRYPTO_DATA_CONFIG": "b.yaml",
        "XDG_CONFIG_HOME": str(tmp_path / "xdg"),
        "HOME": str(home),
    }

    assert find_catalog(Path("a.yaml"), environ, here) == places["config"]
    assert find_catalog(None, environ, here) == places["variable"]
    del environ["CRYPTO_DATA_CONFIG"]
    assert find_catalog(None, environ, here) == places["folder"]
    assert find_catalog(None, environ, tmp_path) == places["xdg"]
    del environ["XDG_CONFIG_HOME"]
    assert find_catalog(None, environ, tmp_path) == places["home"]


@pytest.mark.parametrize(
    ("config", "environ", "said"),
    [
        pytest.param(Path("a.yaml"), {}, "config: there is no file", id="option"),
        pytest.param(
            None, {"CRYPTO_DATA_CONFIG": "b"}, "$CRYPTO_DATA_CONFIG: there", id="variable"
        ),
        pytest.param(None, {"XDG_CONFIG_HOME": "/x"}, "/x/crypto-data/crypto_data.yaml", id="xdg"),
    ],
)
def test_no_configuration_says_where_and_how(tmp_path, config, environ, said) -> None:
    """A named file that is absent is not replaced by another; the message holds an example."""
    if config or "CRYPTO_DATA_CONFIG" in environ:
        (tmp_path / "crypto_data.yaml").touch()

    with pytest.raises(UsageError) as caught:
        find_catalog(config, environ, tmp_path)

    message = str(caught.value)
    assert said in message
    assert str(tmp_path) in message
    assert parse(message.partition("\n\n")[2]).feeds[0].symbols == ("BTCUSDT", "ETHUSDT")


def test_reading_the_configuration_stays_light() -> None:
    """The command line's start-up does not pay for Arrow, numpy or Dagster here."""
    code = (
        "import sys, crypto_data.catalog.configuration;"
        "print({'pyarrow', 'numpy', 'dagster', 'duckdb', 'httpx'} & set(sys.modules))"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "set()"
