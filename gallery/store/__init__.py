"""Cassandra: the rows that images become, and the one session that writes and reads them."""
