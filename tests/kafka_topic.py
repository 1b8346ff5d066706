"""What a topic holds, read from a real Kafka."""

from contextlib import closing
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from contract.settings import Settings
from topics.offsets import EndOffsets
from topics.topic import Topic


def end_offsets(settings: Settings) -> EndOffsets:
    """The topic of images as it is now: its log, and where its partitions end."""
    with closing(Topic(settings)) as topic:
        found = topic.end_offsets()
    assert found is not None
    return found


def topic_log(settings: Settings) -> str:
    """The topic's log now."""
    return end_offsets(settings).log


def read_topic(settings: Settings, topic: str = "") -> list[Any]:
    """All records of a topic in the order of (partition, offset)."""
    topic = topic or settings.kafka_topic
    consumer = KafkaConsumer(bootstrap_servers=settings.kafka_bootstrap, auto_offset_reset="earliest")
    try:
        places = [TopicPartition(topic, partition) for partition in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(places)
        ends = consumer.end_offsets(places)
        records = []
        while any(consumer.position(place) < ends[place] for place in places):
            for batch in consumer.poll(1000).values():
                records += batch
        return sorted(records, key=lambda record: (record.partition, record.offset))
    finally:
        consumer.close()
