"""The parts of the Dagster project put together for one configuration."""

import warnings

import dagster as dg

from crypto_data.catalog.configuration import Catalog
from crypto_data.orchestration.assets import build_assets
from crypto_data.orchestration.housekeeping import build_housekeeping
from crypto_data.orchestration.io_manager import FailoverIOManager
from crypto_data.orchestration.judging import build_checks, build_judging
from crypto_data.orchestration.reloading import build_universe_sensor
from crypto_data.orchestration.resources import LakeResource
from crypto_data.orchestration.schedules import build_schedules
from crypto_data.orchestration.sensors import build_sensors


def build_definitions(catalog: Catalog) -> dg.Definitions:
    """Return all definitions of one configuration."""
    housekeeping, tidying = build_housekeeping(catalog)
    return dg.Definitions.merge(
        build_fetching(catalog),
        dg.Definitions(
            asset_checks=build_checks(catalog),
            jobs=[build_judging(catalog), housekeeping],
            schedules=[*build_schedules(catalog), tidying],
            sensors=[*build_sensors(catalog), build_universe_sensor(catalog)],
        ),
    )


def build_fetching(catalog: Catalog) -> dg.Definitions:
    """Return the assets of one configuration and what their runs need, without what looks on.

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
