"""Kafka: the topics of images and of rejected records, and the clients that create, describe, write and read them."""
