"""`lookalike verify`: proves the index against the feed and, where it is asked for, both against the topic; and repairs them."""

import argparse
import json
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from contract.errors import ConfigurationError, LookalikeError
from runtime.command_line import Verb

if TYPE_CHECKING:
    from contract.settings import Settings
    from gallery.store.store import Store
    from gallery.verify import Verification
    from workers.audit.verifying import TopicVerification

_SHOWN = 20
# Of comparing a table that goes on changing.
_TABLE_TRIES = 3


def _add_options(verify: argparse.ArgumentParser) -> None:
    verify.add_argument("--json", action="store_true", help="print what was found as JSON")
    verify.add_argument("--encoder", help="the index of this encoder (default: the one that answers)")
    verify.add_argument(
        "--collection", default="default", metavar="NAME", help="the collection meant (default: default)"
    )
    verify.add_argument(
        "--topic",
        action="store_true",
        help="also derive again what Kafka's records say, and compare feed and index with it",
    )
    verify.add_argument(
        "--repair",
        action="store_true",
        help="the same, and put back what is missing or different; an index that differs is built again",
    )


def _verify(settings: "Settings", options: argparse.Namespace) -> int:
    from gallery.collections import indexed_settings
    from gallery.generations.serving import ServingFile
    from gallery.store.store import Store

    own = indexed_settings(settings, options.collection)
    encoder = options.encoder or ServingFile(own.index_dir, own.encoder).current().encoder
    own = own.model_copy(update={"encoder": encoder})
    with closing(Store.connect(own)) as store:
        compared = _compare_topic(own, store, repairs=options.repair) if options.topic or options.repair else None
        generation, verification = _compare_index(own, store)
        if options.repair and verification.differences:
            # A running indexer notices within a second, and begins a new index from the feed; the old one answers meanwhile.
            (own.encoder_index_dir / "CURRENT").unlink(missing_ok=True)
            store.embedding_tables.start_anew(own.kafka_topic)
    left = [] if compared is None else [each for each in compared.findings if each not in compared.repaired]
    if options.json:
        told: dict[str, Any] = {"generation": generation, **asdict(verification)}
        if compared is not None:
            told["topic"] = {
                "compared": compared.compared,
                "found": [_described(each, each in compared.repaired) for each in compared.findings],
            }
        print(json.dumps(told, indent=2))
    else:
        if compared is not None:
            _tell_topic(compared)
        _tell_index(generation, verification, options)
    return 1 if verification.differences or left else 0


def _compare_topic(settings: "Settings", store: "Store", *, repairs: bool) -> "TopicVerification":
    from model.encoder import load_encoder
    from model.pictures.decoder import Decoder
    from workers.audit.collection import ComparedCollection
    from workers.audit.verifying import verify_topic

    fingerprint = load_encoder(settings.encoder, settings.encoders_dir).fingerprint
    decoder = Decoder(settings.encoder, encoders_dir=settings.encoders_dir, accept_truncated=settings.accept_truncated)
    with closing(decoder), closing(ComparedCollection(settings, store, decoder, fingerprint=fingerprint)) as compared:
        try:
            return verify_topic(compared, store, fingerprint=fingerprint, repairs=repairs)
        except ConfigurationError as error:
            raise ConfigurationError(f"{error} Without --topic the index is compared with the feed alone.") from error


def _compare_index(settings: "Settings", store: "Store") -> "tuple[int, Verification]":
    from gallery.newest import newest_generation
    from gallery.verify import Verification, verify

    if settings.engine != "exact":
        return _compare_table(settings, store)
    try:
        snapshot = newest_generation(settings, settings.encoder)
    except LookalikeError as error:
        return 0, Verification(0, 0, [str(error)], [])
    return snapshot.manifest.generation, verify(snapshot, store.feed)


def _compare_table(settings: "Settings", store: "Store") -> "tuple[int, Verification]":
    from gallery.table.reader import newest_table
    from gallery.verify import Verification, verify

    for _ in range(_TABLE_TRIES):
        snapshot = newest_table(store, settings)
        if snapshot is None:
            return 0, Verification(0, 0, ["There is no table of embeddings yet. Start one: lookalike indexer"], [])
        found, after = verify(snapshot, store.feed), newest_table(store, settings)
        # A table moves on while it is read; what came meanwhile is no difference.
        if not found.differences or (after is not None and after.manifest == snapshot.manifest):
            return snapshot.manifest.generation, found
    raise LookalikeError(
        "The table of embeddings changes while it is compared. Stop publishing for that long, and verify again."
    )


def _tell_topic(result: "TopicVerification") -> None:
    for finding in result.findings[:_SHOWN]:
        print(f"{finding}{' Repaired.' if finding in result.repaired else ''}")
    if not result.findings:
        print(f"Feed, records, originals and index say what the {result.compared:,} records that Kafka holds say.")
        return
    print(f"{len(result.findings):,} differences from the {result.compared:,} records that Kafka holds, ", end="")
    print(
        f"{len(result.repaired):,} repaired. " + ("" if result.repaired else "Repair them: lookalike verify --repair")
    )


def _tell_index(generation: int, result: "Verification", options: argparse.Namespace) -> None:
    for told in (result.differences, result.set_aside):
        for sentence in told[:_SHOWN]:
            print(sentence)
    if len(result.set_aside) > _SHOWN:
        print(f"{len(result.set_aside)} rows are set aside in all.")
    if not result.differences:
        print(
            f"Generation {generation} holds exactly what its coverage says: {result.images:,} images from "
            f"{result.rows_read:,} feed rows."
        )
        return
    print(f"Generation {generation} differs from its feed in {len(result.differences)} places. ", end="")
    if options.repair:
        print("The indexer builds it again from the feed; the old one answers meanwhile. Then verify again.")
    else:
        print(
            "Rebuild it: lookalike verify --repair, or stop the indexer and run "
            f"`python -m workers indexer --rebuild --collections {options.collection}`."
        )


def _described(finding: Any, is_repaired: bool) -> dict[str, Any]:
    described = {**asdict(finding), "key": finding.key._asdict()}
    return {**described, "is_repaired": is_repaired}


VERIFY = Verb(
    name="verify",
    summary="compare the index with the feed and, with --topic, both with Kafka's records; --repair puts back what is missing",
    run=_verify,
    add_arguments=_add_options,
    epilog="Example: %(prog)s --topic --collection holiday",
    interrupted="Stopped; what was repaired stays so.",
)
