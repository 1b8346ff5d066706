"""Request bodies of bounded size: raw, JSON or multipart."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.answers.problems import ProblemError
from api.routes.body_memory import FREE_SIZE_BYTES_MAX, take_memory
from contract.formats import FORMATS, media_type_of
from contract.messages import IMAGE_SIZE_BYTES_MAX

# How long a large body may take to come: 32 MiB at 2.2 Mbit/s. It keeps others out as long.
BODY_S_MAX = 120.0
# For a form's boundaries, names and metadata beside the image.
FORM_OVERHEAD_BYTES_MAX = 64 * 1024


@dataclass(frozen=True)
class Upload:
    """An image as it was sent, and the form fields `metadata` and `filter` if there were any."""

    value: bytes
    metadata: str | None = None
    filter: str | None = None


def content_type(request: Request) -> str:
    """The request's media type in lower case without parameters, "" when it says none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_upload(request: Request) -> Upload:
    """The image of a raw or multipart request. A raw one whose Content-Type says no picture is judged by its first bytes.

    Raises:
        ProblemError: 413 ``too-large``, 415 ``unsupported-content-type``, 400 ``bad-multipart``.
    """
    kind = content_type(request)
    if kind == "multipart/form-data":
        return await _read_form(request)
    if kind.startswith("image/") or kind == "application/octet-stream":
        return Upload(await read_body(request, IMAGE_SIZE_BYTES_MAX))
    # Browsers and curl say something of every body; only its bytes tell whether that was meant.
    value = await read_body(request, IMAGE_SIZE_BYTES_MAX)
    if media_type_of(value) is None:
        raise ProblemError(
            415,
            "unsupported-content-type",
            f"The request's Content-Type is {kind!r}, and its body begins with {value[:12]!r}: it is no {FORMATS} picture. "
            "Send the image itself, or as the field file of multipart/form-data.",
        )
    return Upload(value)


async def read_body(request: Request, size_bytes_max: int) -> bytes:
    """The whole body, for which there is memory until the request is answered.

    Raises:
        ProblemError: 413 ``too-large``, at once where Content-Length says so, else as soon as too much has come;
            503 ``busy`` when there is no memory for it; 408 ``slow-body``.
    """
    declared = request.headers.get("content-length", "")
    is_declared = declared.isdecimal()
    if is_declared:
        if int(declared) > size_bytes_max:
            raise _too_large(f"{declared} bytes", size_bytes_max)
        await take_memory(request, int(declared))
    body = bytearray()
    has_memory = is_declared
    try:
        async with asyncio.timeout(BODY_S_MAX):
            async for chunk in request.stream():
                if len(body) + len(chunk) > size_bytes_max:
                    raise _too_large(f"more than {size_bytes_max} bytes", size_bytes_max)
                if not has_memory and len(body) + len(chunk) > FREE_SIZE_BYTES_MAX:
                    await take_memory(request, size_bytes_max)
                    has_memory = True
                body += chunk
    except TimeoutError as error:
        raise ProblemError(
            408,
            "slow-body",
            f"Only {len(body)} bytes came in {BODY_S_MAX:.0f} s. Send a smaller image, or over a faster line.",
        ) from error
    return bytes(body)


async def read_uploads(request: Request, count_max: int, size_bytes_max: int) -> tuple[list[bytes], str | None]:
    """The images of a form with several fields named file, in order, and its field `filter` if there was one.

    Raises:
        ProblemError: 413 ``too-large``, 415 ``unsupported-content-type``, 400 ``bad-multipart``.
    """
    kind = content_type(request)
    if kind != "multipart/form-data":
        raise ProblemError(
            415, "unsupported-content-type", f"The request's Content-Type is {kind!r}; send a form or application/json."
        )
    async with _form(request, count_max, size_bytes_max) as form:
        files = form.getlist("file")
        images = [await file.read() for file in files if isinstance(file, UploadFile)]
        told = form.getlist("filter")
        if not images or len(images) + len(told) != len(form.multi_items()) or len(told) > 1:
            raise _bad_form(form, f"1 to {count_max} file fields named file, and at most one text named filter")
        (asked,) = told or (None,)
        if isinstance(asked, UploadFile):
            raise _bad_form(form, "a text named filter")
        return images, asked


async def _read_form(request: Request) -> Upload:
    async with _form(request, 1, IMAGE_SIZE_BYTES_MAX) as form:
        file, metadata, asked = form.get("file"), form.get("metadata"), form.get("filter")
        if not isinstance(file, UploadFile) or isinstance(metadata, UploadFile) or isinstance(asked, UploadFile):
            raise _bad_form(form, "a file field named file")
        return Upload(await file.read(), metadata, asked)


@asynccontextmanager
async def _form(request: Request, files_max: int, size_bytes_max: int) -> AsyncIterator[FormData]:
    body = await read_body(request, size_bytes_max + FORM_OVERHEAD_BYTES_MAX)

    async def once() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(
        request.headers, once(), max_files=files_max, max_fields=2, max_part_size=FORM_OVERHEAD_BYTES_MAX
    )
    parser.spool_max_size = len(body)  # the body is in memory already: never write it to disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError, ValueError) as error:
        raise ProblemError(
            400, "bad-multipart", f"The body is not multipart/form-data: {error}. Send file fields named file."
        ) from error
    try:
        yield form
    finally:
        await form.close()


def _bad_form(form: FormData, expected: str) -> ProblemError:
    return ProblemError(400, "bad-multipart", f"The form has the fields {sorted(form)}, expected {expected}.")


def _too_large(found: str, size_bytes_max: int) -> ProblemError:
    return ProblemError(
        413, "too-large", f"The body has {found}, at most {size_bytes_max} are taken. Send a smaller image."
    )
