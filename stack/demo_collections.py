"""The collections that the demos fill: made where they are missing, and taken up by the running programs before anything is shown."""

import time
from contextlib import closing

from contract.collections import Collection, settings_of
from contract.errors import CollectionExistsError, ConfigurationError, DependencyError
from contract.settings import Settings
from gallery.collections import create_collection, find_collection
from gallery.store.store import Store
from lookalike_client import ApiError, Client

# An indexer and an API look for new collections every second or two.
_TAKEN_UP_S = 60.0
_POLL_S = 0.25


def demo_collection(settings: Settings, name: str, encoder: str) -> Settings:
    """The settings of a collection of this name and encoder, which exists from then on, and is answered from.

    Raises:
        ConfigurationError: there is one that has another encoder.
        DependencyError: Kafka, Cassandra or the programs do not do their part.
    """
    with closing(Store.connect(settings)) as store:
        try:
            found = create_collection(settings, store.registry, name=name, encoder=encoder)
        except CollectionExistsError:
            found = find_collection(settings, store.registry, name)
    _check(found, encoder)
    api = Client(settings.api_address, collection=name)
    deadline = time.monotonic() + _TAKEN_UP_S
    while True:
        try:
            api.index()
            return settings_of(settings, found)
        except ApiError as error:
            if time.monotonic() > deadline:
                raise DependencyError(
                    "indexer", f"the collection {name} was not taken up within {_TAKEN_UP_S:.0f} s: {error}"
                ) from error
        time.sleep(_POLL_S)


def _check(found: Collection, encoder: str) -> None:
    if found.encoder != encoder:
        raise ConfigurationError(
            f"The collection {found.name} has the encoder {found.encoder}, the demo needs {encoder}. Drop it, if nothing in it "
            f"is of use: lookalike collections drop {found.name}"
        )
