"""What was decided, as Parquet files by day: a projection of the journal for analysts and for DuckDB."""
