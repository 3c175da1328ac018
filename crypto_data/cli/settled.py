"""What the commands that fetch do where nothing is to be fetched: no Dagster, where possible."""

import os

from crypto_data.catalog.configuration import Catalog
from crypto_data.cli.options import local_ms
from crypto_data.cli.output import complain
from crypto_data.errors import LakeNotWritable
from crypto_data.health import health_view
from crypto_data.lake.inventory import rebuild_database
from crypto_data.orchestration.workers import home_of, may_have_dead_runs


def say_nothing_to_fetch(catalog: Catalog) -> None:
    """Say that all is settled, and tidy what a killed command may have left behind.

    It may have fetched the last day and not come to refresh `lake.duckdb` or to end its run.
    """
    complain(["nothing to fetch: every day up to the last closed one is settled"])
    try:
        rebuild_database(
            catalog.lake, local_ms(), lambda census: health_view(catalog, census, local_ms())
        )
    except LakeNotWritable as error:  # what was asked is done all the same
        complain([str(error)])
    if may_have_dead_runs(home_of(catalog.path.parent, os.environ)):
        from crypto_data.orchestration.instance import open_instance, prepare_home

        with open_instance(prepare_home(catalog.path.parent, os.environ)):
            pass  # opening it has ended the runs of killed commands
