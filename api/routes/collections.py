"""`/v1/collections`: the galleries that there are; create one, drop one."""

from functools import partial
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import ValidationError

from api.access.guard import access_of
from api.answers.collections import CollectionAnswer, CollectionsAnswer, CollectionState, NewCollection
from api.answers.problems import ProblemError, describe_problems
from api.answers.records import ROOT_PATH
from api.live.collections import collections_of, unknown_collection
from api.live.services import Services
from api.routes.bodies import read_body
from api.routes.writers import check_writer
from contract.collections import DEFAULT_COLLECTION, Collection, check_collection_name, settings_of
from contract.errors import CollectionExistsError, ConfigurationError, UnknownCollectionError
from contract.settings import Settings
from gallery.collections import create_collection, drop_collection
from model.encoder import load_encoder

BODY_SIZE_BYTES_MAX = 16 * 1024

Name = Annotated[str, Path(description="Name of a collection.", examples=[DEFAULT_COLLECTION])]
_BODY: dict[str, Any] = {
    "required": True,
    "content": {"application/json": {"schema": NewCollection.model_json_schema()}},
}

router = APIRouter()


async def look_for_collection(request: Request, collection: Name) -> None:
    """Before a route below a collection answers: it must be known, and another process may have created it a moment ago."""
    collections, access = collections_of(request), access_of(request)
    await collections.look_for(collection)
    try:
        collections.of(collection)
    except ProblemError as problem:
        if problem.code != "unknown-collection" or access.is_for_all:
            raise
        # The key is for this one, but not for those that the detail names.
        raise unknown_collection(collection, []) from problem


@router.get("/collections", responses=describe_problems())
async def list_collections(request: Request) -> CollectionsAnswer:
    """All collections that the key is for, in the order of their names."""
    collections, access = collections_of(request), access_of(request)
    default = collections.of(DEFAULT_COLLECTION).settings
    answers = [_answer(services) for services in collections.all()]
    answers += [_dropping(default, each) for each in collections.dropping.values()]
    shown = [answer for answer in answers if access.is_for(answer.name)]
    return CollectionsAnswer(collections=sorted(shown, key=lambda answer: answer.name))


@router.get("/collections/{collection}", responses=describe_problems(404, 503))
async def show_collection(request: Request, collection: Name) -> CollectionAnswer:
    """One collection."""
    await look_for_collection(request, collection)
    return _answer(collections_of(request).of(collection))


@router.post(
    "/collections",
    status_code=201,
    responses=describe_problems(400, 403, 409, 413, 503),
    openapi_extra={"requestBody": _BODY},
)
async def create(request: Request, response: Response) -> CollectionAnswer:
    """Create a collection, with a topic, a feed and an index of its own.

    The body is `{"name": …, "encoder": …}`, `partitions` if it must have another number of them, and `engine` if Cassandra is to
    answer. Running embedders and
    indexers take it up within ten seconds; what is published before waits for them.
    """
    collections = collections_of(request)
    settings = collections.of(DEFAULT_COLLECTION).settings
    check_writer(request, settings.api_allowed_hosts)
    wanted = _new_collection(await read_body(request, BODY_SIZE_BYTES_MAX))
    _check_name(wanted.name)
    await anyio.to_thread.run_sync(_check_encoder, wanted.encoder, settings)
    store = collections.store()
    creating = partial(
        create_collection,
        settings,
        store.registry,
        name=wanted.name,
        encoder=wanted.encoder,
        partitions=wanted.partitions,
        engine=wanted.engine,
    )
    try:
        made = await anyio.to_thread.run_sync(creating)
    except CollectionExistsError as error:
        raise ProblemError(409, "collection-exists", str(error)) from error
    except ConfigurationError as error:
        raise ProblemError(400, "bad-collection", str(error)) from error
    await collections.refresh()
    response.headers["Location"] = f"{ROOT_PATH.get()}/v1/collections/{made.name}"
    return _answer(collections.of(made.name))


@router.delete("/collections/{collection}", responses=describe_problems(400, 403, 404, 503))
async def drop(
    request: Request,
    collection: Name,
    confirm: Annotated[str, Query(description="The collection's name once more: everything of it goes for good.")],
) -> CollectionAnswer:
    """Drop a collection: its topic, feed, records and index are deleted, and nothing of others.

    The answer comes when all is gone. A drop that was interrupted goes on when it is asked for again.
    """
    collections = collections_of(request)
    settings = collections.of(DEFAULT_COLLECTION).settings
    check_writer(request, settings.api_allowed_hosts)
    if confirm != collection:
        raise ProblemError(
            400,
            "unconfirmed",
            f"confirm is {confirm[:80]!r}, expected {collection[:80]!r}: repeat the name of what is to be dropped for good.",
        )
    if collection == DEFAULT_COLLECTION:
        raise ProblemError(
            400, "default-collection", "The collection default cannot be dropped. Delete its images instead."
        )
    store = collections.store()
    found = (await anyio.to_thread.run_sync(store.registry.collections)).get(collection)
    try:
        await anyio.to_thread.run_sync(drop_collection, settings, store, collection, abandon_on_cancel=True)
    except UnknownCollectionError as error:
        raise ProblemError(404, "unknown-collection", str(error)) from error
    await collections.refresh()
    return _dropping(settings, found or Collection(name=collection, encoder="", partitions=0))


def _new_collection(body: bytes) -> NewCollection:
    try:
        return NewCollection.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        code = {
            "name": "bad-collection-name",
            "encoder": "unknown-encoder",
            "partitions": "bad-partitions",
            "engine": "bad-engine",
        }.get(field)
        raise ProblemError(
            400,
            code or "bad-json",
            f'{field or "The body"}: {first["msg"]}. Expected JSON such as {{"name": "holiday", "encoder": "photo"}}.',
        ) from error


def _check_name(name: str) -> None:
    try:
        check_collection_name(name)
    except ConfigurationError as error:
        raise ProblemError(400, "bad-collection-name", str(error)) from error


def _check_encoder(encoder: str, settings: Settings) -> None:
    try:
        load_encoder(encoder, settings.encoders_dir)
    except ConfigurationError as error:
        raise ProblemError(400, "unknown-encoder", str(error)) from error


def _answer(services: Services) -> CollectionAnswer:
    snapshot, collection = services.served.snapshot, services.collection
    state: CollectionState = "waiting" if snapshot is None else "serving" if snapshot.manifest.count else "empty"
    return CollectionAnswer(
        name=collection.name,
        encoder=services.served.index.name,
        partitions=len(services.ends.offsets) if services.ends else collection.partitions,
        topic=services.settings.kafka_topic,
        engine=services.engine,
        created_at=collection.created_at_ms or None,
        state=state,
        count=snapshot.manifest.count if snapshot else None,
        generation=snapshot.manifest.generation if snapshot else None,
    )


def _dropping(settings: Settings, collection: Collection) -> CollectionAnswer:
    return CollectionAnswer(
        name=collection.name,
        encoder=collection.encoder,
        partitions=collection.partitions,
        topic=settings_of(settings, collection).kafka_topic,
        engine=collection.engine,
        created_at=collection.created_at_ms or None,
        state="dropping",
        count=None,
        generation=None,
    )
