"""A crypto kline lake: partitioned Dagster assets, failover sources, Parquet any engine reads."""
