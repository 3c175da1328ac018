"""What brings new and delisted symbols, and changes of the configuration, into Dagster.

A sensor compares the configuration and the exchanges' lists with what Dagster has loaded, and has
the code server load the definitions anew. Which symbols a pattern means belongs to `universe`.
"""

import os
from hashlib import blake2b

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin

from crypto_data.catalog.configuration import Catalog
from crypto_data.catalog.location import state_folder
from crypto_data.errors import CatalogError, DataSourceError, UsageError
from crypto_data.orchestration.resources import read_catalog
from crypto_data.resolving import resolve
from crypto_data.sources.connect import local_ms
from crypto_data.sources.http import Retry
from crypto_data.universe import refresh_universe, stale_places

SENSOR = "universe"
LOOK_SECONDS = 60
# A tick has a minute, and there are several lists and hosts to a market.
HASTY_SECONDS = 8.0
# Of the tick's minute; a thousand series load in ten seconds.
RELOAD_SECONDS = 45

_BY_HAND = "to see it on the web page, press Deployment, crypto_data, Reload"


def build_universe_sensor(catalog: Catalog) -> dg.SensorDefinition:
    """Return the sensor that has the definitions loaded anew when they have changed.

    Args:
        catalog: What is loaded now.
    """

    @dg.sensor(
        name=SENSOR,
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Asks exchanges about once an hour which symbols they list, and has Dagster "
        "load new series, and a configuration that was changed.",
    )
    def follow_listings(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            fresh = read_catalog(str(catalog.path))
            warnings = _ask_stale(fresh)
        except (CatalogError, UsageError) as error:
            said = "what was loaded before goes on"
            raise dg.Failure(f"the configuration cannot be used, {said}:\n{error}") from error
        except DataSourceError as error:
            raise dg.Failure(str(error)) from error
        for warning in warnings:
            context.log.warning(warning)
        fresh = resolve(fresh)
        if fresh == catalog:
            return dg.SkipReason("; ".join(["nothing has changed", *warnings]))
        said = describe_change(catalog, fresh)
        mark = _mark(fresh)
        if context.cursor == mark:
            return dg.SkipReason(f"{said}; was told before: {_BY_HAND}")
        context.log.info(said)
        how = "loaded" if _reload(context) else _BY_HAND
        return dg.SensorResult(skip_reason=f"{said}; {how}", cursor=mark)

    return follow_listings


def _ask_stale(catalog: Catalog) -> list[str]:
    """Ask for the list that is out of date longest, one a tick; return what could not be read."""
    places = stale_places(catalog, local_ms())[:1]
    if not places:
        return []
    patience_s = min(catalog.sources.timeout, HASTY_SECONDS)
    hasty = catalog.model_copy(
        update={"sources": catalog.sources.model_copy(update={"timeout": patience_s})}
    )
    return refresh_universe(
        hasty,
        places,
        state_folder(os.environ),
        now_ms=local_ms(),
        retry=Retry(max_retries=0),
    )


def describe_change(loaded: Catalog, fresh: Catalog) -> str:
    """Return in words what a configuration has that the loaded one has not."""
    before, after = loaded.all_series(), fresh.all_series()
    came = [str(series) for series in after if series not in before]
    went = [str(series) for series in before if series not in after]
    parts = [
        f"{len(names)} series {word}: {', '.join(names[:5])}{', …' if len(names) > 5 else ''}"  # noqa: PLR2004
        for names, word in ((came, "new"), (went, "no longer wanted"))
        if names
    ]
    return "; ".join(parts) or "the configuration has changed"


def _reload(context: dg.SensorEvaluationContext) -> bool:
    """Return whether the code server has loaded the definitions anew.

    Only one that the web server and the daemon share can be told to: that of `crypto-data start`
    and of `dagster dev`. One that each of them started for itself answers to that process alone.
    """
    origin = context.code_location_origin
    if not isinstance(origin, GrpcServerCodeLocationOrigin):
        return False
    try:
        origin.create_client().reload_code(timeout=RELOAD_SECONDS)
    except DagsterUserCodeUnreachableError as error:
        raise dg.Failure(f"the code server could not be told to load anew: {error}") from error
    return True


def _mark(catalog: Catalog) -> str:
    """Return what tells one configuration from another, secrets left out."""
    return blake2b(catalog.model_dump_json().encode(), digest_size=12).hexdigest()
