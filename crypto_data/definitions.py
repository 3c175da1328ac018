"""What Dagster loads: the assets of the configuration, and the resources behind them."""

import dagster as dg

from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.resources import read_catalog

defs: dg.Definitions = build_definitions(read_catalog())
