"""Programs that move images along: the embedder (Kafka to Cassandra) and the indexer (Cassandra to index generations)."""
