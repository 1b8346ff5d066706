"""What is fuzzed: each module has a corpus to begin with and `attempt`, which raises where a promise is broken."""
