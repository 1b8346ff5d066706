"""Index generations: what feed rows mean, written whole by one process and read by any number."""
