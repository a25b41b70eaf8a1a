"""The cache as Parquet: typed, partitioned by symbol and month, proven against the CSV."""
