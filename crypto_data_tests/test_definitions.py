"""What Dagster is shown: the project loads, keys, groups and partitions are what was promised."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster_shared.serdes import deserialize_value, serialize_value

from crypto_data.orchestration import instance as dagster_instance
from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.names import asset_keys, output_name
from crypto_data.series import Series

ROOT = Path(__file__).parents[1]
FEEDS = (
    {
        "symbols": ["BTCUSDT", "币安人生USDT", "我踏马来USDT"],
        "intervals": ["1m", "1M"],
        "end": None,
    },
    {"market": "um", "symbols": ["BTCUSDT"], "start": "2024-02-01", "end": "2024-03-01"},
    {"market": "cm", "symbols": ["BTCUSD_PERP"], "intervals": ["1d"], "end": None},
)


@pytest.fixture
def defs(desk):
    return build_definitions(desk.configure(*FEEDS))


def assets(defs) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def test_definitions_can_be_sent_to_the_web_server(defs) -> None:
    """What the code server hands over can be written down: plain text, and no enum of ours."""
    dg.Definitions.validate_loadable(defs)
    snapshot = RepositorySnap.from_def(defs.get_repository_def())

    sent = deserialize_value(serialize_value(snapshot), RepositorySnap)

    assert len(sent.asset_nodes) == len(assets(defs))


def test_what_dagster_is_told_grows_with_the_series_and_not_with_their_square(defs) -> None:
    """No step of checks has an input a series, and no schedule's job has the checks again."""
    jobs = defs.get_repository_def().get_all_jobs()

    waiting = [node.name for job in jobs for node in job.nodes if node.definition.input_defs]
    judging = {job.name: len(job.asset_layer.asset_graph.asset_check_keys) for job in jobs}
    scheduled = [count for name, count in judging.items() if name.endswith("_schedule")]
    assert waiting == []
    assert scheduled == [0, 0, 0]
    assert judging["__ASSET_JOB"] == 5 * len(assets(defs))


def test_keys_are_pinned(defs) -> None:
    """A key that changes orphans its history; letters Dagster refuses become `_`."""
    assert sorted(assets(defs)) == [
        "klines/binance/cm/BTCUSD_PERP/1d",
        "klines/binance/spot/BTCUSDT/1m",
        "klines/binance/spot/BTCUSDT/1mo",
        "klines/binance/spot/____USDT/1m",
        "klines/binance/spot/____USDT/1mo",
        "klines/binance/spot/____USDT_2/1m",
        "klines/binance/spot/____USDT_2/1mo",
        "klines/binance/um/BTCUSDT/1h",
    ]


def test_an_asset_is_grouped_by_its_feed_and_says_what_it_is(defs) -> None:
    """Group, tags, metadata and description tell the series; the real symbol is kept."""
    found = assets(defs)

    groups = {spec.group_name for spec in found.values()}
    named = {spec.metadata["symbol"] for key, spec in found.items() if "____" in key}
    spot = found["klines/binance/spot/BTCUSDT/1m"]
    assert groups == {"binance_spot", "binance_um", "binance_cm"}
    assert named == {"币安人生USDT", "我踏马来USDT"}
    assert spot.metadata["crypto_data/series"] == "binance/spot/BTCUSDT/1m"
    assert {"exchange": "binance", "market": "spot", "interval": "1m"}.items() <= spot.tags.items()
    assert "vision, then rest" in spot.description


def test_series_of_one_start_share_their_partitions(defs) -> None:
    """Days from the feed's start, to its end where it has one; so they backfill in one run."""
    found = assets(defs)

    spot = {
        spec.partitions_def for key, spec in found.items() if key.startswith("klines/binance/spot")
    }
    um = found["klines/binance/um/BTCUSDT/1h"].partitions_def
    assert spot == {dg.DailyPartitionsDefinition("2024-01-10")}
    assert um.get_partition_keys()[0] == "2024-02-01"
    assert um.get_partition_keys()[-1] == "2024-02-29"
    assert len(um.get_partition_keys()) == 29


def test_a_range_backfills_in_one_run(defs) -> None:
    """Every step takes a range of days at once, and any subset of its series."""
    # Definitions without an asset hold checks, which no run of days takes along.
    steps = [one for one in defs.resolve_asset_graph().assets_defs if one.keys]

    assert {step.op.name for step in steps} == {
        "binance_spot_1m", "binance_spot_1mo", "binance_um_1h", "binance_cm_1d",
    }  # fmt: skip
    assert {step.backfill_policy for step in steps} == {dg.BackfillPolicy.single_run()}
    assert all(step.can_subset for step in steps)


def test_keys_do_not_depend_on_the_order_of_the_configuration() -> None:
    """Of two names that Dagster cannot tell apart the later one, by name, gets the number."""
    one, two = (Series.parse(f"binance/spot/{name}USDT/1m") for name in ("币安人生", "我踏马来"))

    assert asset_keys([one, two]) == asset_keys([two, one])
    assert len(set(asset_keys([one, two]).values())) == 2
    assert output_name(asset_keys([one])[one]) == "binance_spot_____USDT_1m"


@pytest.mark.slow
def test_the_module_that_dagster_loads(desk) -> None:
    """`crypto_data.definitions` reads the configuration of the environment, wherever it runs."""
    desk.configure(*FEEDS)
    code = (
        "from crypto_data.definitions import defs; import dagster as dg; import gc;"
        "dg.Definitions.validate_loadable(defs); print(len(defs.resolve_all_asset_specs()));"
        "print(gc.get_freeze_count() > 100_000)"
    )

    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:crypto_data", "-c", code],
        cwd=desk.folder.parent,
        env=desk.environ | {"CRYPTO_DATA_CONFIG": str(desk.config)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout == "8\nTrue\n"  # what was imported is no longer gone through
    assert "Warning" not in done.stderr
    assert "leaked" not in done.stderr  # as DuckDB says of what nobody collects at the end


def test_the_files_at_the_root_agree() -> None:
    """`workspace.yaml` and `dagster.yaml` say what the commands use."""
    workspace = yaml.safe_load((ROOT / "workspace.yaml").read_text())

    assert workspace == yaml.safe_load(dagster_instance.WORKSPACE)
    assert (ROOT / "dagster.yaml").read_text() == dagster_instance.SETTINGS.read_text()
