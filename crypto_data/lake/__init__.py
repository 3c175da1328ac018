"""The lake: Parquet files with their day ledger, committed atomically, and the views over them."""
