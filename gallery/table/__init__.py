"""The second engine: what the fold comes to is kept in a table of Cassandra's, whose vector index finds candidates."""
