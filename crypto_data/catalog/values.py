"""Single values of the configuration: what each kind may be, and its words in a fault.

Every check takes text and returns the value, or raises `ValueError` with what is allowed instead.
The keys these values stand under belong to `catalog.configuration`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from crypto_data.catalog.cron import CRON_WORDS, check_cron
from crypto_data.catalog.patterns import check_pattern, is_pattern
from crypto_data.errors import UsageError
from crypto_data.exchanges import CCXT, EXCHANGES, OWN_SOURCES
from crypto_data.intervals import Interval
from crypto_data.naming import nearest
from crypto_data.series import Market, check_symbol

SOURCES = (*OWN_SOURCES, *(f"{CCXT}{name}" for name in EXCHANGES))

DAY_WORDS = "a UTC day such as 2024-01-01"
EXCHANGE_WORDS = ", ".join(EXCHANGES)
INTERVAL_WORDS = ", ".join(Interval)
LAKE_WORDS = "a folder such as ./lake or /data/lake"
NAME_WORDS = "1 to 64 lower-case letters, digits or '_'"
INTERVAL_ITEM_WORDS = f"{INTERVAL_WORDS}; or, made from a finer one, `15m: from 1m`"
SOURCE_WORDS = f"vision, rest, or ccxt:<exchange> with one of {EXCHANGE_WORDS}"
SYMBOL_WORDS = (
    "a symbol such as BTCUSDT (elsewhere than on binance BTC/USD): 1 to 64 letters, digits, '_', "
    "'-' or '.'; or a pattern such as \"*USDT\", \"!*UPUSDT\" to leave out"
)
URL_WORDS = "an http:// or https:// address with a host, without '?' and '#'"
ALERT_WORDS = 'an http(s):// or Apprise address, best from the environment: "${NAME}"'

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NAME = re.compile(r"[a-z0-9_]{1,64}")
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://[^\s]+")


def _text(words: str, check: Callable[[str], object], ready: type | None = None) -> BeforeValidator:
    """Return a validator for text; values of type `ready` pass as they are.

    Its error carries `words`, which hold for every value of the kind, and `allowed`, which may
    speak of the value and so must not be shown for one from the environment.
    """

    def validate(value: Any) -> object:
        if ready is not None and isinstance(value, ready):
            return value
        if not isinstance(value, str):
            raise PydanticCustomError("not_text", "{words}", {"words": words})
        try:
            return check(value)
        except ValueError as error:
            facts = {"words": words, "allowed": str(error)}
        raise PydanticCustomError("wrong", "{allowed}", facts)

    return BeforeValidator(validate)


def _one_of(words: str, names: tuple[str, ...]) -> BeforeValidator:
    def check(text: str) -> str:
        if text not in names:
            raise ValueError(_with_nearest(text, names, words))
        return text

    return _text(words, check)


def _with_nearest(text: str, names: Iterable[str], words: str) -> str:
    """Return what is allowed, the name that was probably meant before all others."""
    near = nearest(text, names)
    return f"{near[0]} perhaps; {words}" if near else words


def check_feed_symbol(text: str) -> str:
    """Return the symbol, or the pattern.

    Raises:
        ValueError: lower case, or a name that `check_symbol` refuses, or no pattern either.
    """
    try:
        return check_pattern(text) if is_pattern(text) else check_symbol(text)
    except UsageError:
        upper = text.upper()
    raise ValueError(SYMBOL_WORDS if upper == text else f"{SYMBOL_WORDS}, upper case: {upper[:64]}")


def check_interval(text: str) -> Interval:
    """Return the interval; `1M` means `1mo`.

    Raises:
        ValueError: no such interval.
    """
    try:
        return Interval.parse(text)
    except ValueError:
        raise ValueError(_with_nearest(text, Interval, INTERVAL_WORDS)) from None


@dataclass(frozen=True, slots=True)
class WrittenInterval:
    """An interval of a feed; `made_from` is the finer one of the same feed that it is made of."""

    interval: Interval
    made_from: Interval | None = None


_MADE_FROM = re.compile(r"from\s+(\S+)")


def read_interval(value: Any) -> WrittenInterval:
    """Return the interval of `15m`, or of the mapping `15m: from 1m`.

    Raises:
        ValueError: no such interval, or a mapping of another form.
    """
    if isinstance(value, dict):
        [(name, origin)] = value.items() if len(value) == 1 else [("", "")]
        found = _MADE_FROM.fullmatch(origin.strip()) if isinstance(origin, str) else None
        if found is None:
            raise ValueError(INTERVAL_ITEM_WORDS)
        return WrittenInterval(check_interval(name), check_interval(found[1]))
    return WrittenInterval(check_interval(str(value)))


def _interval_item(value: Any) -> object:
    if isinstance(value, WrittenInterval):
        return value
    try:
        return read_interval(value)
    except ValueError as error:
        kind = "wrong" if isinstance(value, str | dict) else "not_text"
        facts = {"words": INTERVAL_ITEM_WORDS, "allowed": str(error)}
        raise PydanticCustomError(kind, "{allowed}", facts) from None


def check_day(text: str) -> date:
    """Return the day written `YYYY-MM-DD`.

    Raises:
        ValueError: another form, or a day that the calendar lacks.
    """
    if not _DAY.fullmatch(text):
        raise ValueError(DAY_WORDS)
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{DAY_WORDS} that the calendar has") from None


def check_url(text: str) -> str:
    """Return the address without a closing slash.

    Raises:
        ValueError: no http(s) address with a host, or one with a query.
    """
    try:
        parts = urlsplit(text)
        hosted = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        hosted = None
    if not hosted or not text.isprintable() or set(text) & set(" ?#\\"):
        raise ValueError(URL_WORDS)
    return text.rstrip("/")


def check_alert_url(text: str) -> SecretStr:
    """Return the address, hidden: http(s) with a host, or another scheme for Apprise.

    Raises:
        ValueError: no address.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None:
        raise ValueError(ALERT_WORDS)
    if found[1].lower() in {"http", "https"}:
        try:
            hosted = urlsplit(text).hostname
        except ValueError:
            hosted = None
        if not hosted:
            raise ValueError(ALERT_WORDS)
    return SecretStr(text)


