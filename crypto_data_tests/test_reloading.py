"""New and delisted symbols, and edits of the configuration, reach Dagster by themselves."""

import os
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from datetime import date

import dagster as dg
import pytest

from crypto_data.catalog.configuration import Catalog
from crypto_data.lake.universe import read_universe, write_universe
from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.instance import open_instance, prepare_home
from crypto_data.orchestration.reloading import SENSOR, describe_change
from crypto_data.resolving import resolve
from crypto_data.sandbox.faults import Fault
from crypto_data.sandbox.symbols import instant
from crypto_data.series import Market
from crypto_data.sources.connect import local_ms
from crypto_data.sources.http import Retry
from crypto_data.universe import refresh_universe
from crypto_data_tests.conftest import COMMAND
from crypto_data_tests.test_signals import answers, free_port, wait_for, wait_for_assets

# NEWUSDT is listed at 2024-05-17T06:00, OLDUSDT ended at 2024-02-20T03:00.
BEFORE_MS, AFTER_MS = instant("2024-05-17T03:00"), instant("2024-05-21T03:00")
FEED = {
    "symbols": ["BTCUSDT", "N*", "OLD*"],
    "intervals": ["1d"],
    "start": "2024-02-15",
    "end": None,
}
KEY = "klines/binance/spot/{}/1d"
# A tick of the sensor that looks, the reload, a tick of the sensor that repairs, and its run.
LIMIT_SECONDS = 240


def forget_when(desk) -> None:
    """Let the lake's copy be of long ago, as if an hour had passed."""
    known = read_universe(desk.lake.root, "binance", Market.SPOT)
    write_universe(desk.lake.root, "binance", Market.SPOT, replace(known, told_ms=0))


@pytest.fixture
def instance(desk, monkeypatch):
    for name, value in desk.environ.items():
        monkeypatch.setenv(name, value)
    with open_instance(prepare_home(desk.folder, os.environ)) as opened:
        yield opened


def loaded(desk) -> Catalog:
    """Ask for the symbols, and return the configuration as Dagster would load it now."""
    refresh_universe(
        desk.catalog(),
        [("binance", Market.SPOT)],
        desk.state,
        now_ms=local_ms(),
        retry=Retry(max_retries=0),
    )
    return resolve(desk.catalog())


def look(catalog, instance, cursor=None):
    """Evaluate the sensor of a loaded configuration as the daemon does."""
    repository = build_definitions(catalog).get_repository_def()
    with dg.build_sensor_context(instance, cursor=cursor, repository_def=repository) as context:
        return repository.get_sensor_def(SENSOR).evaluate_tick(context)


def test_nothing_new_is_no_reason_to_load_anew(desk, instance) -> None:
    """Within the hour nobody is asked either."""
    desk.configure(FEED)
    catalog = loaded(desk)
    desk.sandbox.requests.clear()

    tick = look(catalog, instance)

    assert tick.skip_message == "nothing has changed"
    assert desk.asked() == []


def test_a_new_listing_is_noticed_when_the_hour_is_over(desk, instance) -> None:
    """A server that cannot be told to load anew is a person's to press; that is said."""
    desk.configure(FEED)
    desk.sandbox.set_clock(BEFORE_MS)
    catalog = loaded(desk)
    desk.sandbox.set_clock(AFTER_MS)
    forget_when(desk)

    tick = look(catalog, instance)
    again = look(catalog, instance, tick.cursor)

    assert tick.skip_message.startswith("1 series new: binance/spot/NEWUSDT/1d; ")
    assert "press Deployment" in tick.skip_message
    assert "was told before" in again.skip_message


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        pytest.param(
            FEED | {"symbols": ["BTCUSDT", "ETHUSDT", "OLD*", "N*"]},
            "1 series new: binance/spot/ETHUSDT/1d",
            id="added",
        ),
        pytest.param(
            FEED | {"symbols": ["BTCUSDT", "N*"]},
            "1 series no longer wanted: binance/spot/OLDUSDT/1d",
            id="removed",
        ),
        pytest.param(FEED | {"schedule": "5 5 * * *"}, "the configuration has changed", id="other"),
    ],
)
def test_an_edit_of_the_configuration_is_noticed(desk, instance, feed, said) -> None:
    """Whoever edits the file, by hand or by `add` and `remove`, need not restart anything."""
    desk.configure(FEED)
    catalog = loaded(desk)
    desk.configure(feed)

    assert look(catalog, instance).skip_message.startswith(said)


