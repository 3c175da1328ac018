"""What a history belongs to: exchange, market, symbol and interval.

Names only. Where a series lies on disk belongs to `lake.layout`; which ones a user wants
belongs to `catalog`.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from crypto_data.errors import UsageError
from crypto_data.intervals import Interval

# Letters of any script (Binance lists Chinese names), digits, `_`, `-` and `.` inside. Everything
# that could act as a glob, SQL or a hive key is outside the list, on purpose. ccxt spells
# `BTC/USD`, and contracts `BTC/USDT:USDT`; on disk these two signs are escaped.
_NAME = r"[^\W_][\w.\-]*"
_SYMBOL = re.compile(rf"{_NAME}(/{_NAME}(:{_NAME})?)?")
_LONGEST_SYMBOL = 64
# ccxt's names of exchanges.
_EXCHANGE = re.compile(r"[a-z0-9_]{1,64}")


class Market(StrEnum):
    """The exchange's segment: spot, USDT-margined (`um`) or coin-margined (`cm`) futures."""

    SPOT = "spot"
    UM = "um"
    CM = "cm"


def check_symbol(symbol: str) -> str:
    """Return `symbol` when it can be used as a name on disk, in SQL and in a URL.

    Raises:
        UsageError: anything but letters, digits, `_`, `-` and `.`, or two or three such names as
            `BTC/USDT:USDT`; lower case; over 64 characters.
    """
    long = len(symbol) > _LONGEST_SYMBOL
    shown = f"{symbol[:61]}… ({len(symbol)} characters)" if long else symbol
    if long or not _SYMBOL.fullmatch(symbol) or ".." in symbol:
        raise UsageError(
            f"{shown!r} is no symbol; use the exchange's own spelling, such as BTCUSDT, or ccxt's, "
            "such as BTC/USD: 1 to 64 letters, digits, '_', '-' or '.'"
        )
    if symbol != symbol.upper():
        raise UsageError(f"{shown!r} is no symbol; did you mean {symbol.upper()}?")
    return symbol


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """One history of klines, written `binance/spot/BTCUSDT/1m`."""

    exchange: str
    market: Market
    symbol: str
    interval: Interval

    def __post_init__(self) -> None:
        """Refuse names that could leave the lake or match another series."""
        check_symbol(self.symbol)
        if not _EXCHANGE.fullmatch(self.exchange):
            raise UsageError(
                f"{self.exchange[:64]!r} is no exchange; write its name in lower case: binance"
            )

    def __str__(self) -> str:
        """Return the series as `exchange/market/symbol/interval`."""
        return f"{self.exchange}/{self.market}/{self.symbol}/{self.interval}"

    @classmethod
    def parse(cls, text: str) -> "Series":
        """Return the series written `exchange/market/symbol/interval`.

        Raises:
            UsageError: the text has another form, or a part is not known.

        Example:
            >>> Series.parse("binance/spot/BTCUSDT/1M").interval
            <Interval.MONTH_1: '1mo'>
        """
        try:
            exchange, market, rest = text.split("/", 2)
            symbol, interval = rest.rsplit("/", 1)
            return cls(exchange, Market(market), symbol, Interval.parse(interval))
        except ValueError as error:
            raise UsageError(
                f"{text!r} is no series ({error}); write exchange/market/symbol/interval"
            ) from None
