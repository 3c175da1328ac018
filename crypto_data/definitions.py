"""What Dagster loads: the assets of the configuration, and the resources behind them."""

import atexit
import gc

import dagster as dg

from crypto_data.orchestration.assembly import build_definitions
from crypto_data.orchestration.resources import read_catalog

# Modules stay as long as the process: while a thousand series are built, the collector need not go
# through them time and again. Given back at the end, else DuckDB reports what is left as leaked.
gc.freeze()
atexit.register(gc.unfreeze)

defs: dg.Definitions = build_definitions(read_catalog())
