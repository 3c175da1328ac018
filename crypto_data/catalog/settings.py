"""How sources are reached, whom to tell, and what is kept: the configuration beside its feeds.

Values only. The feeds and the whole file belong to `catalog.configuration`.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from crypto_data.catalog.values import (
    ALERT_WORDS,
    EXCHANGE_WORDS,
    URL_WORDS,
    AlertUrl,
    Count,
    ExchangeName,
    Seconds,
    Url,
)

FROZEN = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _addresses(market: str, *urls: str) -> Any:
    # Not in the repr: a mirror's address may carry a token from the environment.
    return Field(
        urls,
        min_length=1,
        repr=False,
        title=f"hosts of {market}, asked in turn",
        description=f"a list, each {URL_WORDS}",
    )


def _weight(market: str, per_minute: int) -> Any:
    return Field(
        per_minute,
        ge=1,
        le=1_000_000,
        title=f"request weight a minute for {market}, of all processes of this machine",
        description="a number, 1 to 1000000",
    )


class VisionAddress(BaseModel):
    """Where the archive serves files, and where it lists them."""

    model_config = FROZEN

    url: Url = Field(
        "https://data.binance.vision", repr=False, title="where the archive serves its files"
    )
    listing: Url = Field(
        "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision",
        repr=False,
        title="where the archive lists its files",
    )


class RestAddresses(BaseModel):
    """The REST hosts of each market, in the order they are asked."""

    model_config = FROZEN

    spot: tuple[Url, ...] = _addresses(
        "spot", "https://api.binance.com", "https://data-api.binance.vision"
    )
    um: tuple[Url, ...] = _addresses("um", "https://fapi.binance.com")
    cm: tuple[Url, ...] = _addresses("cm", "https://dapi.binance.com")


class CcxtAddresses(BaseModel):
    """Where ccxt finds an exchange in place of its own hosts, for a proxy or a stand-in."""

    model_config = FROZEN

    urls: dict[ExchangeName, Url] = Field(
        {},
        repr=False,
        title="where ccxt finds an exchange in place of its own hosts",
        description=f"addresses by exchange: {EXCHANGE_WORDS}",
    )


class WeightBudget(BaseModel):
    """How much request weight a minute may use, per market and address of ours."""

    model_config = FROZEN

    spot: Count = _weight("spot", 6000)
    um: Count = _weight("um", 2400)
    cm: Count = _weight("cm", 2400)


class SourceSettings(BaseModel):
    """How sources are reached; `timeout` in seconds, `concurrency` in requests at once."""

    model_config = FROZEN

    vision: VisionAddress = Field(
        VisionAddress(), title="addresses of the archive", description="the keys url and listing"
    )
    rest: RestAddresses = Field(
        RestAddresses(), title="addresses of the REST API", description="the keys spot, um and cm"
    )
    ccxt: CcxtAddresses = Field(
        CcxtAddresses(), title="how other exchanges are reached", description="the key urls"
    )
    timeout: Seconds = Field(30.0, title="without an answer for so long, a request has failed")
    concurrency: Count = Field(
        4,
        ge=1,
        le=64,
        title="files worked on at once, and connections",
        description="a number, 1 to 64",
    )
    weights: WeightBudget = Field(
        WeightBudget(),
        title="request weight that may be spent",
        description="the keys spot, um and cm",
    )


class Alerts(BaseModel):
    """Whom to tell, and what counts as trouble."""

    model_config = FROZEN

    urls: tuple[AlertUrl, ...] = Field(
        (), title="whom to tell; never shown", description=f"a list, each {ALERT_WORDS}"
    )
    max_consecutive_errors: Count = Field(
        3,
        ge=1,
        le=1000,
        title="so many failed runs in a row are told",
        description="a number, 1 to 1000",
    )
    stale_after_hours: Count = Field(
        24,
        ge=1,
        le=8760,
        title="a closed day that is not settled for so long is told",
        description="hours, 1 to 8760",
    )


class Keep(BaseModel):
    """For how many days what is no longer needed stays."""

    model_config = FROZEN

    superseded_days: Count = Field(
        30,
        ge=0,
        le=36500,
        title="files whose klines were replaced by different ones",
        description="days, 0 to 36500",
    )
    run_days: Count = Field(
        30,
        ge=1,
        le=36500,
        title="runs in Dagster whose materializations are not current",
        description="days, 1 to 36500",
    )
