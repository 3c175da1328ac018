"""What OKX trades in the sandbox, and how it describes that.

Candles belong to `okx`.
"""

from crypto_data.sandbox.instruments import Instrument, InstrumentBook, nearby
from crypto_data.sandbox.symbols import Symbol, instant
from crypto_data.series import Market

# BTC-USD's contract is worth 100 dollars, BTC-USDT's a hundredth of a bitcoin.
_CONTRACT_USD = 100
CONTRACTS_A_COIN = 100
KINDS = {Market.SPOT: "SPOT", Market.UM: "SWAP", Market.CM: "SWAP"}
# When OKX says that a spot pair was listed; its candles begin a year before.
_SPOT_LISTED_MS = 1548133413000


def okx_book() -> InstrumentBook:
    """Return what OKX trades here."""
    since_2018 = ((instant("2018-01-11T02:00"), None),)
    btc = Symbol(
        market=Market.SPOT,
        name="BTCUSDT",
        level=40_000_0,
        price_decimals=1,
        lives=since_2018,
        onboard_ms=_SPOT_LISTED_MS,
    )
    eth = Symbol(
        market=Market.SPOT,
        name="ETHUSDT",
        level=2_500_00,
        lots=5_000_000,
        lives=since_2018,
        onboard_ms=_SPOT_LISTED_MS,
    )
    linear = Symbol(
        market=Market.UM,
        name="BTCUSDT",
        level=40_000_0,
        price_decimals=1,
        volume_decimals=4,
        lots=200_000,
        lives=((instant("2019-11-26T08:00"), None),),
    )
    inverse = Symbol(
        market=Market.CM,
        name="BTCUSD_PERP",
        level=40_000_0,
        price_decimals=1,
        volume_decimals=0,
        lots=4_000,
        contract_usd=_CONTRACT_USD,
        lives=((instant("2018-12-13T08:00"), None),),
    )
    return InstrumentBook(
        [
            Instrument("BTC-USDT", "BTC/USDT", btc),
            Instrument("ETH-USDT", "ETH/USDT", eth),
            Instrument("BTC-USDT-SWAP", "BTC/USDT:USDT", linear),
            Instrument("BTC-USD-SWAP", "BTC/USD:BTC", inverse),
        ],
        nearby(basis_points=3, quiet_minutes=997),
    )


def instrument_info(instrument: Instrument) -> dict[str, str]:
    """Return an instrument as `public/instruments` tells it: every value is text."""
    symbol = instrument.symbol
    base, quote = instrument.unified.partition(":")[0].split("/")
    is_spot = symbol.market is Market.SPOT
    is_linear = symbol.market is Market.UM
    lot = "1" if symbol.market is Market.CM else "0.01" if is_linear else "0.00000001"
    listed_ms = symbol.lives[0][0] if symbol.onboard_ms is None else symbol.onboard_ms
    contract = {
        "ctMult": "1",
        "ctType": "linear" if is_linear else "inverse",
        "ctVal": "0.01" if is_linear else str(_CONTRACT_USD),
        "ctValCcy": base if is_linear else quote,
        "settleCcy": quote if is_linear else base,
        "uly": f"{base}-{quote}",
        "instFamily": f"{base}-{quote}",
        "baseCcy": "",
        "quoteCcy": "",
    }
    pair = dict.fromkeys(contract, "") | {"baseCcy": base, "quoteCcy": quote}
    return {
        "alias": "",
        "category": "1",
        "expTime": "",
        "instId": instrument.name,
        "instType": KINDS[symbol.market],
        "lever": "10",
        "listTime": str(listed_ms),
        "lotSz": lot,
        "minSz": lot,
        "optType": "",
        "state": "live",
        "stk": "",
        "tickSz": f"{10**-symbol.price_decimals:.{symbol.price_decimals}f}",
        **(pair if is_spot else contract),
    }
