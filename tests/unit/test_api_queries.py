"""Queries that come at once share a question to the decoder child, and each gets its own answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np

from api.answers.fair_queue import ASKED_BY
from api.answers.problems import ProblemError
from api.answers.queries import (
    LARGE_QUERY_SIZE_BYTES,
    LARGE_WAITING_MAX,
    LARGE_WAITING_MIN,
    QUERIES_WAITING_MAX,
    Query,
    QueryEncoder,
)
from contract.errors import RejectedError
from model import mnist
from model.encoder import load_encoder

ENCODER = "report-autoencoder"
DIGITS = mnist.images("test")[:40]


@asynccontextmanager
async def started() -> AsyncIterator[QueryEncoder]:
    encoder = QueryEncoder(ENCODER)
    await asyncio.to_thread(encoder.warm_up)
    try:
        yield encoder
    finally:
        await encoder.stop()


def test_each_of_many_gets_the_embedding_of_its_own_image_or_its_own_reason() -> None:
    async def ask() -> list[Query | BaseException]:
        async with started() as encoder:
            values = [mnist.png(digit) for digit in DIGITS]
            values[7] = values[7][:100]
            return await asyncio.gather(*(encoder.encode(value) for value in values), return_exceptions=True)

    answers = asyncio.run(ask())
    refused = answers.pop(7)
    assert isinstance(refused, RejectedError)
    assert refused.reason == "truncated"
    known = load_encoder(ENCODER)
    expected = [known.embed(pixels) for n, pixels in enumerate(mnist.pixels("test")[: len(DIGITS)]) if n != 7]
    found = [answer.embedding for answer in answers if isinstance(answer, Query)]
    assert np.array_equal(found, expected)


def test_one_that_gave_up_costs_the_others_nothing() -> None:
    async def ask() -> Query:
        async with started() as encoder:
            asked = [asyncio.create_task(encoder.encode(mnist.png(digit))) for digit in DIGITS]
            await asyncio.sleep(0)
            for task in asked[:-1]:
                task.cancel()
            return await asked[-1]

    assert np.array_equal(asyncio.run(ask()).embedding, load_encoder(ENCODER).embed(mnist.pixels("test")[39]))


def test_a_crowd_beyond_the_limit_is_told_to_come_again() -> None:
    async def ask() -> list[Query | BaseException]:
        async with started() as encoder:
            crowd = [encoder.encode(mnist.png(DIGITS[0])) for _ in range(QUERIES_WAITING_MAX + 40)]
            return await asyncio.gather(*crowd, return_exceptions=True)

    refused = [answer for answer in asyncio.run(ask()) if isinstance(answer, ProblemError)]
    assert len(refused) in range(1, 41)
    assert {error.code for error in refused} == {"busy"}


def test_small_images_do_not_wait_behind_large_ones_and_no_client_takes_all_places() -> None:
    # Digits behind each of which so much follows that they count as large: the decoder reads no further than a picture's end.
    large = mnist.png(DIGITS[0]) + bytes(LARGE_QUERY_SIZE_BYTES)

    async def ask(encoder: QueryEncoder, client: str, value: bytes) -> tuple[str, Query | BaseException]:
        ASKED_BY.set(client)
        return client, (await asyncio.gather(encoder.encode(value), return_exceptions=True))[0]

    async def run() -> list[tuple[str, Query | BaseException]]:
        async with started() as encoder:
            await encoder.encode(large)  # starts the child for large ones
            asked = [asyncio.create_task(ask(encoder, "greedy", large)) for _ in range(LARGE_WAITING_MAX + 10)]
            await asyncio.sleep(0)
            asked += [
                asyncio.create_task(ask(encoder, "modest", large)),
                asyncio.create_task(ask(encoder, "small", mnist.png(DIGITS[1]))),
            ]
            return [await done for done in asyncio.as_completed(asked)]

    answers = asyncio.run(run())
    refused = [(client, answer.code) for client, answer in answers if isinstance(answer, ProblemError)]
    assert refused
    assert {client for client, _ in refused} == {"greedy"}
    answered = [client for client, answer in answers if isinstance(answer, Query)]
    assert answered.index("modest") <= 3, "one that is being worked on, and one turn"
    assert answered.index("small") <= 3
    assert answered.count("greedy") >= LARGE_WAITING_MIN
