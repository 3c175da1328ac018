"""The parts of the Dagster project put together for one configuration."""

import warnings

import dagster as dg

from crypto_data.catalog.configuration import Catalog
from crypto_data.orchestration.assets import build_assets
from crypto_data.orchestration.io_manager import FailoverIOManager
from crypto_data.orchestration.resources import LakeResource


def build_definitions(catalog: Catalog) -> dg.Definitions:
    """Return the definitions of one configuration.

    Runs are executed in one process: the step itself works on many files side by side, and a
    process a step would cost three seconds each.
    """
    lake = LakeResource(config=str(catalog.path))
    with warnings.catch_warnings():
        # backfill_policy is marked beta on every asset; once would be enough.
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = build_assets(catalog)
    return dg.Definitions(
        assets=assets,
        resources={"lake": lake, "klines_io": FailoverIOManager(lake=lake)},
        executor=dg.in_process_executor,
    )
