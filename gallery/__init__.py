"""What can be found: Cassandra store, fold, generations on disk, search."""
