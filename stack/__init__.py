"""The whole pipeline on one machine: Kafka, Cassandra and our own processes, started, watched and stopped."""
