"""Judges a history: what was asked of lookalike and answered, against what Kafka holds, by code that shares nothing with it.

Only the encoder is shared, since it says what an embedding is. No module here imports the store, the fold, the index, the API
or its client: `tests/unit/test_layers.py` enforces it.
"""
