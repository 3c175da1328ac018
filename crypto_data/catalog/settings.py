"""How sources are reached, whom to tell, and what is kept: the configuration beside its feeds.

Values only. The feeds and the whole file belong to `catalog.configuration`.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from crypto_data.catalog.values import ALERT_WORDS, URL_WORDS, AlertUrl, Count, Seconds, Url

FROZEN = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _addresses(*urls: str) -> Any:
    # Not in the repr: a mirror's address may carry a token from the environment.
    return Field(urls, min_length=1, repr=False, description=f"a list, each {URL_WORDS}")


def _weight(per_minute: int) -> Any:
    return Field(per_minute, ge=1, le=1_000_000, description="weight a minute, 1 to 1000000")


class VisionAddress(BaseModel):
    """Where the archive serves files, and where it lists them."""

    model_config = FROZEN

    url: Url = Field("https://data.binance.vision", repr=False)
    listing: Url = Field(
        "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision",
        repr=False,
    )


class RestAddresses(BaseModel):
    """The REST hosts of each market, in the order they are asked."""

    model_config = FROZEN

    spot: tuple[Url, ...] = _addresses("https://api.binance.com", "https://data-api.binance.vision")
    um: tuple[Url, ...] = _addresses("https://fapi.binance.com")
    cm: tuple[Url, ...] = _addresses("https://dapi.binance.com")


class WeightBudget(BaseModel):
    """How much request weight a minute may use, per market and address of ours."""

    model_config = FROZEN

    spot: Count = _weight(6000)
    um: Count = _weight(2400)
    cm: Count = _weight(2400)


class SourceSettings(BaseModel):
    """How sources are reached; `timeout` in seconds, `concurrency` in requests at once."""

    model_config = FROZEN

    vision: VisionAddress = Field(VisionAddress(), description="the keys url and listing")
    rest: RestAddresses = Field(RestAddresses(), description="the keys spot, um and cm")
    timeout: Seconds = 30.0
    concurrency: Count = Field(4, ge=1, le=64, description="requests at once, 1 to 64")
    weights: WeightBudget = Field(WeightBudget(), description="the keys spot, um and cm")


class Alerts(BaseModel):
    """Whom to tell, and what counts as trouble."""

    model_config = FROZEN

    urls: tuple[AlertUrl, ...] = Field((), description=f"a list, each {ALERT_WORDS}")
    max_consecutive_errors: Count = Field(3, ge=1, le=1000, description="a number, 1 to 1000")
    stale_after_hours: Count = Field(24, ge=1, le=8760, description="hours, 1 to 8760")


class Keep(BaseModel):
    """For how many days what is no longer needed stays."""

    model_config = FROZEN

    superseded_days: Count = Field(30, ge=0, le=36500, description="days, 0 to 36500")
    run_days: Count = Field(30, ge=1, le=36500, description="days, 1 to 36500")
