"""Dagster on top of the use cases: assets, IO manager, resources."""
