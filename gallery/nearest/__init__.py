"""The nearest embeddings, exact: arrays only, nothing of Kafka, Cassandra or files of an index."""
