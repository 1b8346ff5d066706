"""The audit: what Kafka's records say is derived again and compared with what is stored and what is found."""
