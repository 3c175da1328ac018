"""Fetch daily archives of 1m from a sandbox with crypto-kline-vision-data into its cache.

Runs in that package's environment: `python ckvd_days.py URL FIRST END CACHE`. Prints the seconds
of the work, without imports.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ckvd import CryptoKlineVisionData, DataProvider, Interval, MarketType
from ckvd.core.providers.binance import vision_data_client
from ckvd.utils.market.capabilities import MARKET_CAPABILITIES

ARCHIVE = "https://data.binance.vision"


def point_at(url: str) -> None:
    """Let it ask a sandbox: the addresses are constants."""
    address_of = vision_data_client.get_vision_url
    vision_data_client.get_vision_url = lambda **file: address_of(**file).replace(ARCHIVE, url)
    spot = MARKET_CAPABILITIES[MarketType.SPOT]
    spot.primary_endpoint, spot.data_only_endpoint, spot.backup_endpoints = url, url, []


def fetch(start: datetime, until: datetime, cache: Path) -> None:
    """Ask for the days once.

    The manager's own client fetches the archives of 1h, whichever interval is asked for (4.6.1),
    and the rest over REST; it is given one that fetches those of 1m.
    """
    with CryptoKlineVisionData.create(
        DataProvider.BINANCE, MarketType.SPOT, cache_dir=cache, log_level="CRITICAL"
    ) as manager:
        manager.vision_client.close()
        manager.vision_client = vision_data_client.VisionDataClient(
            "BTCUSDT", "1m", MarketType.SPOT, cache_dir=cache
        )
        manager.get_data("BTCUSDT", start, until - timedelta(minutes=1), Interval.MINUTE_1)


if __name__ == "__main__":
    address, first_day, end_day, folder = sys.argv[1:]
    point_at(address)
    first = datetime.fromisoformat(first_day).replace(tzinfo=UTC)
    end = datetime.fromisoformat(end_day).replace(tzinfo=UTC)
    started = time.perf_counter()
    fetch(first, end, Path(folder))
    sys.stdout.write(f"{time.perf_counter() - started}\n")
