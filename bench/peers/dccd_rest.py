"""Fetch klines of 1m over REST from a sandbox, up to now, with dccd into a store in this folder.

Runs in that package's environment: `python dccd_rest.py URL FIRST_DAY`. Its addresses are constants
and its store is `./data`, hence the folder it is started in.
"""

import asyncio
import sys
from typing import Any

from dccd import Client
from dccd.sources import binance
from dccd.transport.ratelimit import shared_limiter

# Requests a second: it never has to wait.
UNLIMITED = 1e9


async def backfill(url: str, first: str) -> dict[str, Any]:
    """Return what dccd says of one backfill."""
    binance._BASE_REST = f"{url}/api/v3"  # noqa: SLF001 - it has no setting for that
    shared_limiter()._rates["binance"] = UNLIMITED  # noqa: SLF001 - likewise
    async with Client() as client:
        return await client.backfill("binance", "BTC/USDT", "ohlc", span=60, start=first)


if __name__ == "__main__":
    outcome = asyncio.run(backfill(*sys.argv[1:]))
    if "error" in outcome:
        sys.exit(outcome["error"])
