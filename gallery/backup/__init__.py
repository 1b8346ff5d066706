"""Backups: all that Cassandra holds, and what Kafka holds beside it, in a folder of checked files."""
