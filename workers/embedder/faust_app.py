"""What is different in Faust's app where an embedder has it: its consumer, what it starts, and for how long it waits."""

from typing import Any

import faust
from faust.app.base import BootStrategy
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.tables.recovery import Recovery

from contract.settings import Settings
from runtime.credentials import kafka_credentials, kafka_tls
from workers.embedder.consumer import ImageTransport


def faust_credentials(settings: Settings) -> Credentials | None:
    """What Faust takes of how the settings have Kafka spoken to."""
    tls, shown = kafka_tls(settings), kafka_credentials(settings)
    if shown is None:
        return None if tls is None else SSLCredentials(tls)
    return SASLCredentials(
        username=shown.user,
        password=shown.password.get_secret_value(),
        mechanism=settings.kafka_sasl_mechanism,
        ssl_context=tls,
    )


class PatientRecovery(Recovery):
    """What has partitions sought after an assignment. Faust waits for that as long as for an answer of Kafka, and takes what comes later
    for the end of the program: nothing would be read any more. How long a seek may take, `first_missing` says."""

    async def _wait(self, coro: Any, timeout: Any = None) -> None:  # noqa: ARG002
        await super()._wait(coro)


class _Boot(BootStrategy):
    """Starts no producer, which would send nothing, and waits 20 minutes for a broker that stands still."""

    enable_kafka_producer = False


class ImageApp(faust.App):
    """A Faust app with our consumer, and without folders for tables, of which it has none."""

    BootStrategy = _Boot

    def _new_transport(self) -> ImageTransport:
        return ImageTransport(self.conf.broker_consumer, self)

    async def on_first_start(self) -> None:
        """Make no folders."""