def test_a_broken_configuration_is_not_loaded(desk, instance) -> None:
    """The tick fails with the file's faults, and what was loaded goes on."""
    desk.configure(FEED)
    catalog = loaded(desk)
    desk.config.write_text(desk.config.read_text().replace('"1d"', '"7d"'))

    with pytest.raises(dg.Failure, match=r"intervals.*found '7d'"):
        look(catalog, instance)


def test_a_list_that_nobody_ever_read_fails_the_tick(desk, instance) -> None:
    """An empty page that looks fine would be believed."""
    desk.configure(FEED)
    desk.sandbox.faults.add(Fault("/*", "status", status=503))

    with pytest.raises(dg.Failure, match="the list of its symbols: vision: "):
        look(resolve(desk.catalog()), instance)


def test_definitions_without_any_series_load(desk, instance) -> None:
    """A new configuration of patterns loads before anybody was asked; the sensor asks then."""
    desk.configure(FEED | {"symbols": ["*USDT"]})
    catalog = resolve(desk.catalog())
    definitions = build_definitions(catalog)

    dg.Definitions.validate_loadable(definitions)
    tick = look(catalog, instance)

    assert list(definitions.resolve_all_asset_specs()) == []
    assert tick.skip_message.startswith("7 series new: binance/spot/BTCUSDT/1d, ")


def test_a_change_names_a_few_series_and_counts_all(desk) -> None:
    """A thousand names fit no page."""
    desk.configure(FEED)
    before = desk.catalog()
    after = desk.configure(FEED | {"symbols": [f"S{number:03d}USDT" for number in range(9)]})

    said = describe_change(before, after)

    assert said == (
        "9 series new: " + ", ".join(f"binance/spot/S00{n}USDT/1d" for n in range(5)) + ", …; "
        "1 series no longer wanted: binance/spot/BTCUSDT/1d"
    )


@contextmanager
def running_dagster(desk, output):
    """Run `crypto-data start`, and yield the address of its page; its words go into a file."""
    port = free_port()
    with output.open("w") as file:
        process = subprocess.Popen(
            [COMMAND, "start", "--port", str(port)],
            cwd=desk.folder,
            env=desk.environ,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/server_info"), 60)
            yield f"http://127.0.0.1:{port}/graphql"
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0


@pytest.mark.slow
def test_a_new_listing_appears_in_a_running_dagster(desk, tmp_path) -> None:
    """Nobody restarts anything: the asset is there, its days are fetched; the old one stays."""
    desk.configure(FEED)
    desk.sandbox.set_clock(BEFORE_MS)
    assert desk.run("backfill").returncode == 0
    output = tmp_path / "start.log"
    with running_dagster(desk, output) as page:
        before = wait_for_assets(page)
        desk.sandbox.set_clock(AFTER_MS)
        forget_when(desk)

        wait_for(lambda: len(wait_for_assets(page)) > len(before), LIMIT_SECONDS)
        after = wait_for_assets(page)
        os.utime(desk.lake.root / "_feeds.json", (0, 0))  # so that the clock is measured anew
        try:
            wait_for(lambda: len(rows_of_new(desk)) == 3, LIMIT_SECONDS)
        except TimeoutError:
            raise AssertionError(output.read_text()) from None

    assert sorted(before) == [KEY.format("BTCUSDT"), KEY.format("OLDUSDT")]
    assert sorted(after) == [KEY.format(name) for name in ("BTCUSDT", "NEWUSDT", "OLDUSDT")]
    assert "Traceback" not in output.read_text()


def rows_of_new(desk) -> list[dict[str, object]]:
    """Return the klines of the days that are the gap sensor's; the newest is the schedule's."""
    return desk.rows("binance/spot/NEWUSDT/1d", date(2024, 5, 17), date(2024, 5, 20))