def check_lake(text: str) -> str:
    """Return the folder as written.

    Raises:
        ValueError: empty, or an address such as `s3://bucket`.
    """
    if "://" in text:
        raise ValueError("a local folder; object storage is not supported yet")
    if not text.strip() or not text.isprintable():
        raise ValueError(LAKE_WORDS)
    return text


def check_name(text: str) -> str:
    """Return the name of a feed, which is also a Dagster group.

    Raises:
        ValueError: characters that Dagster would refuse, or upper case.
    """
    if not _NAME.fullmatch(text):
        raise ValueError(NAME_WORDS)
    return text


def _no_boolean(value: Any) -> Any:
    """Return the value; pydantic would otherwise read `true` as 1."""
    if isinstance(value, bool):
        raise PydanticCustomError("not_a_number", "a number")
    return value


# The description is what a fault says about a key that is absent.
AlertUrl = Annotated[SecretStr, _text(ALERT_WORDS, check_alert_url, ready=SecretStr)]
Cron = Annotated[str, _text(CRON_WORDS, check_cron), Field(description=CRON_WORDS)]
Day = Annotated[date, _text(DAY_WORDS, check_day, ready=date), Field(description=DAY_WORDS)]
ExchangeName = Annotated[
    str, _one_of(EXCHANGE_WORDS, tuple(EXCHANGES)), Field(description=EXCHANGE_WORDS)
]
FeedInterval = Annotated[Interval, _text(INTERVAL_WORDS, check_interval)]
IntervalItem = Annotated[WrittenInterval, BeforeValidator(_interval_item)]
FeedName = Annotated[str, _text(NAME_WORDS, check_name), Field(description=NAME_WORDS)]
FeedSymbol = Annotated[str, _text(SYMBOL_WORDS, check_feed_symbol)]
LakeText = Annotated[str, _text(LAKE_WORDS, check_lake), Field(description=LAKE_WORDS)]
Source = Annotated[str, _one_of(SOURCE_WORDS, SOURCES)]
Url = Annotated[str, _text(URL_WORDS, check_url), Field(description=URL_WORDS)]

Number = BeforeValidator(_no_boolean)
FeedMarket = Annotated[Market, Field(description=", ".join(Market))]
Seconds = Annotated[
    float,
    Number,
    Field(gt=0, le=600, allow_inf_nan=False, description="seconds, over 0 and at most 600"),
]
Count = Annotated[int, Number]
