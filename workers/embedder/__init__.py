"""The embedder: one batch of records from the topic to durable feed rows, and then the acknowledgement."""
